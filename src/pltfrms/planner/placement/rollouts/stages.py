"""Decide what becomes of a rollout: its stage bakes, the next one begins, or it goes back.

All of it follows from the snapshot, so that any controller goes on where another one ended.
"""

from collections.abc import Iterator
from itertools import chain

from pltfrms.model.running.plan import Allocation, Reason, RolloutStep
from pltfrms.model.running.state import InstanceStatus, Phase
from pltfrms.model.services.rollouts import (
    bake_left_ms,
    gone_back,
    in_state,
    stage_begun,
    trial_passed,
)
from pltfrms.model.services.service import RolloutState, Service
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.rollouts.inquiries import (
    Heard,
    compare_versions,
    comparison_of,
    try_probe,
)

RESTARTS_MAX = 1
"""An instance that fails once may have had bad luck; more often, it is its version."""


def decide_rollouts(draft: Draft) -> tuple[RolloutStep, ...]:
    """Return which rollouts come to another state now; while one is paused, it does not."""
    found = (
        _step(draft, service)
        for _, service in sorted(draft.snapshot.services.items())
        if service.rolling and not service.rolling.paused
    )
    return tuple(step for step in found if step)


def _step(draft: Draft, service: Service) -> RolloutStep | None:
    rollout = service.rolling
    if rollout is None:
        return None
    if rollout.state is RolloutState.TRIAL:
        return _after_trial(draft, service)
    baking = rollout.state is RolloutState.BAKING
    failing = tuple(_failing(draft, service, baking=baking))
    culprit = next((each for each in failing if not _is_excused(draft, service, each)), None)
    if culprit:
        back = gone_back(service, RolloutState.FAILED, "", 0)
        return RolloutStep(service=back, reason=Reason.VERSION_FAILED, culprit=culprit.id)
    complete = not failing and not any(missing(draft, service))
    if complete and not baking:
        state = in_state(service, RolloutState.BAKING)
        return RolloutStep(service=state, reason=Reason.STAGE_COMPLETE)
    if baking and (failing or _is_broken(draft, service)):
        state = in_state(service, RolloutState.ROLLING)
        return RolloutStep(service=state, reason=Reason.STAGE_BROKEN)
    return _after_bake(draft, service) if complete and baking else None


def _after_trial(draft: Draft, service: Service) -> RolloutStep | None:
    """Begin the first stage, unless its probe would take down all that runs, or restart most.

    While that is not known, it waits: an operator may promote it.
    """
    said, rollout = try_probe(draft, service), service.rolling
    if said.heard is Heard.BAD:
        back = gone_back(service, RolloutState.FAILED, "", 0)
        of_liveness = rollout is not None and rollout.asks_liveness
        reason = Reason.LIVENESS_REFUSED if of_liveness else Reason.PROBE_REFUSED
        return RolloutStep(service=back, reason=reason, words=said.words)
    if said.heard is Heard.UNKNOWN:
        return None
    after = trial_passed(service)
    more = after.rolling is not None and after.rolling.asks_liveness
    reason = Reason.LIVENESS_NEXT if more else Reason.PROBE_TRIED
    return RolloutStep(service=after, reason=reason, words=said.words)


def _after_bake(draft: Draft, service: Service) -> RolloutStep | None:
    """Go on if a complete stage is baked; back if it answers worse than the version before.

    While it is not known how it answers, it bakes on.
    """
    seen_ms = draft.snapshot.bakes_ms.get(service.name)
    left_ms = bake_left_ms(service, draft.snapshot.now_ms, seen_ms)
    over = left_ms is not None and left_ms <= 0
    words = ""
    if comparison_of(service):
        said = compare_versions(draft, service)
        if said.heard is Heard.BAD:
            back = gone_back(service, RolloutState.FAILED, "", 0)
            return RolloutStep(service=back, reason=Reason.VERSION_WORSE, words=said.words)
        over, words = over and said.heard is not Heard.UNKNOWN, said.words
    if not over:
        return None
    return RolloutStep(service=stage_begun(service), reason=Reason.BAKED, words=words)


def missing(draft: Draft, service: Service) -> Iterator[tuple[str, str]]:
    """Yield what a rollout waits for before its stage is complete: a replica, and why.

    A replica that finds no room is not waited for; a datacenter in which none does is.
    """
    for about, last in _reached(draft, service):
        if last is None:
            yield about, "runs nowhere"
        elif last.version != service.version or not draft.ready(last):
            yield about, "is not ready in the new version"
    yield from draft.held_up.get(service.name, {}).items()


def _is_broken(draft: Draft, service: Service) -> bool:
    """Return whether a stage that was complete is so no more, as far as that is known."""
    return any(
        last is None or last.version != service.version or not draft.may_serve(last)
        for _, last in _reached(draft, service)
    )


def _reached(draft: Draft, service: Service) -> Iterator[tuple[str, Allocation | None]]:
    """Yield the replicas that have a node, of those that are to have the new version by now.

    Of a datacenter in which none has, the first, without one.
    """
    rollout = service.rolling
    for datacenter, count in draft.wanted(service).items() if rollout else ():
        replicas = draft.kept(service, datacenter)
        reached = [
            number
            for number in range(1, count + 1)
            if rollout and rollout.reaches(datacenter, number)
        ]
        there = [number for number in reached if number in replicas]
        for number in there or reached[:1]:
            last = replicas[number][-1] if there else None
            yield f"{service.name}.{datacenter}.{number}", last


def _failing(draft: Draft, service: Service, *, baking: bool) -> Iterator[Allocation]:
    """Yield the allocations of the new version that are not good enough, by name.

    Of a machine that is not in contact nothing is judged.
    """
    for datacenter in draft.wanted(service):
        for _, allocations in sorted(draft.kept(service, datacenter).items()):
            for each in allocations:
                if each.version == service.version and draft.is_present(each):
                    said = draft.snapshot.instance(each.id)
                    if said and _fails(said, baking=baking):
                        yield each


def _is_excused(draft: Draft, service: Service, failing: Allocation) -> bool:
    """Return whether an instance is ill where most of older versions say that they are, too.

    It fares no worse than they do: to go back would mend nothing.
    """
    there = draft.replicas(service.name, failing.datacenter).values()
    older = [each for each in chain.from_iterable(there) if each.version != service.version]
    most_are_ill = sum(map(draft.unwell, older)) > sum(map(draft.ready, older))
    return most_are_ill and draft.unwell(failing)


def _fails(instance: InstanceStatus, *, baking: bool) -> bool:
    """Return whether an instance crashes again and again, or does not become or stay ready."""
    if instance.phase is Phase.UNHEALTHY or instance.restarts > RESTARTS_MAX:
        return True
    again = baking or instance.restarts > 0
    if instance.phase is Phase.BACKOFF:
        return again
    return baking and instance.phase is Phase.STARTING and instance.restarts > 0
