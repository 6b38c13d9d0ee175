"""When an edge announces an aggregate: cases by eye, then what holds for every history."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.topology import Aggregate, AnnouncePolicy, Role, Timers
from pltfrms.model.running.machine import AGGREGATE_TABLE, PROTO_ACTIVE
from pltfrms.model.running.plan import Reason
from pltfrms.planner.routing.aggregates import (
    APART_SECONDS,
    ISOLATED_SECONDS,
    MAX_HOLD_SECONDS,
    AggregateState,
    Reachable,
    aggregate_routes,
    as_seen_by,
    datacenter_rank,
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
BOTH: frozenset[Prefix] = frozenset((FOUR, SIX))
BAD = Reachable(
    services=SERVICES, local=NONE, remote=NONE, elsewhere=BOTH, inside=True, backbone=True
)
UNKNOWN = Reachable(services=SERVICES, local=None, remote=None)


@dataclass
class Edge:
    """Decides every 100 ms."""

    policy: AnnouncePolicy = AnnouncePolicy.HEALTHY_LOCAL
    states: Mapping[Prefix, AggregateState] = field(default_factory=dict)
    now: float = 0.0
    reason: Reason = Reason.WAITING

    rank: int = 0
    changes: list[float] = field(default_factory=list)
    """When the IPv4 aggregate was announced or withdrawn."""

    def lives(self, seconds: float, reachable: Reachable, *, frozen: bool = False) -> bool:
        """Live so long; return whether the IPv4 aggregate is announced in the end."""
        aggregates = tuple(
            Aggregate(prefix=prefix, announce=self.policy) for prefix in (FOUR, SIX)
        )
        platform = replace(PLATFORM, aggregates=aggregates)
        for _ in range(max(1, round(seconds * 10))):
            self.now += 0.1
            before = self.states.get(FOUR, AggregateState())
            decision = decide_aggregates(
                platform, reachable, self.states, self.now, rank=self.rank, frozen=frozen
            )
            self.states = decision.states
            if self.states[FOUR].announced != before.announced:
                self.changes.append(self.now)
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


def test_a_service_counts_once_however_many_addresses_it_has() -> None:
    here, there = SERVICES[:2]
    more = tuple(ip_network(f"198.51.100.{number}/32") for number in (8, 9))
    local = frozenset(here.prefixes)
    moves = replace(there, more=more)
    edge = Edge()
    assert edge.lives(1.0, replace(GOOD, services=(here, there), local=local))
    assert edge.lives(9.0, replace(BAD, services=(here, moves), local=local))
    rolled_out_to_none = replace(BAD, services=(replace(here, more=more),), local=local)
    assert edge.lives(9.0, rolled_out_to_none)
    three = (moves, *SERVICES[:1], SERVICES[2])
    only_one = frozenset(moves.prefixes)
    assert not edge.lives(9.0, replace(BAD, services=three, local=only_one)), "1 of 3"


def test_a_prefix_over_others_is_announced_where_one_of_its_parts_is() -> None:
    """Three regions, each with a service at home: nowhere is half of all of them served."""
    parts = [ip_network(f"198.51.100.{64 * number}/26") for number in range(3)]
    services = [
        replace(
            make_service(make_spec(f"s{number}"), number + 1),
            prefix4=IPv4Network(f"198.51.100.{64 * number + 1}/32"),
        )
        for number in range(4)
    ]
    home = services[1].prefix4
    assert home is not None
    platform = replace(
        PLATFORM, aggregates=tuple(Aggregate(prefix=prefix) for prefix in (FOUR, *parts))
    )

    def announced(*local: Prefix) -> list[bool]:
        known = Reachable(services=tuple(services), local=frozenset(local), remote=NONE)
        states: Mapping[Prefix, AggregateState] = {}
        for now in (0.0, 10.0):
            states = decide_aggregates(platform, known, states, now).states
        return [states[prefix].announced for prefix in (FOUR, *parts)]

    assert announced(home) == [True, False, True, False]
    rest = services[3].prefix4
    assert rest is not None
    assert announced(rest) == [True, False, False, False], "what is in no part counts alone"
    assert announced() == [False] * 4


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
    holds = []
    for _ in range(6):
        assert not edge.lives(2.4, BAD)
        assert edge.says(Reason.NO_LOCAL_SERVICE)
        withdrawn = edge.changes[-1]
        assert not edge.lives(9.0, GOOD)
        assert edge.says(Reason.FLAPPING)
        while not edge.lives(0.1, GOOD):
            assert edge.now - withdrawn <= MAX_HOLD_SECONDS + 1.0
        holds.append(edge.now - withdrawn)
    assert abs(holds[0] - 10.0) < 0.3
    assert abs(holds[1] - (APART_SECONDS - 2.1)) < 0.3, "a minute between announcements"
    assert all(later >= APART_SECONDS - 3.0 for later in holds[2:])
    assert hold_seconds(Timers(), 1.0) * 2 == hold_seconds(Timers(), 2.0)


def test_half_of_the_penalty_is_forgotten_in_a_half_life() -> None:
    edge = Edge()
    edge.lives(1.0, GOOD)
    edge.lives(2.2, BAD)
    assert edge.lives(Timers().flap_half_life_seconds, GOOD)
    assert not edge.lives(2.2, BAD)
    assert abs(edge.states[FOUR].penalty - 1.5) < 0.01


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
    remote = replace(BAD, remote={SERVICES[0].prefixes[0]})
    assert edge.lives(1.0, remote)
    assert edge.says(Reason.REMOTE_SERVICE)
    assert edge.lives(10.0, replace(BAD, remote=None))
    assert not edge.lives(3.1, BAD)
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


def test_other_datacenters_are_told_only_of_what_stays_and_goes_out() -> None:
    states = {FOUR: AggregateState(announced=True, leaving_since=3.0)}
    assert [route.metric for route in aggregate_routes(states)] == [2]
    states = {FOUR: AggregateState(announced=True)}
    assert [route.metric for route in aggregate_routes(states)] == [1]
    assert [route.metric for route in aggregate_routes(states, outside=False)] == [2]


# ---- who may withdraw ----------------------------------------------------------------------


def test_last_announcer() -> None:
    edge = Edge()
    edge.lives(1.0, GOOD)
    assert edge.lives(60.0, replace(BAD, elsewhere=NONE))
    assert edge.says(Reason.LAST_ANNOUNCER)
    assert edge.lives(0.8, BAD), "whom it hears must still be there a while later"
    assert edge.lives(60.0, replace(BAD, elsewhere=NONE))
    assert edge.lives(60.0, replace(BAD, elsewhere=None))
    assert edge.says(Reason.UNKNOWN_KEEP)
    assert not edge.lives(2.5, BAD)


def test_last_announcer_counts_each_aggregate() -> None:
    edge = Edge()
    edge.lives(1.0, GOOD)
    edge.lives(9.0, replace(BAD, elsewhere={SIX}))
    assert edge.states[FOUR].announced
    assert not edge.states[SIX].announced


def test_what_nobody_announces_any_more_is_repaired_in_the_order_of_rank() -> None:
    first, second, fresh = Edge(), Edge(rank=1), Edge()
    nobody = replace(BAD, elsewhere=NONE)
    for edge in (first, second):
        edge.lives(1.0, GOOD)
        assert not edge.lives(4.0, BAD)
        assert not edge.lives(9.0, replace(nobody, backbone=False))
        assert not edge.lives(9.0, replace(nobody, backbone=None))
    assert first.lives(0.1, nobody)
    assert first.says(Reason.LAST_ANNOUNCER)
    assert not second.lives(0.4, nobody)
    assert not second.lives(0.4, BAD)
    assert second.lives(0.7, nobody)
    assert not fresh.lives(60.0, nobody), "it never was announced here"


def test_an_isolated_edge_may_withdraw_the_last_announcement() -> None:
    edge = Edge()
    edge.lives(1.0, GOOD)
    isolated = replace(BAD, elsewhere=NONE, inside=False, backbone=False)
    assert edge.lives(ISOLATED_SECONDS - 0.5, isolated)
    assert edge.says(Reason.WAITING)
    assert edge.lives(0.1, replace(isolated, inside=None))
    assert edge.lives(ISOLATED_SECONDS - 0.5, isolated), "without a gap in what is known"
    assert not edge.lives(1.0, isolated)
    assert edge.says(Reason.ISOLATED)
    assert not edge.lives(600.0, isolated)
    assert edge.says(Reason.ISOLATED)
    assert edge.lives(1.0, replace(GOOD, inside=True, backbone=True, elsewhere=NONE))


def test_cause_split() -> None:
    """Losing the backbone or the store is no reason while local service is healthy."""
    lost_backbone = replace(GOOD, remote=NONE, elsewhere=NONE, backbone=False, inside=True)
    lost_store = replace(GOOD, services=None)
    old_store = replace(GOOD, services=SERVICES[:1])
    for policy in (AnnouncePolicy.HEALTHY_LOCAL, AnnouncePolicy.ANY_HEALTHY):
        edge = Edge(policy)
        assert edge.lives(1.0, GOOD)
        for loss in (lost_backbone, lost_store, old_store):
            assert edge.lives(60.0, loss)
            assert edge.lives(60.0, replace(loss, elsewhere=BOTH))
            assert edge.lives(60.0, replace(loss, remote=None, elsewhere=None, inside=None))
        assert edge.lives(60.0, replace(lost_backbone, services=None))
        assert len(edge.changes) == 1


def test_freeze() -> None:
    up, down = Edge(), Edge()
    up.lives(1.0, GOOD)
    for _ in range(3):
        assert up.lives(60.0, BAD, frozen=True)
        assert up.says(Reason.FROZEN)
        assert not down.lives(60.0, GOOD, frozen=True)
    assert up.lives(1.8, BAD), "waiting begins anew"
    assert not up.lives(0.5, BAD)
    gone = replace(PLATFORM, aggregates=())
    kept = decide_aggregates(
        gone, BAD, {FOUR: AggregateState(announced=True)}, 9.0, frozen=True
    )
    assert kept.states[FOUR].announced, "even if the aggregate has left the platform"


def test_every_datacenter_has_its_rank() -> None:
    platform = make_platform({"fra": 1, "ams": 1, "lon": 1})
    ranks = [datacenter_rank(platform, name) for name in ("fra", "ams", "lon")]
    assert ranks == [0, 1, 2]


# ---- what holds for every history ----------------------------------------------------------


_HISTORIES = st.lists(
    st.tuples(st.sampled_from(["good", "bad", "unknown"]), st.floats(0.1, 5.0)), max_size=30
)


@settings(max_examples=60)
@given(_HISTORIES)
def test_nobody_outside_sees_more_than_one_flap_per_hold(
    history: list[tuple[str, float]],
) -> None:
    edge, withdrawn_at, before = Edge(), -MAX_HOLD_SECONDS, False
    views = {"good": GOOD, "bad": BAD, "unknown": UNKNOWN}
    for name, seconds in history:
        for _ in range(round(seconds * 10)):
            announced = edge.lives(0.1, views[name])
            if announced and not before:
                assert edge.now - withdrawn_at >= 10.0
            if before and not announced:
                assert name == "bad"
                withdrawn_at = edge.now
            before = announced


@settings(max_examples=40)
@given(
    st.sampled_from([1.0, 5.0, 10.0, 20.0, 30.0]),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.integers(1, 2),
)
def test_flapping_is_seen_at_most_three_times_a_minute(
    period: float, duty: float, phase: float, minutes: int
) -> None:
    edge = Edge()
    edge.lives(1.0, GOOD)
    edge.changes.clear()
    for step in range(600 * minutes):
        good = (step / 10 / period + phase) % 1.0 < duty
        edge.lives(0.1, GOOD if good else BAD)
    for first in edge.changes:
        assert sum(first <= change < first + 59.9 for change in edge.changes) <= 3
    if period == 1.0:
        assert len(edge.changes) <= 1


@given(st.floats(1, 10_000))
def test_the_hold_has_an_end(penalty: float) -> None:
    timers = Timers()
    assert (
        timers.flap_hold_seconds
        <= hold_seconds(timers, penalty)
        <= hold_seconds(timers, penalty + 1)
        <= MAX_HOLD_SECONDS
    )


def test_a_unicast_prefix_is_announced_whatever_services_do_and_not_by_who_is_cut_off() -> None:
    aggregates = (Aggregate(prefix=FOUR, unicast="fra"),)
    platform = replace(PLATFORM, aggregates=aggregates)
    states: Mapping[Prefix, AggregateState] = {}
    said: list[tuple[bool, Reason]] = []
    cut_off = replace(BAD, inside=False, elsewhere=NONE, backbone=False)
    for now in range(200):
        reachable = BAD if now < 100 else cut_off
        decision = decide_aggregates(platform, reachable, states, now / 5)
        states = decision.states
        said.append((states[FOUR].announced, decision.statuses[0].reason))
    assert said[5:100] == [(True, Reason.UNICAST)] * 95
    assert said[100 + 45][0], "a short cut changes nothing"
    assert said[-1] == (False, Reason.ISOLATED)


def test_a_site_of_one_machine_keeps_its_unicast_prefix_when_it_is_cut_off_and_serves() -> None:
    platform = replace(PLATFORM, aggregates=(Aggregate(prefix=FOUR, unicast="fra"),))
    alone = replace(GOOD, inside=False, elsewhere=NONE, backbone=False)
    states: Mapping[Prefix, AggregateState] = {}
    for now in range(200):
        states = decide_aggregates(platform, alone, states, now / 5).states
    assert states[FOUR].announced


def _seen_by(machine: str, policy: AnnouncePolicy) -> dict[str, AnnouncePolicy]:
    datacenters = (
        *PLATFORM.datacenters,
        replace(PLATFORM.datacenters[0], name="pop", id=77),
    )
    router = replace(
        PLATFORM.machines_of(Role.EDGE)[0], name="pop-e1", datacenter="pop", further=()
    )
    aggregates = (
        Aggregate(prefix=FOUR, announce=policy),
        Aggregate(prefix=SIX, announce=policy, datacenters=("fra",)),
    )
    platform = replace(
        PLATFORM,
        datacenters=datacenters,
        machines=(*PLATFORM.machines, router),
        aggregates=aggregates,
    )
    seen = as_seen_by(platform, machine).aggregates
    return {str(each.prefix): each.announce for each in seen}


def test_a_site_without_nodes_announces_when_a_service_is_reached_anywhere() -> None:
    local, anywhere = AnnouncePolicy.HEALTHY_LOCAL, AnnouncePolicy.ANY_HEALTHY
    edge = PLATFORM.machines_of(Role.EDGE)[0].name
    assert _seen_by("pop-e1", local) == {str(FOUR): anywhere}
    assert _seen_by("pop-e1", AnnouncePolicy.ALWAYS) == {str(FOUR): AnnouncePolicy.ALWAYS}
    assert _seen_by(edge, local) == {str(FOUR): local, str(SIX): local}
