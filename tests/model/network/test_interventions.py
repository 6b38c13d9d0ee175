"""When a drain holds, what it fits, and how far it is."""

from typing import Any

import pytest

from pltfrms.model.network.interventions import Drain, DrainPhase, Interventions
from pltfrms.model.network.topology import Machine, Role

EDGE = Machine(name="fra-e1", datacenter="fra", role=Role.EDGE, id=1)
FAR = Machine(name="ams-e1", datacenter="ams", role=Role.EDGE, id=1)


def make_drain(**words: Any) -> Drain:
    return Drain(**{"since_ms": 1000, "wait_ms": 100, **words})


@pytest.mark.parametrize(
    ("now_ms", "phase"),
    [
        (999, DrainPhase.NONE),
        (1000, DrainPhase.SHUTDOWN),
        (1099, DrainPhase.SHUTDOWN),
        (1100, DrainPhase.WITHDRAWN),
        (1999, DrainPhase.WITHDRAWN),
        (2000, DrainPhase.NONE),
    ],
)
def test_a_drain_begins_and_ends_by_itself(now_ms: int, phase: DrainPhase) -> None:
    drain = make_drain(datacenter="fra", until_ms=2000)
    done = Interventions(drains=(drain,))
    assert done.drain_of("transit1", EDGE, "x-1", now_ms) is phase
    assert done.drain_of("transit1", FAR, "x-1", now_ms) is DrainPhase.NONE
    assert drain.is_over(now_ms) is (now_ms >= 2000)


def test_a_node_has_no_sessions_and_a_session_no_node() -> None:
    drains = (make_drain(node="fra-n1"), make_drain(node="fra-n2", until_ms=1500))
    done = Interventions(drains=(*drains, make_drain(peer="transit1")))
    assert done.drain_of("transit2", EDGE, "x-1", 5000) is DrainPhase.NONE
    assert done.drained_nodes(999) == frozenset()
    assert done.drained_nodes(1000) == {"fra-n1", "fra-n2"}
    assert done.drained_nodes(1500) == {"fra-n1"}


@pytest.mark.parametrize(
    ("since_ms", "until_ms", "overlaps"),
    [(0, 0, True), (0, 1000, False), (0, 1001, True), (2000, 0, False), (1999, 0, True)],
)
def test_two_drains_overlap_if_both_hold_at_some_time(
    since_ms: int,
    until_ms: int,
    overlaps: bool,  # noqa: FBT001 - a column of the table
) -> None:
    one = make_drain(node="a", until_ms=2000)
    other = make_drain(node="b", since_ms=since_ms, until_ms=until_ms)
    assert one.overlaps(other) is overlaps
    assert other.overlaps(one) is overlaps


def test_the_furthest_of_several_counts() -> None:
    drains = (make_drain(edge="fra-e1", wait_ms=0), make_drain(peer="transit1"))
    done = Interventions(drains=drains)
    assert done.drain_of("transit1", EDGE, "x-1", 1000) is DrainPhase.WITHDRAWN
    assert done.drain_of("transit1", FAR, "x-1", 1000) is DrainPhase.SHUTDOWN
