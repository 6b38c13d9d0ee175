"""Decide how many replicas a datacenter has, by what its instances have to do. Pure.

That is the cpu that they use, the connections that they accept, or what of both asks for more.

Up at once, as far as the load asks; down by one replica after a while, and only where the loss
of a node or a datacenter could still be borne. What is not known changes nothing, and nothing
that fails waits for this: replicas of lost nodes are replaced whatever the load is.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pltfrms.model.running.plan import Reason, RolloutStep
from pltfrms.model.running.state import InstanceStatus
from pltfrms.model.services.rollouts import stamped
from pltfrms.model.services.service import Scale, Service
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.drafting.loss import is_braked

REASONS: Final = frozenset({Reason.LOAD_HIGH, Reason.LOAD_LOW})
CALM_MS: Final = 300_000
"""So long after a change, also one of the version, no replica is taken away."""
HEARD_MS: Final = 35_000
"""So long after a rollout nothing changes: what is told until then has the questions in it by
which versions were compared, and what their starts took."""
OVER: Final = 1.1
"""Instances may use so much more than is wanted before another one is started: what is
measured is rounded."""
UNDER: Final = 0.8
"""Those that would be left must use so much less than is wanted: who goes shall not come
back."""
_TINY: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """How much the instances of a service have to do of one thing in a datacenter."""

    amount: float
    wanted: float
    """Of one replica."""
    most: float
    """Of one replica after a loss, whatever is wanted."""
    words: str
    """How much a replica does on average."""

    def fits(self, count: int) -> bool:
        """Return whether so many replicas could do it after a loss."""
        return self.amount <= count * self.most + _TINY


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How busy the instances of a service are in a datacenter."""

    demands: tuple[Demand, ...]
    """The same things in the same order in each datacenter."""
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


def waits_for_word(service: Service, now_ms: int) -> bool:
    """Return whether what instances say of their load is of a rollout that is just over.

    One that ended later than now, by a clock that is ahead, holds nothing up.
    """
    rollout = service.rollout
    return rollout is not None and 0 <= now_ms - rollout.since_ms < HEARD_MS


def use_of(draft: Draft, service: Service, datacenter: str) -> Use | None:
    """Return how busy the instances of a datacenter are; None: not all of them say it.

    All that have a place are ready, none is being replaced, and all were measured.
    """
    scale, replicas = service.spec.scale, draft.kept(service, datacenter)
    told = []
    for allocations in replicas.values():
        said = draft.snapshot.instance(allocations[-1].id)
        if len(allocations) > 1 or not draft.ready(allocations[-1]) or said is None:
            return None
        told.append(said)
    if scale is None or not told:
        return None
    demands = tuple(_demands(scale, told))
    wanted = draft.wanted(service)[datacenter]
    return (
        None
        if None in demands
        else Use(demands=_known(demands), placed=len(told), wanted=wanted)
    )


def _demands(scale: Scale, told: Sequence[InstanceStatus]) -> Iterator[Demand | None]:
    """Yield what counts of a service; None: not all instances have told it."""
    if scale.cpu is not None:
        percent = _sum(each.cpu_percent for each in told)
        words = f"use {(percent or 0) / len(told):.0f} % of their cpu"
        yield (
            None
            if percent is None
            else Demand(amount=percent / 100, wanted=scale.cpu, most=1.0, words=words)
        )
    if scale.connections is not None:
        each = float(scale.connections)
        many = _sum(instance.connections for instance in told)
        words = f"accept {(many or 0) / len(told):.0f} connections/s each"
        yield None if many is None else Demand(amount=many, wanted=each, most=each, words=words)


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = tuple(numbers)
    return None if None in known else sum(each or 0 for each in known)


def _known(demands: Iterable[Demand | None]) -> tuple[Demand, ...]:
    return tuple(each for each in demands if each is not None)


def wanted_more(use: Use) -> int:
    """Return how many replicas the load asks for, at least as many as there are."""
    if use.placed < use.wanted:
        return use.wanted
    over = [e for e in use.demands if e.amount > use.wanted * e.wanted * OVER + _TINY]
    asked = (math.ceil(each.amount / each.wanted - _TINY) for each in over)
    return max(use.wanted, *asked) if over else use.wanted


def _step(draft: Draft, service: Service, scale: Scale) -> RolloutStep | None:
    if waits_for_word(service, draft.snapshot.now_ms):
        return None
    uses = {name: use_of(draft, service, name) for name in draft.wanted(service)}
    more = {
        name: min(scale.max, wanted_more(use))
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
        count, left = use.wanted - 1, use.placed - 1
        fits = all(e.amount <= left * e.wanted * UNDER + _TINY for e in use.demands)
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

    Those that are left then use at most the cpu that they are promised, accept no more
    connections than is wanted, and answer the load that the spec says. Where the last replica
    of a datacenter goes, other datacenters answer.
    """
    counts = {name: use.placed - (name == datacenter) for name, use in uses.items()}
    count = counts[datacenter]
    every = sum(counts.values())
    whole = [replace(s[0], amount=sum(e.amount for e in s)) for s in _by_kind(uses)]
    on_a_node = min(service.spec.max_per_node, count)
    here = count - on_a_node
    losses = [on_a_node] if here or len(counts) > 1 else []
    losses += [max(counts.values())] if len(counts) > 1 else []
    capacity = service.spec.capacity
    return (not here or all(each.fits(here) for each in uses[datacenter].demands)) and all(
        all(each.fits(every - lost) for each in whole)
        and (capacity is None or (every - lost) * capacity.requests >= capacity.load)
        for lost in losses
    )


def _by_kind(uses: Mapping[str, Use]) -> Iterable[tuple[Demand, ...]]:
    """Return of each thing that counts what every datacenter has to do."""
    return zip(*(use.demands for use in uses.values()), strict=True)


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
    return f"which {' and '.join(each.words for each in use.demands)}"


def wanted_words(scale: Scale) -> str:
    """Say how busy instances are to be."""
    cpu = "" if scale.cpu is None else f"{100 * scale.cpu:.0f} % of their cpu"
    many = "" if scale.connections is None else f"{scale.connections} connections/s each"
    return " and ".join(filter(None, (cpu, many)))


def note_most(draft: Draft) -> None:
    """Say where the load asks for more replicas than there may be."""
    for name, service in sorted(draft.snapshot.services.items()):
        scale = service.spec.scale
        for datacenter in draft.wanted(service) if scale else ():
            use = use_of(draft, service, datacenter)
            if use and scale and wanted_more(use) > scale.max == use.wanted:
                detail = (
                    f"{scale.max} replicas, {use_words(use)}; wanted: {wanted_words(scale)}"
                )
                draft.note(f"{name}.{datacenter}", Reason.AT_MOST, detail)
