"""What the world may do to imagined instances."""

import asyncio

import pytest

from pltfrms.drivers.kernel.memory import MemoryNetwork
from pltfrms.drivers.workload.memory import Behaviour, MemoryProber, MemoryWorkload
from tests.contracts.test_network import V4, V6
from tests.contracts.test_workload import HTTP, SERVICE, spec


class JumpingClock:
    """Waiting takes no time, and time goes on all the same."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def unix_ms(self) -> int:
        return int(self.now * 1000)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_an_instance_hangs_and_recovers() -> None:
    async def scenario() -> None:
        clock = JumpingClock()
        workload = MemoryWorkload(clock, MemoryNetwork())
        prober = MemoryProber(workload)
        instance = await workload.start(spec())
        assert (await prober.probe(instance, HTTP, SERVICE)).failure == ""
        workload.hang(instance.allocation)
        before = clock.now
        said = (await prober.probe(instance, HTTP, SERVICE)).failure
        assert said.endswith("no answer within 3000 ms")
        assert clock.now == before + 3
        workload.recover(instance.allocation)
        assert (await prober.probe(instance, HTTP, SERVICE)).failure == ""

    asyncio.run(scenario())


def test_an_instance_is_healthy_only_after_a_while() -> None:
    async def scenario() -> None:
        clock = JumpingClock()
        slow = Behaviour(healthy_after_ms=500)
        workload = MemoryWorkload(clock, MemoryNetwork(), lambda _spec: slow)
        prober = MemoryProber(workload)
        instance = await workload.start(spec())
        assert "refused" in (await prober.probe(instance, HTTP, SERVICE)).failure
        clock.now += 0.5
        assert (await prober.probe(instance, HTTP, SERVICE)).failure == ""

    asyncio.run(scenario())


@pytest.mark.parametrize("power", [True, False])
def test_routes_go_with_the_instance(*, power: bool) -> None:
    async def scenario() -> None:
        network = MemoryNetwork()
        workload = MemoryWorkload(JumpingClock(), network)
        instance = await workload.start(spec())
        await network.apply_routes([100], (V4, V6))
        waiting = asyncio.create_task(workload.wait(instance))
        await asyncio.sleep(0)
        if power:
            await workload.power_off()
        else:
            await workload.crash(instance.allocation, "killed by signal 9")
        assert await network.routes(100) == ()
        assert "killed" in await waiting
        assert await workload.running() == {}

    asyncio.run(scenario())
