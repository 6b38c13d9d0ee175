"""One agent on a machine that is edge, node and controller."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv6Address, ip_network
from unittest.mock import patch

from pltfrms.agent.routing.far_witness import WAIT_SECONDS, FarWitness
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.balancer import BalancedService, Hook
from pltfrms.model.running.machine import (
    AGGREGATE_TABLE,
    ELSEWHERE_TABLE,
    INSTANCE_TABLE,
    LOCAL_TABLE,
    BgpState,
    Nexthop,
    Route,
)
from pltfrms.model.running.plan import Target
from tests.agent.bench import WEB, Bench, Pinger, devices
from tests.render.roles import PAIR, THREE
from tests.simulation.virtual import run_virtual
from tests.strategies import make_allocation

ONE = make_allocation("web.fra.1-1", "fra1", slot=1)
TARGET = Target(
    machine="fra1", generation=1, platform=THREE, services=(WEB,), allocations=(ONE,)
)


class AnyPinger(Pinger):
    """Every link of any platform takes this long."""

    async def ping(
        self, interface: str, address: IPv6Address, in_doubt: Callable[[], bool]
    ) -> float | None:
        assert not in_doubt()
        assert interface.startswith("bb-")
        assert address.is_link_local
        return self.rtt_ms


class Server(Bench):
    """A machine with several roles."""

    def __init__(self, platform: Platform) -> None:
        super().__init__("fra1", platform)
        self.pinger = AnyPinger()

    @property
    def missed(self) -> list[str]:
        return list(self.status.missed or ())


SERVED = tuple(
    Route(prefix=prefix, table=LOCAL_TABLE, proto=12, metric=32, nexthops=(Nexthop("i1"),))
    for prefix in WEB.prefixes
)


def loopback(name: str) -> Route:
    prefix = THREE.mesh_mark(THREE.machine(name))
    return Route(prefix=prefix, table=ELSEWHERE_TABLE, proto=12, metric=32)


def test_it_keeps_the_tables_of_a_node_and_of_an_edge() -> None:
    async def story() -> None:
        bench = Server(THREE)
        async with bench.life():
            await bench.order(TARGET)
            assert await devices(bench.network) == {"i1"}
            for route in SERVED:
                bench.network.set_route(route)
            await bench.passes(2.0)
            announced = {str(r.prefix) for r in await bench.network.routes(AGGREGATE_TABLE)}
            assert announced == {"198.51.100.0/24", "2001:db8:100::/48"}
            assert await devices(bench.network) == {"i1"}
            assert bench.status.limits is not None
            assert bench.status.problems == ()
            assert [rule.table for rule in bench.network.rules] == [100]

    run_virtual(story())


def test_an_agent_that_starts_anew_takes_no_running_instance_out_of_the_director() -> None:
    async def story() -> None:
        bench = Server(THREE)
        async with bench.life():
            await bench.order(TARGET)
            assert "i1" in set(bench.balancer.hooks)
        attach, attached = bench.balancer.attach, list[set[str]]()

        async def watched(hooks: Sequence[Hook]) -> tuple[str, ...]:
            attached.append({hook.device for hook in hooks})
            return await attach(hooks)

        with patch.object(bench.balancer, "attach", watched):
            async with bench.life():
                assert attached
                assert all("i1" in devices for devices in attached)

    run_virtual(story())


def test_it_tells_which_servers_elsewhere_it_does_not_reach() -> None:
    async def story() -> None:
        bench = Server(THREE)
        for name in ("ams1", "lon1"):
            bench.network.set_route(loopback(name))
        async with bench.life():
            await bench.order(TARGET)
            assert bench.missed == []
            bench.network.delete_route(loopback("lon1"))
            await bench.passes(1.5)
            assert bench.missed == ["lon1"]
            bench.network.set_route(loopback("lon1"))
            await bench.passes(1.5)
            assert bench.missed == []

    run_virtual(story())


def test_a_server_that_was_never_reached_is_missed_after_a_while_only() -> None:
    witness = FarWitness()
    witness.see(THREE, "fra", set(), 100.0)
    assert list(witness.missed) == []
    witness.see(THREE, "fra", set(), 100.0 + WAIT_SECONDS)
    assert list(witness.missed) == ["ams1", "lon1"]
    witness.see(THREE, "fra", None, 120.0)
    assert list(witness.missed) == [], "BIRD does not answer: nothing is known"
    witness.see(THREE, "fra", set(), 121.0)
    assert list(witness.missed) == []


def test_servers_of_the_own_datacenter_are_not_judged_from_afar() -> None:
    witness = FarWitness()
    for at in (0.0, 100.0):
        witness.see(PAIR, "fra", set(), at)
    assert list(witness.missed) == ["ams1"]


# ---- the director --------------------------------------------------------------------------


def address(name: str, slot: int) -> Route:
    found = PAIR.instance6(PAIR.machine(name), WEB.id, slot)
    return Route(prefix=ip_network(found), table=INSTANCE_TABLE, proto=12, metric=1010)


def table(bench: Bench) -> dict[str, int]:
    """Return how many rows of the table of `web` prefer each instance."""
    found = bench.balancer.tables[WEB.id]
    first = found.columns[0]
    return {str(a): first.count(n) for n, a in enumerate(found.addresses, 1)}


def balanced(platform_target: Target) -> Target:
    one = BalancedService(id=WEB.id, name=WEB.name, prefix4=WEB.prefix4, prefix6=WEB.prefix6)
    return replace(platform_target, balanced=(one,))


def test_alone_at_its_site_it_forgets_an_instance_of_its_own_at_once() -> None:
    """There is nobody else whose news it could miss."""

    async def story() -> None:
        bench = Server(THREE)
        bench.bird.states = (BgpState(name="edge.ams1", up=False, detail="Active"),)
        two = replace(ONE, id="web.fra.2-1", replica=2, slot=2)
        target = balanced(replace(TARGET, allocations=(ONE, two)))
        found = [
            replace(
                address("fra1", slot),
                prefix=ip_network(THREE.instance6(THREE.machine("fra1"), WEB.id, slot)),
            )
            for slot in (1, 2)
        ]
        async with bench.life():
            await bench.order(target)
            for route in found:
                bench.network.set_route(route)
            await bench.passes(1.0)
            assert len(table(bench)) == 2
            bench.network.delete_route(found[0])
            await bench.passes(0.1)
            assert set(table(bench)) == {str(found[1].prefix.network_address)}

    run_virtual(story())


def test_cut_off_it_serves_by_itself_and_still_asks_the_others_for_what_it_does_not_know() -> (
    None
):
    async def story() -> None:
        bench = Server(PAIR)
        bench.bird.states = (BgpState(name="node.fra2.a", up=True, detail="Established"),)
        target = balanced(replace(TARGET, platform=PAIR))
        own, other = address("fra1", 1), address("fra2", 1)
        async with bench.life():
            await bench.order(target)
            for route in (own, other):
                bench.network.set_route(route)
            await bench.passes(1.0)
            shares = table(bench)
            assert len(shares) == 2
            assert all(shares.values())
            bench.bird.states = (BgpState(name="node.fra2.a", up=False, detail="Active"),)
            bench.network.delete_route(other)
            await bench.passes(10.0)
            shares = table(bench)
            assert shares[str(own.prefix.network_address)] == sum(shares.values())
            assert len(shares) == 2, "a flow of the other one is still led there"
            bench.bird.states = (BgpState(name="node.fra2.a", up=True, detail="Established"),)
            bench.network.set_route(other)
            await bench.passes(10.0)
            assert all(table(bench).values())

    run_virtual(story())


def test_a_session_whose_line_is_dead_does_not_say_that_others_have_gone() -> None:
    """One with another datacenter is up for half a minute after nothing comes any more."""

    async def story() -> None:
        bench = Server(PAIR)
        away = BgpState(name="edge.ams1", up=True, detail="Established")
        bench.bird.states = (away,)
        own, other = address("fra1", 1), address("fra2", 1)
        async with bench.life():
            await bench.order(balanced(replace(TARGET, platform=PAIR)))
            for route in (own, other):
                bench.network.set_route(route)
            await bench.passes(1.0)
            lines, bench.bird.bfd = bench.bird.bfd, frozenset()
            bench.network.delete_route(other)
            await bench.passes(10.0)
            assert len(table(bench)) == 2, "a flow of the other one is still led there"
            bench.bird.bfd = lines
            await bench.passes(5.0)
            assert len(table(bench)) == 2, "the session of the other one may still come"
            await bench.passes(5.0)
            assert len(table(bench)) == 1, "who is heard says that it has gone"

    run_virtual(story())
