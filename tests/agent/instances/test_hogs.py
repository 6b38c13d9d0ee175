"""Who takes too much, or does not go when it is asked to, is named."""

from dataclasses import replace

from pltfrms.drivers.workload.memory import Behaviour
from pltfrms.model.services.storage import IoLimits
from tests.agent.bench import ONE, TWO, Bench, make_target
from tests.simulation.virtual import run_virtual


def test_a_hog_is_a_problem_for_as_long_as_it_is_one() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO))
            assert not bench.status.problems
            bench.workload.hogging = {ONE.id: "has all of it"}
            await bench.passes(6)
            assert bench.status.problems == (f"load of {ONE.id}: has all of it",)
            bench.workload.hogging = {}
            await bench.passes(6)
            assert not bench.status.problems

    run_virtual(story())


def test_whose_use_of_the_disk_is_not_limited_is_said() -> None:
    async def story() -> None:
        bench = Bench()
        bench.workload.unlimited = "there is no io here"
        async with bench.life():
            target = make_target(1, ONE)
            await bench.order(target, 6)
            assert not bench.status.problems
            (service,) = (each for each in target.services if each.name == ONE.service)
            run = replace(service.spec.run, io=IoLimits(writes=9))
            limited = replace(service, spec=replace(service.spec, run=run))
            await bench.order(replace(target, generation=2, services=(limited,)), 6)
            assert bench.status.problems == (f"io of {ONE.service}: there is no io here",)
            bench.workload.unlimited = ""
            await bench.passes(6)
            assert not bench.status.problems

    run_virtual(story())


def test_it_is_told_who_had_to_be_killed() -> None:
    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda spec: Behaviour(
            ignores_sigterm=spec.allocation == ONE.id
        )
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO))
            await bench.order(make_target(2), 60)
            told = dict(
                each.split(": ", 1) for each in bench.controllers.events("instance stopped")
            )
            killed = "; did not end within 5 s of SIGTERM, and was killed"
            assert told[ONE.id].endswith(killed)
            assert not told[TWO.id].endswith(killed)

    run_virtual(story())
