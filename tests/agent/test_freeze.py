"""A freeze: nothing of ours changes a route, and all is made up for afterwards."""

from dataclasses import replace

from pltfrms.agent.loop import Agent
from pltfrms.model.network.interventions import Freeze, Interventions
from pltfrms.model.running.machine import (
    AGGREGATE_TABLE,
    LOCAL_TABLE,
    SERVICE_TABLE,
    Nexthop,
    Route,
)
from pltfrms.model.running.plan import Reason, Target
from pltfrms.model.running.state import Phase, RoutingState
from tests.agent.bench import ONE, PLATFORM, TWO, WEB, Bench, devices, make_target
from tests.simulation.virtual import run_virtual

FROZEN = Interventions(freeze=Freeze(since_ms=1, why="storm", by="ann"))
LOCAL = tuple(
    Route(prefix=prefix, table=LOCAL_TABLE, proto=12, metric=32, nexthops=(Nexthop("fab-a"),))
    for prefix in WEB.prefixes
)


def _frozen(target: Target) -> Target:
    return replace(target, generation=target.generation + 1, interventions=FROZEN)


def _thawed(target: Target) -> Target:
    return replace(target, generation=target.generation + 2)


def _routing(bench: Bench) -> tuple[RoutingState, str]:
    return bench.status.routing.state, bench.status.routing.detail


def test_routes_of_dead_instances_stay_while_frozen() -> None:
    async def story() -> None:
        bench = Bench()
        target = make_target(1, ONE, TWO)
        async with bench.life():
            await bench.order(target, seconds=5.0)
            assert await devices(bench.network) == {"i1", "i2"}
            await bench.order(_frozen(target))
            before = await bench.network.routes(SERVICE_TABLE)
            bench.network.sentences.clear()
            bench.workload.hang(ONE.id)

            async def is_down() -> bool:
                return bench.instances[ONE.id].phase is not Phase.READY

            await bench.seconds_until(is_down)
            await bench.passes(0.1)
            assert await bench.network.routes(SERVICE_TABLE) == before
            assert bench.network.sentences == []
            assert _routing(bench) == (RoutingState.FROZEN, "frozen by ann: storm")
            await bench.order(_thawed(target), seconds=0.2)
            assert await devices(bench.network) == {"i2"}
            assert _routing(bench) == (RoutingState.CONFIRMED, "")

    run_virtual(story())


def test_a_killed_instance_is_started_again_but_not_routed_while_frozen() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO), seconds=5.0)
            bench.frozen = True
            await bench.passes(2.0)
            bench.network.sentences.clear()
            await bench.workload.crash(ONE.id)
            await bench.passes(10.0)
            assert bench.instances[ONE.id].restarts == 1
            assert bench.instances[ONE.id].phase is Phase.READY
            assert bench.network.sentences == []
            bench.frozen = False
            await bench.passes(1.5)
            assert await devices(bench.network) == {"i1", "i2"}

    run_virtual(story())


async def _see_a_frozen_edge(bench: Bench, agent: Agent) -> None:
    assert agent is bench.agent
    before = await bench.network.routes(AGGREGATE_TABLE)
    bench.network.sentences.clear()
    configs = list(bench.bird.configs)
    bench.pinger.rtt_ms = 40.0
    for route in LOCAL:
        bench.network.delete_route(route)
    bench.network.addresses["fab-a"].clear()
    await bench.passes(60.0)
    assert await bench.network.routes(AGGREGATE_TABLE) == before
    assert bench.network.sentences == []
    assert bench.bird.configs == configs
    assert bench.network.addresses["fab-a"] == set()
    assert {each.reason for each in bench.status.aggregates} == {Reason.FROZEN}
    assert {link.up for link in bench.status.links.values()} == {True}
    bench.pinger.rtt_ms = None
    await bench.passes(3.0)
    assert {link.up for link in bench.status.links.values()} == {False}, "it is still seen"
    assert bench.bird.configs == configs
    bench.pinger.rtt_ms = 40.0


def test_a_frozen_edge_keeps_aggregates_costs_and_rules() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        bench.bird.states = ()
        async with bench.life() as agent:
            for route in LOCAL:
                bench.network.set_route(route)
            await bench.order(make_target(1, machine="fra-e1"), seconds=6.0)
            addresses = set(bench.network.addresses["fab-a"])
            bench.frozen = True
            await bench.passes(2.0)
            await _see_a_frozen_edge(bench, agent)
            assert "file frozen" in bench.status.routing.detail
            cost = bench.bird.loaded
            bench.frozen = False
            await bench.passes(6.0)
            assert bench.network.addresses["fab-a"] == addresses
            assert bench.bird.loaded != cost
            assert bench.status.routing.state is RoutingState.CONFIRMED

    run_virtual(story())


def test_a_frozen_edge_that_gets_a_new_policy_does_not_try_it() -> None:
    async def story() -> None:
        bench = Bench("fra-n1")
        timers = replace(PLATFORM.timers, bfd_interval_ms=200)
        changed = replace(make_target(1), platform=replace(PLATFORM, timers=timers))
        async with bench.life():
            await bench.order(_frozen(changed), seconds=60.0)
            assert (bench.bird.trials, len(bench.bird.configs)) == ([], 1)
            await bench.order(_thawed(changed), seconds=5.0)
            assert bench.status.routing.state is RoutingState.CONFIRMED
            assert "200 ms" in bench.bird.loaded

    run_virtual(story())


def test_a_machine_that_boots_gets_its_network_though_frozen() -> None:
    """Else it could not hear that the freeze is over."""

    async def story() -> None:
        bench = Bench("fra-e1")
        bench.frozen, bench.bird.alive = True, False
        async with bench.life():
            assert len(bench.bird.configs) == 1
            assert bench.network.addresses["fab-a"]
            bench.bird.alive = True
            await bench.passes(14.0)
            assert "static.cold6" not in bench.bird.loaded
            assert bench.status.routing.state is RoutingState.FROZEN

    run_virtual(story())
