"""What an edge remembers of its aggregates when its agent starts anew. Pure.

Monotonic time begins anew with each boot. So a memory says at which moment of both clocks it
was written: after a reboot the wall clock tells how long ago that was.

What is announced the kernel knows, not the memory: an old memory takes nothing away.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pltfrms.model.addresses import Prefix
from pltfrms.model.running.machine import Route
from pltfrms.planner.routing.aggregates import TOLD_METRIC, AggregateState

GAP_SECONDS: Final = 10.0
"""Who was away for longer cannot say that a condition has lasted."""
RENEW_SECONDS: Final = 5.0
"""So old a memory gets while a condition has to last; less than `GAP_SECONDS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """Now, in all ways of saying it."""

    boot: str
    """Changes with each boot."""
    monotonic: float
    """Seconds since some moment of this boot."""
    unix_ms: int
    """By the wall clock, which may be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberedAggregate:
    """One aggregate."""

    prefix: Prefix
    state: AggregateState
    """Its moments are in monotonic seconds of the boot of the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateMemory:
    """What must survive an agent."""

    written: Instant
    outside: bool
    """Whether anybody outside could be told."""
    aggregates: tuple[RememberedAggregate, ...]


def remembered(
    states: Mapping[Prefix, AggregateState], written: Instant, *, outside: bool
) -> AggregateMemory:
    """Return the memory of these states."""
    found = tuple(
        RememberedAggregate(prefix=prefix, state=state) for prefix, state in states.items()
    )
    return AggregateMemory(written=written, outside=outside, aggregates=found)


def is_old(memory: AggregateMemory | None, fresh: AggregateMemory) -> bool:
    """Return whether the memory on disk must be replaced by the fresh one."""
    if memory is None:
        return bool(fresh.aggregates)
    if replace(fresh, written=memory.written) != memory:
        return True
    age = fresh.written.monotonic - memory.written.monotonic
    return age >= RENEW_SECONDS and any(_waits(each.state) for each in fresh.aggregates)


def recalled(
    memory: AggregateMemory, now: Instant, announced: Collection[Route]
) -> Mapping[Prefix, AggregateState]:
    """Return the states to go on with; `announced` are our routes of table 101.

    What was under way goes on if nobody was away for long; else it begins anew.
    """
    shift = _shift_seconds(memory.written, now)
    gap = now.monotonic - (memory.written.monotonic + shift)
    goes_on = memory.written.boot == now.boot and gap <= GAP_SECONDS
    states = announced_before(announced)
    told = {route.prefix for route in announced if route.metric == TOLD_METRIC}
    for each in memory.aggregates:
        here = each.prefix in states
        state = _shifted(each.state, shift, now.monotonic)
        if not here and not state.announced:  # only who announced may have an unseen way back
            state = replace(state, judged=True)
        if not goes_on or (here and not state.announced):
            state = _begun_anew(state, announced=here)
        if each.prefix in told:  # whoever hears of it may count on it
            state = replace(state, leaving_since=None)
        states[each.prefix] = state
    return states


def announced_before(announced: Collection[Route]) -> dict[Prefix, AggregateState]:
    """Return what the kernel alone says."""
    return {route.prefix: AggregateState(announced=True) for route in announced}


def forgotten(
    prefixes: Collection[Prefix], now: Instant, announced: Collection[Route]
) -> Mapping[Prefix, AggregateState]:
    """Return the states when there is a memory, and it cannot be read.

    What is not announced may have been withdrawn by us, just now for all that is known. Then it
    is ours to repair, should nobody announce it any more.
    """
    lost = AggregateState(withdrawn_at=now.monotonic, penalty=1.0, judged=True)
    return {**dict.fromkeys(prefixes, lost), **announced_before(announced)}


def _shift_seconds(written: Instant, now: Instant) -> float:
    """Return what to add to the memory's monotonic seconds to have those of now."""
    if written.boot == now.boot and written.monotonic <= now.monotonic:
        return 0.0
    age = max(0.0, (now.unix_ms - written.unix_ms) / 1000)
    return now.monotonic - age - written.monotonic


def _shifted(state: AggregateState, shift: float, now: float) -> AggregateState:
    def moved(at: float | None) -> float | None:
        return None if at is None else min(at + shift, now)

    return replace(
        state,
        differs_since=moved(state.differs_since),
        leaving_since=moved(state.leaving_since),
        leave_after=None if state.leave_after is None else state.leave_after + shift,
        isolated_since=moved(state.isolated_since),
        no_way_back_since=moved(state.no_way_back_since),
        way_back_since=moved(state.way_back_since),
        unheard_since=moved(state.unheard_since),
        alone_since=moved(state.alone_since),
        withdrawn_at=moved(state.withdrawn_at),
        returned_at=moved(state.returned_at),
    )


def _begun_anew(state: AggregateState, *, announced: bool) -> AggregateState:
    """Return the state with nothing under way.

    Who announced nothing for want of a way back must see one first.
    """
    withdrawn = not announced and not state.announced
    return AggregateState(
        announced=announced,
        judged=state.judged,
        answered=state.answered,
        no_way_back_since=state.no_way_back_since if withdrawn else None,
        penalty=state.penalty,
        withdrawn_at=state.withdrawn_at,
        unanswered=state.unanswered,
        returned_at=state.returned_at,
    )


def _waits(state: AggregateState) -> bool:
    """Return whether something counts only if it lasts."""
    waits = (state.isolated_since, state.no_way_back_since)
    cut_off = state.announced and any(since is not None for since in waits)
    return cut_off or state.differs_since is not None
