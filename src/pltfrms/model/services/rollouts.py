"""From one state of a rollout to the next. Pure."""

from dataclasses import replace
from typing import Final

from pltfrms.model.services.service import (
    FailedVersion,
    Probe,
    Rollout,
    RolloutSpec,
    RolloutState,
    Service,
)

FAILED_KEPT: Final = 10
"""Failed versions that are remembered of a service."""
CLOCKS_APART_MS: Final = 60_000
"""Two controllers' clocks are hardly further apart."""
USUAL: Final = RolloutSpec()


def bake_ms(service: Service) -> int:
    """Return how long a complete stage has to stay ready."""
    return (service.spec.rollout or USUAL).bake_ms


def parallel(service: Service) -> int:
    """Return how many replicas of a datacenter are replaced at once."""
    return (service.spec.rollout or USUAL).parallel


def where_of(service: Service) -> str:
    """Return where operators have a service, such as `version 2, stage 1 of 4, paused`.

    Two who act on the same sight of it shall not both be obeyed.
    """
    rolling = service.rolling
    if rolling is None:
        return f"version {service.version}"
    paused = ", paused" if rolling.paused else ""
    stage = f"stage {rolling.stage + 1} of {len(rolling.stages)}"
    stage = trial_words(rolling) if rolling.state is RolloutState.TRIAL else stage
    return f"version {service.version}, {stage}{paused}"


def trial_words(rollout: Rollout) -> str:
    """Say which probe a rollout tries."""
    return f"trial of its {'liveness ' if rollout.asks_liveness else ''}probe"


def asks_otherwise(old: Probe | None, new: Probe | None) -> bool:
    """Return whether a probe asks instances something else than the one before, or anew.

    However often it asks, and whatever follows from the answers.
    """
    return new is not None and (old is None or _question(old) != _question(new))


def _question(probe: Probe) -> Probe:
    same = replace(probe, interval_ms=0, rise=0, fall=0, grace_ms=0, grace_max_ms=0)
    return replace(same, only_announces=False)


def baked_at_ms(service: Service) -> int | None:
    """Return the Unix time at which the bake of a stage is over; None: none bakes."""
    rollout = service.rolling
    if rollout is None or rollout.paused or rollout.state is not RolloutState.BAKING:
        return None
    return rollout.since_ms + bake_ms(service)


def bake_left_ms(service: Service, now_ms: int, seen_ms: int | None) -> int | None:
    """Return how long a stage has to bake yet, 0 or less if it has; None: none bakes.

    `seen_ms` is how long who asks has seen it bake, by a clock that does not jump: that counts.
    Who came late believes the wall clocks, of which two may differ, after a while longer: or
    no stage would ever end where each controller restarts sooner than that. None: they are one.
    """
    due = baked_at_ms(service)
    if due is None:
        return None
    left_ms = due - now_ms
    if seen_ms is None:
        return left_ms
    return min(bake_ms(service) - seen_ms, left_ms + CLOCKS_APART_MS)


def in_state(service: Service, state: RolloutState) -> Service:
    """Return a service whose rollout is in another state of the same stage."""
    rollout = service.rollout
    return replace(service, rollout=replace(rollout, state=state)) if rollout else service


def trial_passed(service: Service) -> Service:
    """Return a service whose probe has passed its trial.

    Its liveness probe is tried next, if it asks something else than before; else the first
    stage begins.
    """
    rollout = service.rolling
    if rollout is None or rollout.before is None or rollout.asks_liveness:
        return stage_begun(service)
    if not asks_otherwise(rollout.before.liveness, service.spec.liveness):
        return stage_begun(service)
    return replace(service, rollout=replace(rollout, asks_liveness=True))


def stage_begun(service: Service) -> Service:
    """Return a service whose rollout has gone on to its next stage, or is done.

    The first one comes after the trial of its probes.
    """
    rollout = service.rollout
    if rollout is None:
        return service
    if rollout.state is RolloutState.TRIAL:
        rollout = replace(rollout, state=RolloutState.ROLLING, asks_liveness=False)
    elif rollout.stage >= len(rollout.stages) - 1:
        rollout = replace(rollout, state=RolloutState.DONE, before=None)
    else:
        rollout = replace(rollout, state=RolloutState.ROLLING, stage=rollout.stage + 1)
    return replace(service, rollout=rollout)


def gone_back(service: Service, state: RolloutState, cause: str, now_ms: int) -> Service:
    """Return a service in the version that its rollout came from.

    A version that failed is remembered; its number is given to no other.
    """
    rollout, before = service.rollout, service.before
    if rollout is None or before is None:
        return service
    over = replace(
        rollout, state=state, before=None, paused=False, cause=cause, since_ms=now_ms
    )
    over = replace(over, asks_liveness=False)
    failed = FailedVersion(
        version=service.version, digest=rollout.digest, cause=cause, at_ms=now_ms
    )
    more = (failed,) if state is RolloutState.FAILED else ()
    return replace(
        before,
        rollout=over,
        last_version=max(service.version, service.last_version),
        failed=(*service.failed, *more)[-FAILED_KEPT:],
    )


def stamped(service: Service, now_ms: int, cause: str) -> Service:
    """Return what a turn makes of a service, with the moment and the cause that it lacks."""
    rollout = service.rollout
    if rollout is None:
        return service
    failed = rollout.state is RolloutState.FAILED
    last = replace(service.failed[-1], cause=cause, at_ms=now_ms) if failed else None
    return replace(
        service,
        rollout=replace(rollout, since_ms=now_ms, cause=cause),
        failed=(*service.failed[:-1], last) if last else service.failed,
    )
