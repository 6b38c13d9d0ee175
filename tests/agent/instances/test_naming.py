"""Instances find services by name, also those that come later, whoever else is there."""

from dataclasses import replace

from pltfrms.model.running.balancer import BalancedService
from pltfrms.model.running.plan import Target
from pltfrms.model.services.service import Service
from tests.agent.bench import ONE, TWO, WEB, Bench, make_target
from tests.simulation.virtual import run_virtual
from tests.strategies import make_service, make_spec

API = make_service(make_spec("api"), 2)
WEB_LINES = (
    "2001:db8:100::1 web.test.internal web",
    "198.51.100.1 web.test.internal web",
)
API_LINES = (
    "2001:db8:100::2 api.test.internal api",
    "198.51.100.2 api.test.internal api",
)


def known(target: Target, *services: Service) -> Target:
    balanced = tuple(
        BalancedService(id=each.id, name=each.name, prefix4=each.prefix4, prefix6=each.prefix6)
        for each in services
    )
    return replace(target, balanced=balanced)


def test_an_instance_knows_all_services_from_its_start() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(known(make_target(1, ONE), API, WEB))
            assert bench.workload.names(ONE.id) == (*WEB_LINES, *API_LINES)

    run_virtual(story())


def test_who_runs_is_told_of_who_comes_and_goes_and_is_not_restarted() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(known(make_target(1, ONE), WEB))
            assert bench.workload.names(ONE.id) == WEB_LINES
            await bench.order(known(make_target(2, ONE, TWO), WEB, API))
            for each in (ONE, TWO):
                assert bench.workload.names(each.id) == (*WEB_LINES, *API_LINES)
            await bench.order(known(make_target(3, ONE, TWO), WEB))
            assert bench.workload.names(ONE.id) == WEB_LINES
            assert [deed.what for deed in bench.workload.deeds] == ["start", "start"]

    run_virtual(story())


def test_names_stay_without_controllers_and_over_the_next_life_of_the_agent() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(known(make_target(1, ONE), WEB, API))
        bench.controllers.alive = False
        async with bench.life():
            assert bench.workload.names(ONE.id) == (*WEB_LINES, *API_LINES)
            await bench.workload.crash(ONE.id)
            await bench.passes(1.0)
            assert bench.workload.names(ONE.id) == (*WEB_LINES, *API_LINES)

    run_virtual(story())


def test_a_machine_that_nobody_has_told_anything_takes_no_name_away() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(known(make_target(1, ONE), WEB))
        bench.disk.documents.clear()
        bench.controllers.latest = None
        async with bench.life():
            assert bench.workload.names(ONE.id) == WEB_LINES

    run_virtual(story())


def test_what_cannot_be_told_is_a_problem_and_is_told_later() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(known(make_target(1, ONE), WEB))
            bench.workload.refuses_names = "No space left on device"
            await bench.order(known(make_target(2, ONE), WEB, API))
            assert "names of services: No space left on device" in bench.status.problems
            assert bench.workload.names(ONE.id) == WEB_LINES
            bench.workload.refuses_names = ""
            await bench.passes(6.0)
            assert bench.status.problems == ()
            assert bench.workload.names(ONE.id) == (*WEB_LINES, *API_LINES)

    run_virtual(story())
