"""Instances that say that they are ill: one is restarted, most of them are let be."""

from ipaddress import IPv6Address, ip_network

from pltfrms.model.running.machine import (
    INSTANCE_TABLE,
    PROTO_ACTIVE,
    PROTO_BACKUP,
    PROTO_BIRD,
    Route,
)
from pltfrms.model.running.state import Phase
from tests.agent.bench import ONE, PLATFORM, TWO, WEB, Bench, devices, make_target, routes
from tests.simulation.virtual import run_virtual

ACTIVE, BACKUP = 1010, 3010


def address(node: str, slot: int) -> IPv6Address:
    return PLATFORM.instance6(PLATFORM.machine(node), WEB.id, slot)


def tell(bench: Bench, node: str, slot: int, metric: int) -> None:
    """Have BIRD tell of an instance."""
    prefix = ip_network(address(node, slot))
    for other in (ACTIVE, BACKUP):
        bench.network.delete_route(
            Route(prefix=prefix, table=INSTANCE_TABLE, proto=PROTO_BIRD, metric=other)
        )
    bench.network.set_route(
        Route(prefix=prefix, table=INSTANCE_TABLE, proto=PROTO_BIRD, metric=metric)
    )


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


def test_while_most_are_ill_all_serve_and_none_is_restarted_twice() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO))
            for node, slot in (("fra-n1", 1), ("fra-n1", 2), ("fra-n2", 1)):
                tell(bench, node, slot, BACKUP)
            before = len(bench.workload.deeds)
            bench.workload.unwell |= {ONE.id, TWO.id}
            await bench.passes(2.0)
            assert await protos(bench) == {PROTO_BACKUP}
            for _ in range(1200):
                await bench.passes(0.5)
                assert await devices(bench.network), "somebody is left"
            starts = [each for each in bench.workload.deeds[before:] if each.what == "start"]
            assert [each.allocation for each in sorted(starts, key=lambda s: s.allocation)] == [
                ONE.id,
                TWO.id,
            ]
            stops = [each for each in bench.workload.deeds[before:] if each.what == "stop"]
            own = {ONE.id: "i1", TWO.id: "i2"}
            assert len(stops) == 2
            assert all(own[each.allocation] not in each.routed for each in stops)
            assert all(status.unwell for status in bench.instances.values())
            assert {each.phase for each in bench.instances.values()} == {Phase.UNHEALTHY}
            bench.workload.unwell.clear()
            await bench.passes(2.0)
            assert await protos(bench) == {PROTO_ACTIVE}
            assert not any(status.unwell for status in bench.instances.values())

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
