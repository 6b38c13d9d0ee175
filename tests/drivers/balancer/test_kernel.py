"""What only a kernel does: packets, programs that outlive us, namespaces, other versions."""

import asyncio
import errno
import fcntl
import os
import re
import socket
import struct
import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from unittest import mock

import pytest

from pltfrms.drivers.balancer.hooks import ENTRY_POINTS, has_tcx
from pltfrms.drivers.balancer.kernel import OBJECT
from pltfrms.drivers.balancer.maps import COUNTERS, INSTANCES, SHAPES, layout, open_maps
from pltfrms.drivers.balancer.tables import Tables
from pltfrms.drivers.kernel.programs import bpf, bpffs
from pltfrms.drivers.kernel.programs.bpf import Map, MapKind, MapShape, Program, Side
from pltfrms.drivers.kernel.programs.elf import ObjectFile
from pltfrms.errors import UnavailableError
from pltfrms.model.running.balancer import CHANCES, ROWS, BalancerTable, Hook, HookKind
from tests.contracts.test_balancer import (
    HERE,
    INSIDE,
    INSTANCE,
    OUTSIDE,
    SETTINGS,
    KernelWorld,
    expected,
    ip,
    service,
    table,
)
from tests.namespaces import in_machine

_CODE_OF_PASS = struct.pack("=BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)  # return TC_ACT_OK
DIRECTORY = Path("/run/pltfrms-test/bpf")
"""Where `KernelWorld` has its bpffs."""
_TUNSETIFF, _TUN, _NO_PI = 0x400454CA, 0x1, 0x1000

pytestmark = pytest.mark.root
needs_tcx = pytest.mark.skipif(not has_tcx(), reason="asks by TCX who is attached")


def one_instance(number: int = 1) -> BalancerTable:
    """Return a table that sends everything to `INSTANCE`."""
    columns = (bytes([1] * ROWS), *(bytes(ROWS) for _ in range(CHANCES - 1)))
    return BalancerTable(service=service(number), addresses=(INSTANCE,), columns=columns)


def inside(pid: int, words: str) -> str:
    done = subprocess.run(
        ["nsenter", "-t", str(pid), "-n", *words.split()],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


class Way:
    """client c1 - e1 machine i1 - eth0 instance, which counts and drops what it gets."""

    def __init__(self, world: KernelWorld) -> None:
        self._network = world.network
        self.client = self._namespace()
        self.instance = self._namespace()

    async def build(self) -> None:
        forward()
        ip("link add e1 type veth peer name c1")
        ip(f"link set c1 netns {self.client}")
        ip("link set e1 up")
        ip("address add 10.8.0.1/24 dev e1")
        inside(self.client, "ip link set c1 up")
        inside(self.client, "ip address add 10.8.0.2/24 dev c1")
        inside(self.client, "ip route add default via 10.8.0.1")
        await self._network.attach_instance("i1", self.instance)
        for words in (
            "ip link set lo up",
            "ip link set eth0 up",
            "ip address add fe80::2/64 dev eth0 nodad",
            f"ip address add {INSTANCE}/128 dev lo nodad",
            "nft add table ip t",
            "nft add chain ip t c { type filter hook prerouting priority -300; }",
            "nft add rule ip t c udp dport 9 counter drop",
        ):
            inside(self.instance, words)
        ip(f"route add {INSTANCE}/128 via fe80::2 dev i1")

    def send(self, count: int) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("udp_sender.py")
        words = ["nsenter", "-t", str(self.client), "-n", sys.executable, str(script)]
        return subprocess.Popen([*words, "198.51.100.1", "9", str(count)])

    def received(self) -> int:
        found = re.search(r"counter packets (\d+)", inside(self.instance, "nft list ruleset"))
        assert found
        return int(found[1])

    def overrun(self) -> int:
        """Return how many packets found a full queue, which is no fault of a program."""
        told = ip("-s -s link show e1"), inside(self.instance, "ip -s -s link show eth0")
        return sum(int(words.split("RX:")[1].split("\n")[1].split()[3]) for words in told)

    def _namespace(self) -> int:
        ours = Path("/proc/self/ns/net").readlink()
        process = subprocess.Popen(["unshare", "-n", "sleep", "600"])
        while Path(f"/proc/{process.pid}/ns/net").readlink() == ours:
            pass
        return process.pid


async def open_way(world: KernelWorld) -> Way:
    """Return a way on which a first packet has arrived, so that addresses are resolved."""
    way = Way(world)
    await way.build()
    await world.kernel.start(SETTINGS)
    world.kernel.put(one_instance())
    world.kernel.beat()
    await world.kernel.attach([OUTSIDE, HERE])
    for _ in range(50):
        way.send(1).wait()
        if way.received():
            return way
    raise AssertionError("no packet arrives")


async def take_over(world: KernelWorld) -> None:
    """Be a new agent, which has a program of its own."""
    world.restart()
    await world.kernel.start(SETTINGS)
    world.kernel.beat()
    said = await world.kernel.attach([OUTSIDE, HERE])
    assert [sentence.split()[0] for sentence in said] == ["replaced"] * 3
    world.kernel.put(one_instance())


def forward() -> None:
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")


def pinned() -> list[str]:
    return sorted(home.name for home in DIRECTORY.glob("maps-*"))


def programs_at(device: str) -> tuple[int, ...]:
    return bpf.attached(socket.if_nametoindex(device), Side.INGRESS)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("with_tcx", "count"), [(None, 1_000_000), (False, 200_000)])
def test_no_packet_is_lost_while_agents_and_programs_change(
    *, with_tcx: bool | None, count: int
) -> None:
    async def scenario() -> None:
        world = KernelWorld(with_tcx=with_tcx)
        way = await open_way(world)
        before, full = way.received(), way.overrun()
        sender = way.send(count)
        changes = 0
        while sender.poll() is None:
            await take_over(world)
            changes += 1
        await asyncio.sleep(0.2)
        got, dropped = way.received() - before, way.overrun() - full
        assert got + dropped == count, (got, dropped, changes)
        assert dropped < count / 100
        assert changes > 1
        counts = world.kernel.counts()
        assert counts.services[1].packets >= got
        assert counts.instances[str(INSTANCE)].packets >= got
        assert counts.totals["decapsulated"] >= got

    in_machine(scenario)


@needs_tcx
def test_programs_go_on_without_an_agent_and_end_with_stop() -> None:
    async def scenario() -> None:
        world = KernelWorld()
        way = await open_way(world)
        world.kernel.close()
        before = way.received()
        way.send(10).wait()
        assert way.received() == before + 10
        world.restart()
        await world.kernel.stop()
        way.send(10).wait()
        assert way.received() == before + 10
        assert programs_at("e1") == ()
        assert pinned() == []

    in_machine(scenario)


def test_the_program_is_told_the_namespace_of_an_instance() -> None:
    async def scenario() -> None:
        world = KernelWorld()
        way = Way(world)
        await way.build()
        await world.kernel.start(SETTINGS)
        await world.kernel.attach([HERE])
        ((address, value),) = homes().items()
        device, namespace = struct.unpack("=Ii", value)
        assert (address, device) == (INSTANCE.packed, socket.if_nametoindex("i1"))
        assert namespace == await world.network.peer_namespace("i1")
        assert namespace >= 0
        assert await world.network.peer_namespace("no-such") is None
        # Another instance comes in its place, in another namespace.
        await world.network.attach_instance("i1", way.client)
        another = Hook(device="i1", kind=HookKind.INSTANCE, address=INSTANCE + 7)
        await world.kernel.attach([another])
        ((address, value),) = homes().items()
        device, after = struct.unpack("=Ii", value)
        assert (address, device) == ((INSTANCE + 7).packed, socket.if_nametoindex("i1"))
        assert after not in {namespace, -1}
        await world.kernel.attach([])
        assert homes() == {}

    def homes() -> dict[bytes, bytes]:
        with Map.open(DIRECTORY / layout() / "homes") as found:
            return found.items()

    in_machine(scenario)


def test_a_device_without_ethernet_gets_its_own_program() -> None:
    async def scenario() -> None:
        world = KernelWorld()
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", b"tun0", _TUN | _NO_PI))
        forward()
        ip("link set tun0 up")
        ip(f"route add {INSTANCE}/128 dev tun0")
        await world.kernel.start(SETTINGS)
        hook = Hook(device="tun0", kind=HookKind.INSIDE)
        assert await world.kernel.attach([hook]) == ("attached inside_l3 at tun0",)
        world.kernel.put(one_instance())
        world.kernel.beat()
        service4 = service(1).prefixes[0].network_address
        packet = struct.pack(">BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 17, 0)
        packet += bytes((192, 0, 2, 1)) + service4.packed + struct.pack(">4H", 1000, 9, 8, 0)
        os.write(tun, packet)
        # The kernel says things of its own on a new device.
        outer = next(
            each for each in iter(lambda: os.read(tun, 2000), b"") if each[40:] == packet
        )
        assert outer[:4].hex() == "600d1e00"
        assert outer[6:8] == bytes((4, 63))
        assert IPv6Address(outer[8:24]) in SETTINGS.source
        assert IPv6Address(outer[24:40]) == INSTANCE
        assert world.kernel.counts().services[1].packets == 1

    in_machine(scenario)


@needs_tcx
def test_a_version_with_other_maps_changes_over_at_the_first_heartbeat() -> None:
    async def scenario() -> None:
        world = KernelWorld()
        world.add_device("e1")
        bpffs.mount_bpffs(DIRECTORY)
        bpffs.mount_bpffs(DIRECTORY)  # idempotent
        shapes = {"heartbeat": MapShape(kind=MapKind.ARRAY, entries=1, value_bytes=16)}
        old_maps = open_maps(DIRECTORY, shapes)
        index = socket.if_nametoindex("e1")
        with Program.load("plt_outside", _CODE_OF_PASS) as old:
            bpf.attach(old, index, Side.INGRESS)
            number = old.id
        await world.kernel.start(SETTINGS)
        assert world.kernel.installed() == frozenset()
        assert await world.kernel.attach([OUTSIDE]) == ()
        assert programs_at("e1") == (number,)
        assert pinned() == sorted((layout(), layout(shapes)))
        world.kernel.put(one_instance())
        world.kernel.beat()
        assert await world.kernel.attach([OUTSIDE]) == ("replaced outside at e1",)
        assert number not in programs_at("e1")
        assert pinned() == [layout()]
        assert old_maps["heartbeat"].get(0) == bytes(16)

    in_machine(scenario)


@needs_tcx
def test_programs_of_others_stay() -> None:
    async def scenario() -> None:
        world = KernelWorld()
        world.add_device("e1")
        index = socket.if_nametoindex("e1")
        with Program.load("somebody", _CODE_OF_PASS) as foreign:
            bpf.attach(foreign, index, Side.INGRESS)
            await world.kernel.start(SETTINGS)
            assert await world.kernel.attach([OUTSIDE]) == ("attached outside at e1",)
            assert await world.kernel.attach([OUTSIDE]) == ()
            await world.kernel.stop()
            assert programs_at("e1") == (foreign.id,)

    in_machine(scenario)


def test_tables_and_numbers_are_used_again() -> None:
    async def scenario() -> None:
        world = KernelWorld()
        world.add_device("e2")
        await world.kernel.start(SETTINGS)
        many = [table(number, 3, seed=number) for number in range(1, 41)]
        for each in many:
            world.kernel.put(each)
        for number in range(1, 31):
            world.kernel.remove(number)
        maps = open_maps(DIRECTORY)
        tables = Tables(maps)
        assert tables.installed() == set(range(31, 41))
        tables._next = INSTANCES  # as after very many instances
        for each in many[:20]:
            tables.put(each)
        for each in (*many[:20], *many[30:]):
            assert tables.row(each.service.id, 1234) == expected(each, 1234)
        tables.remove(1)  # its instances have numbers, but are in no table now
        another = table(99, 3, seed=99)
        known, new = many[0].addresses[0], another.addresses[1:]
        mixed = replace(another, addresses=(known, *new))
        tables.put(mixed)
        for row in range(0, 16384, 97):
            assert tables.row(99, row) == expected(mixed, row)
            assert tables.row(40, row) == expected(many[39], row)
        assert maps["tables"].map_in(48) is None, "a table was made although some were spare"
        await world.kernel.attach([INSIDE])
        for one in maps.values():
            one.close()

    in_machine(scenario)


@needs_tcx
def test_a_device_that_refuses_a_program_is_named_and_the_others_get_theirs() -> None:
    async def scenario() -> None:
        world = KernelWorld()
        for name in ("e1", "e2", "i1"):
            world.add_device(name)
        await world.kernel.start(SETTINGS)
        attach = bpf.attach

        def full(program: Program, index: int, side: Side, *before: Program) -> None:
            if index == socket.if_nametoindex("e1"):
                raise OSError(errno.E2BIG, "bpf PROG_ATTACH: Argument list too long")
            attach(program, index, side, *before)

        with mock.patch.object(bpf, "attach", full):
            sentences = await world.kernel.attach([OUTSIDE, INSIDE, HERE])
        assert "refused e1: bpf PROG_ATTACH: Argument list too long" in sentences
        assert len(sentences) == 4
        (attached,) = await world.kernel.attach([OUTSIDE, INSIDE, HERE])
        assert attached == "attached outside at e1"

    in_machine(scenario)


def test_numbers_that_are_used_up_refuse_one_service_and_leave_the_others() -> None:
    async def scenario() -> None:
        mock.patch("pltfrms.drivers.balancer.tables.INSTANCES", 6).start()
        world = KernelWorld()
        await world.kernel.start(SETTINGS)
        first, second = table(1, 3), table(2, 3)
        world.kernel.put(first)
        with pytest.raises(UnavailableError, match="no more than 5 instances"):
            world.kernel.put(second)
        assert world.kernel.installed() == {1}
        assert world.kernel.row(1, 9) == expected(first, 9)
        world.kernel.remove(1)
        world.kernel.put(second)
        assert world.kernel.row(2, 9) == expected(second, 9)

    in_machine(scenario)


def test_the_first_of_all_rows_stand_together() -> None:
    async def scenario() -> None:
        world = KernelWorld()
        await world.kernel.start(SETTINGS)
        one = table(1, 3)
        world.kernel.put(one)
        maps = open_maps(DIRECTORY)
        rows, instances = maps["tables"].map_in(0), maps["instances"].values()
        assert rows
        with rows:
            first = struct.unpack_from(f"={ROWS}H", rows.get(0) or b"")
        found = [IPv6Address(instances[number]) if number else None for number in first]
        names = (None, *one.addresses)
        assert found == [names[number] for number in one.columns[0]]
        for each in maps.values():
            each.close()

    in_machine(scenario)


def test_a_service_that_gets_other_addresses_leaves_the_old_ones() -> None:
    async def scenario() -> None:
        world = KernelWorld()
        await world.kernel.start(SETTINGS)
        world.kernel.put(one_instance(1))
        moved = one_instance(1)
        moved = BalancerTable(
            service=type(moved.service)(
                id=1,
                name="s1",
                prefix4=service(9).prefix4,
                prefix6=service(1).prefix6,
            ),
            addresses=moved.addresses,
            columns=moved.columns,
        )
        world.kernel.put(moved)
        with Map.open(DIRECTORY / layout() / "services") as services:
            keys = {IPv6Address(key) for key in services.items()}
        assert keys == {
            IPv6Address(f"::ffff:{service(9).prefixes[0].network_address}"),
            service(1).prefixes[1].network_address,
        }

    in_machine(scenario)


def test_a_user_who_may_not_is_told_so() -> None:
    async def scenario() -> None:
        world = KernelWorld()
        world.add_device("e1")
        bpffs.mount_bpffs(DIRECTORY)
        os.setuid(65534)
        with pytest.raises(UnavailableError, match=r"denied.*needs root, and Linux 6\.1"):
            await world.kernel.start(SETTINGS)
        await world.kernel.stop()

    in_machine(scenario)


def test_an_object_that_is_not_there_or_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot read"):
        ObjectFile(tmp_path / "none")
    (tmp_path / "text").write_text("int main;")
    with pytest.raises(UnavailableError, match="no BPF object"):
        ObjectFile(tmp_path / "text")
    with pytest.raises(UnavailableError, match="has no program nothing"):
        ObjectFile(OBJECT).code("nothing", {})
    with pytest.raises(UnavailableError, match=r"outside uses (settings|services)"):
        ObjectFile(OBJECT).code("outside", {})


def test_the_verifier_is_quoted() -> None:
    code = struct.pack("=BBhi", 0x95, 0, 0, 0)  # exit without a verdict
    with pytest.raises(OSError, match=r"bpf PROG_LOAD silent: .*verifier: .*R0 !read_ok"):
        Program.load("silent", code)


def test_program_and_driver_agree() -> None:
    source = "".join(
        OBJECT.with_name(name).read_text() for name in ("maps.h", "director.bpf.c")
    )
    names = re.search(r"enum counter \{(.*?)\}", source, re.DOTALL)
    assert names
    words = re.findall(r"^\s*([A-Z_]+)[,\s]", names[1], re.MULTILINE)
    assert [word.lower() for word in words] == [*COUNTERS, "counters"]
    assert set(re.findall(r"^MAP\((\w+),", source, re.MULTILINE)) == set(SHAPES)
    assert set(re.findall(r'^SEC\("tc/(\w+)"\)', source, re.MULTILINE)) == set(ENTRY_POINTS)
