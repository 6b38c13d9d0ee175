"""What others start: the agent announces it or not, and leaves it alone."""

from dataclasses import replace

from pltfrms.drivers.kernel.devices import here_end
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import Phase
from pltfrms.model.services.container import Adopted
from pltfrms.model.services.service import Run
from tests.agent.bench import ONE, TWO, Bench, devices, make_target
from tests.simulation.virtual import run_virtual


def by_others(target: Target) -> Target:
    run = Run(cpu=0.0, memory_bytes=0, adopted=Adopted())
    services = tuple(
        replace(each, spec=replace(each.spec, run=run)) for each in target.services
    )
    return replace(target, services=services)


def test_what_hangs_is_withdrawn_and_comes_back_without_a_restart() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(by_others(make_target(1, ONE, TWO)))
            await bench.passes(2.0)
            assert await devices(bench.network) == {"i1", "i2"}
            bench.workload.hang(ONE.id)
            await bench.passes(120.0)
            status = bench.instances[ONE.id]
            assert (status.phase, status.restarts) == (Phase.UNHEALTHY, 0)
            assert await devices(bench.network) == {"i2"}
            assert {each.peak for each in bench.instances.values()} == {None}
            assert bench.status.problems == (), "nobody measures what is not ours"
            bench.workload.recover(ONE.id)
            await bench.passes(3.0)
            assert await devices(bench.network) == {"i1", "i2"}
            assert here_end("i1") in bench.network.addresses
            assert not await devices(bench.network, "10.1.1.1/32"), "nobody has that address"
        async with bench.life():
            await bench.passes(2.0)
            assert await devices(bench.network) == {"i1", "i2"}
            assert {each.what for each in bench.workload.deeds} == {"start"}
            assert len(bench.workload.deeds) == 2

    run_virtual(story())
