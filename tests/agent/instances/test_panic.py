"""Instances that say that they are ill: one is restarted, all of them are let be."""

from dataclasses import replace
from ipaddress import IPv6Address, ip_network
from unittest.mock import PropertyMock, patch

from pltfrms.agent.director.director import Director
from pltfrms.drivers.workload.memory import Behaviour
from pltfrms.model.running.balancer import BalancedService
from pltfrms.model.running.machine import (
    INSTANCE_TABLE,
    PROTO_ACTIVE,
    PROTO_BACKUP,
    PROTO_BIRD,
    PROTO_DRAINING,
    Route,
)
from pltfrms.model.running.plan import Allocation, Target
from pltfrms.model.running.state import Phase
from pltfrms.model.services.service import Service
from tests.agent.bench import ONE, PLATFORM, TWO, WEB, Bench, devices, make_target, routes
from tests.simulation.virtual import run_virtual
from tests.strategies import make_allocation

ACTIVE, BACKUP = 1010, 3010


def address(node: str, slot: int) -> IPv6Address:
    return PLATFORM.instance6(PLATFORM.machine(node), WEB.id, slot)


def forget(bench: Bench, node: str, slot: int) -> None:
    """Have BIRD tell that an instance is gone."""
    prefix = ip_network(address(node, slot))
    for other in (ACTIVE, BACKUP):
        bench.network.delete_route(
            Route(prefix=prefix, table=INSTANCE_TABLE, proto=PROTO_BIRD, metric=other)
        )


def tell(bench: Bench, node: str, slot: int, metric: int) -> None:
    """Have BIRD tell of an instance."""
    forget(bench, node, slot)
    prefix = ip_network(address(node, slot))
    bench.network.set_route(
        Route(prefix=prefix, table=INSTANCE_TABLE, proto=PROTO_BIRD, metric=metric)
    )


async def unicast_proto(bench: Bench, one: Allocation) -> int:
    own = str(ip_network(address("fra-n1", one.slot)))
    (route,) = await routes(bench.network, own)
    return route.proto


async def protos(bench: Bench) -> set[int]:
    return {route.proto for route in await routes(bench.network)}


def test_one_that_is_ill_is_out_of_the_routes_first_and_then_restarted() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO))
            tell(bench, "fra-n1", 1, BACKUP)
            tell(bench, "fra-n1", 2, ACTIVE)
            bench.workload.unwell.add(ONE.id)
            await bench.passes(1.2)
            assert await devices(bench.network) == {"i2"}
            await bench.passes(1.5)
            stop, start = bench.workload.deeds[-2:]
            assert (stop.what, stop.allocation, stop.routed) == (
                "stop",
                ONE.id,
                frozenset({"i2"}),
            )
            assert (start.what, start.allocation) == ("start", ONE.id)

    run_virtual(story())


def follow(bench: Bench) -> None:
    """Have BIRD tell of our own instances as they are."""
    for one in (ONE, TWO):
        status = bench.instances[one.id]
        if status.unwell or status.phase is Phase.READY:
            tell(bench, "fra-n1", one.slot, BACKUP if status.unwell else ACTIVE)
        else:
            forget(bench, "fra-n1", one.slot)


NO_TURN = patch("pltfrms.agent.instances.instances.is_its_turn", return_value=False)
"""It is nobody's turn to be restarted."""


BRISK = replace(
    WEB,
    spec=replace(WEB.spec, drain_ms=5000, probe=replace(WEB.spec.probe, grace_ms=1000)),
)
"""The same with short turns."""


def ordered(generation: int = 1, service: Service = WEB) -> Target:
    """Return a target for both, whose service directors know: it can be drained."""
    known = BalancedService(id=WEB.id, name=WEB.name, prefix4=WEB.prefix4, prefix6=WEB.prefix6)
    target = make_target(generation, ONE, TWO)
    return replace(target, services=(service,), balanced=(known,))


def test_while_all_are_ill_all_serve_and_each_is_restarted_once_after_the_other() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(ordered(service=BRISK))
            tell(bench, "fra-n2", 1, BACKUP)
            before = len(bench.workload.deeds)
            bench.workload.unwell |= {ONE.id, TWO.id}
            for _ in range(40):
                await bench.passes(0.05)
                follow(bench)
            assert await protos(bench) == {PROTO_BACKUP}
            for _ in range(500):
                await bench.passes(0.25)
                follow(bench)
                assert await devices(bench.network), "somebody is left"
            starts = [each for each in bench.workload.deeds[before:] if each.what == "start"]
            assert {each.allocation for each in starts} == {ONE.id, TWO.id}
            assert len(starts) == 2, "a restart that did not help is no help"
            apart = abs(starts[1].at - starts[0].at)
            assert apart > (BRISK.spec.drain_ms + BRISK.spec.probe.grace_ms) / 1000
            stops = [each for each in bench.workload.deeds[before:] if each.what == "stop"]
            own = {ONE.id: "i1", TWO.id: "i2"}
            assert len(stops) == 2
            assert all(own[each.allocation] not in each.routed for each in stops)
            assert all(status.unwell for status in bench.instances.values())
            assert {each.phase for each in bench.instances.values()} == {Phase.UNHEALTHY}
            assert len(bench.controllers.events("instance draining")) == 0

    run_virtual(story())


def test_nobody_is_withdrawn_or_restarted_while_they_become_well_again() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(ordered())
            before = len(bench.workload.deeds)
            bench.workload.unwell |= {ONE.id, TWO.id}
            for _ in range(100):
                await bench.passes(0.02)
                follow(bench)
            assert await protos(bench) == {PROTO_BACKUP}
            bench.workload.unwell.clear()
            for step in range(300):
                if step == 10:  # others are well already, and it is seen
                    tell(bench, "fra-n2", 1, ACTIVE)
                await bench.passes(0.01)
                assert await devices(bench.network) != set()
                assert {await unicast_proto(bench, one) for one in (ONE, TWO)} <= {
                    PROTO_ACTIVE,
                    PROTO_BACKUP,
                }
            assert await protos(bench) == {PROTO_ACTIVE}
            assert len(bench.workload.deeds) == before
            assert not any(status.unwell for status in bench.instances.values())

    with NO_TURN:
        run_virtual(story())


def test_one_that_stands_by_keeps_its_connections_until_it_is_restarted() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(ordered())
            tell(bench, "fra-n1", 2, ACTIVE)
            bench.workload.connect(ONE.id, 3)
            bench.workload.unwell.add(ONE.id)
            await bench.passes(3.0)
            assert await unicast_proto(bench, ONE) == PROTO_DRAINING
            assert bench.instances[ONE.id].phase is Phase.UNHEALTHY
            assert bench.instances[ONE.id].restarts == 0
            (said,) = bench.controllers.events("instance draining")
            assert "3 connections left" in said
            bench.workload.connect(ONE.id, 0)
            await bench.passes(2.0)
            assert bench.instances[ONE.id].restarts == 1

    run_virtual(story())


def test_one_that_is_not_wanted_any_more_while_it_leaves_is_drained_as_any() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(ordered())
            tell(bench, "fra-n1", 2, ACTIVE)
            bench.workload.connect(ONE.id, 1)
            bench.workload.unwell.add(ONE.id)
            await bench.passes(3.0)
            await bench.order(replace(ordered(2), allocations=(TWO,)), 3.0)
            assert bench.instances[ONE.id].phase is Phase.DRAINING
            assert await unicast_proto(bench, ONE) == PROTO_DRAINING

    run_virtual(story())


def test_a_new_agent_lets_those_stand_by_who_did() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(ordered())
            for slot in (1, 2):
                tell(bench, "fra-n1", slot, BACKUP)
            bench.workload.unwell |= {ONE.id, TWO.id}
            await bench.passes(2.0)
            before = len(bench.workload.deeds)
        async with bench.life(0.3):
            assert await protos(bench) == {PROTO_BACKUP}
            assert all(status.unwell for status in bench.instances.values())
            await bench.passes(60.0)
            assert len(bench.workload.deeds) == before, "their one restart may have been"

    with NO_TURN:
        run_virtual(story())


def test_what_is_ill_here_and_served_elsewhere_has_no_route_on_a_machine_that_knows() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(ordered())
            for slot in (1, 2):
                tell(bench, "fra-n1", slot, BACKUP)
            bench.workload.unwell |= {ONE.id, TWO.id}
            await bench.passes(2.0)
            assert await protos(bench) == {PROTO_BACKUP}
            knows = PropertyMock(return_value=frozenset({WEB.id}))
            with patch.object(Director, "elsewhere", knows):
                await bench.passes(2.0)
                assert await devices(bench.network) == set()
                assert await unicast_proto(bench, ONE) == PROTO_BACKUP
            await bench.passes(2.0)
            assert await devices(bench.network) == {"i1", "i2"}

    with NO_TURN:
        run_virtual(story())


def test_the_grace_of_one_that_waited_before_its_start_begins_with_it() -> None:
    async def story() -> None:
        bench = Bench()
        hasty = replace(
            WEB, spec=replace(WEB.spec, probe=replace(WEB.spec.probe, grace_ms=500))
        )
        bench.workload.behave = lambda _spec: Behaviour(healthy_after_ms=350)
        many = tuple(
            make_allocation(f"web.fra.{number}-1", "fra-n1", slot=number)
            for number in range(1, 21)
        )
        async with bench.life():
            await bench.order(replace(make_target(1, *many), services=(hasty,)), 5.0)
            assert {each.restarts for each in bench.instances.values()} == {0}

    run_virtual(story())


def test_one_that_does_not_answer_is_withdrawn_and_restarted_whoever_is_ill() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO))
            tell(bench, "fra-n1", 2, BACKUP)
            tell(bench, "fra-n2", 1, BACKUP)
            bench.workload.unwell.add(TWO.id)
            bench.workload.hang(ONE.id)
            await bench.passes(2.5)
            assert bench.instances[ONE.id].restarts == 1

    run_virtual(story())
