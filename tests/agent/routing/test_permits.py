"""An edge accepts from its nodes what is placed there, or was until lately."""

import re
from dataclasses import replace

from pltfrms.agent.routing.permits import PERMITS_FILE
from pltfrms.model.network.topology import Guards, NodePrefixes, Platform
from pltfrms.model.running.plan import Placed, Target
from pltfrms.model.running.state import RoutingState
from pltfrms.render.bird import policy_fingerprint
from tests.agent.bench import PLATFORM, WEB, Bench
from tests.simulation.virtual import run_virtual
from tests.strategies import make_service, make_spec

API = make_service(replace(make_spec("api"), drain_ms=3_600_000), 2)
ONLY_PLACED = replace(PLATFORM, guards=Guards(node_prefixes=NodePrefixes.PLACED))
ANY = None


def _bench(platform: Platform = ONLY_PLACED) -> Bench:
    return Bench("fra-e1", platform)


def _target(generation: int, *ids: int, platform: Platform = ONLY_PLACED) -> Target:
    return Target(
        machine="fra-e1",
        generation=generation,
        platform=platform,
        services=(WEB, API),
        placed=(Placed(node="fra-n1", services=ids), Placed(node="fra-n2")),
    )


def _accepted(bench: Bench, node: str = "fra-n1") -> set[int] | None:
    """Return the ids whose IPv4 prefixes are accepted from a node; None: all."""
    text = bench.bird.loaded.split(f"protocol bgp 'node.{node}.a'")[1].split("ipv6")[0]
    if "not placed there" not in text:
        return ANY
    name = f"'placed.ipv4.{node}'"
    members = re.findall(rf"define {name} = (.*);", bench.bird.loaded) if name in text else [""]
    return {int(number) for number in re.findall(r"198\.51\.100\.(\d+)/32", members[0])}


def test_it_grows_at_once_and_shrinks_slowly_without_turn_or_trial() -> None:
    async def story() -> None:
        bench = _bench()
        async with bench.life():
            assert _accepted(bench) is ANY, "nobody has said yet what is placed"
            await bench.order(_target(1, 1))
            assert (_accepted(bench), _accepted(bench, "fra-n2")) == ({1}, set())
            await bench.order(_target(2, 1, 2), seconds=0.5)
            assert _accepted(bench) == {1, 2}
            await bench.order(_target(3), seconds=590.0)
            assert _accepted(bench) == {1, 2}
            await bench.passes(25.0)
            assert _accepted(bench) == {2}, "its drain may last an hour"
            await bench.passes(3000.0)
            assert _accepted(bench) == {2}
            await bench.passes(75.0)
            assert _accepted(bench) == set()
            assert bench.bird.trials == []
            assert bench.status.routing.state is RoutingState.CONFIRMED
            assert bench.status.problems == ()

    run_virtual(story())


def test_without_controllers_nothing_leaves_and_a_new_agent_knows_what_does() -> None:
    async def story() -> None:
        bench = _bench()
        async with bench.life():
            await bench.order(_target(1, 1))
            bench.controllers.alive = False
            await bench.passes(1300.0)
            assert _accepted(bench) == {1}
            bench.controllers.alive = True
            await bench.order(_target(2, 2), seconds=60.0)
        bench.controllers.alive = False
        async with bench.life(500.0):
            assert _accepted(bench) == {1, 2}
            await bench.passes(60.0)
            assert _accepted(bench) == {2}

    run_virtual(story())


def test_a_memory_that_cannot_be_read_is_a_problem_and_stops_nothing() -> None:
    async def story() -> None:
        bench = _bench()
        bench.disk.write(PERMITS_FILE, b"broken")
        async with bench.life():
            assert any("memory of what was placed" in each for each in bench.status.problems)
            await bench.order(_target(1, 1))
            assert _accepted(bench) == {1}
            assert bench.status.problems == ()

    run_virtual(story())


def test_the_guard_itself_is_policy_and_comes_by_turns() -> None:
    async def story() -> None:
        bench = _bench(PLATFORM)
        async with bench.life(10.0):
            await bench.order(_target(1, 1), seconds=20.0)
            assert _accepted(bench) is ANY
            assert bench.status.routing.state is RoutingState.WAITING
            bench.controllers.turn = policy_fingerprint(ONLY_PLACED, "fra-e1")
            await bench.passes(10.0)
            assert _accepted(bench) == {1}
            assert len(bench.bird.trials) == 1
            off = replace(_target(2, platform=PLATFORM), placed=())
            await bench.order(off)
            assert _accepted(bench) is ANY, "to accept more is never held back"

    run_virtual(story())
