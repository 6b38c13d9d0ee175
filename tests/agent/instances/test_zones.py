"""Name servers answer for what there is: they are told of it while they run, by nobody else."""

import re
from dataclasses import replace

from pltfrms.model.running.balancer import BalancedService
from pltfrms.model.running.plan import Target
from pltfrms.model.services.names import ZoneUse
from pltfrms.model.services.service import Service
from tests.agent.bench import ONE, WEB, Bench, make_target
from tests.simulation.virtual import run_virtual
from tests.strategies import make_service, make_spec

RELOAD = ("nsd-control", "reload")
USE = ZoneUse(reload=RELOAD, servers=("ns2.example.net",))
NS = replace(WEB, spec=replace(WEB.spec, run=replace(WEB.spec.run, zones=USE)))
API = make_service(make_spec("api"), 2)
REFUSED = f"{ONE.id} {RELOAD[0]}"
FORWARD = "zones/test.internal.zone"


def target(generation: int, *services: Service) -> Target:
    known = tuple(
        BalancedService(id=each.id, name=each.name, prefix4=each.prefix4, prefix6=each.prefix6)
        for each in (NS, *services)
    )
    return replace(make_target(generation, ONE), services=(NS,), balanced=known)


def serial(text: str) -> int:
    found = re.search(r" SOA .*\. (\d+) 3600 ", text)
    assert found
    return int(found[1])


def test_it_starts_with_the_zones_and_is_told_of_other_ones_without_a_restart() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(4))
            files = bench.workload.live(ONE.id)
            assert "@\tIN NS web.test.internal.\n@\tIN NS ns2.example.net.\n" in files[FORWARD]
            assert serial(files[FORWARD]) == 4
            listed = re.findall('name: "(.*)"', files["zones/nsd.conf"])
            assert {f"zones/{each}.zone" for each in listed} == files.keys() - {
                "zones/nsd.conf"
            }
            await bench.passes(6.0)  # it may have been started by an agent that ended since
            assert bench.workload.ran(ONE.id) == [RELOAD]

            await bench.order(target(7, API))
            text = bench.workload.live(ONE.id)[FORWARD]
            assert "api\tIN AAAA 2001:db8:100::2\n" in text
            assert serial(text) == 7
            assert bench.workload.ran(ONE.id) == [RELOAD] * 2

            await bench.order(target(9, API))
            await bench.passes(6.0)
            assert bench.workload.live(ONE.id)[FORWARD] == text, "nothing of it is another"
            assert bench.workload.ran(ONE.id) == [RELOAD] * 2
            assert [deed.what for deed in bench.workload.deeds] == ["start"]

    run_virtual(story())


def test_who_cannot_be_told_is_a_problem_and_is_told_later() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(4))
            await bench.passes(6.0)
            bench.workload.unwell.add(REFUSED)
            await bench.order(target(5, API))
            assert any(
                each.startswith(f"zones of {ONE.id}: exec ") for each in bench.status.problems
            )
            assert bench.instances[ONE.id].phase == "ready"
            tries = len(bench.workload.ran(ONE.id))
            bench.workload.unwell.clear()
            await bench.passes(6.0)
            assert bench.status.problems == ()
            assert bench.workload.ran(ONE.id) == [RELOAD] * (tries + 1)

    run_virtual(story())


def test_a_problem_ends_with_the_instance() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            bench.workload.unwell.add(REFUSED)
            await bench.order(target(4))
            await bench.passes(6.0)
            assert bench.status.problems != ()
            await bench.order(replace(target(5), allocations=()), 12.0)
            assert bench.status.problems == ()

    run_virtual(story())


def test_the_next_life_of_the_agent_goes_on_without_controllers() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(4, API))
            await bench.passes(6.0)
            before = bench.workload.live(ONE.id)
        bench.controllers.alive = False
        async with bench.life():
            await bench.passes(6.0)
            assert bench.workload.live(ONE.id) == before
            assert bench.workload.ran(ONE.id) == [RELOAD] * 2
            await bench.workload.crash(ONE.id)
            await bench.passes(6.0)
            assert bench.workload.live(ONE.id) == before

    run_virtual(story())


def test_a_domain_that_has_one_of_the_servers_in_it_ends_no_name_server() -> None:
    """Of a name in it there is no address; a new agent finds the instance all the same."""

    async def story() -> None:
        bench = Bench()
        before = target(5)
        later = replace(before, platform=replace(before.platform, domain="example.net"))
        async with bench.life():
            await bench.order(target(4))
            await bench.order(later)
        async with bench.life():
            await bench.passes(6.0)
            text = bench.workload.live(ONE.id)["zones/example.net.zone"]
            assert "@\tIN NS web.example.net.\n" in text
            assert "ns2" not in text
            assert bench.instances[ONE.id].phase == "ready"
            assert bench.status.problems == ()
            assert [deed.what for deed in bench.workload.deeds] == ["start"]

    run_virtual(story())


def test_nobody_else_is_given_zones() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(1, ONE))
            await bench.passes(6.0)
            assert bench.workload.live(ONE.id) == {}
            assert bench.workload.ran(ONE.id) == []

    run_virtual(story())
