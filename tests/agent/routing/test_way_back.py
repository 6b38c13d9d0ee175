"""An edge that announces and cannot answer says so, and withdraws where it is heard."""

import json
from dataclasses import replace
from ipaddress import ip_network

from pltfrms import codec
from pltfrms.agent.routing.memory import AGGREGATES_FILE
from pltfrms.agent.routing.way_back import WAYS_FILE, BroughtWays
from pltfrms.model.network.topology import Aggregate, Guards
from pltfrms.model.running.machine import AGGREGATE_TABLE, LOCAL_TABLE, BgpState, Nexthop, Route
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import OutsideTable
from pltfrms.planner.routing.way_back import WaysBack
from tests.agent.bench import PLATFORM, WEB, Bench, make_target
from tests.render.platforms import TRANSIT
from tests.simulation.virtual import run_virtual

NOTHING = tuple(OutsideTable(version=v, default=False, routes=0) for v in (4, 6))
DEFAULTS = tuple(replace(each, default=True) for each in NOTHING)
MANY = tuple(replace(each, routes=1_234_567) for each in NOTHING)
FEW = tuple(replace(each, routes=500) for each in NOTHING)
AGGREGATES = (ip_network("45.20.0.0/22"), ip_network("2a00:1::/32"))
HEARD = replace(PLATFORM, peers=(TRANSIT,))
"""With a peer that hears what is announced."""
BY_THE_SYSTEM = Route(
    prefix=ip_network("0.0.0.0/0"), table=254, proto=3, metric=0, nexthops=(Nexthop("lo"),)
)


def sessions(*, up: bool = True, imported: int = 0) -> tuple[BgpState, ...]:
    return tuple(
        BgpState(
            name=f"peer.transit1.ipv{version}",
            up=up,
            detail="Established" if up else "Error: BFD session down",
            imported=imported,
        )
        for version in (4, 6)
    )


def make_bench(tables: tuple[OutsideTable, ...]) -> Bench:
    """Return an edge that outside hears, and that serves."""
    bench = Bench("fra-e1", HEARD)
    bench.bird.tables, bench.bird.states = tables, sessions()
    serve(bench)
    return bench


async def announced(bench: Bench) -> set[int]:
    """Return the address families that are announced."""
    return {each.prefix.version for each in await bench.network.routes(AGGREGATE_TABLE)}


def problems(bench: Bench) -> list[str]:
    return [each for each in bench.status.problems if each.startswith("way back: ")]


def give_system_default(bench: Bench) -> None:
    bench.network.add_device("eth0")
    bench.network.up.add("eth0")
    bench.network.set_route(replace(BY_THE_SYSTEM, nexthops=(Nexthop("eth0"),)))


def brought(bench: Bench) -> tuple[int, ...]:
    """Return the families of which the disk says that BGP has brought a way back."""
    return codec.decode(BroughtWays, bench.disk.documents[WAYS_FILE]).families


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
            await bench.passes(8.0)
            assert len(problems(bench)) == 1, "it may come and go"
            await bench.passes(6.0)
            assert problems(bench) == []
            assert len(bench.controllers.events("way back found")) == 1

    run_virtual(story())


def test_an_edge_that_outside_hears_withdraws_within_ten_seconds_without_a_way_back() -> None:
    async def story() -> None:
        bench = make_bench(DEFAULTS)
        async with bench.life():
            await bench.order(replace(make_target(1, machine="fra-e1"), platform=HEARD))
            await bench.passes(30.0)
            assert await announced(bench) == {4, 6}
            bench.bird.tables = (NOTHING[0], DEFAULTS[1])
            await bench.passes(10.0)
            assert await announced(bench) == {6}
            reasons = {each.reason for each in bench.status.aggregates if not each.announced}
            assert reasons == {Reason.NO_WAY_BACK}
            bench.bird.alive = False
            await bench.passes(30.0)
            assert await announced(bench) == {6}, "not known"

    run_virtual(story())


def test_the_operating_systems_own_default_route_is_a_way_back() -> None:
    async def story() -> None:
        bench = make_bench((NOTHING[0], DEFAULTS[1]))
        bench.network.add_device("eth0")
        bench.network.up.add("eth0")
        way = replace(BY_THE_SYSTEM, nexthops=(Nexthop("eth0"),))
        bench.network.set_route(way)
        async with bench.life():
            await bench.order(replace(make_target(1, machine="fra-e1"), platform=HEARD))
            await bench.passes(60.0)
            assert await announced(bench) == {4, 6}
            assert problems(bench) == []
            assert bench.status.outside[0].default
            bench.network.set_route(replace(way, nexthops=()))
            await bench.passes(10.0)
            assert await announced(bench) == {6}, "an unreachable one is none"
            bench.network.set_route(way)
            await bench.passes(20.0)
            assert await announced(bench) == {4, 6}
            bench.network.set_route(replace(way, proto=12))
            await bench.passes(10.0)
            assert await announced(bench) == {6}, "of BIRD's routes BIRD tells"

    run_virtual(story())


def test_where_bgp_brought_a_way_back_the_systems_own_keeps_the_last_announcement() -> None:
    async def story() -> None:
        bench = make_bench(DEFAULTS)
        give_system_default(bench)
        async with bench.life():
            await bench.order(replace(make_target(1, machine="fra-e1"), platform=HEARD))
            await bench.passes(10.0)
            bench.bird.tables = (NOTHING[0], DEFAULTS[1])
            await bench.passes(60.0)
            assert await announced(bench) == {4, 6}
            reasons = {each.reason for each in bench.status.aggregates}
            assert Reason.LITTLE_WAY_BACK in reasons
            (sentence,) = problems(bench)
            assert "IPv4 is announced" in sentence
        async with bench.life():
            await bench.passes(60.0)
            assert len(problems(bench)) == 1, "an agent that begins anew knows"

    run_virtual(story())


def test_that_nothing_is_enough_is_no_way_back_that_bgp_brought() -> None:
    async def story() -> None:
        contented = replace(HEARD, guards=Guards(table_floor4=0, table_floor6=0))
        bench = Bench("fra-e1", contented)
        bench.bird.tables, bench.bird.states = (NOTHING[0], FEW[1]), sessions()
        async with bench.life():
            await bench.order(replace(make_target(1, machine="fra-e1"), platform=contented))
            await bench.passes(10.0)
            assert brought(bench) == (6,)

    run_virtual(story())


def test_a_memory_that_cannot_be_read_does_not_say_that_bgp_brought_nothing() -> None:
    async def story() -> None:
        bench = make_bench((NOTHING[0], DEFAULTS[1]))
        give_system_default(bench)
        bench.disk.documents[WAYS_FILE] = b'{"families": [4'
        async with bench.life():
            await bench.order(replace(make_target(1, machine="fra-e1"), platform=HEARD))
            await bench.passes(20.0)
            (sentence,) = problems(bench)
            assert "IPv4 is announced" in sentence
            assert any("ways back on disk" in each for each in bench.status.problems)
            assert await announced(bench) == {4, 6}, "it stays, as the last one"
            bench.bird.tables = DEFAULTS
            await bench.passes(20.0)
            assert brought(bench) == (4, 6), "all is known again"
            assert not any("way" in each for each in bench.status.problems)
        bench = Bench("fra-e1")
        bench.bird.tables = NOTHING
        give_system_default(bench)
        bench.disk.documents[WAYS_FILE] = b'{"families": [4'
        async with bench.life() as agent:
            await bench.order(make_target(1, machine="fra-e1"))
            await bench.passes(20.0)
            assert agent._way_back.known(4) is WaysBack.FULL, "no session could have brought it"
            del bench.disk.documents[WAYS_FILE]
            await bench.passes(20.0)
            assert not any("ways back on disk" in each for each in bench.status.problems)

    run_virtual(story())


def test_a_way_back_that_comes_and_goes_is_told() -> None:
    async def story() -> None:
        bench = make_bench(DEFAULTS)
        async with bench.life():
            await bench.order(replace(make_target(1, machine="fra-e1"), platform=HEARD))
            await bench.passes(20.0)
            for _ in range(5):
                for tables in (NOTHING, DEFAULTS):
                    bench.bird.tables = tables
                    await bench.passes(4.0)
            assert len(problems(bench)) == 1
            assert len(bench.controllers.events("no way back")) == 1, "once"
            await bench.passes(12.0)
            assert problems(bench) == []

    run_virtual(story())


def test_an_upgrade_withdraws_nothing_where_no_way_back_is_seen() -> None:
    async def story() -> None:
        bench = make_bench(DEFAULTS)
        target = replace(make_target(1, machine="fra-e1"), platform=HEARD)
        async with bench.life():
            await bench.order(target)
            await bench.passes(10.0)
        document = json.loads(bench.disk.documents[AGGREGATES_FILE])
        for each in document["aggregates"]:
            for new in ("judged", "answered", "no_way_back_since", "unheard_since"):
                del each["state"][new]
        bench.disk.documents[AGGREGATES_FILE] = json.dumps(document).encode()
        bench.bird.tables = NOTHING
        async with bench.life():
            await bench.passes(60.0)
            assert await announced(bench) == {4, 6}
            assert len(problems(bench)) == 1, "it is told"
        bench.bird.tables = DEFAULTS
        async with bench.life():
            await bench.passes(10.0)
        bench.bird.tables = NOTHING
        async with bench.life():
            await bench.passes(10.0)
            assert await announced(bench) == set(), "one was seen, and lost"

    run_virtual(story())


def test_a_small_table_that_does_not_grow_is_all_there_is() -> None:
    async def story() -> None:
        public = tuple(Aggregate(prefix=prefix) for prefix in AGGREGATES)
        platform = replace(HEARD, aggregates=(*HEARD.aggregates, *public))
        bench = Bench("fra-e1", platform)
        bench.bird.tables, bench.bird.states = FEW, sessions()
        async with bench.life() as agent:
            target = replace(make_target(1, machine="fra-e1"), platform=platform)
            await bench.order(target)
            way_back = agent._way_back
            await bench.passes(2.0)
            assert way_back.known(4) is WaysBack.PART
            bench.bird.tables = tuple(replace(each, routes=50_000) for each in FEW)
            seen = []
            for _ in range(10):
                await bench.passes(0.5)
                seen.append(way_back.known(4))
            assert WaysBack.LOADING in seen
            assert seen[-1] is WaysBack.PART

    run_virtual(story())


def test_what_an_error_hides_is_not_known() -> None:
    async def story() -> None:
        bench = make_bench(NOTHING)
        async with bench.life():
            await bench.order(replace(make_target(1, machine="fra-e1"), platform=HEARD))
            await bench.passes(10.0)
            assert bench.status.outside == NOTHING
            bench.bird.fault = "a reply that we do not understand"
            await bench.passes(5.0)
            assert bench.status.outside == ()
            assert any("do not understand" in each for each in bench.status.problems)

    run_virtual(story())


def test_that_one_family_of_a_full_table_is_lost_is_seen_within_ten_seconds() -> None:
    async def story() -> None:
        bench = make_bench(MANY)
        bench.bird.states = sessions(imported=1_000_000)
        async with bench.life():
            await bench.order(replace(make_target(1, machine="fra-e1"), platform=HEARD))
            await bench.passes(60.0)
            assert await announced(bench) == {4, 6}
            four, six = bench.bird.states
            bench.bird.states = (four, replace(six, imported=940_000))
            await bench.passes(2.0)
            bench.bird.tables = (MANY[0], NOTHING[1])  # BIRD works on it for a while
            await bench.passes(10.0)
            assert await announced(bench) == {4}

    run_virtual(story())


def test_that_the_default_route_alone_is_lost_is_seen_within_ten_seconds() -> None:
    async def story() -> None:
        public = tuple(Aggregate(prefix=prefix) for prefix in AGGREGATES)
        platform = replace(HEARD, aggregates=(*HEARD.aggregates, *public))
        bench = Bench("fra-e1", platform)
        members = tuple(replace(each, routes=50_000) for each in NOTHING)
        bench.bird.tables = tuple(replace(each, default=True) for each in members)
        bench.bird.states = sessions(imported=100_000)
        async with bench.life() as agent:
            await bench.order(replace(make_target(1, machine="fra-e1"), platform=platform))
            await bench.passes(60.0)
            assert agent._way_back.known(4) is WaysBack.FULL
            bench.bird.tables = members
            await bench.passes(5.0)
            assert agent._way_back.known(4) is WaysBack.PART

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
