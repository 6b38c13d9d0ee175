"""The compiled program in this kernel, filled from the model's maps."""

import asyncio
import socket
import struct
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv6Network
from pathlib import Path

from pltfrms.drivers.balancer import director
from pltfrms.drivers.balancer.director.model import Fate, Home, Maps
from pltfrms.drivers.balancer.hooks import has_tcx
from pltfrms.drivers.balancer.maps import COUNTERS, SHAPES
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.kernel.programs import bpf
from pltfrms.drivers.kernel.programs.bpf import (
    Map,
    Program,
    ProgramRun,
    Side,
    packet_context,
    possible_cpus,
)
from pltfrms.drivers.kernel.programs.elf import ObjectFile
from pltfrms.model.running.balancer import CHANCES, ROWS

OBJECT = Path(director.__file__).parent / "director.bpf.o"
PROGRAMS = ("outside", "outside_l3", "inside", "inside_l3", "instance_in", "instance_out")
LOOPBACK = 1
STALE_NS = 5 * 10**9

Counts = Counter[tuple[str, int, int]]
"""By map, index and position in its value."""


class Kernel:
    """Programs and maps of one machine."""

    def __init__(self) -> None:
        objects = ObjectFile(OBJECT)
        self.maps = {name: Map.create(shape, name) for name, shape in SHAPES.items()}
        fds = {name: each.fd for name, each in self.maps.items()}
        self.code = {name: objects.code(name, fds) for name in PROGRAMS}
        self.programs = {
            name: Program.load(name, code, objects.licence) for name, code in self.code.items()
        }

    def fill(self, maps: Maps) -> None:
        """Say to the kernel what the model's maps say."""
        settings = (
            maps.source.network_address.packed,
            maps.infrastructure.network_address.packed,
            maps.infrastructure.netmask.packed,
        )
        self.maps["settings"].put(0, struct.pack("=Q16s8s8s", STALE_NS, *settings))
        self.beat(fresh=maps.fresh)
        for address, service in maps.services.items():
            value = struct.pack("=II", service.table, service.seed)
            self.maps["services"].put(address, value)
        for index, rows in maps.tables.items():
            inner = SHAPES["tables"].inner
            assert inner
            with Map.create(inner, "rows") as table:
                table.put(0, packed_table(rows))
                self.maps["tables"].put_maps({index: table})
        for number, address in maps.instances.items():
            self.maps["instances"].put(number, address)

    def beat(self, *, fresh: bool = True) -> None:
        """Make the heartbeat last for the test, or be too old."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        beat = now + 10**12 if fresh else max(now - 2 * STALE_NS, 0)
        self.maps["heartbeat"].put(0, struct.pack("=Q", beat))

    def put_home(self, home: Home, namespace: int, device: int = LOOPBACK) -> None:
        """Say behind which device an instance is, and the id of its network namespace."""
        self.maps["homes"].put(home.address, struct.pack("=Ii", device, namespace))

    def run(self, program: str, frame: bytes, mark: int = 0) -> ProgramRun:
        """Let a frame pass a program, at the loopback device."""
        return self.programs[program].test_run(frame, packet_context(mark=mark))

    def counts(self) -> Counts:
        """Return everything that was counted, but zeros."""
        found: Counts = Counter()
        for name in ("counters", "service_stats", "instance_stats"):
            shape = self.maps[name].shape
            words = shape.value_bytes // 8
            for index, value in enumerate(self.maps[name].values()):
                if not any(value):
                    continue
                numbers = struct.unpack(f"={words * possible_cpus()}Q", value)
                for place in range(words):
                    found[name, index, place] = sum(numbers[place::words])
        return +found

    def close(self) -> None:
        """Forget all."""
        for owned in (*self.programs.values(), *self.maps.values()):
            owned.close()


def packed_table(rows: Sequence[Sequence[int]]) -> bytes:
    """Return a table as the program reads it, with nobody in the places that are left."""
    firsts = struct.pack(f"={ROWS}H", *(row[0] for row in rows))
    packed = (struct.pack(f"={CHANCES}H", *row, *[0] * (CHANCES - len(row))) for row in rows)
    return firsts + b"".join(packed)


def mark_of(outcome: ProgramRun) -> int:
    """Return the mark of the packet after the run."""
    (mark,) = struct.unpack_from("=I", outcome.context, 8)
    return int(mark)


def counted(verdict: Fate) -> Counts:
    """Return what a verdict of the model counts, as `Kernel.counts` has it."""
    found: Counts = Counter()
    for name in verdict.counters:
        found["counters", COUNTERS.index(name), 0] += 1
    for kind, stat in (
        ("service_stats", verdict.service),
        ("instance_stats", verdict.instance),
    ):
        if stat:
            for place, number in enumerate(stat.added):
                found[kind, stat.index, place] += number
    return found


def network(text: str) -> IPv6Network:
    return IPv6Network(text)


def name_own_namespace(number: int) -> int:
    """Give this network namespace an id as seen from itself; return it."""
    new_id, nsid, fd_attribute, request = 88, 1, 3, 1 | 4
    with Path("/proc/thread-self/ns/net").open("rb") as namespace:
        body = struct.pack(
            *("=BxxxHHiHHI", 0, 8, nsid, number, 8, fd_attribute, namespace.fileno())
        )
        header = struct.pack("=IHHII", 16 + len(body), new_id, request, 1, 0)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
            netlink.send(header + body)
            (error,) = struct.unpack_from("=i", netlink.recv(4096), 16)
    assert not error, error
    return number


def instruction_counts(kernel: Kernel) -> Mapping[str, int]:
    """Return how many instructions each program has."""
    return {name: len(code) // 8 for name, code in kernel.code.items()}


def attach(program: Program, device: str, side: Side) -> None:
    """Let packets of a device pass a program, also in a kernel without TCX."""
    if has_tcx():
        bpf.attach(program, socket.if_nametoindex(device), side)
        return
    with ThreadPoolExecutor(1) as thread:  # which may have an event loop of its own
        thread.submit(asyncio.run, _put_filter(program, device, side)).result()


async def _put_filter(program: Program, device: str, side: Side) -> None:
    network = KernelNetwork()
    await network.put_filter(device, side, program.fd, program.name)
    await network.close()
