"""Nobody hears of an instance while its machine cannot answer clients."""

from dataclasses import replace

from pltfrms.agent.instances.answering import PATIENCE_SECONDS
from pltfrms.model.running.state import Phase
from tests.agent.bench import DEFAULTS, ONE, Bench, devices, make_target, routes
from tests.simulation.virtual import run_virtual

INSTANCE6 = "fd00:0:1:1001:1:1:0:1/128"
TOLD, REACHABLE = 181, 184


def booted(*defaults: int) -> Bench:
    """A machine that has just started and has the defaults of these IP versions alone."""
    bench = Bench()
    for default in DEFAULTS:
        if default.prefix.version not in defaults:
            bench.network.delete_route(default)
    return bench


async def instance_proto(bench: Bench) -> list[int]:
    return [route.proto for route in await routes(bench.network, INSTANCE6)]


def test_a_service_is_announced_only_when_edges_have_told_both_default_routes() -> None:
    async def story() -> None:
        bench = booted(4)
        async with bench.life():
            await bench.order(make_target(1, ONE), 3.0)
            assert bench.instances[ONE.id].phase is Phase.READY
            assert await devices(bench.network) == set()
            assert await instance_proto(bench) == [REACHABLE]
            (problem,) = bench.status.problems
            assert "no default route of IPv6" in problem
            bench.network.set_route(DEFAULTS[1])
            await bench.passes(0.3)
            assert await devices(bench.network) == {"i1"}
            assert await instance_proto(bench) == [TOLD]
            assert bench.status.problems == ()

    run_virtual(story())


def test_a_default_route_of_the_operating_system_does_not_lead_back_to_clients() -> None:
    async def story() -> None:
        bench = booted(4)
        bench.network.set_route(replace(DEFAULTS[1], proto=16, metric=1024))
        async with bench.life():
            await bench.order(make_target(1, ONE), 3.0)
            assert await devices(bench.network) == set()

    run_virtual(story())


def test_defaults_that_go_again_withdraw_nothing() -> None:
    async def story() -> None:
        bench = booted(4, 6)
        async with bench.life():
            await bench.order(make_target(1, ONE), 3.0)
            for default in DEFAULTS:
                bench.network.delete_route(default)
            await bench.passes(5)
            assert await devices(bench.network) == {"i1"}

    run_virtual(story())


def test_an_agent_that_restarts_without_defaults_withdraws_nothing() -> None:
    async def story() -> None:
        bench = booted(4, 6)
        async with bench.life():
            await bench.order(make_target(1, ONE), 3.0)
        for default in DEFAULTS:
            bench.network.delete_route(default)
        async with bench.life(5):
            assert await devices(bench.network) == {"i1"}

    run_virtual(story())


def test_who_is_never_told_a_default_serves_after_a_while_whom_it_can() -> None:
    async def story() -> None:
        bench = booted()
        async with bench.life():
            await bench.order(make_target(1, ONE), PATIENCE_SECONDS - 5)
            assert await devices(bench.network) == set()
            await bench.passes(6)
            assert await devices(bench.network) == {"i1"}

    run_virtual(story())


def test_a_node_without_services_waits_for_nothing() -> None:
    async def story() -> None:
        bench = booted()
        async with bench.life():
            await bench.order(make_target(1, ONE), 3.0)
            assert bench.status.problems
            bench.controllers.latest = replace(make_target(2), services=())
            await bench.passes(5)
            assert bench.status.problems == ()

    run_virtual(story())
