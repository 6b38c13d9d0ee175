"""A ready instance that is to go keeps the connections it has, for a while."""

import json
import math
from dataclasses import replace

import pytest

from pltfrms.agent.instances.drains import DRAINS_FILE
from pltfrms.agent.instances.runner import SPREAD_SECONDS
from pltfrms.codec import decode
from pltfrms.drivers.workload.memory import Behaviour
from pltfrms.drivers.workload.ports import CONNECTIONS_UNKNOWN
from pltfrms.model.running.balancer import BalancedService
from pltfrms.model.running.machine import (
    PROTO_ACTIVE,
    PROTO_DRAINING,
    PROTO_REACHABLE,
    Instance,
)
from pltfrms.model.running.plan import Allocation, Target
from pltfrms.model.running.state import Phase
from pltfrms.model.services.container import Adopted
from pltfrms.model.services.service import Run
from tests.agent.bench import ONE, PLATFORM, TWO, WEB, Bench, devices, make_target, routes
from tests.simulation.virtual import run_virtual
from tests.strategies import make_allocation

BALANCED = BalancedService(id=WEB.id, name=WEB.name, prefix4=WEB.prefix4, prefix6=WEB.prefix6)
DRAIN_SECONDS = WEB.spec.drain_ms / 1000


def target(generation: int, *allocations: Allocation) -> Target:
    """Return a target as controllers make it: without the services that do not run here."""
    services = (WEB,) if allocations else ()
    made = make_target(generation, *allocations)
    return replace(made, services=services, balanced=(BALANCED,))


def unicast(allocation: Allocation) -> str:
    node = PLATFORM.machine(allocation.node)
    return f"{PLATFORM.instance6(node, WEB.id, allocation.slot)}/128"


async def proto(bench: Bench, allocation: Allocation) -> int | None:
    """Return the protocol number of the unicast route of an instance, if there is one."""
    found = await routes(bench.network, unicast(allocation))
    return found[0].proto if found else None


def stops(bench: Bench) -> dict[str, float]:
    return {d.allocation: d.at for d in bench.workload.deeds if d.what == "stop"}


def test_connections_are_waited_for_and_no_longer() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, ONE, TWO))
            assert await proto(bench, ONE) == PROTO_ACTIVE
            bench.workload.connect(ONE.id, 3)
            await bench.order(target(2, TWO))
            assert bench.instances[ONE.id].phase is Phase.DRAINING
            assert "3 connections left" in bench.instances[ONE.id].detail
            assert await devices(bench.network) == {"i2"}
            assert await proto(bench, ONE) == PROTO_DRAINING
            await bench.passes(12)
            bench.workload.connect(ONE.id, 1)
            await bench.passes(5)
            assert ONE.id not in stops(bench)
            first, second = bench.controllers.events("instance draining")
            assert "3 connections left, for 30 s" in first
            assert "3 connections left, for 19 s" in second
            bench.workload.connect(ONE.id, 0)
            emptied_at = bench.clock.monotonic()
            await bench.passes(1)
            assert stops(bench)[ONE.id] - emptied_at < 0.3 + SPREAD_SECONDS
            assert ONE.id not in bench.instances
            assert await proto(bench, ONE) is None
            (words,) = bench.controllers.events("instance stopping")
            assert "not wanted any more: no connection left after" in words

    run_virtual(story())


def test_an_idle_instance_goes_at_once_but_out_of_the_tables_first() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, ONE, TWO))
            bench.controllers.latest = target(2, TWO)

            async def draining() -> bool:
                return await proto(bench, ONE) == PROTO_DRAINING

            async def out() -> bool:
                return await proto(bench, ONE) == PROTO_REACHABLE

            await bench.seconds_until(draining)
            assert await bench.seconds_until(out) >= SPREAD_SECONDS - 0.01
            out_at = bench.clock.monotonic()
            await bench.passes(1)
            assert SPREAD_SECONDS - 0.01 <= stops(bench)[ONE.id] - out_at < 2 * SPREAD_SECONDS
            assert bench.controllers.events("instance draining") == []

    run_virtual(story())


@pytest.mark.parametrize(("late", "longest"), [(1.2, 1.8), (math.inf, 2.6)])
def test_while_an_edge_still_sends_new_connections_it_stays(
    late: float, longest: float
) -> None:
    """However soon each of them ends; not for ever: nobody else may be there."""

    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, ONE, TWO))
            bench.workload.rates = {ONE.id: 20.0}
            bench.controllers.latest = target(2, TWO)
            begun_at = bench.clock.monotonic()
            await bench.passes(min(late, 1.8))
            assert await proto(bench, ONE) == PROTO_DRAINING
            if late < math.inf:
                bench.workload.rates = {}
            await bench.passes(2)
            stopped_at = stops(bench)[ONE.id]
            assert stopped_at - begun_at < longest + SPREAD_SECONDS

    run_virtual(story())


@pytest.mark.parametrize("count", [2, CONNECTIONS_UNKNOWN])
def test_a_drain_ends_whoever_is_still_connected(count: int) -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, ONE, TWO))
            bench.workload.connect(ONE.id, count)
            bench.controllers.latest = target(2, TWO)
            begun_at = bench.clock.monotonic()
            await bench.passes(DRAIN_SECONDS - 1)
            assert ONE.id not in stops(bench)
            await bench.passes(3)
            assert stops(bench)[ONE.id] - begun_at == pytest.approx(DRAIN_SECONDS, abs=1)
            words = "2 connections left" if count > 0 else "it is not known how many"
            assert words in bench.controllers.events("instance stopping")[0]

    run_virtual(story())


def test_the_order_is_out_of_the_tables_then_empty_then_asked_then_killed() -> None:
    """Of one that holds connections, and hears nothing."""

    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda _: Behaviour(ignores_sigterm=True)
        async with bench.life():
            await bench.order(target(1, ONE, TWO))
            bench.workload.connect(ONE.id, 1)
            await bench.order(target(2, TWO), 5.0)
            assert bench.instances[ONE.id].phase is Phase.DRAINING
            assert await devices(bench.network) == {"i2"}
            assert ONE.id not in stops(bench)
            bench.workload.connect(ONE.id, 0)
            await bench.passes(2)
            asked_at = stops(bench)[ONE.id]
            assert bench.instances[ONE.id].phase is Phase.STOPPING
            assert await proto(bench, ONE) == PROTO_REACHABLE

            async def gone() -> bool:
                return ONE.id not in await bench.workload.running()

            await bench.seconds_until(gone)
            grace_seconds = WEB.spec.run.stop_grace_ms / 1000
            assert bench.clock.monotonic() - asked_at == pytest.approx(grace_seconds, abs=0.1)
            await bench.passes(1)
            assert ONE.id not in bench.instances

    run_virtual(story())


def test_what_is_not_ready_or_cannot_be_found_is_not_drained() -> None:
    async def story(wanted: Target, *, hang: bool) -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, ONE, TWO))
            bench.workload.connect(ONE.id, 5)
            if hang:
                bench.workload.hang(ONE.id)
                await bench.passes(1.7)
            await bench.order(wanted, 1.6)
            assert ONE.id in stops(bench)
            assert bench.controllers.events("instance draining") == []

    plain = target(2, TWO)
    run_virtual(story(plain, hang=True))
    run_virtual(story(replace(plain, balanced=()), hang=False))  # the service is deleted
    off = replace(PLATFORM, director=False)
    run_virtual(story(replace(plain, platform=off), hang=False))


def test_without_time_to_drain_it_only_waits_for_the_edges() -> None:
    async def story() -> None:
        hasty = replace(WEB, spec=replace(WEB.spec, drain_ms=0))
        bench = Bench()
        async with bench.life():
            await bench.order(replace(target(1, ONE, TWO), services=(hasty,)))
            bench.workload.connect(ONE.id, 5)
            await bench.order(replace(target(2, TWO), services=(hasty,)), 1)
            assert ONE.id in stops(bench)

    run_virtual(story())


def test_what_others_start_is_drained_on_by_the_next_agent() -> None:
    """Its pid is that of the agent: another one in each life."""
    run = Run(cpu=0.0, memory_bytes=0, adopted=Adopted())
    theirs = replace(WEB, spec=replace(WEB.spec, run=run))

    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(replace(target(1, ONE), services=(theirs,)))
            bench.workload.connect(ONE.id, 3)
            await bench.order(target(2))
            assert bench.instances[ONE.id].phase is Phase.DRAINING
        before = (await bench.workload.running())[ONE.id]
        one = bench.workload.find(before)
        assert one
        one.instance = replace(before, pid=before.pid + 1)
        async with bench.life():
            assert bench.instances[ONE.id].phase is Phase.DRAINING
            bench.workload.connect(ONE.id, 0)
            await bench.passes(3.0)
            assert ONE.id not in bench.instances
            assert bench.disk.documents[DRAINS_FILE] == b"[]"

    run_virtual(story())


def test_a_draining_instance_that_dies_is_just_gone() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, ONE, TWO))
            bench.workload.connect(ONE.id, 3)
            await bench.order(target(2, TWO))
            await bench.workload.crash(ONE.id)
            await bench.passes(0.1)
            assert ONE.id not in bench.instances
            assert await proto(bench, ONE) is None
            assert bench.disk.documents[DRAINS_FILE] == b"[]"
            await bench.passes(DRAIN_SECONDS)
            assert await bench.workload.running() == {
                TWO.id: (await bench.workload.running())[TWO.id]
            }

    run_virtual(story())


@pytest.mark.parametrize("others", [(TWO,), ()])
def test_a_new_agent_drains_on(others: tuple[Allocation, ...]) -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, ONE, *others))
            bench.workload.connect(ONE.id, 3)
            begun_at = bench.clock.monotonic()
            await bench.order(target(2, *others), 10)
        bench.network.sentences.clear()
        async with bench.life():
            assert bench.instances[ONE.id].phase is Phase.DRAINING
            assert await proto(bench, ONE) == PROTO_DRAINING
            assert bench.network.sentences == []
            await bench.passes(15)
            assert ONE.id not in stops(bench)
            await bench.passes(6)
            assert stops(bench)[ONE.id] - begun_at == pytest.approx(DRAIN_SECONDS, abs=1)
            assert ONE.id not in bench.instances

    run_virtual(story())


def test_a_memory_of_drains_that_cannot_be_read_is_a_problem_and_no_more() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, ONE, TWO))
        bench.disk.documents[DRAINS_FILE] = b"[{"
        async with bench.life():
            assert any("memory of drains" in problem for problem in bench.status.problems)
            assert await devices(bench.network) == {"i1", "i2"}
            await bench.order(target(2, TWO))
            assert bench.status.problems == ()

    run_virtual(story())


def test_what_is_wanted_again_is_ready_again() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, ONE, TWO))
            before = await bench.workload.running()
            bench.workload.connect(ONE.id, 3)
            await bench.order(target(2, TWO))
            await bench.order(target(3, ONE, TWO))
            assert bench.instances[ONE.id].phase is Phase.READY
            assert await devices(bench.network) == {"i1", "i2"}
            await bench.passes(DRAIN_SECONDS)
            assert await bench.workload.running() == before

    run_virtual(story())


def test_an_agent_that_starts_anew_during_a_stop_lets_it_last_as_its_spec_says() -> None:
    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda _: Behaviour(ignores_sigterm=True)
        slow = replace(
            WEB, spec=replace(WEB.spec, run=replace(WEB.spec.run, stop_grace_ms=60_000))
        )
        async with bench.life():
            await bench.order(replace(target(1, ONE), services=(slow,)))
            await bench.order(target(2), 3.0)
            assert ONE.id in stops(bench)
        async with bench.life(50.0):
            assert set(await bench.workload.running()) == {ONE.id}
            await bench.passes(15.0)
            assert await bench.workload.running() == {}

    run_virtual(story())


def test_what_the_release_before_drained_is_given_the_time_that_its_spec_says() -> None:
    """No record of that release says how long a stop may last."""

    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda _: Behaviour(ignores_sigterm=True)
        run = replace(WEB.spec.run, stop_grace_ms=60_000)
        slow = replace(WEB, spec=replace(WEB.spec, run=run))
        async with bench.life():
            await bench.order(replace(target(1, ONE), services=(slow,)))
            bench.workload.connect(ONE.id, 1)
            await bench.order(target(2))
        one = bench.workload.find((await bench.workload.running())[ONE.id])
        (drain,) = json.loads(bench.disk.documents[DRAINS_FILE])
        assert one is not None
        assert drain["instance"].pop("stop_grace_ms") == one.instance.stop_grace_ms
        bench.disk.documents[DRAINS_FILE] = json.dumps([drain]).encode()
        one.instance = decode(Instance, json.dumps(drain["instance"]))
        bench.workload.connect(ONE.id, 0)
        async with bench.life(50.0):
            assert ONE.id in stops(bench)
            assert set(await bench.workload.running()) == {ONE.id}
            await bench.passes(20.0)
            assert await bench.workload.running() == {}

    run_virtual(story())


def test_a_changed_spec_drains_and_then_starts() -> None:
    async def story() -> None:
        bench = Bench()
        run = replace(WEB.spec.run, cpu=0.7)
        changed = replace(WEB, spec=replace(WEB.spec, run=run))
        async with bench.life():
            await bench.order(target(1, ONE))
            bench.workload.connect(ONE.id, 3)
            await bench.order(replace(target(2, ONE), services=(changed,)), 10)
            assert bench.instances[ONE.id].phase is Phase.DRAINING
            bench.workload.connect(ONE.id, 0)
            await bench.passes(2)
            assert bench.instances[ONE.id].phase is Phase.READY
            assert bench.instances[ONE.id].restarts == 1
            assert await proto(bench, ONE) == PROTO_ACTIVE

    run_virtual(story())


def test_a_successor_in_the_same_slot_waits_for_the_drain_and_no_longer() -> None:
    async def story() -> None:
        bench = Bench()
        successor = make_allocation("web.fra.1-2", "fra-n1", slot=ONE.slot)
        async with bench.life():
            await bench.order(target(1, ONE))
            bench.workload.connect(ONE.id, 3)
            await bench.order(target(2, successor), DRAIN_SECONDS - 1)
            assert set(await bench.workload.running()) == {ONE.id}
            await bench.passes(4)
            assert set(await bench.workload.running()) == {successor.id}

    run_virtual(story())
