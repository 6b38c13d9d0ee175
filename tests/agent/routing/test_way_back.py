"""An edge that announces and cannot answer says so, and withdraws where it is heard."""

from dataclasses import replace

from pltfrms.model.machine import AGGREGATE_TABLE, LOCAL_TABLE, BgpState, Nexthop, Route
from pltfrms.model.plan import Reason
from pltfrms.model.state import OutsideTable
from tests.agent.bench import PLATFORM, WEB, Bench, make_target
from tests.render.platforms import TRANSIT
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
            assert announced == 2, "nobody outside hears it"
            assert len(bench.controllers.events("no way back")) == 1
            assert bench.status.outside == (NOTHING[0], DEFAULTS[1])
            bench.bird.tables = DEFAULTS
            await bench.passes(3.0)
            assert problems(bench) == []
            assert len(bench.controllers.events("way back found")) == 1

    run_virtual(story())


def test_an_edge_that_outside_hears_withdraws_within_ten_seconds_without_a_way_back() -> None:
    async def story() -> None:
        platform = replace(PLATFORM, peers=(TRANSIT,))
        bench = Bench("fra-e1", platform)
        bench.bird.tables = DEFAULTS
        bench.bird.states = tuple(
            BgpState(name=f"peer.transit1.ipv{version}", up=True, detail="Established")
            for version in (4, 6)
        )
        serve(bench)
        async with bench.life():
            target = make_target(1, machine="fra-e1")
            await bench.order(replace(target, platform=platform))
            await bench.passes(30.0)
            assert len(await bench.network.routes(AGGREGATE_TABLE)) == 2
            bench.bird.tables = (NOTHING[0], DEFAULTS[1])
            await bench.passes(10.0)
            (left,) = await bench.network.routes(AGGREGATE_TABLE)
            assert left.prefix.version == 6
            reasons = {each.reason for each in bench.status.aggregates if not each.announced}
            assert reasons == {Reason.NO_WAY_BACK}
            bench.bird.alive = False
            await bench.passes(30.0)
            assert len(await bench.network.routes(AGGREGATE_TABLE)) == 1, "not known"

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
