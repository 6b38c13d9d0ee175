"""Instances with a liveness probe: what it restarts, and what the other one does not."""

from dataclasses import replace

import pytest

from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import Phase
from pltfrms.model.services.service import Probe, ProbeKind
from tests.agent.bench import ONE, TWO, Bench, devices, make_target
from tests.simulation.virtual import run_virtual

ALIVE = Probe(kind=ProbeKind.HTTP, port=80, path="/alive")


def with_liveness(target: Target, interval_ms: int = ALIVE.interval_ms) -> Target:
    alive = replace(ALIVE, interval_ms=interval_ms)
    services = tuple(
        replace(
            each,
            spec=replace(
                each.spec,
                liveness=alive,
                probe=replace(each.spec.probe, interval_ms=interval_ms),
            ),
        )
        for each in target.services
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


@pytest.mark.parametrize("path", ["/", "/alive"])
def test_who_is_ordered_anew_all_the_time_is_asked_nevertheless(path: str) -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            target = with_liveness(make_target(1, ONE, TWO), interval_ms=5000)
            await bench.order(target)
            await bench.passes(2.0)
            bench.workload.unwell.add(f"{ONE.id} {path}")
            for number in range(2, 22):
                changed = (replace(each, changed_ms=number) for each in target.services)
                await bench.order(replace(target, generation=number, services=tuple(changed)))
                await bench.passes(0.5)
            assert "in a row" in bench.instances[ONE.id].failure

    run_virtual(story())


def test_who_is_not_ready_and_is_started_from_something_else_comes_again() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            target = with_liveness(make_target(1, ONE, TWO))
            await bench.order(target)
            bench.workload.unwell.add(f"{ONE.id} /")
            await bench.passes(30.0)
            assert bench.instances[ONE.id].phase is Phase.UNHEALTHY
            changed = (
                replace(
                    each,
                    spec=replace(each.spec, run=replace(each.spec.run, stop_grace_ms=1234)),
                )
                for each in target.services
            )
            await bench.order(replace(target, generation=2, services=tuple(changed)))
            await bench.passes(60.0)
            assert bench.instances[ONE.id].phase is Phase.UNHEALTHY
            assert started(bench) == 4
            bench.workload.unwell.clear()
            await bench.passes(60.0)
            assert bench.instances[ONE.id].phase is Phase.READY

    run_virtual(story())


def test_who_was_ready_before_the_agent_began_anew_has_no_time_to_start_once_more() -> None:
    async def story() -> None:
        bench = Bench()
        patient = replace(ALIVE, grace_ms=3_600_000)
        made = make_target(1, ONE, TWO)
        services = (
            replace(each, spec=replace(each.spec, liveness=patient)) for each in made.services
        )
        async with bench.life():
            await bench.order(replace(made, services=tuple(services)))
            assert bench.instances[ONE.id].phase is Phase.READY
        bench.workload.unwell.add(f"{ONE.id} /alive")
        async with bench.life():
            await bench.passes(30.0)
            assert "liveness probes failed in a row" in bench.instances[ONE.id].failure

    run_virtual(story())
