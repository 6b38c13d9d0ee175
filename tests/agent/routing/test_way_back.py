"""An edge that announces and cannot answer says so, and changes nothing."""

from dataclasses import replace

from pltfrms.model.machine import AGGREGATE_TABLE, LOCAL_TABLE, Nexthop, Route
from pltfrms.model.state import OutsideTable
from tests.agent.bench import WEB, Bench, make_target
from tests.simulation.virtual import run_virtual

NOTHING = tuple(OutsideTable(version=v, default=False, routes=0) for v in (4, 6))
DEFAULTS = tuple(replace(each, default=True) for each in NOTHING)
MANY = tuple(replace(each, routes=1_234_567) for each in NOTHING)


def problems(bench: Bench) -> list[str]:
    return [each for each in bench.status.problems if each.startswith("way back: ")]


def serve(bench: Bench) -> None:
    for prefix in WEB.prefixes:
        route = Route(prefix=prefix, table=LOCAL_TABLE, proto=12, metric=32)
        bench.network.set_route(replace(route, nexthops=(Nexthop("fab-a"),)))


def test_an_edge_that_announces_and_has_no_way_back_is_a_problem_and_an_event() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        bench.bird.tables = DEFAULTS
        serve(bench)
        async with bench.life():
            await bench.order(make_target(1, machine="fra-e1"))
            await bench.passes(60.0)
            assert problems(bench) == []
            bench.bird.tables = (NOTHING[0], DEFAULTS[1])
            await bench.passes(9.0)
            assert problems(bench) == [], "sessions come and go"
            await bench.passes(6.0)
            (sentence,) = problems(bench)
            assert "IPv4 is announced" in sentence
            assert "IPv6" not in sentence
            announced = len(await bench.network.routes(AGGREGATE_TABLE))
            assert announced == 2, "it only tells"
            assert len(bench.controllers.events("no way back")) == 1
            assert bench.status.outside == (NOTHING[0], DEFAULTS[1])
            bench.bird.tables = DEFAULTS
            await bench.passes(3.0)
            assert problems(bench) == []
            assert len(bench.controllers.events("way back found")) == 1

    run_virtual(story())


def test_an_edge_that_announces_nothing_needs_no_way_back() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        bench.bird.tables = NOTHING
        async with bench.life():
            await bench.order(make_target(1, machine="fra-e1"))
            await bench.passes(60.0)
            assert problems(bench) == []
            assert bench.status.outside == NOTHING

    run_virtual(story())


def test_while_bird_is_silent_nothing_is_known_and_nothing_is_well() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        bench.bird.tables = NOTHING
        serve(bench)
        async with bench.life():
            await bench.order(make_target(1, machine="fra-e1"))
            await bench.passes(15.0)
            said = problems(bench)
            assert said
            bench.bird.alive = False
            await bench.passes(15.0)
            assert bench.status.outside == ()
            assert problems(bench) == said, "nobody has seen that it is over"

    run_virtual(story())


def test_a_full_table_is_counted_seldom_and_reported_in_steps() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        bench.bird.tables = MANY
        async with bench.life(10.0):
            assert [each.routes for each in bench.status.outside] == [1_200_000, 1_200_000]
            bench.bird.tables = NOTHING
            await bench.passes(10.0)
            assert [each.routes for each in bench.status.outside] == [1_200_000, 1_200_000]
            await bench.passes(20.0)
            assert bench.status.outside == NOTHING

    run_virtual(story())
