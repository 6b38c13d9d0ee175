"""When an edge announces an aggregate: cases by eye, then what holds for every history."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.machine import AGGREGATE_TABLE, PROTO_ACTIVE
from pltfrms.model.plan import Reason
from pltfrms.model.topology import Aggregate, AnnouncePolicy, Prefix, Timers
from pltfrms.planner.aggregates import (
    MAX_HOLD_SECONDS,
    AggregateState,
    Reachable,
    aggregate_routes,
    decide_aggregates,
    hold_seconds,
)
from tests.strategies import make_platform, make_service, make_spec

FOUR = ip_network("198.51.100.0/24")
SIX = ip_network("2001:db8:100::/48")
PLATFORM = make_platform({"fra": 1})
SERVICES = tuple(make_service(make_spec(f"s{number}"), number) for number in (1, 2, 3))
ALL = frozenset(prefix for service in SERVICES for prefix in service.prefixes)
NONE: frozenset[Prefix] = frozenset()
GOOD = Reachable(services=SERVICES, local=ALL, remote=NONE)
BAD = Reachable(services=SERVICES, local=NONE, remote=NONE)
UNKNOWN = Reachable(services=SERVICES, local=None, remote=None)


@dataclass
class Edge:
    """Decides every 100 ms."""

    policy: AnnouncePolicy = AnnouncePolicy.HEALTHY_LOCAL
    states: Mapping[Prefix, AggregateState] = field(default_factory=dict)
    now: float = 0.0
    reason: Reason = Reason.WAITING

    def lives(self, seconds: float, reachable: Reachable) -> bool:
        """Live so long; return whether the IPv4 aggregate is announced in the end."""
        aggregates = tuple(
            Aggregate(prefix=prefix, announce=self.policy) for prefix in (FOUR, SIX)
        )
        platform = replace(PLATFORM, aggregates=aggregates)
        for _ in range(max(1, round(seconds * 10))):
            self.now += 0.1
            decision = decide_aggregates(platform, reachable, self.states, self.now)
            self.states = decision.states
            self.reason = decision.statuses[0].reason
        return self.states[FOUR].announced

    def says(self, reason: Reason) -> bool:
        return self.reason is reason


def _only(count: int) -> Reachable:
    served = {prefix for service in SERVICES[:count] for prefix in service.prefixes}
    return Reachable(services=SERVICES, local=served, remote=NONE)


def test_half_of_the_services_are_enough() -> None:
    assert Edge().lives(1.0, _only(2))
    assert not Edge().lives(1.0, _only(1))
    assert Edge().lives(1.0, replace(_only(1), services=SERVICES[:2]))


def test_families_are_judged_apart() -> None:
    edge = Edge()
    edge.lives(1.0, replace(GOOD, local={p for p in ALL if p.version == 6}))
    assert not edge.states[FOUR].announced
    assert edge.states[SIX].announced


def test_the_first_announcement_waits_until_the_condition_has_lasted() -> None:
    edge = Edge()
    assert not edge.lives(0.4, GOOD)
    assert edge.says(Reason.WAITING)
    assert edge.lives(0.3, GOOD)
    assert edge.says(Reason.LOCAL_SERVICE)


def test_a_short_outage_changes_nothing() -> None:
    edge = Edge()
    assert edge.lives(1.0, GOOD)
    for _ in range(5):
        assert edge.lives(1.8, BAD)
        assert edge.lives(0.1, GOOD)


def test_a_withdrawal_makes_the_next_announcement_wait_ever_longer() -> None:
    edge = Edge()
    assert edge.lives(1.0, GOOD)
    for hold in (10, 20, 40, 80, 160, 300, 300):
        assert not edge.lives(2.2, BAD)
        assert edge.says(Reason.NO_LOCAL_SERVICE)
        assert not edge.lives(hold - 0.5, GOOD)
        assert edge.lives(1.0, GOOD)


def test_a_quiet_time_forgives_flaps() -> None:
    edge = Edge()
    edge.lives(1.0, GOOD)
    edge.lives(2.2, BAD)
    assert edge.lives(700.0, GOOD)
    assert not edge.lives(2.2, BAD)
    assert not edge.lives(9.0, GOOD)
    assert edge.lives(2.0, GOOD)


def test_what_is_not_known_changes_nothing_and_says_so() -> None:
    up, down = Edge(), Edge()
    up.lives(1.0, GOOD)
    for unknown in (UNKNOWN, replace(BAD, services=None)):
        assert up.lives(100.0, unknown)
        assert up.says(Reason.UNKNOWN_KEEP)
        assert not down.lives(100.0, unknown)
    up.lives(1.8, BAD)
    up.lives(0.1, UNKNOWN)
    assert up.lives(1.8, BAD), "bad must have lasted without a gap in what is known"


def test_any_healthy_takes_a_remote_service_for_good() -> None:
    edge = Edge(AnnouncePolicy.ANY_HEALTHY)
    remote = replace(BAD, remote={SERVICES[0].prefix4})
    assert edge.lives(1.0, remote)
    assert edge.says(Reason.REMOTE_SERVICE)
    assert edge.lives(10.0, replace(BAD, remote=None))
    assert not edge.lives(3.0, BAD)
    assert edge.says(Reason.NO_SERVICE)


def test_always_is_at_once_and_for_ever() -> None:
    edge = Edge(AnnouncePolicy.ALWAYS)
    for reachable in (BAD, UNKNOWN, Reachable()):
        assert edge.lives(5.0, reachable)
        assert edge.says(Reason.POLICY_ALWAYS)


def test_an_aggregate_without_services_is_not_announced() -> None:
    edge = Edge()
    assert not edge.lives(9.0, replace(GOOD, services=()))
    assert edge.says(Reason.NO_SERVICE)


def test_an_announced_aggregate_is_one_unreachable_route() -> None:
    states = {FOUR: AggregateState(announced=True), SIX: AggregateState()}
    (route,) = aggregate_routes(states)
    assert (route.prefix, route.table, route.proto) == (FOUR, AGGREGATE_TABLE, PROTO_ACTIVE)
    assert route.nexthops == ()


_HISTORIES = st.lists(
    st.tuples(st.sampled_from([GOOD, BAD, UNKNOWN]), st.floats(0.1, 5.0)), max_size=30
)


@given(_HISTORIES)
def test_nobody_outside_sees_more_than_one_flap_per_hold(
    history: list[tuple[Reachable, float]],
) -> None:
    edge, withdrawn_at, before = Edge(), -MAX_HOLD_SECONDS, False
    for reachable, seconds in history:
        for _ in range(round(seconds * 10)):
            announced = edge.lives(0.1, reachable)
            if announced and not before:
                assert edge.now - withdrawn_at >= 10.0
            if before and not announced:
                assert reachable is BAD
                withdrawn_at = edge.now
            before = announced


@given(st.integers(0, 10_000))
def test_the_hold_has_an_end(flaps: int) -> None:
    timers = Timers()
    assert hold_seconds(timers, flaps) <= hold_seconds(timers, flaps + 1) <= MAX_HOLD_SECONDS
