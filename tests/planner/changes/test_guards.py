"""The guards, one after the other, then what holds for every change."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms.agent.control.targets import Targets
from pltfrms.drivers.disk import MemoryDisk
from pltfrms.errors import ConflictError
from pltfrms.model.messages.guards import Guard, Verdict
from pltfrms.model.network.announcements import announcements
from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.network.links import Link
from pltfrms.model.network.peering import Allowed, Peer, PeerKind, Roa
from pltfrms.model.network.topology import Admission, Aggregate, Guards, Platform, Role
from pltfrms.model.network.traffic import Override
from pltfrms.model.running.balancer import CandidateState, is_panic
from pltfrms.model.running.plan import Place, Reason, Target
from pltfrms.model.running.state import Contact, MachineView, Snapshot
from pltfrms.planner.changes.guards import judge_change, make_proposal
from pltfrms.planner.changes.maintenance import judge_maintenance
from pltfrms.planner.changes.origins import claims, file_answers, judge_claims
from pltfrms.planner.foresight.admission import is_admission_due, judge_admission
from pltfrms.planner.instances.health import backoff_seconds
from pltfrms.planner.instances.mass import SPREAD_MAX_SECONDS, share_of, start_delays
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.drafting.draft import LATELY_SECONDS
from pltfrms.planner.placement.drafting.pace import AT_ONCE
from pltfrms.planner.placement.plan import make_plan
from tests.planner.networks import (
    FOUR,
    NETWORK,
    NOTHING,
    NOW_MS,
    SIX,
    drain,
    interventions,
    make_session,
    platforms,
    without_sessions,
)
from tests.planner.world import settle
from tests.strategies import make_platform, make_service, make_snapshot, make_spec

NEW = ip_network("198.18.4.0/24")


def _judge(
    after: Platform,
    wanted: Interventions = NOTHING,
    *,
    before: Platform = NETWORK,
    standing: Interventions = NOTHING,
) -> dict[Guard, Verdict]:
    """Return the first verdict of each guard."""
    verdicts = judge_change(before, after, standing, wanted, NOW_MS)
    return {verdict.guard: verdict for verdict in reversed(verdicts)}


def _with(*traffic: Override) -> Platform:
    return replace(NETWORK, traffic=traffic)


def test_last_announcer() -> None:
    verdict = _judge(_with(Override(announce=False, prefix=FOUR)))[Guard.LAST_ANNOUNCER]
    assert verdict.about == str(FOUR)
    assert verdict.sentence == (
        "announced on 9 sessions in 3 datacenters, would be announced on 0"
    )
    one = Override(announce=True, edge="fra-e1")
    assert Guard.LAST_ANNOUNCER not in _judge(_with(Override(announce=False), one))


def test_last_announcer_when_the_aggregate_leaves_the_spec() -> None:
    less = replace(NETWORK, aggregates=NETWORK.aggregates[:1])
    assert _judge(less)[Guard.LAST_ANNOUNCER].about == str(SIX)


def test_last_announcer_sees_where_a_drain_ends() -> None:
    only = Override(announce=True, edge="fra-e1")
    before = _with(Override(announce=False), only)
    verdict = _judge(before, drain(edge="fra-e1", wait_ms=60_000), before=before)[
        Guard.LAST_ANNOUNCER
    ]
    assert verdict.sentence.endswith("would be announced on 0, 60 s from now")


def test_last_announcer_sees_where_an_override_ends() -> None:
    for_a_while = Override(announce=True, until_ms=NOW_MS + 5000)
    after = _with(Override(announce=False), for_a_while)
    assert "5.0 s from now" in _judge(after)[Guard.LAST_ANNOUNCER].sentence


def test_last_announcer_leaves_what_is_not_announced_alone() -> None:
    silent = _with(Override(announce=False))
    assert _judge(replace(silent, aggregates=()), before=silent).keys() == {
        Guard.EMPTY_IS_ERROR
    }


def test_expired_overrides_do_not_count() -> None:
    over = _with(Override(announce=False, until_ms=NOW_MS))
    assert _judge(over) == {}
    last = _with(
        Override(announce=False), Override(announce=True, edge="fra-e1", until_ms=NOW_MS)
    )
    assert Guard.LAST_ANNOUNCER in _judge(last), "an announcement that is over is none"


def test_a_regional_aggregate_is_asked_for_no_more_datacenters_than_it_has() -> None:
    regional = tuple(
        replace(each, datacenters=("fra", "ams") if each.prefix == SIX else ())
        for each in NETWORK.aggregates
    )
    floored = replace(
        NETWORK, aggregates=regional, guards=Guards(announce_floor=3, shrink_percent=100)
    )
    less = replace(floored, traffic=(Override(announce=False, prefix=SIX, datacenter="ams"),))
    verdict = _judge(less, before=floored)[Guard.ANNOUNCE_FLOOR]
    assert verdict.sentence.endswith("the floor is 2")
    elsewhere = Override(announce=False, prefix=SIX, datacenter="lon")
    assert _judge(replace(floored, traffic=(elsewhere,)), before=floored) == {}


def test_to_keep_an_aggregate_to_some_datacenters_is_judged_like_any_withdrawal() -> None:
    floored = replace(NETWORK, guards=Guards(announce_floor=3, shrink_percent=100))
    aggregates = tuple(replace(each, datacenters=("fra",)) for each in NETWORK.aggregates)
    verdicts = _judge(replace(floored, aggregates=aggregates), before=floored)
    assert verdicts[Guard.ANNOUNCE_FLOOR].sentence == (
        "announced from 3 datacenters, would be announced from 1; the floor is 3"
    )


def test_announce_floor() -> None:
    floored = replace(NETWORK, guards=Guards(announce_floor=3, shrink_percent=100))
    less = replace(floored, traffic=(Override(announce=False, prefix=SIX, datacenter="lon"),))
    verdict = _judge(less, before=floored)[Guard.ANNOUNCE_FLOOR]
    assert verdict.about == str(SIX)
    assert verdict.sentence == (
        "announced from 3 datacenters, would be announced from 2; the floor is 3"
    )
    assert _judge(less, before=less) == {}, "only a change that lowers it"
    one_edge = (Override(announce=False, edge="lon-e1"),)
    assert _judge(replace(floored, traffic=one_edge), before=floored) == {}
    lowered = replace(less, guards=Guards(announce_floor=1))
    assert Guard.ANNOUNCE_FLOOR in _judge(lowered, before=floored)


def test_shrink_guard() -> None:
    third = _with(Override(announce=False, datacenter="fra"))
    assert Guard.SHRINK_GUARD not in _judge(third)
    more = _with(Override(announce=False, kind=PeerKind.TRANSIT))
    assert _judge(more)[Guard.SHRINK_GUARD].sentence == (
        "12 of 18 (67 %) would be withdrawn; one change may take away 34 %"
    )
    own_limit = replace(more, guards=Guards(shrink_percent=100))
    assert Guard.SHRINK_GUARD in _judge(own_limit), "no change raises its own limit"


def test_shrink_guard_lets_one_session_go() -> None:
    two = without_sessions(NETWORK, *(f"transit1@{edge}" for edge in ("fra-e2", "ams-e2")))
    two = replace(
        two, peers=(two.peers[0], replace(two.peers[1], sessions=NETWORK.peers[1].sessions[:1]))
    )
    assert Guard.SHRINK_GUARD not in _judge(
        two, drain("transit1", "fra-e1", wait_ms=1), before=two
    )


def test_empty_is_error() -> None:
    assert _judge(replace(NETWORK, links=()))[Guard.EMPTY_IS_ERROR].sentence == (
        "there are 3, there would be 0"
    )
    gone = ("transit1@fra-e1", "transit1@fra-e2", "transit1@ams-e2")
    abouts = {
        "peers": replace(NETWORK, peers=()),
        "aggregates": replace(NETWORK, aggregates=()),
        "backbone": replace(NETWORK, links=()),
        "peers.transit1.sessions": without_sessions(NETWORK, *gone),
        "datacenters.fra.nodes": replace(
            NETWORK,
            machines=tuple(
                machine
                for machine in NETWORK.machines
                if (machine.role, machine.datacenter) != (Role.NODE, "fra")
            ),
        ),
    }
    for about, after in abouts.items():
        assert _judge(after)[Guard.EMPTY_IS_ERROR].about == about
        assert Guard.EMPTY_IS_ERROR not in _judge(after, before=after)
    assert Guard.EMPTY_IS_ERROR not in _judge(replace(NETWORK, peers=NETWORK.peers[1:]))


def test_empty_is_error_for_what_a_customer_may_announce() -> None:
    customer = Peer(
        name="shop",
        kind=PeerKind.CUSTOMER,
        asn=64777,
        sessions=(make_session("fra-e1", 60),),
        allowed=(Allowed(prefix=ip_network("192.0.2.0/24"), max_length=24),),
    )
    before = replace(NETWORK, peers=(*NETWORK.peers, customer))
    after = replace(NETWORK, peers=(*NETWORK.peers, replace(customer, allowed=())))
    verdict = _judge(after, before=before)[Guard.EMPTY_IS_ERROR]
    assert (verdict.about, verdict.sentence) == (
        "peers.shop.allowed",
        "there is 1, there would be 0",
    )


def test_headroom() -> None:
    edges = ("fra-e1", "fra-e2")
    both = Interventions(drains=tuple(drain(edge=edge).drains[0] for edge in edges))
    verdict = _judge(NETWORK, both)[Guard.HEADROOM]
    assert verdict.about == "fra"
    assert verdict.sentence == (
        "it has 3 open external sessions, would have 0; all it sends would take 2 backbone "
        "links of 20000 Mbit/s"
    )
    assert Guard.HEADROOM not in _judge(NETWORK, drain(edge="fra-e2"))
    alone = replace(NETWORK, links=NETWORK.links[:1])
    assert _judge(alone)[Guard.HEADROOM] == Verdict(
        guard=Guard.HEADROOM,
        about="lon",
        sentence="it has 2 backbone links, would have 0; no other datacenter could stand in "
        "for it",
    )


def test_a_link_inside_a_datacenter_leads_to_no_other() -> None:
    inside = Link(a="lon-e1", b="lon-e2")
    before = replace(NETWORK, links=(*NETWORK.links, inside))
    cut = replace(NETWORK, links=(NETWORK.links[0], inside))
    verdicts = judge_change(before, cut, NOTHING, NOTHING, NOW_MS)
    assert [each.sentence for each in verdicts if each.about == "lon"] == [
        "it has 2 backbone links, would have 0; no other datacenter could stand in for it"
    ]


def test_roa() -> None:
    more = replace(NETWORK, aggregates=(*NETWORK.aggregates, Aggregate(prefix=NEW)))
    wanted = claims(make_proposal(NETWORK, more, NOTHING, NOTHING, NOW_MS))
    foreign = (Roa(prefix=NEW, asn=64999, max_length=24),)
    ((verdict,), _) = judge_claims(wanted, file_answers(wanted, foreign), "")
    assert (verdict.guard, verdict.about) == (Guard.ROA, str(NEW))
    assert _judge(more) == {}, "the change itself says nothing of RPKI: it has to be asked"


def test_headroom_and_shrink_guard_let_a_datacenter_go_that_has_a_link() -> None:
    wanted = drain(datacenter="fra", wait_ms=60_000)
    assert _judge(NETWORK, wanted) == {}
    tight = replace(NETWORK, guards=Guards(shrink_percent=1))
    assert _judge(tight, wanted, before=tight) == {}
    alone = replace(NETWORK, links=NETWORK.links[1:2])
    verdict = _judge(alone, wanted, before=alone)[Guard.HEADROOM]
    assert verdict.sentence == (
        "it has 3 open external sessions, would have 0, 60 s from now; it has no links"
    )
    floored = replace(NETWORK, guards=Guards(announce_floor=3))
    assert "would be announced from 2" in (
        _judge(floored, wanted, before=floored)[Guard.ANNOUNCE_FLOOR].sentence
    )


def test_last_announcer_sees_a_planned_drain_begin_and_end() -> None:
    only = without_sessions(
        NETWORK, *(f"{p.name}@{s.edge}" for p in NETWORK.peers[1:] for s in p.sessions)
    )
    before = without_sessions(only, "transit1@ams-e2")
    later = NOW_MS + 3_600_000
    wanted = drain(datacenter="fra", since_ms=later, wait_ms=1000, until_ms=later + 5000)
    verdict = _judge(before, wanted, before=before)[Guard.LAST_ANNOUNCER]
    assert verdict.sentence.endswith("would be announced on 0, 60 min from now")
    short = drain(datacenter="fra", since_ms=later, wait_ms=5000, until_ms=later + 5000)
    assert Guard.LAST_ANNOUNCER not in _judge(before, short, before=before)


def test_maintenance_lock() -> None:
    snapshot = make_snapshot(NETWORK)
    one = replace(snapshot, interventions=drain(datacenter="fra"))
    both = (*one.interventions.drains, *drain(datacenter="ams").drains)
    two = replace(snapshot, interventions=Interventions(drains=both))
    (verdict,) = judge_maintenance(one, two, NOW_MS)
    assert (verdict.guard, verdict.about) == (Guard.MAINTENANCE_LOCK, "datacenter/ams")
    assert verdict.sentence == "datacenter/fra is drained since 1970-01-12 13:46:40 UTC"


def test_one_drained_peer_edge_or_datacenter_of_three_passes() -> None:
    for peer in NETWORK.peers:
        assert _judge(NETWORK, drain(peer.name, wait_ms=60_000)) == {}
    for edge in NETWORK.machines_of(Role.EDGE):
        assert _judge(NETWORK, drain(edge=edge.name, wait_ms=60_000)) == {}
    for datacenter in NETWORK.datacenters:
        assert _judge(NETWORK, drain(datacenter=datacenter.name, wait_ms=60_000)) == {}


# ---- what holds for every change -----------------------------------------------------------


@settings(max_examples=50)
@given(platforms, interventions)
def test_the_same_gives_no_verdict(platform: Platform, standing: Interventions) -> None:
    assert judge_change(platform, platform, standing, standing, NOW_MS) == ()


@settings(max_examples=200)
@given(platforms, platforms, interventions, interventions)
def test_without_a_verdict_nothing_loses_its_last_announcement(
    before: Platform, after: Platform, standing: Interventions, wanted: Interventions
) -> None:
    verdicts = judge_change(before, after, standing, wanted, NOW_MS)
    warned = {each.about for each in verdicts if each.guard is Guard.LAST_ANNOUNCER}
    lost = {
        str(prefix)
        for at_ms in _instants_ms(before, after, standing, wanted)
        for prefix in _announced(before, standing, at_ms) - _announced(after, wanted, at_ms)
    }
    assert lost == warned
    assert all(any(letter.isdigit() for letter in each.sentence) for each in verdicts)
    assert len({(each.guard, each.about) for each in verdicts}) == len(verdicts)


def _instants_ms(
    before: Platform, after: Platform, standing: Interventions, wanted: Interventions
) -> set[int]:
    """Return now, and whenever a drain or an override becomes something else."""
    drains = (*standing.drains, *wanted.drains)
    steps = {at for d in drains for at in (d.since_ms, d.since_ms + d.wait_ms, d.until_ms)}
    steps |= {each.until_ms for each in (*before.traffic, *after.traffic)}
    return {NOW_MS, *(at for at in steps if at >= NOW_MS)}


def _announced(platform: Platform, standing: Interventions, at_ms: int) -> set[object]:
    return {a.prefix for a in announcements(platform, standing, at_ms) if a.visible}


def test_n1_admission() -> None:
    before = make_snapshot(make_platform({"fra": 2, "ams": 3}))
    after = replace(before, services={"web": make_service(make_spec(replicas=2))})
    assert is_admission_due(before, after)
    (verdict,) = judge_admission(before, after)
    assert (verdict.guard, verdict.about) == (Guard.N1_ADMISSION, "service/web")
    assert verdict.sentence.startswith("without node/fra-n1 web.fra.1 finds no place")
    assert judge_admission(after, after) == ()
    unasked = replace(after.platform, guards=Guards(n1_admission=Admission.OFF))
    assert not is_admission_due(before, replace(after, platform=unasked))
    assert not is_admission_due(after, after)


def test_move_pace() -> None:
    services = tuple(
        make_service(make_spec(f"s{number:02}", replicas=1), number) for number in range(1, 20)
    )
    snapshot = settle(make_snapshot(make_platform({"fra": 2}, cpu=64.0), services))
    drained = Interventions(drains=(Drain(node="fra-n1", since_ms=0, wait_ms=0),))
    plan = make_plan(replace(snapshot, interventions=drained))
    assert sum(isinstance(step, Place) for step in plan.steps) == AT_ONCE
    assert [note.reason for note in plan.notes] == [Reason.PACED]


def test_panic_threshold() -> None:
    healthy, ill = CandidateState.ACTIVE, CandidateState.BACKUP
    assert is_panic([ill])
    assert is_panic([ill, ill, CandidateState.DRAINING])
    assert not is_panic([healthy, ill, ill])
    assert not is_panic([])
    assert not is_panic([CandidateState.DRAINING])


def test_jittered_recovery() -> None:
    names = [f"web.fra.{number}-1" for number in range(1, 101)]
    waits = {backoff_seconds(5, share_of(name)) for name in names}
    assert len(waits) == len(names)
    assert backoff_seconds(5) / 2 <= min(waits) < max(waits) <= backoff_seconds(5)
    delays = start_delays(names)
    assert len(set(delays.values())) == len(names)
    assert max(delays.values()) < SPREAD_MAX_SECONDS


@pytest.mark.parametrize(
    ("lost", "braked"),
    [
        (("fra-n1", "fra-n2", "fra-n3"), {"fra"}),
        (("fra-n1", "ams-n1"), set()),
        (("fra-n1", "ams-n1", "lon-n1"), set()),
        (("fra-n1", "ams-n1", "lon-n1", "lon-n2"), {"lon"}),
        (("fra-n1", "fra-n2", "ams-n1", "ams-n2"), {"fra", "ams"}),
    ],
)
def test_mass_change_brake(lost: tuple[str, ...], braked: set[str]) -> None:
    platform = make_platform(dict.fromkeys(("fra", "ams", "lon"), 3))
    service = make_service(make_spec(replicas=2))
    settled = settle(make_snapshot(platform, (service,)))
    after = _lost(settled, *lost)
    plan = make_plan(after)
    notes = {each.about for each in plan.notes if each.reason is Reason.MASS_LOSS}
    assert notes == braked
    assert not check_plan(after, plan)
    moved = {each.allocation.datacenter for each in plan.steps}
    assert moved.isdisjoint(braked)
    if not braked:
        assert moved, "what is really lost is placed anew"


def test_mass_change_brake_does_not_count_what_was_lost_before_and_dealt_with() -> None:
    platform = make_platform(dict.fromkeys(("fra", "ams", "lon"), 2))
    service = make_service(make_spec(replicas=1))
    world = settle(make_snapshot(platform, (service,)))
    for datacenter in ("fra", "ams", "lon"):
        (serving,) = (a for a in world.allocations.values() if a.datacenter == datacenter)
        world = settle(_lost(world, serving.node, seconds=LATELY_SECONDS))
        (moved,) = (a for a in world.allocations.values() if a.datacenter == datacenter)
        assert moved.node != serving.node, "each loss by itself is repaired"
    assert not make_plan(world).notes


@pytest.mark.parametrize(("size", "count"), [(2, 1), (4, 2)])
def test_mass_change_brake_of_several_datacenters(size: int, count: int) -> None:
    """Each has lost too few for a brake of its own; together it is half the platform."""
    sites = ("fra", "ams", "lon")
    platform = make_platform(dict.fromkeys(sites, size))
    settled = settle(make_snapshot(platform, (make_service(make_spec(replicas=size)),)))
    lost = [f"{site}-n{number}" for site in sites for number in range(1, count + 1)]
    after = _lost(settled, *lost)
    plan = make_plan(after)
    notes = {each.about: each.detail for each in plan.notes if each.reason is Reason.MASS_LOSS}
    assert [*notes] == [*sites]
    together = f"{3 * count} of {3 * size} in all datacenters together"
    assert all(together in detail for detail in notes.values())
    assert not plan.steps


@pytest.mark.parametrize("node_first", [True, False])
def test_mass_change_brake_of_a_datacenter_leaves_others_their_repairs(
    *, node_first: bool
) -> None:
    """While a whole site is away, be it for days, a node that dies elsewhere is one event."""
    platform = make_platform(dict.fromkeys(("fra", "ams", "lon"), 2))
    spec = make_spec(replicas=2, max_per_node=2)
    world = settle(make_snapshot(platform, (make_service(spec),)))
    events = [("fra-n1", "fra-n2"), ("ams-n1",)]
    for nodes in reversed(events) if node_first else events:
        world = _lost(world, *nodes)
        assert not check_plan(world, make_plan(world))
        world = settle(world)
    left = [a.node for a in world.allocations.values() if a.datacenter == "ams"]
    assert left == ["ams-n2", "ams-n2"]
    (note,) = make_plan(world).notes
    assert (note.about, note.reason) == ("fra", Reason.MASS_LOSS)
    assert note.detail.startswith("2 of 2 nodes are out of contact;")


def _lost(snapshot: Snapshot, *nodes: str, seconds: float = 9.0) -> Snapshot:
    view = MachineView(contact=Contact.LOST, since_seconds=seconds)
    return replace(snapshot, machines={**snapshot.machines, **dict.fromkeys(nodes, view)})


def test_a_mass_loss_is_checked_once_for_a_plan_not_for_each_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platform = make_platform({"fra": 40}, cpu=100.0)
    services = [
        make_service(make_spec(f"web{number}", replicas=3), number) for number in range(1, 41)
    ]
    after = _lost(
        settle(make_snapshot(platform, tuple(services))), "fra-n1", "fra-n2", "fra-n3"
    )
    plan, asked = make_plan(after), Snapshot.contact
    calls: list[str] = []

    def contact(snapshot: Snapshot, machine: str) -> Contact:
        calls.append(machine)
        return asked(snapshot, machine)

    monkeypatch.setattr(Snapshot, "contact", contact)
    assert not check_plan(after, plan)
    assert len(plan.steps) >= 6
    assert len(calls) < len(platform.machines) + 10 * len(plan.steps)


@given(st.lists(st.integers(1, 60), min_size=1))
def test_monotonic_intent(generations: list[int]) -> None:
    platform = make_platform({"fra": 1})
    targets = Targets("fra-n1", MemoryDisk(), lambda: platform)
    newest = 0
    for generation in generations:
        target = Target(machine="fra-n1", generation=generation, platform=platform)
        if generation > newest:
            targets.accept(target)
            newest = generation
        else:
            with pytest.raises(ConflictError, match=f"generation {newest} is in force"):
                targets.accept(target)
        assert targets.current.generation == newest


@pytest.mark.parametrize("guard", list(Guard))
def test_every_guard_has_its_test(guard: Guard) -> None:
    assert f"test_{guard.value}" in globals()
