"""Decide which aggregates an edge announces outside.

Pure: the state per aggregate goes in and comes out; `now` is in monotonic seconds. The outside
must not see us flap, so a condition has to last before it is acted on, and each withdrawal
makes the next announcement wait longer.
"""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final

from pltfrms.model.machine import AGGREGATE_TABLE, PROTO_ACTIVE, Route
from pltfrms.model.plan import Reason
from pltfrms.model.service import Service
from pltfrms.model.state import AggregateStatus
from pltfrms.model.topology import Aggregate, AnnouncePolicy, Platform, Prefix, Timers

MAX_HOLD_SECONDS: Final = 300.0
QUIET_SECONDS: Final = 600.0
"""After this long without a change, earlier withdrawals are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateState:
    """What is remembered about one aggregate between two decisions."""

    announced: bool = False
    differs_since: float | None = None
    """Since when the condition says otherwise than `announced`; None while it does not."""
    flaps: int = 0
    """Withdrawals that are not forgotten yet."""
    changed_at: float | None = None
    """Last announcement or withdrawal that was decided here."""
    withdrawn_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reachable:
    """What an edge knows now; None = not known."""

    services: tuple[Service, ...] | None = None
    """All services of the platform."""
    local: AbstractSet[Prefix] | None = None
    """Service prefixes served in this datacenter."""
    remote: AbstractSet[Prefix] | None = None
    """Service prefixes served in other datacenters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateDecision:
    """The next states and what to say about them."""

    states: Mapping[Prefix, AggregateState] = field(default_factory=dict)
    statuses: tuple[AggregateStatus, ...] = ()

    @property
    def waiting(self) -> bool:
        """Whether time alone may change the decision soon."""
        return any(status.reason is Reason.WAITING for status in self.statuses)


def decide_aggregates(
    platform: Platform,
    reachable: Reachable,
    previous: Mapping[Prefix, AggregateState],
    now: float,
) -> AggregateDecision:
    """Return the state and status of each aggregate of the platform, in spec order.

    `healthy-local` wants at least half of the aggregate's services served in this
    datacenter, `any-healthy` one service served anywhere, `always` nothing. An aggregate
    without services is not announced unless `always`. What is not known changes nothing.
    """
    states: dict[Prefix, AggregateState] = {}
    statuses: list[AggregateStatus] = []
    for aggregate in platform.aggregates:
        wanted, reason = _condition(aggregate, reachable)
        state = previous.get(aggregate.prefix, AggregateState())
        after = _step(state, platform.timers, now, wanted=wanted)
        if aggregate.announce is AnnouncePolicy.ALWAYS:
            after = replace(after, announced=True, differs_since=None)
        elif after.differs_since is not None:
            reason = Reason.WAITING
        states[aggregate.prefix] = after
        statuses.append(
            AggregateStatus(
                prefix=str(aggregate.prefix), announced=after.announced, reason=reason
            )
        )
    return AggregateDecision(states=states, statuses=tuple(statuses))


def aggregate_routes(states: Mapping[Prefix, AggregateState]) -> tuple[Route, ...]:
    """Return the routes of table 101: one `unreachable` per announced aggregate.

    BIRD learns it and announces it; it is also the null route for unused addresses.
    """
    return tuple(
        Route(prefix=prefix, table=AGGREGATE_TABLE, proto=PROTO_ACTIVE, metric=1)
        for prefix, state in states.items()
        if state.announced
    )


def hold_seconds(timers: Timers, flaps: int) -> float:
    """Return how long after its last withdrawal an aggregate stays withdrawn at least."""
    if flaps == 0:
        return 0.0
    doublings = min(flaps - 1, 16)  # far beyond the maximum; keeps the power small
    return min(MAX_HOLD_SECONDS, timers.flap_hold_seconds * 2.0**doublings)


def _condition(aggregate: Aggregate, reachable: Reachable) -> tuple[bool | None, Reason]:
    if aggregate.announce is AnnouncePolicy.ALWAYS:
        return True, Reason.POLICY_ALWAYS
    if reachable.services is None:
        return None, Reason.UNKNOWN_KEEP
    inside = _prefixes_inside(aggregate.prefix, reachable.services)
    if not inside:
        return False, Reason.NO_SERVICE
    if aggregate.announce is AnnouncePolicy.HEALTHY_LOCAL:
        return _healthy_local(inside, reachable.local)
    return _any_healthy(inside, reachable)


def _healthy_local(
    inside: frozenset[Prefix], local: AbstractSet[Prefix] | None
) -> tuple[bool | None, Reason]:
    if local is None:
        return None, Reason.UNKNOWN_KEEP
    if 2 * len(inside & local) >= len(inside):
        return True, Reason.LOCAL_SERVICE
    return False, Reason.NO_LOCAL_SERVICE


def _any_healthy(inside: frozenset[Prefix], reachable: Reachable) -> tuple[bool | None, Reason]:
    if reachable.local is not None and inside & reachable.local:
        return True, Reason.LOCAL_SERVICE
    if reachable.remote is not None and inside & reachable.remote:
        return True, Reason.REMOTE_SERVICE
    if reachable.local is None or reachable.remote is None:
        return None, Reason.UNKNOWN_KEEP
    return False, Reason.NO_SERVICE


def _prefixes_inside(aggregate: Prefix, services: Collection[Service]) -> frozenset[Prefix]:
    return frozenset(
        prefix
        for service in services
        for prefix in service.prefixes
        if prefix.version == aggregate.version
        and int(prefix.network_address) >> (prefix.max_prefixlen - aggregate.prefixlen)
        == int(aggregate.network_address) >> (prefix.max_prefixlen - aggregate.prefixlen)
    )


def _step(
    state: AggregateState, timers: Timers, now: float, *, wanted: bool | None
) -> AggregateState:
    if wanted is None or wanted is state.announced:
        return replace(state, differs_since=None)
    since = now if state.differs_since is None else state.differs_since
    state = replace(state, differs_since=since)
    if wanted:
        return _announce_in_time(state, since, timers, now)
    if now - since < timers.withdraw_after_ms / 1000:
        return state
    quiet = state.changed_at is None or now - state.changed_at >= QUIET_SECONDS
    return AggregateState(
        announced=False,
        flaps=1 if quiet else state.flaps + 1,
        changed_at=now,
        withdrawn_at=now,
    )


def _announce_in_time(
    state: AggregateState, since: float, timers: Timers, now: float
) -> AggregateState:
    good_long_enough = now - since >= timers.announce_after_ms / 1000
    hold = hold_seconds(timers, state.flaps)
    held = state.withdrawn_at is not None and now - state.withdrawn_at < hold
    if held or not good_long_enough:
        return state
    return replace(state, announced=True, differs_since=None, changed_at=now)
