"""Who is not heard by its neighbours, while its heartbeats are not late yet."""

from dataclasses import replace

import pytest

from pltfrms.model.messages.picture import EdgeElement, MachineElement, Seen
from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.network.topology import FurtherRole, Machine, Platform, Role
from pltfrms.model.running.state import Contact, MachineStatus, SessionStatus, Snapshot
from pltfrms.seen.missing import missing_machines
from tests.cli.world import NOW_MS
from tests.seen.test_picture import WHOLE, of, seen, unheard
from tests.strategies import make_platform

WITNESSES = ("fra-n1", "fra-n2", "fra-c1")
FABRICS = ("a", "b")


def hearing(edge: str, *, deaf: tuple[str, ...] = (), detail: str = "") -> Snapshot:
    """Return the platform with sessions with an edge, of which the `deaf` have lost theirs.

    Other edges have theirs for longer than BFD: they say nothing of it.
    """
    statuses = dict(WHOLE.statuses)
    for name in WITNESSES:
        sessions = tuple(
            SessionStatus(name=f"edge.{edge}.{fabric}", up=name not in deaf, detail=detail)
            for fabric in FABRICS
        )
        statuses[name] = replace(statuses[name], sessions=(*statuses[name].sessions, *sessions))
    mesh = SessionStatus(name=f"edge.{edge}", up=True)
    statuses["ams-e1"] = replace(statuses["ams-e1"], sessions=(mesh,))
    return replace(WHOLE, statuses=statuses)


def test_an_edge_that_nobody_hears_is_not_known_before_its_heartbeat_is_late() -> None:
    view = seen(hearing("fra-e1", deaf=WITNESSES))
    edge = of(view, "edges", "fra-e1")
    assert (edge.state, edge.last) == (Seen.UNKNOWN, Seen.GOOD)
    assert edge.why == (
        "none of 3 machines that should hear it does; its heartbeat is not late yet"
    )
    assert edge.since_ms == 0, "it is in contact for longer than it is not heard"
    assert [each.about for each in view.problems] == ["fra-e1"]
    assert of(view, "edges", "fra-e2").state is Seen.GOOD


def test_its_heartbeat_is_the_second_kind_of_evidence() -> None:
    unsure = unheard(hearing("fra-e1", deaf=WITNESSES), "fra-e1")
    edge = of(seen(unsure), "edges", "fra-e1")
    assert (edge.state, edge.last) == (Seen.BAD, Seen.GOOD)
    assert edge.why == "out of contact, and none of 3 machines that should hear it does"
    assert of(seen(unheard(WHOLE, "fra-e1")), "edges", "fra-e1").state is Seen.UNKNOWN


def test_who_is_silent_with_many_others_is_not_known_whatever_neighbours_say() -> None:
    """When controllers are slow, everybody is late; so may BFD be."""
    unsure = unheard(hearing("fra-e1", deaf=WITNESSES), "fra-e1")
    doubted = replace(unsure.machines["fra-e1"], why="many fell silent at once")
    snapshot = replace(unsure, machines={**unsure.machines, "fra-e1": doubted})
    edge = of(seen(snapshot), "edges", "fra-e1")
    assert (edge.state, edge.why) == (Seen.UNKNOWN, "many fell silent at once")


@pytest.mark.parametrize("deaf", [(), WITNESSES[:1], WITNESSES[1:]])
def test_one_that_is_heard_is_as_it_says(deaf: tuple[str, ...]) -> None:
    assert of(seen(hearing("fra-e1", deaf=deaf)), "edges", "fra-e1").state is Seen.GOOD


def test_a_machine_that_hears_it_in_one_fabric_hears_it() -> None:
    snapshot = hearing("fra-e1", deaf=WITNESSES)
    status = snapshot.statuses["fra-n1"]
    *others, last = status.sessions
    one = replace(status, sessions=(*others, replace(last, up=True)))
    view = seen(replace(snapshot, statuses={**snapshot.statuses, "fra-n1": one}))
    assert of(view, "edges", "fra-e1").state is Seen.GOOD


def test_who_cannot_ask_its_bird_is_no_witness() -> None:
    detail = "unknown: BIRD does not answer"
    view = seen(hearing("fra-e1", deaf=WITNESSES, detail=detail))
    assert of(view, "edges", "fra-e1").state is Seen.GOOD


def test_one_witness_alone_may_be_the_one_that_is_cut_off() -> None:
    others = WITNESSES[1:]
    for contact in (Contact.UNKNOWN, Contact.LOST):
        snapshot = unheard(hearing("fra-e1", deaf=WITNESSES), *others, contact=contact)
        assert of(seen(snapshot), "edges", "fra-e1").state is Seen.GOOD


def test_who_is_lost_is_bad_whatever_neighbours_said() -> None:
    snapshot = unheard(hearing("fra-e1", deaf=WITNESSES), "fra-e1", contact=Contact.LOST)
    assert of(seen(snapshot), "edges", "fra-e1").state is Seen.BAD


def links_down(to: str, *said_by: str) -> Snapshot:
    """Return the platform in which these say that nothing comes back from a datacenter."""
    statuses = dict(WHOLE.statuses)
    for name in said_by:
        links = {
            link: replace(each, up=f"{to}-" not in link)
            for link, each in statuses[name].links.items()
        }
        statuses[name] = replace(statuses[name], links=links)
    return replace(WHOLE, statuses=statuses)


OUTSIDE = tuple(
    each.name for each in WHOLE.platform.machines_of(Role.EDGE) if each.datacenter != "ams"
)


def test_a_datacenter_that_answers_over_no_link_is_not_known_before_it_is_late() -> None:
    view = seen(links_down("ams", *OUTSIDE))
    ams = of(view, "datacenters", "ams")
    assert (ams.state, ams.last) == (Seen.UNKNOWN, Seen.GOOD)
    assert ams.why == "nothing comes back over any link to ams"
    both: tuple[EdgeElement | MachineElement, ...] = (*view.edges, *view.machines)
    for each in both:
        wanted = Seen.UNKNOWN if each.datacenter == "ams" else Seen.GOOD
        assert each.state is wanted, each
    bad = {each.id for each in view.links if each.state is Seen.BAD}
    assert bad == {each.id for each in view.links if "ams-" in each.id}
    about = [each.about for each in view.problems]
    assert about == ["ams", *sorted(bad, key=about.index)], "one word for all that is in it"


def test_one_that_answers_over_one_link_or_of_which_nobody_tells_is_as_it_says() -> None:
    for some in (OUTSIDE[:1], OUTSIDE[1:], ("ams-e1", "ams-e2")):
        view = seen(links_down("ams", *some))
        assert {each.state for each in view.datacenters} == {Seen.GOOD}, some
    untold = unheard(links_down("ams", *OUTSIDE), *OUTSIDE, contact=Contact.LOST)
    assert of(seen(untold), "datacenters", "ams").state is Seen.GOOD


def test_what_a_datacenter_was_last_is_bad_if_it_was() -> None:
    cut = links_down("ams", *OUTSIDE)
    quiet = {
        name: replace(
            status, aggregates=tuple(replace(a, announced=False) for a in status.aggregates)
        )
        for name, status in cut.statuses.items()
    }
    ams = of(seen(replace(cut, statuses=quiet)), "datacenters", "ams")
    assert (ams.state, ams.last) == (Seen.UNKNOWN, Seen.BAD)


def test_one_that_is_drained_and_switched_off_is_one_problem_too() -> None:
    drains = (Drain(datacenter="ams", since_ms=NOW_MS - 9000, wait_ms=0, why="power"),)
    names = [each.name for each in WHOLE.platform.managed if each.datacenter == "ams"]
    for contact in (Contact.UNKNOWN, Contact.LOST):
        off = unheard(WHOLE, *names, contact=contact)
        view = seen(replace(off, interventions=Interventions(drains=drains)))
        assert of(view, "datacenters", "ams").state is Seen.PLANNED
        about = [each.about for each in view.problems if each.about in {"ams", *names}]
        assert about == ["ams"]


def test_a_datacenter_without_contact_is_one_problem() -> None:
    names = [each.name for each in WHOLE.platform.managed if each.datacenter == "ams"]
    view = seen(unheard(WHOLE, *names))
    (problem,) = [each for each in view.problems if each.about.startswith("ams")]
    assert problem.sentence == f"none of its {len(names)} machines is in contact"
    (web,) = view.services
    assert web.state is Seen.UNKNOWN
    listed = len(view.problems)
    assert f"; {listed + 1} things are not as it should be" in view.headline.sentence


@pytest.mark.parametrize("snapshot", [WHOLE, links_down("ams", *OUTSIDE)], ids=["", "cut"])
def test_nothing_in_a_datacenter_that_is_silent_is_bad_however_long_it_lasts(
    snapshot: Snapshot,
) -> None:
    names = [each.name for each in WHOLE.platform.managed if each.datacenter == "ams"]

    def states(*lost: str) -> set[Seen]:
        view = seen(unheard(snapshot, *lost, contact=Contact.LOST))
        both: tuple[EdgeElement | MachineElement, ...] = (*view.edges, *view.machines)
        found = {each.state for each in both if each.id in names}
        assert ("ams-n1" in {each.about for each in view.problems}) == (Seen.BAD in found)
        return found

    assert states(*names) == {Seen.UNKNOWN}
    one_is_heard = states(*(name for name in names if name != "ams-e1"))
    assert (Seen.BAD in one_is_heard) == (snapshot is WHOLE)


def test_a_node_that_all_edges_of_its_datacenter_miss_is_not_known() -> None:
    missed = {
        name: replace(WHOLE.statuses[name], missed=("fra-n1",)) for name in ("fra-e1", "fra-e2")
    }
    view = seen(replace(WHOLE, statuses={**WHOLE.statuses, **missed}))
    assert of(view, "machines", "fra-n1").state is Seen.UNKNOWN
    assert of(view, "machines", "fra-n2").state is Seen.GOOD
    one = {**WHOLE.statuses, "fra-e1": missed["fra-e1"]}
    one["fra-e2"] = replace(one["fra-e2"], missed=())
    assert of(seen(replace(WHOLE, statuses=one)), "machines", "fra-n1").state is Seen.GOOD


def test_an_edge_that_is_a_node_does_not_speak_for_itself() -> None:
    """What it said last is of before its death."""
    both = WHOLE.platform.machine("fra-e1")
    both = replace(both, further=(FurtherRole(role=Role.NODE, id=9),))
    machines = tuple(
        both if each.name == "fra-e1" else each for each in WHOLE.platform.machines
    )
    platform = replace(WHOLE.platform, machines=machines)
    statuses = dict(hearing("fra-e1", deaf=WITNESSES).statuses)
    statuses["fra-e1"] = replace(statuses["fra-e1"], missed=())
    assert missing_machines(platform, statuses).keys() == {"fra-e1"}
    statuses["fra-e2"] = replace(statuses["fra-e2"], missed=())
    assert missing_machines(platform, statuses) == {}, "the other edge hears it"


def test_the_edges_of_a_datacenter_are_looked_up_once_for_all_its_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For each node anew, it was nearly all of the time that a large platform takes."""
    asked = []

    def counting(platform: Platform, role: Role, datacenter: str = "") -> tuple[Machine, ...]:
        asked.append(datacenter)
        return machines_of(platform, role, datacenter)

    machines_of = Platform.machines_of
    monkeypatch.setattr(Platform, "machines_of", counting)
    for nodes in (5, 50):
        platform = make_platform({"fra": nodes, "ams": nodes})
        statuses = {
            each.name: MachineStatus(
                machine=each.name, missed=() if each.has(Role.EDGE) else None
            )
            for each in platform.machines
        }
        asked.clear()
        assert missing_machines(platform, statuses) == {}
        assert len(asked) == 2 * len(platform.datacenters)
