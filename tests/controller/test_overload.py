"""Overload never looks like loss, and what is asked all the time costs little."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from pltfrms.model.api import Heartbeat
from pltfrms.model.state import MachineStatus, RoutingStatus
from tests.controller.cluster import Cluster
from tests.controller.test_fair_contact import nobody_is_lost
from tests.simulation.virtual import run_virtual
from tests.strategies import make_platform

STATUS = MachineStatus(machine="fra-n1", routing=RoutingStatus(wanted="a", running="a"))


@pytest.mark.parametrize("list_seconds", [1.0, 3.0, 10.0])
def test_heartbeats_are_taken_at_once_however_long_a_list_takes(list_seconds: float) -> None:
    async def disturb(cluster: Cluster) -> None:
        for seat in cluster.seats.values():
            seat.store.list_seconds = lambda: list_seconds
        for agent in cluster.agents.values():
            agent.refused = 0
        await cluster.clock.sleep(25)
        assert [agent.name for agent in cluster.agents.values() if agent.refused] == []
        for seat in cluster.seats.values():
            seat.store.list_seconds = lambda: 0.0

    nobody_is_lost(disturb)


@contextmanager
def counted_steps() -> Iterator[Callable[[], int]]:
    """Count the steps of the interpreter: a measure of cost that no other load changes."""
    steps = 0

    def count(frame: FrameType, event: str, _argument: object) -> object:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)  # type: ignore[arg-type]
    try:
        yield lambda: steps
    finally:
        sys.settrace(before)


def steps_of_a_heartbeat(nodes: int, status: MachineStatus) -> int:
    platform = make_platform({"fra": nodes})

    async def story() -> int:
        cluster = Cluster(platform)
        seat = next(iter(cluster.seats.values()))
        seat.start()
        await cluster.until(lambda: seat.controller.view.platform is not None, 5)
        assert seat.operations
        for _ in range(3):
            await cluster.clock.sleep(1)
            await seat.operations.heartbeat(Heartbeat(status=status))
        with counted_steps() as steps:
            await seat.operations.heartbeat(Heartbeat(status=status))
            return steps()

    return run_virtual(story())


def test_a_heartbeat_costs_the_same_however_many_machines_there_are() -> None:
    few, many = (steps_of_a_heartbeat(nodes, STATUS) for nodes in (20, 200))
    assert many <= 1.2 * few, (few, many)
