"""What agents fetch costs what has changed."""

import asyncio

import pytest

from pltfrms.model.api import Change, Heartbeat
from pltfrms.model.plan import Target
from pltfrms.model.state import MachineStatus, Snapshot
from pltfrms.planner.placement.target import make_target
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import simulate
from tests.strategies import make_spec


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the machines of all targets that are made from now on."""
    made: list[str] = []

    def count(snapshot: Snapshot, machine: str) -> Target:
        made.append(machine)
        return make_target(snapshot, machine)

    monkeypatch.setattr("pltfrms.controller.operations.make_target", count)
    return made


async def wait_all(cluster: Cluster, seconds: float) -> list[asyncio.Task[Target | None]]:
    """Return the long polls of all machines, which know the last commit."""
    commit = cluster.stored().commit
    ask = cluster.operations.target
    polls = [
        asyncio.create_task(ask(machine.name, commit, round(seconds * 1000)))
        for machine in cluster.platform.managed
    ]
    await cluster.clock.sleep(0.1)
    return polls


def test_no_target_is_made_before_there_is_a_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made = counted(monkeypatch)

    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(5)
        made.clear()
        polls = await wait_all(cluster, 20)
        for number in range(10):  # statuses change meanwhile
            status = MachineStatus(machine="fra-c1", boot=f"boot-{number}")
            await cluster.operations.heartbeat(Heartbeat(status=status))
            await cluster.clock.sleep(1)
        assert made == []
        await cluster.operations.apply(Change(services=(make_spec("api"),)))
        began = cluster.clock.monotonic()
        targets = await asyncio.gather(*polls)
        assert cluster.clock.monotonic() - began < 0.5
        assert all(targets)

    simulate(story)
