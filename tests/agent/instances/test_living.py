"""Instances with a liveness probe: what it restarts, and what the other one does not."""

from dataclasses import replace

from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import Phase
from pltfrms.model.services.service import Probe, ProbeKind
from tests.agent.bench import ONE, TWO, Bench, devices, make_target
from tests.simulation.virtual import run_virtual

ALIVE = Probe(kind=ProbeKind.HTTP, port=80, path="/alive")


def with_liveness(target: Target) -> Target:
    services = tuple(
        replace(each, spec=replace(each.spec, liveness=ALIVE)) for each in target.services
    )
    return replace(target, services=services)


def started(bench: Bench) -> int:
    return sum(deed.what == "start" for deed in bench.workload.deeds)


def test_who_is_not_ready_is_out_of_the_routes_and_goes_on_running() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(with_liveness(make_target(1, ONE, TWO)))
            bench.workload.unwell.add(f"{ONE.id} /")
            await bench.passes(120.0)
            status = bench.instances[ONE.id]
            assert (status.phase, status.restarts) == (Phase.UNHEALTHY, 0)
            assert "/ answers 503" in status.failure
            bench.workload.unwell.clear()
            await bench.passes(3.0)
            assert bench.instances[ONE.id].phase is Phase.READY
            assert started(bench) == 2

    run_virtual(story())


def test_who_does_not_live_is_restarted_though_it_says_that_it_is_ready() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(with_liveness(make_target(1, ONE, TWO)))
            await bench.passes(2.0)
            bench.workload.unwell.add(f"{ONE.id} /alive")
            await bench.passes(30.0)
            assert bench.instances[ONE.id].restarts > 0
            assert "liveness probes failed in a row" in bench.instances[ONE.id].failure
            bench.workload.unwell.clear()
            await bench.passes(60.0)
            assert bench.instances[ONE.id].phase is Phase.READY
            assert bench.instances[TWO.id].restarts == 0

    run_virtual(story())


def test_who_hangs_is_restarted_with_a_liveness_probe_too() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(with_liveness(make_target(1, ONE, TWO)))
            await bench.passes(2.0)
            bench.workload.hang(ONE.id)
            await bench.passes(4.0)
            assert bench.instances[ONE.id].restarts == 1
            assert await devices(bench.network) == {"i1", "i2"}

    run_virtual(story())
