"""Who is not heard by its neighbours, while its heartbeats are not late yet."""

from dataclasses import replace

import pytest

from pltfrms.model.messages.picture import Seen
from pltfrms.model.running.state import Contact, SessionStatus, Snapshot
from tests.seen.test_picture import WHOLE, of, seen, unheard

WITNESSES = ("fra-n1", "fra-n2", "fra-e2", "ams-e1")


def hearing(edge: str, *, deaf: tuple[str, ...] = ()) -> Snapshot:
    """Return the platform with sessions with an edge, of which the `deaf` have lost theirs."""
    statuses = dict(WHOLE.statuses)
    for name in WITNESSES:
        session = SessionStatus(name=f"edge.{edge}", up=name not in deaf)
        statuses[name] = replace(statuses[name], sessions=(*statuses[name].sessions, session))
    return replace(WHOLE, statuses=statuses)


def test_an_edge_that_nobody_hears_is_not_known_before_its_heartbeat_is_late() -> None:
    view = seen(hearing("fra-e1", deaf=WITNESSES))
    edge = of(view, "edges", "fra-e1")
    assert (edge.state, edge.last) == (Seen.UNKNOWN, Seen.GOOD)
    assert "none of 4 machines" in edge.why
    assert edge.since_ms == 0, "it is in contact for longer than it is not heard"
    assert [each.about for each in view.problems] == ["fra-e1"]
    assert of(view, "edges", "fra-e2").state is Seen.GOOD


@pytest.mark.parametrize("deaf", [(), WITNESSES[:1], WITNESSES[1:]])
def test_one_that_is_heard_is_as_it_says(deaf: tuple[str, ...]) -> None:
    assert of(seen(hearing("fra-e1", deaf=deaf)), "edges", "fra-e1").state is Seen.GOOD


def test_one_witness_alone_may_be_the_one_that_is_cut_off() -> None:
    others = WITNESSES[1:]
    for contact in (Contact.UNKNOWN, Contact.LOST):
        snapshot = unheard(hearing("fra-e1", deaf=WITNESSES), *others, contact=contact)
        assert of(seen(snapshot), "edges", "fra-e1").state is Seen.GOOD


def test_who_is_lost_is_bad_whatever_neighbours_said() -> None:
    snapshot = unheard(hearing("fra-e1", deaf=WITNESSES), "fra-e1", contact=Contact.LOST)
    assert of(seen(snapshot), "edges", "fra-e1").state is Seen.BAD


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
