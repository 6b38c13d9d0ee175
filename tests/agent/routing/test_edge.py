"""Edges: aggregates, link costs, sessions."""

from dataclasses import replace
from ipaddress import IPv4Network, ip_network

import pytest

from pltfrms.model.network.topology import Aggregate, AnnouncePolicy
from pltfrms.model.running.balancer import BalancedService
from pltfrms.model.running.machine import (
    AGGREGATE_TABLE,
    ELSEWHERE_TABLE,
    INSTANCE_TABLE,
    LOCAL_TABLE,
    PROTO_ACTIVE,
    REMOTE_TABLE,
    BgpState,
    Nexthop,
    Route,
)
from pltfrms.model.running.plan import Reason
from pltfrms.planner.routing.ospf_cost import cost_of
from tests.agent.bench import PLATFORM, WEB, Bench, make_target
from tests.render.test_reflectors import TWELVE
from tests.simulation.virtual import run_virtual

LOCAL = tuple(
    Route(prefix=prefix, table=LOCAL_TABLE, proto=12, metric=32, nexthops=(Nexthop("fab-a"),))
    for prefix in WEB.prefixes
)
ELSEWHERE = tuple(
    Route(prefix=each.prefix, table=ELSEWHERE_TABLE, proto=12, metric=32)
    for each in PLATFORM.aggregates
)
AGGREGATES = {"198.51.100.0/24", "2001:db8:100::/48"}


async def _edge(bench: Bench) -> set[str]:
    """Return what table 101 says to announce."""
    for route in await bench.network.routes(AGGREGATE_TABLE):
        assert (route.proto, route.nexthops) == (PROTO_ACTIVE, ())
    return {str(route.prefix) for route in await bench.network.routes(AGGREGATE_TABLE)}


def _announce_elsewhere(bench: Bench) -> None:
    for route in ELSEWHERE:
        bench.network.set_route(route)


def _serve(bench: Bench, *, served: bool = True) -> None:
    for route in LOCAL:
        (bench.network.set_route if served else bench.network.delete_route)(route)


def test_services_of_a_region_elsewhere_do_not_outvote_what_is_in_no_region() -> None:
    async def story() -> None:
        region = Aggregate(prefix=ip_network("198.51.100.128/25"), datacenters=("ams",))
        platform = replace(PLATFORM, aggregates=(*PLATFORM.aggregates, region))
        theirs = tuple(
            replace(WEB, spec=replace(WEB.spec, name=f"s{n}"), prefix4=prefix, prefix6=None)
            for n, prefix in enumerate(IPv4Network("198.51.100.128/30").subnets(new_prefix=32))
        )
        bench = Bench("fra-e1", platform)
        _announce_elsewhere(bench)
        _serve(bench)
        async with bench.life():
            target = make_target(1, machine="fra-e1")
            services = (WEB, *theirs)
            await bench.order(replace(target, platform=platform, services=services))
            await bench.passes(10.0)
            assert await _edge(bench) == AGGREGATES

    run_virtual(story())


def test_an_aggregate_follows_the_services_with_hysteresis() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        _announce_elsewhere(bench)
        async with bench.life():
            await bench.order(make_target(1, machine="fra-e1"))
            assert await _edge(bench) == set()
            _serve(bench)
            await bench.passes(0.4)
            assert await _edge(bench) == set()
            await bench.passes(0.6)
            assert await _edge(bench) == AGGREGATES
            assert {each.reason for each in bench.status.aggregates} == {Reason.LOCAL_SERVICE}
            _serve(bench, served=False)
            await bench.passes(1.8)
            assert await _edge(bench) == AGGREGATES
            await bench.passes(0.8)
            assert await _edge(bench) == set()
            assert len(bench.controllers.events("aggregate announced")) == 2
            assert len(bench.controllers.events("aggregate withdrawn")) == 2
            _serve(bench)
            await bench.passes(9.0)
            assert await _edge(bench) == set()
            await bench.passes(2.0)
            assert await _edge(bench) == AGGREGATES

    run_virtual(story())


@pytest.mark.parametrize("better", [(), LOCAL])
def test_who_is_ill_keeps_an_aggregate_announced_only_where_nobody_is_better(
    better: tuple[Route, ...],
) -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        _announce_elsewhere(bench)
        known = BalancedService(
            id=WEB.id, name=WEB.name, prefix4=WEB.prefix4, prefix6=WEB.prefix6
        )
        own = PLATFORM.instance6(PLATFORM.machine("fra-n1"), WEB.id, 1)
        ill = Route(prefix=ip_network(own), table=INSTANCE_TABLE, proto=12, metric=3010)
        async with bench.life():
            _serve(bench)
            bench.network.set_route(replace(ill, metric=1010))
            await bench.order(replace(make_target(1, machine="fra-e1"), balanced=(known,)))
            assert await _edge(bench) == AGGREGATES
            for route in better:
                bench.network.set_route(replace(route, table=REMOTE_TABLE))
            bench.network.delete_route(replace(ill, metric=1010))
            bench.network.set_route(ill)
            _serve(bench, served=False)
            await bench.passes(5.0)
            assert await _edge(bench) == (set() if better else AGGREGATES)

    run_virtual(story())


def test_an_edge_outside_the_region_of_an_aggregate_never_announces_it() -> None:
    four, six = PLATFORM.aggregates
    regional = replace(four, announce=AnnouncePolicy.ALWAYS, datacenters=("ams",))
    platform = replace(PLATFORM, aggregates=(regional, six))

    async def announced(name: str) -> set[str]:
        bench = Bench(name, platform)
        async with bench.life():
            await bench.order(replace(make_target(1, machine=name), platform=platform))
            _serve(bench)
            await bench.passes(5.0)
            assert {each.prefix for each in bench.status.aggregates} == await _edge(bench)
            return await _edge(bench)

    assert run_virtual(announced("ams-e1")) == AGGREGATES
    assert run_virtual(announced("fra-e1")) == {"2001:db8:100::/48"}


def test_counts_of_before_an_announcement_are_not_told_as_those_of_after_it() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        bench.bird.states = (BgpState(name="peer.ix.ipv4", up=True, detail="Established"),)
        _announce_elsewhere(bench)
        async with bench.life():
            await bench.order(make_target(1, machine="fra-e1"))
            await bench.passes(5.0)
            _serve(bench)
            counted = []
            for _ in range(60):
                await bench.passes(0.1)
                if any(each.announced for each in bench.status.aggregates):
                    counted += [bench.status.sessions[0].counted]
            assert counted[:10] == [False] * 10
            assert counted[-10:] == [True] * 10

    run_virtual(story())


@pytest.mark.parametrize("name", ["fra-e1", "fra-e4"])
def test_what_nobody_announces_any_more_is_repaired_also_by_a_client_of_reflectors(
    name: str,
) -> None:
    """Of twelve edges the fourth of a datacenter has no session with other datacenters."""
    home = frozenset({"edge.fra-e1", "edge.fra-e2"} - {f"edge.{name}"})

    async def story() -> None:
        bench = Bench(name, TWELVE)
        bench.bird.states = tuple(
            BgpState(name=each, up=True, detail="Established") for each in sorted(home)
        )
        target = replace(make_target(1, machine=name), platform=TWELVE)
        heard = tuple(
            Route(
                prefix=TWELVE.mesh_mark(TWELVE.machine(edge)),
                table=ELSEWHERE_TABLE,
                proto=12,
                metric=32,
            )
            for edge in ("ams-e3", "lon-e1")
        )
        async with bench.life():
            _serve(bench)
            for route in (*ELSEWHERE, *heard):
                bench.network.set_route(route)
            await bench.order(target)
            assert await _edge(bench) == AGGREGATES
            _serve(bench, served=False)
            await bench.passes(5.0)
            assert await _edge(bench) == set()
            for route in (*ELSEWHERE, *heard):
                bench.network.delete_route(route)
            await bench.passes(60.0)
            assert await _edge(bench) == set(), "it hears nobody, so it knows nothing"
            bench.network.set_route(heard[0])
            await bench.passes(3.0)
            assert await _edge(bench) == AGGREGATES
            assert {each.reason for each in bench.status.aggregates} == {Reason.LAST_ANNOUNCER}

    run_virtual(story())


def test_routes_of_before_prove_nothing_while_no_edge_is_heard() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        far = PLATFORM.mesh_mark(PLATFORM.machine("ams-e1"))
        bench.network.set_route(Route(prefix=far, table=ELSEWHERE_TABLE, proto=12, metric=32))
        session = BgpState(name="edge.ams-e1", up=True, detail="Established")
        bench.bird.states = (session,)
        async with bench.life():
            _serve(bench)
            _announce_elsewhere(bench)
            await bench.order(make_target(1, machine="fra-e1"))
            _serve(bench, served=False)
            await bench.passes(5.0)
            bench.bird.states = (replace(session, up=False),)
            for route in ELSEWHERE:
                bench.network.delete_route(route)
            await bench.passes(30.0)
            assert await _edge(bench) == set()
            bench.bird.states = (session,)
            await bench.passes(5.0)
            assert await _edge(bench) == AGGREGATES

    run_virtual(story())


def test_a_new_agent_takes_over_what_is_announced_without_a_flap() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        async with bench.life():
            _serve(bench)
            await bench.order(make_target(1, machine="fra-e1"))
        bench.network.sentences.clear()
        bench.controllers.alive = False
        async with bench.life(0.1):
            for _ in range(50):
                await bench.passes(0.1)
                assert await _edge(bench) == AGGREGATES
            assert bench.network.sentences == []
            assert bench.controllers.events("aggregate withdrawn") == []

    run_virtual(story())


def _hear_ams(bench: Bench) -> None:
    far = PLATFORM.mesh_mark(PLATFORM.machine("ams-e1"))
    bench.network.set_route(Route(prefix=far, table=ELSEWHERE_TABLE, proto=12, metric=32))
    bench.bird.states = (BgpState(name="edge.ams-e1", up=True, detail="Established"),)


async def _withdraw(bench: Bench) -> None:
    _hear_ams(bench)
    _announce_elsewhere(bench)
    _serve(bench)
    await bench.order(make_target(1, machine="fra-e1"))
    assert await _edge(bench) == AGGREGATES
    _serve(bench, served=False)
    await bench.passes(5.0)
    assert await _edge(bench) == set()


@pytest.mark.parametrize("how", ["restart", "reboot", "unreadable"])
def test_a_new_agent_repairs_what_an_agent_before_it_withdrew(how: str) -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        async with bench.life():
            await _withdraw(bench)
        bench.controllers.alive = False
        if how == "reboot":
            bench.boot = "boot-2"
        if how == "unreadable":
            bench.disk.documents["aggregates.json"] = b'{"half": '
        async with bench.life(20.0):
            assert await _edge(bench) == set()
            said = any("aggregates on disk" in each for each in bench.status.problems)
            assert said is (how == "unreadable")
            for route in ELSEWHERE:
                bench.network.delete_route(route)
            await bench.passes(2.0)
            assert await _edge(bench) == AGGREGATES

    run_virtual(story())


def test_a_new_agent_knows_how_often_an_aggregate_flapped() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        async with bench.life():
            await _withdraw(bench)
        async with bench.life():
            _serve(bench)
            await bench.passes(3.0)
            assert await _edge(bench) == set()
            assert {each.reason for each in bench.status.aggregates} == {Reason.FLAPPING}
            await bench.passes(8.0)
            assert await _edge(bench) == AGGREGATES

    run_virtual(story())


@pytest.mark.parametrize("text", [b"", b'{"half": ', b"null", b"\xff\x00"])
def test_a_memory_that_cannot_be_read_takes_no_announcement_away(text: bytes) -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        async with bench.life():
            _serve(bench)
            await bench.order(make_target(1, machine="fra-e1"))
        bench.disk.documents["aggregates.json"] = text
        bench.network.sentences.clear()
        bench.controllers.alive = False
        async with bench.life(10.0):
            assert await _edge(bench) == AGGREGATES
            assert bench.network.sentences == []
            assert any("aggregates on disk" in each for each in bench.status.problems)

    run_virtual(story())


def test_without_a_target_and_without_bird_what_is_announced_stays() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        async with bench.life():
            _serve(bench)
            await bench.order(make_target(1, machine="fra-e1"))
        bench.disk.documents.clear()
        bench.controllers.alive = False
        async with bench.life(30.0):
            assert await _edge(bench) == AGGREGATES
            assert {each.reason for each in bench.status.aggregates} == {Reason.UNKNOWN_KEEP}
            bench.controllers.alive = True
            bench.bird.alive = False
            _serve(bench, served=False)
            await bench.passes(30.0)
            assert await _edge(bench) == AGGREGATES
            bench.bird.alive = True
            await bench.passes(5.0)
            assert await _edge(bench) == AGGREGATES  # the last announcement is never withdrawn
            _announce_elsewhere(bench)
            await bench.passes(5.0)
            assert await _edge(bench) == set()

    run_virtual(story())


def test_a_deleted_aggregate_is_back_within_a_second() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        async with bench.life():
            _serve(bench)
            await bench.order(make_target(1, machine="fra-e1"))
            for route in await bench.network.routes(AGGREGATE_TABLE):
                bench.network.delete_route(route)
            await bench.passes(0.3)
            assert await _edge(bench) == AGGREGATES
            await bench.passes(0.2)
            assert len(bench.controllers.events("route restored")) == 1

    run_virtual(story())


def test_measured_link_costs_reach_bird_and_survive_a_restart() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        async with bench.life(1.5):
            assert len(bench.bird.configs) == 1
            await bench.passes(3.0)
            assert len(bench.bird.configs) == 2
            assert f"cost {cost_of(9.0)}" in bench.bird.configs[-1]
            bench.pinger.rtt_ms = 9.5
            await bench.passes(100.0)
            assert len(bench.bird.configs) == 2
        bench.pinger.rtt_ms = None
        async with bench.life(100.0):
            assert len(bench.bird.configs) == 2
            bench.pinger.rtt_ms = 30.0
            await bench.passes(10.0)
            assert f"cost {cost_of(30.0)}" in bench.bird.configs[-1]
            assert bench.controllers.events("link cost changed")
            links = bench.status.links
            assert len(links) == len(bench.platform.links_of("fra-e1"))
            assert {link.up for link in links.values()} == {True}
            bench.pinger.rtt_ms = None
            await bench.passes(3.0)
            assert {link.up for link in bench.status.links.values()} == {False}

    run_virtual(story())


def test_sessions_are_reported_and_unknown_is_not_up() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        bench.bird.states = (BgpState(name="node_fra_n1_a", up=True, detail="Established"),)
        async with bench.life():
            assert [each.up for each in bench.status.sessions] == [True]
            bench.bird.alive = False
            await bench.passes(3.0)
            assert [each.up for each in bench.status.sessions] == [False]
            assert "unknown" in bench.status.sessions[0].detail
            assert any(each.startswith("BIRD: ") for each in bench.status.problems)
            bench.bird.alive = True
            await bench.passes(3.0)
            assert replace(bench.status, problems=()) == bench.status

    run_virtual(story())


def test_a_foreign_route_of_the_aggregate_table_is_not_taken_over() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        prefix = ip_network("198.51.100.0/24")
        foreign = Route(prefix=prefix, table=AGGREGATE_TABLE, proto=4, metric=7)
        bench.network.set_route(foreign)
        async with bench.life():
            await bench.order(make_target(1, machine="fra-e1"))
            assert not any(each.announced for each in bench.status.aggregates)
            assert await bench.network.routes(AGGREGATE_TABLE) == (foreign,)

    run_virtual(story())


def test_cold_ways_are_there_only_in_the_first_seconds_of_bird() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        bench.bird.alive = False
        async with bench.life():
            assert "static.cold6" in bench.bird.configs[-1]
            bench.bird.alive = True
            await bench.passes(12.0)
            assert "static.cold6" not in bench.bird.configs[-1]
        async with bench.life():
            assert "static.cold6" not in bench.bird.configs[-1]

    run_virtual(story())
