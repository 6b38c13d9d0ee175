"""What every `ports.Balancer` does: the kernel's, and its twin in memory."""

import asyncio
import random
import subprocess
from collections.abc import Callable, Coroutine
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

import pytest

from pltfrms.drivers.balancer.kernel import KernelBalancer
from pltfrms.drivers.balancer.memory import MemoryBalancer
from pltfrms.drivers.balancer.ports import Balancer
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.errors import InvariantError, UnavailableError
from pltfrms.model.running.balancer import (
    CHANCES,
    MAX_CANDIDATES,
    ROWS,
    BalancedService,
    BalancerSettings,
    BalancerTable,
    Hook,
    HookKind,
    InstanceCounts,
    ServiceCounts,
)
from tests.namespaces import in_machine

SETTINGS = BalancerSettings(
    source=IPv6Network("fd00:0:1:1:0:ffff::/96"), infrastructure=IPv6Network("fd00:0:1::/48")
)
INSTANCE = IPv6Address("fd00:0:1:100::1")
OUTSIDE = Hook(device="e1", kind=HookKind.OUTSIDE)
INSIDE = Hook(device="e2", kind=HookKind.INSIDE)
HERE = Hook(device="i1", kind=HookKind.INSTANCE, address=INSTANCE)
LOST = Hook(device="e9", kind=HookKind.INSIDE)


def service(number: int) -> BalancedService:
    return BalancedService(
        id=number,
        name=f"s{number}",
        prefix4=IPv4Network(f"198.51.100.{number}/32"),
        prefix6=IPv6Network(f"2001:db8:100::{number:x}/128"),
    )


def table(number: int, count: int, seed: int = 1) -> BalancerTable:
    """Return a table with `count` candidates and random rows."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    values = range(count + 1)
    return BalancerTable(
        service=service(number),
        addresses=tuple(INSTANCE + 0x10000 * number + place for place in range(count)),
        columns=tuple(bytes(dice.choices(values, k=ROWS)) for _ in range(CHANCES)),
    )


def expected(of: BalancerTable, row: int) -> tuple[IPv6Address, ...]:
    return tuple(of.addresses[column[row] - 1] for column in of.columns if column[row])


class World(Protocol):
    """A machine around a balancer."""

    balancer: Balancer

    def add_device(self, name: str) -> None: ...
    def remove_device(self, name: str) -> None: ...
    def restart(self) -> None: ...
    def refuse(self) -> None: ...
    def limit_tables(self, most: int) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.devices: set[str] = set()
        self.memory = MemoryBalancer(SystemClock(), lambda: self.devices)
        self.balancer: Balancer = self.memory
        self.add_device = self.devices.add
        self.remove_device = self.devices.remove

    def restart(self) -> None:
        """Start a new agent: this one has nothing to forget."""

    def refuse(self) -> None:
        self.memory.refusal = "not on this kernel"

    def limit_tables(self, most: int) -> None:
        self.memory.most_tables = most


class KernelWorld:
    def __init__(self, *, with_tcx: bool | None = None) -> None:
        self.network = KernelNetwork()
        self._with_tcx = with_tcx
        self._directory = Path("/run/pltfrms-test")
        # A machine has its own /run; what tests leave in it ends with its mounts.
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
        self.kernel = self._make()
        self.balancer: Balancer = self.kernel

    def _make(self) -> KernelBalancer:
        return KernelBalancer(self._directory / "bpf", self.network, with_tcx=self._with_tcx)

    def add_device(self, name: str) -> None:
        ip(f"link add {name} type veth peer name far-{name}")

    def remove_device(self, name: str) -> None:
        ip(f"link del {name}")

    def restart(self) -> None:
        self.kernel.close()
        self.kernel = self._make()
        self.balancer = self.kernel

    def refuse(self) -> None:
        self.kernel = KernelBalancer(self._directory, self.network, Path("/no/object"))
        self.balancer = self.kernel

    def limit_tables(self, most: int) -> None:
        """Until the machine ends: it is a process of its own."""
        mock.patch("pltfrms.drivers.balancer.tables.TABLES", most).start()


def ip(words: str) -> str:
    done = subprocess.run(["ip", *words.split()], check=True, capture_output=True, text=True)
    return done.stdout


Play = Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]


@pytest.fixture(
    params=[
        "memory",
        pytest.param("tcx", marks=pytest.mark.root),
        pytest.param("clsact", marks=pytest.mark.root),
    ]
)
def play(request: pytest.FixtureRequest) -> Play:
    def run(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            world: World = (
                MemoryWorld()
                if request.param == "memory"
                else KernelWorld(with_tcx=_tcx[request.param])
            )
            for name in ("e1", "e2", "i1"):
                world.add_device(name)
            await scenario(world)

        if request.param == "memory":
            asyncio.run(whole())
        else:
            in_machine(whole)

    return run


_tcx = {"tcx": None, "clsact": False}


def test_before_the_start_nothing_can_be_done(play: Play) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(UnavailableError, match="not been started"):
            world.balancer.installed()
        with pytest.raises(UnavailableError, match="not been started"):
            world.balancer.put(table(1, 2))
        with pytest.raises(UnavailableError, match="not been started"):
            await world.balancer.attach([OUTSIDE])
        await world.balancer.stop()

    play(scenario)


def test_exactly_the_wanted_devices_are_watched(play: Play) -> None:
    async def scenario(world: World) -> None:
        balancer = world.balancer
        await balancer.start(SETTINGS)
        assert await balancer.attach([OUTSIDE, LOST, HERE]) == (
            "attached outside at e1",
            "missing e9",
            "attached instance_out at i1",
            "attached instance_in at i1",
        )
        assert await balancer.attach([OUTSIDE, LOST, HERE]) == ("missing e9",)
        assert await balancer.attach([OUTSIDE, INSIDE]) == (
            "attached inside at e2",
            "detached at egress of i1",
            "detached at ingress of i1",
        )
        assert await balancer.attach([Hook(device="e1", kind=HookKind.INSIDE), INSIDE]) == (
            "replaced inside at e1",
        )
        assert await balancer.attach([]) == (
            "detached at ingress of e1",
            "detached at ingress of e2",
        )

    play(scenario)


def test_an_instance_device_becomes_a_plain_one(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.balancer.start(SETTINGS)
        await world.balancer.attach([HERE])
        plain = Hook(device="i1", kind=HookKind.INSIDE)
        assert await world.balancer.attach([plain]) == (
            "detached at egress of i1",
            "replaced inside at i1",
        )

    play(scenario)


def test_a_device_that_comes_again_is_watched_again(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.balancer.start(SETTINGS)
        await world.balancer.attach([INSIDE, HERE])
        world.remove_device("i1")
        assert await world.balancer.attach([INSIDE, HERE]) == ("missing i1",)
        world.add_device("i1")
        assert await world.balancer.attach([INSIDE, HERE]) == (
            "attached instance_out at i1",
            "attached instance_in at i1",
        )

    play(scenario)


def test_the_first_hook_of_a_device_counts(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.balancer.start(SETTINGS)
        twice = [OUTSIDE, Hook(device="e1", kind=HookKind.INSIDE)]
        assert await world.balancer.attach(twice) == ("attached outside at e1",)
        assert await world.balancer.attach(twice) == ()

    play(scenario)


@pytest.mark.parametrize("count", [0, 1, 3, MAX_CANDIDATES])
def test_rows_are_those_of_the_table(play: Play, count: int) -> None:
    async def scenario(world: World) -> None:
        await world.balancer.start(SETTINGS)
        other, mine = table(2, 5), table(1, count)
        world.balancer.put(other)
        world.balancer.put(mine)
        for row in (0, 1, 77, ROWS - 1):
            assert world.balancer.row(1, row) == expected(mine, row)
            assert world.balancer.row(2, row) == expected(other, row)
        assert world.balancer.row(1, ROWS) == world.balancer.row(3, 0) == ()
        assert world.balancer.installed() == {1, 2}

    play(scenario)


def test_a_table_is_replaced_and_removed(play: Play) -> None:
    async def scenario(world: World) -> None:
        balancer = world.balancer
        await balancer.start(SETTINGS)
        new, other = table(1, 4, seed=2), table(2, 2)
        for each in (table(1, 3), other, new, new):
            balancer.put(each)
        assert [balancer.row(1, row) for row in range(50)] == [
            expected(new, row) for row in range(50)
        ]
        balancer.remove(1)
        balancer.remove(1)
        assert balancer.row(1, 0) == ()
        assert balancer.row(2, 5) == expected(other, 5)
        assert balancer.installed() == {2}
        third = table(3, 2, seed=3)
        balancer.put(third)
        assert balancer.row(3, 9) == expected(third, 9)
        assert balancer.row(2, 9) == expected(other, 9)

    play(scenario)


def test_a_service_too_many_is_refused_and_the_others_stay(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.limit_tables(2)
        await world.balancer.start(SETTINGS)
        many = [table(number, 2, seed=number) for number in (1, 2, 3)]
        world.balancer.put(many[0])
        world.balancer.put(many[1])
        with pytest.raises(UnavailableError, match="no more than 2 services"):
            world.balancer.put(many[2])
        world.balancer.put(many[1])
        assert world.balancer.installed() == {1, 2}
        assert world.balancer.row(1, 7) == expected(many[0], 7)
        world.balancer.remove(1)
        world.balancer.put(many[2])
        assert world.balancer.row(3, 7) == expected(many[2], 7)

    play(scenario)


def test_a_table_of_another_size_is_our_own_mistake(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.balancer.start(SETTINGS)
        good = table(1, 1)
        for bad in (
            replace(good, columns=good.columns[:2]),
            replace(good, columns=(*good.columns[:3], b"\1")),
            replace(good, addresses=good.addresses * (MAX_CANDIDATES + 1)),
        ):
            with pytest.raises(InvariantError):
                world.balancer.put(bad)
        assert world.balancer.installed() == frozenset()

    play(scenario)


def test_a_new_agent_takes_over(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.balancer.start(SETTINGS)
        mine = table(1, 3)
        world.balancer.put(mine)
        world.balancer.put(table(2, 3))
        world.balancer.remove(2)
        world.balancer.beat()
        world.restart()
        how = await world.balancer.start(SETTINGS)
        assert "1 tables from before" in how
        assert world.balancer.installed() == {1}
        assert world.balancer.row(1, 100) == expected(mine, 100)
        assert 0 <= world.balancer.beat_age_ms() < 5000
        assert set(world.balancer.counts().instances) >= set(map(str, mine.addresses))

    play(scenario)


def test_the_heartbeat_has_an_age(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.balancer.start(SETTINGS)
        assert world.balancer.beat_age_ms() == -1
        world.balancer.beat()
        await asyncio.sleep(0.05)
        assert 40 <= world.balancer.beat_age_ms() < 5000

    play(scenario)


def test_counts_begin_at_nothing(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.balancer.start(SETTINGS)
        world.balancer.put(table(1, 2))
        counts = world.balancer.counts()
        assert counts.services == {1: ServiceCounts()}
        assert counts.instances == {
            str(address): InstanceCounts() for address in table(1, 2).addresses
        }
        assert not any(counts.totals.values())

    play(scenario)


def test_stop_forgets_and_the_next_start_is_the_first(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.balancer.start(SETTINGS)
        await world.balancer.attach([OUTSIDE, HERE])
        world.balancer.put(table(1, 2))
        world.balancer.beat()
        await world.balancer.stop()
        await world.balancer.stop()
        await world.balancer.start(SETTINGS)
        assert world.balancer.installed() == frozenset()
        assert world.balancer.beat_age_ms() == -1
        assert await world.balancer.attach([OUTSIDE]) == ("attached outside at e1",)

    play(scenario)


def test_start_says_why_it_cannot(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.refuse()
        with pytest.raises(UnavailableError):
            await world.balancer.start(SETTINGS)
        with pytest.raises(UnavailableError):
            await world.balancer.attach([OUTSIDE])

    play(scenario)
