"""What agents let instances of a node send, and the addresses that they give them for it."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

from pltfrms.agent.control.targets import TARGET_FILE
from pltfrms.agent.network.egress import LOOK_SECONDS
from pltfrms.drivers.kernel.memory_filter import MemoryFilter
from pltfrms.model.network.topology import Aggregate, Platform
from pltfrms.model.running.balancer import BalancedService
from pltfrms.model.running.machine import Outgoing
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import Phase
from pltfrms.planner.instances.instances import instance_device
from tests.agent.bench import ONE, PLATFORM, TWO, WEB, Bench, make_target
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


class Remembering(MemoryFilter):
    """Remembers every table that it was to be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.given: list[str] = []

    async def apply(self, text: str) -> bool:
        self.given.append(text)
        return await super().apply(text)


def test_where_no_table_is_wanted_one_is_removed_once_and_not_looked_for_again() -> None:
    async def story() -> None:
        bench = Bench()
        bench.egress_filter = asked = Remembering("of an agent before us")
        asked.refuses = "nft is silent"
        async with bench.life():
            await bench.order(target(1, PLATFORM), LOOK_SECONDS * 2)
            assert len(asked.given) > 1, "until it is known"
            asked.refuses = ""
            await bench.passes(LOOK_SECONDS + 1)
            assert asked.text == ""
            asked.given.clear()
            await bench.passes(LOOK_SECONDS * 4)
            await bench.order(target(2, PLATFORM))
            assert asked.given == []
            await bench.order(target(3))
            assert asked.text
            await bench.order(target(4, PLATFORM))
            assert asked.text == ""

    run_virtual(story())


def test_losing_the_target_and_all_controllers_takes_no_egress_away() -> None:
    async def story() -> None:
        bench = Bench(platform=UNICAST)
        async with bench.life():
            await bench.order(target(1))
        before = bench.egress_filter.text
        bench.controllers.alive = False
        bench.disk.documents[TARGET_FILE] = b'{"half": '
        async with bench.life(LOOK_SECONDS * 3):
            assert bench.status.generation == 0
            assert bench.egress_filter.text == before
            bench.controllers.alive = True
            await bench.order(target(2), LOOK_SECONDS * 3)
            assert bench.egress_filter.text == before

    run_virtual(story())


def test_a_new_agent_judges_nobody_before_it_knows_who_drains() -> None:
    async def story() -> None:
        bench = Bench()
        balanced = BalancedService(
            id=WEB.id, name=WEB.name, prefix4=WEB.prefix4, prefix6=WEB.prefix6
        )
        async with bench.life():
            await bench.order(replace(target(1), balanced=(balanced,)))
            bench.workload.connect(ONE.id, 3)
            await bench.order(
                replace(target(2), allocations=(TWO,), balanced=(balanced,)), LOOK_SECONDS
            )
            assert bench.instances[ONE.id].phase is Phase.DRAINING
        before = bench.egress_filter.text
        assert instance_device(ONE.slot) in before
        bench.egress_filter = again = Remembering(before)
        bench.workload.fault = "cannot look"
        async with bench.life(LOOK_SECONDS * 2):
            assert again.given == []
            bench.workload.fault = ""
            again.text = ""
            await bench.passes(1.0)
            assert again.given[:1] == [before], "and then at once"
            assert bench.instances[ONE.id].phase is Phase.DRAINING
            bench.workload.connect(ONE.id, 0)
            await bench.passes(2.0)
            assert ONE.id not in bench.instances
            assert instance_device(ONE.slot) not in again.text

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
