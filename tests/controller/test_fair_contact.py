"""Nobody is told to be lost who had no fair chance to reach a controller that works."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from pltfrms.errors import UnavailableError
from pltfrms.model.running.state import Contact
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import simulate
from tests.simulation.virtual import VirtualLoop


async def told_lost(cluster: Cluster) -> list[str]:
    events = await cluster.operations.events(0, 0, 1000)
    return [event.about for event in events if event.what == "machine lost"]


def nobody_is_lost(disturb: Callable[[Cluster], Awaitable[None]], seed: int = 1) -> None:
    """Disturb a cluster five times, at various moments, and look what it tells and decides."""

    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(15)
        before = cluster.stored().allocations
        watching = asyncio.create_task(never_lost(cluster))
        for _ in range(5):
            await disturb(cluster)
            await cluster.clock.sleep(12 + cluster.random.random())
        assert not watching.done(), watching.result()
        watching.cancel()
        assert await told_lost(cluster) == []
        assert cluster.stored().allocations == before

    simulate(story, seed)


async def never_lost(cluster: Cluster) -> None:
    while True:
        for seat in cluster.seats.values():
            with suppress(UnavailableError):
                machines = seat.controller.view.snapshot().machines
                lost = [name for name, each in machines.items() if each.contact is Contact.LOST]
                assert lost == [], seat.name
        await cluster.clock.sleep(0.1)


@pytest.mark.parametrize("seconds", [0.7, 1.5, 2.2, 2.6, 2.9, 3.4, 5.0, 12.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_store_without_a_leader_for_a_while_loses_nobody(seconds: float, seed: int) -> None:
    async def disturb(cluster: Cluster) -> None:
        for seat in cluster.seats.values():
            seat.store.unavailable = True
        await cluster.clock.sleep(seconds)
        for seat in cluster.seats.values():
            seat.store.unavailable = False

    nobody_is_lost(disturb, seed)


@pytest.mark.parametrize("delay", [0.5, 0.7, 1.2])
@pytest.mark.parametrize("seconds", [3.0, 9.0])
def test_a_store_that_is_slow_for_a_while_loses_nobody(delay: float, seconds: float) -> None:
    async def disturb(cluster: Cluster) -> None:
        for seat in cluster.seats.values():
            seat.store.delay_seconds = lambda: delay
        await cluster.clock.sleep(seconds)
        for seat in cluster.seats.values():
            seat.store.delay_seconds = lambda: 0.0

    nobody_is_lost(disturb)


@pytest.mark.parametrize("seconds", [2.5, 4.0, 20.0])
def test_a_store_that_answers_lists_and_takes_no_heartbeats_loses_nobody(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_number: int) -> None:
        raise UnavailableError("no space")

    async def disturb(cluster: Cluster) -> None:
        with monkeypatch.context() as patch:
            for seat in cluster.seats.values():
                patch.setattr(seat.store, "keep_alive", refuse)
                patch.setattr(seat.store, "grant", refuse)
            await cluster.clock.sleep(seconds)

    nobody_is_lost(disturb)


@pytest.mark.parametrize("seconds", [1.5, 2.1, 2.5, 2.9, 6.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_controllers_and_agents_without_a_processor_for_a_while_lose_nobody(
    seconds: float, seed: int
) -> None:
    async def disturb(cluster: Cluster) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        for agent in cluster.agents.values():
            agent.cut = True
        loop.stall(seconds)
        await cluster.clock.sleep(1.3)  # agents get the processor later
        for agent in cluster.agents.values():
            agent.cut = False

    nobody_is_lost(disturb, seed)


@pytest.mark.parametrize("seconds", [4.0, 6.0, 8.5])
def test_agents_of_all_datacenters_that_say_nothing_for_a_while_are_not_lost(
    seconds: float,
) -> None:
    async def disturb(cluster: Cluster) -> None:
        for agent in cluster.agents.values():
            agent.cut = True
        await cluster.clock.sleep(seconds)
        assert any(
            "no edge or controller is called lost: " in problem
            for problem in cluster.operations.controller.problems
        )
        for agent in cluster.agents.values():
            agent.cut = False

    nobody_is_lost(disturb)


@pytest.mark.parametrize(
    ("datacenters", "seconds"), [(("fra",), 7.5), (("fra", "lon"), 12.0)], ids=str
)
def test_datacenters_that_are_really_gone_are_told_of_in_seconds(
    datacenters: tuple[str, ...], seconds: float
) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(15)
        gone = [name for name in cluster.agents if name.partition("-")[0] in datacenters]
        for name in gone:
            cluster.agents[name].dead = True
        await cluster.clock.sleep(seconds)
        lost = {f"machine/{name}" for name in gone if "-n" not in name}
        assert set(await told_lost(cluster)) == lost

    simulate(story)


def test_a_dead_machine_is_told_once_after_a_disturbance_as_before() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(15)
        for seat in cluster.seats.values():
            seat.store.unavailable = True
        await cluster.clock.sleep(2.5)
        cluster.agents["fra-n1"].dead = True
        for seat in cluster.seats.values():
            seat.store.unavailable = False
        await cluster.clock.sleep(6)
        assert await told_lost(cluster) == []
        await cluster.clock.sleep(4)
        assert await told_lost(cluster) == ["machine/fra-n1"]
        await cluster.clock.sleep(60)
        assert await told_lost(cluster) == ["machine/fra-n1"]

    simulate(story)
