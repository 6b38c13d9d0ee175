"""Evidence on nodes that are edges, too: nobody proves or denies their own life."""

import pytest

from pltfrms.model.network.topology import Platform
from pltfrms.model.running.state import MachineStatus, SessionStatus
from pltfrms.planner.placement.evidence import Evidence, judge
from tests.render.roles import PAIR, THREE

LIVES = "still ha"


def status(machine: str, *sessions: str, missed: tuple[str, ...] = ()) -> MachineStatus:
    up = tuple(SessionStatus(name=name, up=True) for name in sessions)
    return MachineStatus(machine=machine, sessions=up, missed=missed)


def evidence(platform: Platform, name: str, *statuses: MachineStatus) -> Evidence:
    said = {each.machine: each for each in statuses}
    return judge(platform, said, said.keys(), [name])[name]


def test_a_server_alone_at_its_site_is_lost_when_far_edges_have_no_way_to_it() -> None:
    found = evidence(
        THREE,
        "fra1",
        status("ams1", "edge.fra1", missed=("fra1",)),
        status("lon1", "edge.fra1", missed=("fra1",)),
    )
    assert not found.why_not_lost, "their sessions with it are up for 30 s more"
    assert not found.vanished, "a cut backbone looks the same: heartbeats are waited for"


def test_a_far_edge_that_reaches_it_proves_that_it_lives() -> None:
    found = evidence(
        THREE,
        "fra1",
        status("ams1", "edge.fra1"),
        status("lon1", "edge.fra1", missed=("fra1",)),
    )
    assert found.lives == "edge ams1 still has a session with it"


def test_what_it_said_itself_is_no_evidence() -> None:
    found = evidence(THREE, "fra1", status("fra1", "edge.ams1", missed=("ams1",)))
    assert found.unknown == "no other edge is in contact, which could say if it lives"
    assert not found.lives


@pytest.mark.parametrize("statuses", [(), (status("ams1"), status("lon1"))])
def test_without_evidence_it_is_unknown_and_not_lost(
    statuses: tuple[MachineStatus, ...],
) -> None:
    found = evidence(THREE, "fra1", *statuses)
    assert found.unknown
    assert not found.lives


def test_a_neighbour_in_its_datacenter_is_asked_before_far_edges() -> None:
    near = status("fra2", missed=("fra1",))
    assert not evidence(PAIR, "fra1", near, status("ams1", "edge.fra1")).why_not_lost
    hears = status("fra2", "node.fra1.a")
    far = status("ams1", missed=("fra1",))
    assert LIVES in evidence(PAIR, "fra1", hears, far).lives


def test_far_edges_are_asked_when_the_neighbour_is_gone_as_well() -> None:
    far = status("ams1", "edge.fra1", missed=("fra1", "fra2"))
    assert not evidence(PAIR, "fra1", far).why_not_lost
    assert evidence(PAIR, "fra1", status("ams1", "edge.fra1")).lives
