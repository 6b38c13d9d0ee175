"""What a page shows of a platform."""

import json
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.codec import encode
from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.messages.picture import LISTS, Level, Picture, Seen
from pltfrms.model.network.interventions import LEAD_MS, Drain, Freeze, Interventions
from pltfrms.model.network.topology import FurtherRole, Platform, Role
from pltfrms.model.running.loads import LoadKind, ServiceLoad
from pltfrms.model.running.plan import Note, Reason
from pltfrms.model.running.redundancy import Redundancy, Survival
from pltfrms.model.running.state import (
    NOT_KNOWN,
    Contact,
    LinkStatus,
    MachineStatus,
    MachineView,
    Phase,
    SessionStatus,
    Snapshot,
)
from pltfrms.model.services import replicas
from pltfrms.seen.patch import patch_of
from pltfrms.seen.picture import picture_of
from tests.cli.world import HEALTHY, NOW_MS, known_last, with_lost, with_phase

NAMES = sorted(HEALTHY.statuses)


def whole(status: MachineStatus) -> MachineStatus:
    """Return a status with the sessions and links that the platform has."""
    if not status.aggregates:
        return status
    platform, edge = HEALTHY.platform, status.machine
    names = zip(platform.session_names(edge), platform.sessions_of(edge), strict=True)
    return replace(
        status,
        sessions=tuple(
            SessionStatus(name=f"peer.{name}.ipv{ours.version}", up=True, exported=2)
            for name, (_, session) in names
            for ours in session.ours
        ),
        links={each.name: LinkStatus(up=True, rtt_us=900) for each in platform.links_of(edge)},
    )


WHOLE = replace(HEALTHY, statuses={name: whole(s) for name, s in HEALTHY.statuses.items()})


LOAD = ServiceLoad(service="web", kind=LoadKind.CPU, each=200, measured=420, hours=3)


def seen(snapshot: Snapshot, before: Picture | None = None, now_ms: int = NOW_MS) -> Picture:
    redundancy = Redundancy(survival=Survival.SURVIVED, loads=(LOAD,))
    view = SnapshotView(controller="fra-c1", snapshot=snapshot, redundancy=redundancy)
    return picture_of(view, now_ms, before)


def unheard(snapshot: Snapshot, *names: str, contact: Contact = Contact.UNKNOWN) -> Snapshot:
    views = {name: MachineView(contact=contact, since_seconds=9.0) for name in names}
    return replace(snapshot, machines={**snapshot.machines, **views})


def of(view: Picture, name: str, element: str) -> Any:
    return next(each for each in getattr(view, name) if each.id == element)


def test_a_healthy_platform_is_fine_and_all_of_it_is_good() -> None:
    view = seen(WHOLE)
    assert (view.headline.level, view.headline.sentence) == (Level.FINE, "all is well")
    assert view.headline.redundancy == "one more failure is survived"
    for elements in (view.datacenters, view.edges, view.machines, view.sessions, view.services):
        assert elements
        assert {each.state for each in elements} == {Seen.GOOD}
    assert (view.problems, view.hands, view.waits) == ((), (), ())
    (web,) = view.services
    assert (web.ready, web.wanted, web.unknown) == (6, 6, 0)
    assert web.load == "0.42 cores (measured in 3 h)"
    assert {name: (c.ready, c.wanted) for name, c in web.places.items()} == {
        "fra": (2, 2),
        "ams": (2, 2),
        "lon": (2, 2),
    }


def test_a_datacenter_out_of_contact_is_not_known_and_its_last_word_stays() -> None:
    names = [each.name for each in WHOLE.platform.managed if each.datacenter == "ams"]
    view = seen(unheard(WHOLE, *names))
    ams = next(each for each in view.datacenters if each.id == "ams")
    assert (ams.state, ams.last, ams.present) == (Seen.UNKNOWN, Seen.GOOD, 0)
    assert {each.state for each in ams.aggregates} == {Seen.UNKNOWN}
    assert {each.last for each in ams.aggregates} == {Seen.GOOD}
    assert (ams.ready, ams.unknown, ams.wanted) == (0, 2, 2)
    for edge in view.edges:
        if edge.datacenter == "ams":
            assert (edge.state, edge.last) == (Seen.UNKNOWN, Seen.GOOD)
    assert {each.state for each in view.sessions if each.edge.startswith("ams")} == {
        Seen.UNKNOWN
    }
    assert {each.state for each in view.services} == {Seen.UNKNOWN}
    assert {each.state for each in view.links} == {Seen.GOOD}, "the other ends say so"
    bad = [each for name in LISTS[:7] for each in getattr(view, name) if each.state is Seen.BAD]
    assert bad == []


def test_sessions_of_an_edge_whose_bird_is_silent_are_not_known_and_not_down() -> None:
    silent = replace(WHOLE.statuses["fra-e1"], problems=("BIRD: does not answer",))
    sessions = tuple(
        replace(each, up=False, detail=f"{NOT_KNOWN}BIRD does not answer", counted=False)
        for each in silent.sessions
    )
    statuses = {**WHOLE.statuses, "fra-e1": replace(silent, sessions=sessions)}
    view = seen(replace(WHOLE, statuses=statuses))
    theirs = {(s.state, s.why, s.last) for s in view.sessions if s.edge == "fra-e1"}
    assert theirs == {(Seen.UNKNOWN, "BIRD does not answer", None)}
    assert [each.about for each in view.problems] == ["fra-e1"]


def test_a_link_is_as_its_ends_see_it_and_not_known_when_neither_can_be_asked() -> None:
    link = WHOLE.platform.links[0]
    one = WHOLE.statuses[link.a]
    cut = replace(
        one, links={**one.links, link.name: LinkStatus(up=False, rtt_us=900, loss_percent=40)}
    )
    snapshot = replace(WHOLE, statuses={**WHOLE.statuses, link.a: cut})
    drawn = seen(snapshot).links[0]
    assert (drawn.state, drawn.why) == (
        Seen.BAD,
        f"{link.a} gets no answer from {link.b}",
    )
    assert drawn.loss_percent == 40
    drawn = seen(unheard(snapshot, link.a)).links[0]
    assert (drawn.state, drawn.rtt_us, drawn.loss_percent) == (Seen.GOOD, 900, None)
    drawn = seen(unheard(snapshot, link.a, link.b)).links[0]
    assert (drawn.state, drawn.last, drawn.why) == (
        Seen.UNKNOWN,
        Seen.BAD,
        f"neither {link.a} nor {link.b} says how it is",
    )


def test_a_lost_machine_is_bad_and_says_why() -> None:
    view = seen(with_lost(WHOLE, "fra-n1"))
    node = next(each for each in view.machines if each.id == "fra-n1")
    assert (node.state, node.why) == (Seen.BAD, "out of contact, and no edge hears it")
    assert view.headline.level is Level.DEGRADED
    assert [(each.about, each.sentence) for each in view.problems] == [(node.id, node.why)]


def test_a_machine_that_is_edge_and_node_is_said_once_to_be_lost() -> None:
    """A page shows no list in which an id is there twice."""
    platform = WHOLE.platform
    too = (FurtherRole(role=Role.NODE, id=9),)
    machines = tuple(
        replace(each, further=too) if each.name == "fra-e1" else each
        for each in platform.machines
    )
    both = replace(WHOLE, platform=replace(platform, machines=machines))
    view = seen(with_lost(both, "fra-e1"))
    assert "fra-e1" in {each.id for each in view.edges} & {each.id for each in view.machines}
    for name in LISTS:
        ids = [each.id for each in getattr(view, name)]
        assert len(ids) == len(set(ids)), name


def test_edges_of_others_alone_leave_a_datacenter_as_its_machines_are() -> None:
    """Nobody of ours says what they announce, and nothing is missing."""
    platform = WHOLE.platform
    theirs = {e.name for e in platform.machines_of(Role.EDGE, "ams")}
    machines = tuple(replace(m, external=m.name in theirs) for m in platform.machines)
    links = tuple(each for each in platform.links if not theirs & {each.a, each.b})
    peers = tuple(
        replace(peer, sessions=tuple(s for s in peer.sessions if s.edge not in theirs))
        for peer in platform.peers
    )
    guests = replace(platform, machines=machines, links=links, peers=peers)
    view = seen(replace(WHOLE, platform=guests))
    ams = next(each for each in view.datacenters if each.id == "ams")
    assert {each.state for each in ams.aggregates} == {Seen.UNKNOWN}
    assert (ams.state, view.headline.level) == (Seen.GOOD, Level.FINE)
    nodes = (each.name for each in guests.managed if each.datacenter == "ams")
    view = seen(unheard(replace(WHOLE, platform=guests), *nodes))
    ams = next(each for each in view.datacenters if each.id == "ams")
    assert ams.state is Seen.UNKNOWN


def test_a_service_without_a_ready_replica_is_failing_and_one_that_may_have_one_is_not() -> (
    None
):
    dead = WHOLE
    for name in WHOLE.allocations:
        dead = with_phase(dead, name, Phase.UNHEALTHY)
    headline = seen(dead).headline
    assert (headline.level, headline.sentence) == (
        Level.FAILING,
        "no replica of web is ready",
    )
    away = unheard(WHOLE, *(each.node for each in WHOLE.allocations.values()))
    headline = seen(away).headline
    assert (headline.level, headline.sentence) == (
        Level.UNKNOWN,
        "whether web still serves is not known",
    )


def test_an_aggregate_that_is_announced_nowhere_though_it_is_needed_is_bad() -> None:
    quiet = {
        name: replace(
            status, aggregates=tuple(replace(a, announced=False) for a in status.aggregates)
        )
        for name, status in WHOLE.statuses.items()
    }
    snapshot = replace(WHOLE, statuses=quiet)
    states = {a.state for each in seen(snapshot).datacenters for a in each.aggregates}
    assert states == {Seen.BAD}
    without = replace(snapshot, services={}, allocations={})
    states = {a.state for each in seen(without).datacenters for a in each.aggregates}
    assert states == {Seen.GOOD}, "no service needs it"


def test_what_was_taken_away_by_hand_is_planned() -> None:
    drains = (
        Drain(node="fra-n1", since_ms=NOW_MS - 1000, wait_ms=0, why="fan"),
        Drain(datacenter="lon", since_ms=NOW_MS - 1000, wait_ms=0),
    )
    freeze = Freeze(since_ms=NOW_MS - 60_000, why="incident")
    snapshot = replace(WHOLE, interventions=Interventions(drains=drains, freeze=freeze))
    view = seen(snapshot)
    states = {each.id: each.state for each in (*view.machines, *view.datacenters)}
    assert (states["fra-n1"], states["fra-n2"]) == (Seen.PLANNED, Seen.GOOD)
    since = {each.id: each.since_ms for each in view.machines}
    assert (since["fra-n1"], since["fra-n2"]) == (0, NOW_MS - 12_000), "of its contact alone"
    assert (states["lon"], states["fra"]) == (Seen.PLANNED, Seen.GOOD)
    assert {each.state for each in view.sessions if each.edge.startswith("lon")} == {
        Seen.PLANNED
    }
    assert [each.id for each in view.hands] == [
        "freeze",
        "drain node/fra-n1",
        "drain datacenter/lon",
    ]
    assert view.hands[0].sentence == "no route is changed (incident)"
    assert view.hands[1].sentence == "drain: drained (fan)"
    assert picture_of(
        SnapshotView(controller="c", snapshot=snapshot), NOW_MS + 9_000
    ).hands == (view.hands), "time alone changes nothing"


def test_a_drain_is_shown_from_when_it_is_decided_and_one_of_later_is_not() -> None:
    for since_ms, state in ((LEAD_MS, Seen.PLANNED), (LEAD_MS + 1000, Seen.GOOD)):
        drain = Drain(edge="lon-e1", since_ms=NOW_MS + since_ms, wait_ms=60_000, why="optics")
        view = seen(replace(WHOLE, interventions=Interventions(drains=(drain,))))
        assert of(view, "edges", "lon-e1").state is state
        told = [each.state for each in view.sessions if each.edge == "lon-e1"]
        assert set(told) == {state}
        (hand,) = view.hands
        assert (hand.sentence, hand.since_ms) == ("drain: planned (optics)", drain.since_ms)


def test_without_the_store_all_is_what_was_known_last_since_a_fixed_time() -> None:
    first = picture_of(known_last(WHOLE, 23.0), NOW_MS)
    assert first.headline.level is Level.UNKNOWN
    assert first.stale_since_ms == NOW_MS - 23_000
    later = picture_of(known_last(WHOLE, 24.4), NOW_MS + 1000, first)
    assert later.stale_since_ms == first.stale_since_ms


def test_what_cannot_be_done_now_says_whose_it_is_and_why() -> None:
    note = Note(about="web.fra.3", reason=Reason.NO_CAPACITY, detail="cpu")
    redundancy = Redundancy(survival=Survival.SURVIVED)
    view = SnapshotView(
        controller="fra-c1", snapshot=WHOLE, notes=(note,), redundancy=redundancy
    )
    picture = picture_of(view, NOW_MS)
    (wait,) = picture.waits
    assert (wait.about, wait.sentence) == (
        "web.fra.3",
        "no node has enough room for it (cpu)",
    )
    assert picture.headline.level is Level.DEGRADED


def test_sessions_that_are_down_are_one_problem_of_their_neighbour() -> None:
    status = WHOLE.statuses["fra-e1"]
    sessions = tuple(
        replace(each, up=False, detail="Idle") if each.name.startswith("peer.") else each
        for each in status.sessions
    )
    view = seen(
        replace(
            WHOLE, statuses={**WHOLE.statuses, "fra-e1": replace(status, sessions=sessions)}
        )
    )
    down = [each for each in view.sessions if each.state is Seen.BAD]
    assert len(down) > 1
    assert {each.about for each in view.problems} == {each.peer for each in down}
    problem = view.problems[0]
    assert problem.sentence.startswith(f"down: {down[0].id}, {down[1].id}")
    assert view.headline.sentence == "all services answer; 1 thing is not as it should be"
    silent = seen(unheard(replace(WHOLE, statuses=WHOLE.statuses), "fra-e1"))
    assert [each.about for each in silent.problems] == ["fra-e1"], "not known is not down"


def test_time_alone_makes_no_other_view() -> None:
    first = seen(with_lost(WHOLE, "fra-n1"))
    views = {
        name: replace(view, since_seconds=view.since_seconds + 61.3)
        for name, view in with_lost(WHOLE, "fra-n1").machines.items()
    }
    later = replace(with_lost(WHOLE, "fra-n1"), machines=views)
    assert seen(later, first, NOW_MS + 61_000) == first
    assert patch_of(first, seen(later, first, NOW_MS + 61_000)) is None


def test_nodes_are_counted_once_for_all_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each of them, it was most of the time that a large platform takes."""

    def counting(_platform: Platform) -> NoReturn:
        raise AssertionError

    monkeypatch.setattr(replicas, "sizes_of", counting)
    assert seen(WHOLE).services


def as_json(view: Picture) -> dict[str, object]:
    found: dict[str, object] = json.loads(encode(view))
    return found


def patched(before: dict[str, object], text: bytes) -> dict[str, object]:
    """Apply a patch as a page does."""
    patch = json.loads(text)
    after = {**before, **patch["head"]}
    for name, elements in patch["changed"].items():
        known = {each["id"]: each for each in before[name]}  # type: ignore[attr-defined]
        known |= {each["id"]: each for each in elements}
        order = patch["order"].get(name, list(known))
        after[name] = [known[each] for each in order]
    return after


@given(
    st.sets(st.sampled_from(NAMES)),
    st.sets(st.sampled_from(NAMES)),
    st.sampled_from(["", "emptied"]),
    st.sampled_from(Phase),
)
def test_a_patch_makes_one_view_of_the_other(
    some: set[str], others: set[str], emptied: str, phase: Phase
) -> None:
    before = unheard(WHOLE, *some)
    after = unheard(WHOLE, *others, contact=Contact.LOST)
    after = with_phase(after, next(iter(WHOLE.allocations)), phase)
    if emptied:
        after = replace(after, services={}, allocations={})
    else:
        web = WHOLE.services["web"]
        spec = replace(web.spec, name="api")
        api = replace(
            web,
            spec=spec,
            id=2,
            prefix4=IPv4Network("198.51.100.2/32"),
            prefix6=IPv6Network("2001:db8:100::2/128"),
        )
        before = replace(before, services={**before.services, "api": api})
    one, two = seen(before), seen(after)
    for old, new in ((one, two), (two, one)):
        patch = patch_of(old, new)
        assert patched(as_json(old), encode(patch)) == as_json(new) if patch else old == new
