"""The agent starts anew: from disk, without controllers, without touching what runs."""

from dataclasses import replace

from pltfrms.model.running.state import Phase
from tests.agent.bench import ONE, TWO, Bench, devices, make_target, routes
from tests.simulation.virtual import run_virtual


def test_a_machine_that_never_met_a_controller_routes_already() -> None:
    async def story() -> None:
        bench = Bench()
        bench.controllers.alive = False
        async with bench.life():
            assert len(bench.bird.configs) == 1
            assert bench.network.rules
            loopback = {str(address) for address in bench.network.addresses["lo"]}
            assert loopback >= {"10.1.1.0/32"}
            assert bench.status.generation == 0

    run_virtual(story())


def test_a_rebooted_node_starts_its_instances_from_disk_without_controllers() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(5, ONE, TWO))
        bench.controllers.alive = False
        await bench.workload.power_off()
        assert await devices(bench.network) == set()
        async with bench.life():
            assert await devices(bench.network) == {"i1", "i2"}
            assert bench.status.generation == 5

    run_virtual(story())


def test_a_new_agent_adopts_instances_without_any_change_of_routes() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(5, ONE, TWO))
        before, running = await routes(bench.network), await bench.workload.running()
        bench.network.sentences.clear()
        async with bench.life(5.0):
            assert await routes(bench.network) == before
            assert await bench.workload.running() == running
            assert bench.network.sentences == []
            assert {each.phase for each in bench.instances.values()} == {Phase.READY}
            assert {each.restarts for each in bench.instances.values()} == {0}
            await bench.workload.crash(ONE.id)
            await bench.passes(1.0)
            assert bench.instances[ONE.id].restarts == 1

    run_virtual(story())


def test_an_adopted_instance_that_was_not_announced_must_answer_first() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(5, ONE))
        for route in await bench.network.routes(100):
            bench.network.delete_route(route)
        bench.workload.hang(ONE.id)
        async with bench.life(1.0):
            assert bench.instances[ONE.id].phase is Phase.STARTING
            assert await devices(bench.network) == set()
            bench.workload.recover(ONE.id)
            await bench.passes(1.0)
            assert await devices(bench.network) == {"i1"}

    run_virtual(story())


def test_what_died_while_no_agent_looked_is_started_again() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(5, ONE, TWO))
        await bench.workload.crash(ONE.id)
        async with bench.life():
            assert await devices(bench.network) == {"i1", "i2"}

    run_virtual(story())


def test_without_a_target_nothing_that_runs_is_stopped() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(5, ONE, TWO))
        bench.disk.documents.clear()
        bench.controllers.alive = False
        before = await bench.network.routes(100)
        async with bench.life(30.0):
            assert set(await bench.workload.running()) == {ONE.id, TWO.id}
            assert await bench.network.routes(100) == before
            bench.controllers.alive = True
            bench.controllers.latest = make_target(6, TWO)
            await bench.passes(3.0)
            assert set(await bench.workload.running()) == {TWO.id}
            assert await devices(bench.network) == {"i2"}

    run_virtual(story())


def test_a_target_on_disk_that_cannot_be_read_is_said_and_stops_nothing() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(5, ONE))
        bench.disk.documents["target.json"] = b'{"half": '
        bench.controllers.alive = False
        async with bench.life(10.0):
            assert await devices(bench.network) == {"i1"}
            assert any("target.json" in problem for problem in bench.status.problems)

    run_virtual(story())


def test_routes_are_not_touched_before_the_running_instances_are_known() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(5, ONE))
        bench.workload.fault = "too many open files"
        async with bench.life(5.0):
            assert await devices(bench.network) == {"i1"}
            assert any("too many open files" in problem for problem in bench.status.problems)
            bench.workload.fault = ""
            await bench.passes(1.0)
            assert bench.instances[ONE.id].phase is Phase.READY
            assert bench.status.problems == ()

    run_virtual(story())


def test_the_boot_word_and_the_limits_are_reported() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            assert (bench.status.boot, bench.status.limits) == (
                "boot-1",
                "not enforced: instances are imagined",
            )
            assert replace(bench.status) == bench.controllers.heartbeats[-1].status

    run_virtual(story())
