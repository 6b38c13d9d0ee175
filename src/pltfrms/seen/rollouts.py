"""Rollouts that are under way: since when, how far, and whether they fail. Pure.

All replicas of a service can serve while its new version fails wherever it is tried.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from pltfrms.errors import WentBackError
from pltfrms.model.durations import short_duration
from pltfrms.model.running.plan import Allocation
from pltfrms.model.running.state import Contact, InstanceStatus, Phase, Snapshot
from pltfrms.model.services.service import RolloutState, Service

_TROUBLED = (Phase.UNHEALTHY, Phase.BACKOFF)
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An instance of the new version that does not come up."""

    allocation: str
    node: str
    restarts: int
    detail: str
    """The last thing that happened to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutProgress:
    """A service some of whose replicas still run an old version."""

    service: str
    version: int
    since_ms: int
    """Unix time at which the version was accepted; 0: not known."""
    done: int
    """Replicas that are ready in the new version."""
    wanted: int
    failures: tuple[Failure, ...]
    stage: str = ""
    """At which stage it is, and what it waits for; empty: it has none."""


def rollouts(snapshot: Snapshot, wanted: dict[str, int]) -> tuple[RolloutProgress, ...]:
    """Return the rollouts under way, by name; `wanted` is the number of replicas by service."""
    words, known = _words(snapshot), _recorded(snapshot)
    return tuple(
        _rollout(snapshot, service, wanted[name], recorded, words)
        for name, service in sorted(snapshot.services.items())
        if (recorded := known[name])
        and (service.rolling or any(each.version != service.version for each in recorded))
    )


def reverted(snapshot: Snapshot) -> tuple[str, ...]:
    """Return one sentence for each service whose last rollout failed."""
    words = _words(snapshot)
    return tuple(
        f"{name}: {words(service)}"
        for name, service in sorted(snapshot.services.items())
        if service.rollout and service.rollout.state is RolloutState.FAILED
    )


def require_stayed(service: Service) -> None:
    """Raise WentBackError if the last rollout of a service failed or was aborted."""
    last = service.rollout
    if last and last.state in {RolloutState.FAILED, RolloutState.ABORTED}:
        raise WentBackError(
            f"{service.name}: version {last.version} {last.state.value}, and version "
            f"{service.version} is back: {last.cause}"
        )


def rollout_sentence(rollout: RolloutProgress, now_ms: int) -> str:
    """Return how far a rollout is, and why it fails if it does, in words."""
    since = (
        f" for {short_duration(max(now_ms - rollout.since_ms, 0) / 1000)}"
        if rollout.since_ms
        else ""
    )
    far = f"{rollout.done}/{rollout.wanted} replicas run it"
    stage = f"; {rollout.stage}" if rollout.stage else ""
    head = (
        f"{rollout.service}: version {rollout.version} is being rolled out{since}: {far}{stage}"
    )
    if not rollout.failures:
        return head
    shown = [_failure_sentence(each) for each in rollout.failures[:_SHOWN]]
    more = len(rollout.failures) - _SHOWN
    shown += [f"and {more} more"] if more > 0 else []
    return f"{head}; it fails: {'; '.join(shown)}"


def _words(snapshot: Snapshot) -> Callable[[Service], str]:
    """Return what says how far a rollout is."""

    @cache
    def known() -> Callable[[Service], str]:
        from pltfrms.planner.placement.rollout_words import RolloutWords  # noqa: PLC0415 - few need it

        return RolloutWords(snapshot).of

    def say(service: Service) -> str:
        return known()(service)

    return say


def _rollout(
    snapshot: Snapshot,
    service: Service,
    wanted: int,
    recorded: Iterable[Allocation],
    words: Callable[[Service], str],
) -> RolloutProgress:
    new = [each for each in recorded if each.version == service.version]
    said = {each.id: snapshot.instance(each.id) for each in new}
    done = {
        (each.datacenter, each.replica)
        for each in new
        if _is_ready(said[each.id]) and snapshot.contact(each.node) is Contact.PRESENT
    }
    return RolloutProgress(
        service=service.name,
        version=service.version,
        since_ms=service.changed_ms,
        done=len(done),
        wanted=wanted,
        stage=words(service) if service.rolling else "",
        failures=tuple(
            Failure(
                allocation=each.id,
                node=each.node,
                restarts=instance.restarts,
                detail=instance.detail,
            )
            for each in new
            if (instance := said[each.id]) and _fails(instance)
        ),
    )


def _recorded(snapshot: Snapshot) -> defaultdict[str, list[Allocation]]:
    """Return the allocations of each service."""
    found: defaultdict[str, list[Allocation]] = defaultdict(list)
    for _, each in sorted(snapshot.allocations.items()):
        found[each.service].append(each)
    return found


def _is_ready(instance: InstanceStatus | None) -> bool:
    return instance is not None and instance.phase is Phase.READY


def _fails(instance: InstanceStatus) -> bool:
    """Return whether it was tried and did not come up; one that starts anew still fails."""
    starts_again = instance.phase is Phase.STARTING and instance.restarts > 0
    return instance.phase in _TROUBLED or starts_again


def _failure_sentence(failure: Failure) -> str:
    restarts = f", restarted {failure.restarts} times" if failure.restarts else ""
    detail = f": {failure.detail}" if failure.detail else ""
    return f"{failure.allocation} on {failure.node}{restarts}{detail}"
