"""What every `ports.Network` does: the kernel's, and its twin in memory."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import replace
from ipaddress import IPv6Address, ip_interface, ip_network
from pathlib import Path
from typing import Any, Protocol

import pytest

from pltfrms.drivers.kernel.memory import MemoryNetwork
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.kernel.ports import HostRoutes, Network
from pltfrms.model.running.machine import DeviceState, NetworkState, Nexthop, Route, Rule
from tests.namespaces import in_machine

FAR_END = IPv6Address("fe80::2")
ONE = Nexthop("i1", FAR_END)
TWO = Nexthop("i2", FAR_END)
V4 = Route(
    prefix=ip_network("198.51.100.1/32"), table=100, proto=181, metric=10, nexthops=(ONE,)
)
V6 = replace(V4, prefix=ip_network("2001:db8:100::1/128"))
AGGREGATE4 = Route(prefix=ip_network("198.51.100.0/24"), table=101, proto=181, metric=1)
AGGREGATE6 = replace(AGGREGATE4, prefix=ip_network("2001:db8:100::/48"))
BOTH_UP = NetworkState(devices=(DeviceState(name="i1"), DeviceState(name="i2")))
SYSCTL = "net/ipv4/ip_forward"


class World(Protocol):
    """A machine around a network: what others than we do to it."""

    network: Network

    def add_device(self, name: str) -> None: ...
    def remove_device(self, name: str) -> None: ...
    def set_route(self, route: Route) -> None: ...
    def delete_route(self, route: Route) -> None: ...
    def add_instance(self) -> int: ...
    def start_far_end(self, pid: int) -> None: ...
    def set_rule(self, rule: Rule) -> None: ...
    def rules(self, version: int) -> list[tuple[int, int]]: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.memory = MemoryNetwork(sysctls=[SYSCTL])
        self.network: Network = self.memory
        self.add_device = self.memory.add_device
        self.remove_device = self.memory.remove_device
        self.set_route = self.memory.set_route
        self.delete_route = self.memory.delete_route

    def add_instance(self) -> int:
        return 4711

    def start_far_end(self, pid: int) -> None:
        assert pid in self.memory.instances.values()

    def set_rule(self, rule: Rule) -> None:
        self.memory.rules.add(rule)

    def rules(self, version: int) -> list[tuple[int, int]]:
        assert version in {4, 6}
        return sorted((rule.preference, rule.table) for rule in self.memory.rules)


class KernelWorld:
    def __init__(self) -> None:
        self.network: Network = KernelNetwork()

    def add_device(self, name: str) -> None:
        ip(f"link add {name} type veth peer name far-{name}")
        ip(f"link set far-{name} up")

    def remove_device(self, name: str) -> None:
        ip(f"link del {name}")

    def set_route(self, route: Route) -> None:
        ip(f"-{route.prefix.version} route replace {_words(route)}")

    def delete_route(self, route: Route) -> None:
        key = _words(replace(route, nexthops=())).removeprefix("unreachable ")
        ip(f"-{route.prefix.version} route del {key}")

    def add_instance(self) -> int:
        ours = Path("/proc/self/ns/net").readlink()
        process = subprocess.Popen(["unshare", "-n", "sleep", "60"])
        while Path(f"/proc/{process.pid}/ns/net").readlink() == ours:
            pass
        return process.pid

    def start_far_end(self, pid: int) -> None:
        subprocess.run(
            ["nsenter", "-t", str(pid), "-n", "ip", "link", "set", "eth0", "up"], check=True
        )

    def set_rule(self, rule: Rule) -> None:
        ip(f"-4 rule add pref {rule.preference} lookup {rule.table}")
        ip(f"-6 rule add pref {rule.preference} lookup {rule.table}")

    def rules(self, version: int) -> list[tuple[int, int]]:
        lines = ip(f"-{version} rule").splitlines()
        numbers = [(line.split(":")[0], line.split()[-1]) for line in lines]
        return sorted((int(p), int(table)) for p, table in numbers if table.isdigit())


def ip(words: str) -> str:
    done = subprocess.run(["ip", *words.split()], check=True, capture_output=True, text=True)
    return done.stdout


def _words(route: Route) -> str:
    kind = "nexthop " if len(route.nexthops) > 1 else ""
    where = [f"{kind}via inet6 {hop.via} dev {hop.device}" for hop in route.nexthops]
    kind = "" if where else "unreachable "
    return (
        f"{kind}{route.prefix} table {route.table} proto {route.proto}"
        f" metric {route.metric} {' '.join(where)}"
    )


Play = Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=["memory", pytest.param("kernel", marks=pytest.mark.root)])
def play(request: pytest.FixtureRequest) -> Play:
    def run(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            world: World = KernelWorld() if request.param == "kernel" else MemoryWorld()
            await scenario(world)
            await world.network.close()

        if request.param == "kernel":
            in_machine(whole)
        else:
            asyncio.run(whole())

    return run


async def with_two_devices(world: World) -> Network:
    world.add_device("i1")
    world.add_device("i2")
    await world.network.apply_state(BOTH_UP)
    return world.network


async def table(network: Network, number: int) -> set[Route]:
    return set(await network.routes(number))


def test_routes_become_exactly_the_wanted_ones(play: Play) -> None:
    async def scenario(world: World) -> None:
        network = await with_two_devices(world)
        wanted = (V4, V6, AGGREGATE4, AGGREGATE6)
        said = await network.apply_routes([100, 101], wanted)
        assert len(said) == 4
        assert await table(network, 100) == {V4, V6}
        assert await table(network, 101) == {AGGREGATE4, AGGREGATE6}
        assert await network.apply_routes([100, 101], wanted) == ()
        assert len(await network.apply_routes([100, 101], (V6,))) == 3
        assert await table(network, 100) == {V6}
        assert await table(network, 101) == set()

    play(scenario)


def test_nexthops_have_weights(play: Play) -> None:
    async def scenario(world: World) -> None:
        network = await with_two_devices(world)
        hops = (replace(ONE, weight=30), replace(TWO, weight=10))
        wanted = {replace(V4, nexthops=hops), replace(V6, nexthops=hops)}
        await network.apply_routes([100], tuple(wanted))
        assert await table(network, 100) == wanted
        backwards = tuple(replace(route, nexthops=hops[::-1]) for route in wanted)
        assert await network.apply_routes([100], backwards) == ()
        await network.apply_routes([100], (V4, V6))
        assert await table(network, 100) == {V4, V6}
        await network.apply_routes([100], (*wanted,))
        assert await table(network, 100) == wanted

    play(scenario)


def test_a_new_metric_is_there_before_the_old_one_goes(play: Play) -> None:
    async def scenario(world: World) -> None:
        network = await with_two_devices(world)
        await network.apply_routes([100], (V4, V6))
        heavier = (replace(V4, metric=20), replace(V6, metric=20))
        said = await network.apply_routes([100], heavier)
        assert [sentence.split()[0] for sentence in said] == ["put"] * 2 + ["deleted"] * 2
        assert await table(network, 100) == set(heavier)

    play(scenario)


def test_drain_replaces_in_one_step(play: Play) -> None:
    async def scenario(world: World) -> None:
        network = await with_two_devices(world)
        await network.apply_routes([100], (V4, V6))
        draining = (replace(V4, proto=182), replace(V6, proto=182))
        said = await network.apply_routes([100], draining)
        assert [sentence.split()[0] for sentence in said] == ["put", "put"]
        assert await table(network, 100) == set(draining)

    play(scenario)


def test_routes_of_others_and_of_other_tables_stay(play: Play) -> None:
    async def scenario(world: World) -> None:
        network = await with_two_devices(world)
        foreign = replace(V4, prefix=ip_network("192.0.2.0/24"), proto=4)
        world.set_route(foreign)
        await network.apply_routes([101], (AGGREGATE4,))
        await network.apply_routes([100], ())
        assert await table(network, 100) == {foreign}
        assert await table(network, 101) == {AGGREGATE4}

    play(scenario)


def test_a_route_without_its_device_is_left_out_and_named(play: Play) -> None:
    async def scenario(world: World) -> None:
        network = await with_two_devices(world)
        lost = replace(V4, nexthops=(Nexthop("i9", FAR_END),))
        half = replace(V6, nexthops=(ONE, Nexthop("i9", FAR_END)))
        said = await network.apply_routes([100], (lost, half))
        assert [sentence for sentence in said if sentence.startswith("missing i9 ")] == [
            "missing i9 (no such device) for 198.51.100.1/32 table 100",
            "missing i9 (no such device) for 2001:db8:100::1/128 table 100",
        ]
        assert await table(network, 100) == {V6}

    play(scenario)


def test_routes_go_with_their_device_and_come_back(play: Play) -> None:
    async def scenario(world: World) -> None:
        network = await with_two_devices(world)
        both = (replace(V4, nexthops=(ONE, TWO)), replace(V6, nexthops=(ONE, TWO)))
        await network.apply_routes([100], both)
        world.remove_device("i1")
        # The kernel takes the whole IPv4 route, but only the nexthop of the IPv6 one.
        assert await table(network, 100) == {replace(V6, nexthops=(TWO,))}
        await network.apply_routes([100], both)
        assert await table(network, 100) == {
            replace(V4, nexthops=(TWO,)),
            replace(V6, nexthops=(TWO,)),
        }

    play(scenario)


def test_state_is_made_once(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.add_device("i1")
        addresses = tuple(map(ip_interface, ("10.1.2.0/32", "fd00::1/128", "fe80::a:1/64")))
        state = NetworkState(
            devices=(DeviceState(name="i1", addresses=addresses), DeviceState(name="i9")),
            rules=(Rule(preference=100, table=100), Rule(preference=101, table=1000)),
            sysctls=((SYSCTL, "1"), ("net/ipv4/no_such_thing", "1")),
        )
        missing = (
            "missing sysctl net/ipv4/no_such_thing: this kernel or machine does not have it",
            "missing device i9",
        )
        assert await world.network.apply_state(state) == (
            "set sysctl net/ipv4/ip_forward = 1",
            missing[0],
            "added 10.1.2.0/32 to i1",
            "added fd00::1/128 to i1",
            "added fe80::a:1/64 to i1",
            "i1 up",
            missing[1],
            "added IPv4 rule 100 lookup 100",
            "added IPv6 rule 100 lookup 100",
            "added IPv4 rule 101 lookup 1000",
            "added IPv6 rule 101 lookup 1000",
        )
        assert world.rules(4) == world.rules(6) == [(100, 100), (101, 1000)]
        assert await world.network.apply_state(state) == missing

    play(scenario)


def test_a_device_gets_its_mtu_once_and_keeps_one_that_nobody_asks_for(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.add_device("i1")
        small = NetworkState(devices=(DeviceState(name="i1", mtu=1400),))
        assert "i1 has MTU 1400 now" in await world.network.apply_state(small)
        assert await world.network.apply_state(small) == ()
        any_mtu = NetworkState(devices=(DeviceState(name="i1"),))
        assert await world.network.apply_state(any_mtu) == ()
        assert await world.network.apply_state(small) == ()

    play(scenario)


def test_a_preference_of_ours_has_our_rule_alone(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.set_rule(Rule(preference=100, table=77))
        world.set_rule(Rule(preference=90, table=77))
        state = NetworkState(rules=(Rule(preference=100, table=100),))
        said = await world.network.apply_state(state)
        assert sum("foreign" in sentence for sentence in said) == 2
        assert world.rules(4) == world.rules(6) == [(90, 77), (100, 100)]
        assert await world.network.apply_state(state) == ()

    play(scenario)


def test_an_instance_is_attached_and_detached(play: Play) -> None:
    async def scenario(world: World) -> None:
        network = world.network
        world.add_device("i1")
        pid = world.add_instance()
        await network.attach_instance("i1", pid)
        world.start_far_end(pid)
        await network.apply_routes([100], (V4, V6))
        assert await table(network, 100) == {V4, V6}
        await network.detach_instance("i1")
        await network.detach_instance("i1")
        assert await table(network, 100) == set()
        assert await network.apply_state(NetworkState(devices=(DeviceState(name="i1"),))) == (
            "missing device i1",
        )

    play(scenario)


def test_every_change_is_hinted(play: Play) -> None:
    async def scenario(world: World) -> None:
        network = await with_two_devices(world)
        await network.apply_routes([100], (V4,))
        hints = network.changes()
        world.delete_route(V4)
        await hint(hints)
        world.set_route(V6)
        await hint(hints)
        world.remove_device("i2")
        await hint(hints)
        await quiet(hints)
        await network.apply_routes([100], ())
        await hint(network.changes(), expected=False)

    play(scenario)


def test_one_table_is_hinted_alone(play: Play) -> None:
    async def scenario(world: World) -> None:
        await with_two_devices(world)
        hints = world.network.table_changes(105)
        mine = replace(V6, table=105, metric=1010)
        world.set_route(mine)
        await hint(hints)
        await quiet(hints)
        others = world.network.table_changes(105)
        for other in (V6, replace(V4, table=105), replace(V6, table=1105)):
            world.set_route(other)
        world.delete_route(V6)
        await hint(others, expected=False)
        once_more = world.network.table_changes(105)
        world.delete_route(mine)
        await hint(once_more)

    play(scenario)


def test_a_route_that_goes_with_its_device_is_hinted(play: Play) -> None:
    async def scenario(world: World) -> None:
        await with_two_devices(world)
        world.set_route(replace(V6, table=105))
        hints = world.network.table_changes(105)
        world.remove_device("i1")
        await hint(hints)

    play(scenario)


ADDRESS = IPv6Address("2001:db8:100::1")
MINE = replace(V6, table=105, metric=1010)


def test_the_first_audit_says_all_that_is_there(play: Play) -> None:
    async def scenario(world: World) -> None:
        await with_two_devices(world)
        routes = world.network.follow(105)
        await routes.audit()
        assert routes.news() == {}
        routes.close()
        unreachable = replace(MINE, nexthops=())
        many = [
            replace(unreachable, prefix=ip_network(f"2001:db8:9::{number:x}/128"))
            for number in range(1, 900)
        ]
        others = (
            replace(V4, table=105),
            V6,
            replace(unreachable, table=1105),
            replace(AGGREGATE6, table=105),
        )
        twice = replace(unreachable, metric=2020)
        for route in (replace(V6, table=105, metric=7), unreachable, twice, *many, *others):
            world.set_route(route)
        routes = world.network.follow(105)
        assert routes.news() == {}
        await routes.audit()
        news = dict(routes.news())
        assert sorted(news.pop(ADDRESS)) == [7, 1010, 2020]
        assert news == {IPv6Address(str(route.prefix)[:-4]): (1010,) for route in many}
        await routes.audit()
        assert routes.news() == {}
        routes.close()

    play(scenario)


def test_changes_of_one_table_alone_are_told(play: Play) -> None:
    async def scenario(world: World) -> None:
        await with_two_devices(world)
        routes = world.network.follow(105)
        await routes.audit()
        world.set_route(MINE)
        assert await told(routes) == {ADDRESS: (1010,)}
        for other in (V6, replace(V4, table=105), replace(V6, table=1105)):
            world.set_route(other)
        world.delete_route(V6)
        await not_told(routes)
        better = replace(MINE, metric=2010)
        world.set_route(better)
        assert await told(routes) == {ADDRESS: (1010, 2010)}
        world.delete_route(MINE)
        assert await told(routes) == {ADDRESS: (2010,)}
        world.delete_route(better)
        world.set_route(better)
        assert await told(routes) == {ADDRESS: (2010,)}
        world.delete_route(better)
        assert await told(routes) == {ADDRESS: ()}
        assert not routes.unsure
        await routes.audit()
        assert routes.news() == {}
        routes.close()

    play(scenario)


def test_a_route_of_two_ways_is_there_until_the_last_of_them_goes(play: Play) -> None:
    async def scenario(world: World) -> None:
        await with_two_devices(world)
        routes = world.network.follow(105)
        await routes.audit()
        both = replace(MINE, nexthops=(ONE, TWO))
        world.set_route(both)
        await told(routes)
        world.remove_device("i1")
        await asyncio.sleep(0.1)
        news = routes.news()
        assert news.get(ADDRESS) in {None, (1010,)}, "only a look at the table says more"
        await routes.audit()
        assert routes.news().get(ADDRESS, (1010,)) == (1010,)
        assert not routes.unsure
        world.remove_device("i2")
        news = await told(routes)
        assert news == {ADDRESS: ()}
        routes.close()

    play(scenario)


def test_a_route_of_two_ways_goes_at_once_when_it_is_deleted(play: Play) -> None:
    async def scenario(world: World) -> None:
        await with_two_devices(world)
        both = replace(MINE, nexthops=(ONE, TWO))
        world.set_route(both)
        routes = world.network.follow(105)
        await routes.audit()
        assert routes.news() == {ADDRESS: (1010,)}
        world.delete_route(both)
        assert await told(routes) == {ADDRESS: ()}
        assert not routes.unsure
        routes.close()

    play(scenario)


async def told(routes: HostRoutes) -> Mapping[IPv6Address, tuple[int, ...]]:
    async with asyncio.timeout(2):
        await routes.wait()
    return {address: tuple(sorted(metrics)) for address, metrics in routes.news().items()}


async def not_told(routes: HostRoutes) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await routes.wait()
    assert routes.news() == {}


async def hint(hints: AsyncIterator[None], *, expected: bool = True) -> None:
    try:
        async with asyncio.timeout(2 if expected else 0.05):
            await anext(hints)
    except TimeoutError:
        assert not expected, "nobody said that something changed"
    else:
        assert expected, "somebody said that something changed"


async def quiet(hints: AsyncIterator[None]) -> None:
    """Wait until the kernel has said all it has to say."""
    while True:
        try:
            async with asyncio.timeout(0.1):
                await anext(hints)
        except TimeoutError:
            return
