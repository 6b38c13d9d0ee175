"""What agents let instances of a node send, and the addresses that they give them for it."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

from pltfrms.agent.network.egress import LOOK_SECONDS
from pltfrms.model.network.topology import Aggregate, Platform
from pltfrms.model.running.machine import Outgoing
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import Phase
from tests.agent.bench import ONE, PLATFORM, TWO, Bench, make_target
from tests.simulation.virtual import run_virtual

SIX = Aggregate(prefix=ip_network("2001:db8:a::/48"), unicast="fra")
UNICAST = replace(PLATFORM, aggregates=(*PLATFORM.aggregates, SIX))
OWN = ip_interface("2001:db8:a:1::1/128")
ABOUT = f"addresses of {ONE.id}"


def target(generation: int, platform: Platform = UNICAST) -> Target:
    return replace(make_target(generation, ONE, TWO), platform=platform)


def outgoing(bench: Bench) -> Outgoing | None:
    return bench.workload.outgoing(ONE.id)


def problems(bench: Bench) -> list[str]:
    return [each for each in bench.status.problems if each.startswith(ABOUT)]


def test_the_table_is_installed_kept_and_removed() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1))
            wanted = bench.egress_filter.text
            assert "2001:db8:a:1::1" in wanted
            bench.egress_filter.text = ""
            await bench.passes(LOOK_SECONDS + 1)
            assert bench.egress_filter.text == wanted
            await bench.order(target(2, PLATFORM))
            assert bench.egress_filter.text == ""
            said = [each.split(": ")[1] for each in bench.controllers.events("egress changed")]
            assert said == [f"{verb} inet pltfrms_egress" for verb in ("installed", "removed")]

    run_virtual(story())


def test_a_table_that_cannot_be_installed_is_a_problem_and_instances_serve() -> None:
    async def story() -> None:
        bench = Bench()
        bench.egress_filter.refuses = "nft is not installed"
        async with bench.life():
            await bench.order(target(1))
            assert "egress of instances: nft is not installed" in bench.status.problems
            assert bench.instances[ONE.id].phase is Phase.READY

    run_virtual(story())


def test_a_running_instance_gets_the_addresses_that_are_wanted_now() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, PLATFORM))
            assert outgoing(bench) is None
            await bench.order(target(2))
            given = outgoing(bench)
            assert given is not None
            assert given.addresses == (OWN,)
            await bench.order(target(3, PLATFORM))
            assert outgoing(bench) is None
            starts = [deed for deed in bench.workload.deeds if deed.allocation == ONE.id]
            assert len(starts) == 1, "it is the same process"

    run_virtual(story())


def test_addresses_that_could_not_be_given_are_tried_again_until_they_are() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, PLATFORM))
            bench.workload.refuses_addresses = "out of memory"
            await bench.order(target(2), 12.0)
            assert problems(bench) == [f"{ABOUT}: {ONE.id}: out of memory"]
            assert bench.instances[ONE.id].phase is Phase.READY
            bench.workload.refuses_addresses = ""
            await bench.passes(7.0)
            given = outgoing(bench)
            assert given is not None
            assert given.addresses == (OWN,)
            assert not problems(bench)

    run_virtual(story())


def test_what_is_wrong_with_addresses_is_over_with_the_wish_and_with_the_instance() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, PLATFORM))
            bench.workload.refuses_addresses = "out of memory"
            await bench.order(target(2))
            assert problems(bench)
            await bench.order(target(3, PLATFORM))
            assert not problems(bench), "nothing else is wanted any more"
            await bench.order(target(4))
            assert problems(bench)
            await bench.workload.crash(ONE.id)
            await bench.passes(2.0)
            assert not problems(bench), "its successor was started with them"
            await bench.order(target(5, PLATFORM))
            assert problems(bench)
            await bench.order(replace(make_target(6, TWO), platform=PLATFORM), 40.0)
            assert not problems(bench), "nothing runs any more"

    run_virtual(story())
