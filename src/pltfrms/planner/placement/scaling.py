"""Decide how many replicas a datacenter has, by the cpu that its instances use. Pure.

Up at once, as far as the load asks; down by one replica after a while, and only where the loss
of a node or a datacenter could still be borne. What is not known changes nothing, and nothing
that fails waits for this: replicas of lost nodes are replaced whatever the load is.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pltfrms.model.running.plan import Reason, RolloutStep
from pltfrms.model.services.rollouts import stamped
from pltfrms.model.services.service import Scale, Service
from pltfrms.planner.placement.draft import Draft
from pltfrms.planner.placement.loss import is_braked

REASONS: Final = frozenset({Reason.LOAD_HIGH, Reason.LOAD_LOW})
CALM_MS: Final = 300_000
"""So long after a change, also one of the version, no replica is taken away."""
OVER: Final = 1.1
"""Instances may use so much more than is wanted before another one is started: what is
measured is rounded."""
UNDER: Final = 0.8
"""Those that would be left must use so much less than is wanted: who goes shall not come
back."""
_TINY: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What the instances of a service use in a datacenter, in replicas that are fully busy."""

    busy: float
    placed: int
    """Replicas that have a node."""
    wanted: int


def decide_scaling(draft: Draft) -> tuple[RolloutStep, ...]:
    """Return which services are to have another number of replicas now."""
    found = (
        _step(draft, service, service.spec.scale)
        for _, service in sorted(draft.snapshot.services.items())
        if service.spec.scale and not service.rolling
    )
    return tuple(step for step in found if step)


def done(step: RolloutStep, now_ms: int, cause: str) -> Service:
    """Return the service of a step as it is committed, with the cause if it goes back."""
    if step.reason in REASONS:
        return replace(step.service, scaled_ms=now_ms)
    return stamped(step.service, now_ms, cause)


def calm_at_ms(service: Service) -> int | None:
    """Return the Unix time from which on replicas may be taken away; None: they never are."""
    if service.spec.scale is None:
        return None
    return max(service.scaled_ms, service.changed_ms) + CALM_MS


def use_of(draft: Draft, service: Service, datacenter: str) -> Use | None:
    """Return what the instances of a datacenter use; None: not all of them say it.

    All that have a place are ready, none is being replaced, and all were measured.
    """
    replicas = draft.kept(service, datacenter)
    percents = []
    for allocations in replicas.values():
        said = draft.snapshot.instance(allocations[-1].id)
        if len(allocations) > 1 or not draft.ready(allocations[-1]) or said is None:
            return None
        percents.append(said.cpu_percent)
    if not percents or None in percents:
        return None
    busy = sum(each for each in percents if each is not None) / 100
    return Use(busy=busy, placed=len(percents), wanted=draft.wanted(service)[datacenter])


def wanted_more(use: Use, scale: Scale) -> int:
    """Return how many replicas the load asks for, at least as many as there are."""
    if use.placed < use.wanted or use.busy <= use.wanted * scale.cpu * OVER + _TINY:
        return use.wanted
    return max(use.wanted, math.ceil(use.busy / scale.cpu - _TINY))


def _step(draft: Draft, service: Service, scale: Scale) -> RolloutStep | None:
    uses = {name: use_of(draft, service, name) for name in draft.wanted(service)}
    more = {
        name: min(scale.max, wanted_more(use, scale))
        for name, use in uses.items()
        if use and not is_braked(draft, name)
    }
    raised = {
        name: count for name, count in more.items() if count > draft.wanted(service)[name]
    }
    if raised:
        return _changed(service, Reason.LOAD_HIGH, raised, uses)
    known = {name: use for name, use in uses.items() if use}
    calm_at = calm_at_ms(service)
    if known.keys() != uses.keys() or calm_at is None or draft.snapshot.now_ms < calm_at:
        return None
    for name, use in () if _are_elsewhere(draft) else known.items():
        count, fits = use.wanted - 1, use.busy <= (use.placed - 1) * scale.cpu * UNDER + _TINY
        may = count >= scale.min and fits and not is_braked(draft, name)
        if may and survives(service, known, name):
            return _changed(service, Reason.LOAD_LOW, {name: count}, uses)
    return None


def _are_elsewhere(draft: Draft) -> bool:
    """Return whether a drain leads clients elsewhere: they will come back all at once."""
    now_ms, drains = draft.snapshot.now_ms, draft.snapshot.interventions.drains
    return any(drain.holds(now_ms) and not drain.node for drain in drains)


def survives(service: Service, uses: Mapping[str, Use], datacenter: str) -> bool:
    """Return whether one node, or another datacenter, may be lost after one replica less.

    Those that are left then use at most what they are promised, and answer the load that the
    spec says. Where the last replica of a datacenter goes, other datacenters answer.
    """
    counts = {name: use.placed - (name == datacenter) for name, use in uses.items()}
    count = counts[datacenter]
    every, busy = sum(counts.values()), sum(use.busy for use in uses.values())
    on_a_node = min(service.spec.max_per_node, count)
    here = count - on_a_node
    losses = [on_a_node] if here or len(counts) > 1 else []
    losses += [max(counts.values())] if len(counts) > 1 else []
    capacity = service.spec.capacity
    return (not here or uses[datacenter].busy <= here + _TINY) and all(
        busy <= every - lost + _TINY
        and (capacity is None or (every - lost) * capacity.requests >= capacity.load)
        for lost in losses
    )


def _changed(
    service: Service, reason: Reason, counts: Mapping[str, int], uses: Mapping[str, Use | None]
) -> RolloutStep:
    return RolloutStep(
        service=replace(service, scaled=tuple({**dict(service.scaled), **counts}.items())),
        reason=reason,
        words="; ".join(_sentences(counts, uses)),
    )


def _sentences(counts: Mapping[str, int], uses: Mapping[str, Use | None]) -> Iterator[str]:
    for name, count in counts.items():
        use = uses[name]
        if use:
            yield f"{name}: {use.wanted} -> {count} replicas, {use_words(use)}"


def use_words(use: Use) -> str:
    """Say how busy the instances of a datacenter are."""
    return f"which use {100 * use.busy / use.placed:.0f} % of their cpu"


def note_most(draft: Draft) -> None:
    """Say where the load asks for more replicas than there may be."""
    for name, service in sorted(draft.snapshot.services.items()):
        scale = service.spec.scale
        for datacenter in draft.wanted(service) if scale else ():
            use = use_of(draft, service, datacenter)
            if use and scale and wanted_more(use, scale) > scale.max == use.wanted:
                percent = f"{100 * scale.cpu:.0f} %"
                detail = f"{scale.max} replicas, {use_words(use)}; {percent} is wanted"
                draft.note(f"{name}.{datacenter}", Reason.AT_MOST, detail)
