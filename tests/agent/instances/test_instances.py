"""Instances die, hang, come and go; the routes are always right first."""

import itertools
from dataclasses import replace

import pytest

from pltfrms.agent.instances.runner import FAILURE_MAX, SPREAD_SECONDS
from pltfrms.drivers.workload.memory import Behaviour
from pltfrms.model.running.machine import Instance
from pltfrms.model.running.state import Peak, Phase
from pltfrms.model.services.service import Scale
from pltfrms.planner.instances.health import FORGIVE_AFTER_SECONDS
from pltfrms.planner.instances.mass import share_of
from tests.agent.bench import ONE, TWO, WEB, Bench, devices, make_target, routes
from tests.simulation.virtual import run_virtual
from tests.strategies import make_allocation


def test_a_placed_instance_is_announced_once_it_answers() -> None:
    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda _: Behaviour(healthy_after_ms=1000)
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO), 0.9)
            assert bench.instances[ONE.id].phase is Phase.STARTING
            assert await devices(bench.network) == set()
            assert await devices(bench.network, "10.1.1.1/32") == {"i1"}
            await bench.passes(0.5)
            assert bench.instances[ONE.id].phase is Phase.READY
            assert await devices(bench.network) == {"i1", "i2"}
            assert [route.metric for route in await routes(bench.network)] == [20]
            assert bench.controllers.heartbeats[-1].status == bench.status

    run_virtual(story())


def test_a_dead_instance_loses_its_route_before_anything_else_and_restarts_at_once() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO))
            died_at = bench.clock.monotonic()
            await bench.workload.crash(ONE.id)
            await bench.passes(0.3)
            again = bench.workload.deeds[-1]
            assert (again.what, again.allocation, again.routed) == (
                "start",
                ONE.id,
                frozenset({"i2"}),
            )
            assert again.at - died_at < 0.01
            assert await devices(bench.network) == {"i1", "i2"}
            assert bench.instances[ONE.id].restarts == 1
            assert bench.controllers.events("instance ended")

    run_virtual(story())


def test_a_hung_instance_is_out_of_the_routes_first_and_is_restarted() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO))
            bench.workload.hang(ONE.id)

            async def out() -> bool:
                return await devices(bench.network) == {"i2"}

            assert await bench.seconds_until(out) < 2 * 0.8 + 0.1
            await bench.passes(1.5)
            stop, start = bench.workload.deeds[-2:]
            assert (stop.what, stop.routed) == ("stop", frozenset({"i2"}))
            assert (start.what, start.routed) == ("start", frozenset({"i2"}))
            assert await devices(bench.network) == {"i1", "i2"}

    run_virtual(story())


def test_an_instance_that_keeps_dying_is_restarted_ever_later() -> None:
    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda _: Behaviour(crash_after_ms=200)
        async with bench.life():
            await bench.order(make_target(1, ONE), 40.0)
            starts = [deed.at for deed in bench.workload.deeds]
            waits = [later - earlier for earlier, later in itertools.pairwise(starts)]
            own = 1 - share_of(ONE.id) / 2
            assert waits[:7] == pytest.approx(
                [0.25 + own * w for w in (0, 0.5, 1, 2, 4, 8, 16)], abs=0.02
            )
            assert bench.instances[ONE.id].phase is Phase.BACKOFF

    run_virtual(story())


def test_only_of_a_service_that_is_scaled_by_it_an_agent_tells_the_cpu() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            bench.workload.cores = {ONE.id: 0.1, TWO.id: 0.3}
            await bench.order(make_target(1, ONE, TWO), 60.0)
            assert {each.cpu_percent for each in bench.instances.values()} == {None}
            spec = replace(WEB.spec, scale=Scale(min=1, max=4, cpu=0.7))
            scaled = replace(make_target(2, ONE, TWO), services=(replace(WEB, spec=spec),))
            await bench.order(scaled, 1.0)
            told = {name: each.cpu_percent for name, each in bench.instances.items()}
            assert told == {ONE.id: 50, TWO.id: 150}

    run_virtual(story())


def test_only_of_a_service_that_is_scaled_by_them_an_agent_tells_connections() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            bench.workload.cores = {ONE.id: 0.1, TWO.id: 0.3}
            bench.workload.rates = {ONE.id: 20.0, TWO.id: 150.0}
            for generation, scale, told in (
                (2, Scale(min=1, max=4, cpu=0.7), {None}),
                (3, Scale(min=1, max=4, connections=100), {20, 150}),
            ):
                web = replace(WEB, spec=replace(WEB.spec, scale=scale))
                target = replace(make_target(generation, ONE, TWO), services=(web,))
                await bench.order(target, 60.0)
                assert {each.connections for each in bench.instances.values()} == told
            assert {each.cpu_percent for each in bench.instances.values()} == {None}

    run_virtual(story())


def test_of_every_instance_an_agent_tells_the_most_that_it_did_once_it_was_ready() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            bench.workload.cores = {ONE.id: 0.1, TWO.id: 0.3}
            bench.workload.rates = {ONE.id: 20.0, TWO.id: 150.0}
            await bench.order(make_target(1, ONE, TWO), 12.0)
            assert {each.peak for each in bench.instances.values()} == {None}
            await bench.passes(20.0)
            assert {name: each.peak for name, each in bench.instances.items()} == {
                ONE.id: Peak(cpu_percent=55, connections=23, hours=1),
                TWO.id: Peak(cpu_percent=170, connections=170, hours=1),
            }

    run_virtual(story())


def test_what_a_start_takes_is_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda _: Behaviour(healthy_after_ms=9000)

        began = bench.clock.monotonic()

        def busy_at_first(_: Instance) -> float:
            return min(10.0, bench.clock.monotonic() - began)

        monkeypatch.setattr(bench.workload, "cpu_seconds", busy_at_first)
        async with bench.life():
            await bench.order(make_target(1, ONE), 70.0)
            peak = bench.instances[ONE.id].peak
            assert peak is not None
            assert peak.cpu_percent == 0

    run_virtual(story())


def test_how_an_instance_failed_is_told_until_it_has_proved_itself() -> None:
    how = "exited with status 3, and said last: " + "x" * 5000

    async def scenario() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(5, ONE))
            assert bench.instances[ONE.id].failure == ""
            await bench.workload.crash(ONE.id, how)
            await bench.passes(FORGIVE_AFTER_SECONDS / 2)
            status = bench.instances[ONE.id]
            assert status.phase is Phase.READY
            assert status.failure.startswith(how[:100])
            assert len(status.failure) <= FAILURE_MAX
            await bench.passes(FORGIVE_AFTER_SECONDS)
            assert bench.instances[ONE.id].failure == ""

    run_virtual(scenario())


def test_an_instance_that_cannot_be_started_is_reported_with_the_reason() -> None:
    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda _: Behaviour(refuses="no such file: nginx")
        async with bench.life():
            await bench.order(make_target(1, ONE), 5.0)
            status = bench.instances[ONE.id]
            assert status.phase is Phase.BACKOFF
            assert "no such file: nginx" in status.detail
            bench.workload.behave = lambda _: Behaviour()
            await bench.passes(5.0)
            assert bench.instances[ONE.id].phase is Phase.READY

    run_virtual(story())


def test_an_instance_no_longer_wanted_loses_its_route_and_is_then_stopped() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO))
            bench.controllers.latest = make_target(2, TWO)

            async def out() -> bool:
                return await devices(bench.network) == {"i2"}

            await bench.seconds_until(out)
            withdrawn_at = bench.clock.monotonic()
            assert bench.instances[ONE.id].phase is Phase.STOPPING
            assert await devices(bench.network, "10.1.1.1/32") == {"i1"}
            await bench.passes(1.0)
            stop = bench.workload.deeds[-1]
            assert (stop.what, stop.allocation, stop.routed) == (
                "stop",
                ONE.id,
                frozenset({"i2"}),
            )
            assert stop.at - withdrawn_at >= SPREAD_SECONDS - 0.01
            assert ONE.id not in bench.instances
            assert await devices(bench.network, "10.1.1.1/32") == set()

    run_virtual(story())


def test_a_slot_is_used_again_only_when_it_is_free() -> None:
    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda _: Behaviour(ignores_sigterm=True)
        async with bench.life():
            await bench.order(make_target(1, ONE))
            successor = make_allocation("web.fra.1-2", "fra-n1", slot=ONE.slot)
            await bench.order(make_target(2, successor), 4.0)
            assert ONE.id in await bench.workload.running()
            await bench.passes(3.0)
            assert set(await bench.workload.running()) == {successor.id}
            assert await devices(bench.network) == {"i1"}

    run_virtual(story())


def test_a_changed_spec_of_the_same_allocation_is_a_restart_that_is_announced() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO))
            run = replace(WEB.spec.run, cpu=0.7)
            changed = replace(WEB, spec=replace(WEB.spec, run=run))
            await bench.order(replace(make_target(2, ONE, TWO), services=(changed,)))
            assert [deed.what for deed in bench.workload.deeds[2:]].count("stop") == 2
            assert bench.instances[ONE.id].phase is Phase.READY
            assert bench.instances[ONE.id].restarts == 1
            assert bench.controllers.events("instance stopping")

    run_virtual(story())


def test_during_a_rollout_the_old_version_goes_on_and_even_restarts_as_it_was() -> None:
    async def story() -> None:
        bench = Bench()
        newer = replace(
            WEB, version=2, spec=replace(WEB.spec, run=replace(WEB.spec.run, cpu=0.7))
        )
        fresh = make_allocation("web.fra.2-2", "fra-n1", slot=3, version=2)
        async with bench.life():
            await bench.order(make_target(1, ONE))
            old = (await bench.workload.running())[ONE.id]
            await bench.order(replace(make_target(2, ONE, fresh), services=(newer,)))
            assert (await bench.workload.running())[ONE.id] == old
            assert await devices(bench.network) == {"i1", "i3"}
        async with bench.life():
            assert (await bench.workload.running())[ONE.id] == old
            await bench.workload.crash(ONE.id)
            await bench.passes(1.0)
            again = (await bench.workload.running())[ONE.id]
            assert (again.pid, again.fingerprint) != (old.pid, old.fingerprint)
            assert again.fingerprint == old.fingerprint

    run_virtual(story())


def test_an_old_version_that_nobody_here_remembers_is_left_alone_while_it_runs() -> None:
    async def story() -> None:
        bench = Bench()
        newer = replace(
            WEB, version=2, spec=replace(WEB.spec, run=replace(WEB.spec.run, cpu=0.7))
        )
        async with bench.life():
            await bench.order(make_target(1, ONE))
            old = (await bench.workload.running())[ONE.id]
        bench.disk.documents.clear()
        bench.controllers.latest = replace(make_target(2, ONE), services=(newer,))
        async with bench.life(5.0):
            assert bench.status.generation == 2
            assert (await bench.workload.running())[ONE.id] == old
            assert await devices(bench.network) == {"i1"}

    run_virtual(story())
