"""A machine that is cut off from all others keeps whom it knew, until it knows again."""

from dataclasses import replace
from ipaddress import ip_network

from pltfrms.agent.director.director import ALONE_SECONDS, BEAT_SECONDS, REUNION_SECONDS
from pltfrms.model.running.machine import BfdState, BgpState
from tests.agent.bench import DEFAULTS, PLATFORM, WEB
from tests.agent.test_director import OTHERS, Directed, instance, ready
from tests.simulation.virtual import run_virtual

FAR_LINE = BfdState("203.0.113.0", "ext-transit1", up=True, since="12:00")


def test_an_edge_that_is_cut_off_goes_on_with_whom_it_knew_until_it_knows_again() -> None:
    async def scenario() -> None:
        machine = Directed()
        everybody = {instance(slot) for slot in (1, 2, 3)}
        for slot in (1, 2, 3):
            machine.network.set_route(ready(slot))
        async with machine.running():
            for slot in (1, 2, 3):  # sessions are not lost at the same instant
                machine.network.delete_route(ready(slot))
                await machine.clock.sleep(0.05)
            machine.network.delete_route(OTHERS)
            await machine.clock.sleep(ALONE_SECONDS + 60)
            assert machine.served() == everybody
            machine.network.set_route(OTHERS)
            machine.network.set_route(ready(2))
            machine.network.set_route(ready(4))
            await machine.clock.sleep(REUNION_SECONDS / 2)
            assert machine.served() == everybody | {instance(4)}, "who knows of 1 and 3 yet?"
            await machine.clock.sleep(REUNION_SECONDS + BEAT_SECONDS)
            assert machine.served() == {instance(2), instance(4)}

    run_virtual(scenario())


def test_what_other_datacenters_told_before_its_lines_died_does_not_count() -> None:
    """Their sessions time out after half a minute; without them it would lead all astray."""

    async def scenario() -> None:
        machine = Directed()
        machine.network.set_route(ready(1))
        async with machine.running():
            lines, machine.bird.bfd = machine.bird.bfd, frozenset({FAR_LINE})
            machine.network.delete_route(ready(1))
            await machine.clock.sleep(10)
            assert machine.served() == {instance(1)}
            machine.bird.bfd = lines
            await machine.clock.sleep(REUNION_SECONDS + 2 * BEAT_SECONDS)
            assert machine.served() == set()

    run_virtual(scenario())


def test_an_edge_that_nodes_tell_of_nobody_is_not_cut_off() -> None:
    """The only service of a platform has no instance anywhere for a while."""

    async def scenario() -> None:
        machine = Directed()
        machine.network.delete_route(OTHERS)
        machine.network.set_route(ready(1))
        machine.bird.states = (BgpState(name="node.fra-n1.a", up=True, detail="Established"),)
        async with machine.running():
            machine.network.delete_route(ready(1))
            await machine.clock.sleep(ALONE_SECONDS + BEAT_SECONDS)
            assert machine.served() == set()
            machine.network.set_route(ready(2))
            await machine.clock.sleep(0.05)
            assert machine.served() == {instance(2)}, "not the one that has gone for good"

    run_virtual(scenario())


def test_an_edge_whose_datacenter_is_lost_leaves_it_to_the_others() -> None:
    async def scenario() -> None:
        machine = Directed()
        machine.network.set_route(ready(1))
        async with machine.running():
            machine.network.delete_route(ready(1))
            await machine.clock.sleep(0.05)
            assert machine.kernel.tables == {}

    run_virtual(scenario())


def test_a_node_without_a_way_out_keeps_the_others_and_an_agent_begun_then_its_tables() -> None:
    async def scenario() -> None:
        machine = Directed("fra-n1")
        elsewhere = PLATFORM.instance6(PLATFORM.machine("fra-n2"), WEB.id, 1)
        other = replace(ready(1), prefix=ip_network(elsewhere))
        machine.network.add_device("i1")
        for route in (ready(1), other):
            machine.network.set_route(route)
        async with machine.running():
            await machine.director.attach({"i1": instance(1)})
            machine.network.delete_route(other)
            for default in DEFAULTS:
                machine.network.delete_route(default)
            machine.network.set_route(replace(DEFAULTS[1], proto=16))  # of its management
            await machine.clock.sleep(10)
            assert machine.served() == {instance(1), elsewhere}
        machine.network.delete_route(ready(1))
        machine.director = machine.make_director()
        machine.director.want(machine.target())
        async with machine.running():
            await machine.clock.sleep(10)
            assert machine.served() == {instance(1), elsewhere}

    run_virtual(scenario())
