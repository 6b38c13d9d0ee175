"""The director in the kernel of this machine: `ports.Balancer`.

The program and its maps live in the kernel, not in us. Maps have names in a bpffs of ours, by
which the next agent finds them; programs stay at a device as long as the device.
"""

import asyncio
import platform
import struct
import time
from collections.abc import Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

from pltfrms.drivers.balancer.hooks import (
    ENTRY_POINTS,
    Clsact,
    Devices,
    Hooks,
    Tcx,
    has_tcx,
    program_name,
    take_all,
)
from pltfrms.drivers.balancer.maps import (
    SHAPES,
    Maps,
    forget_maps,
    layout,
    open_maps,
    refusals,
)
from pltfrms.drivers.balancer.tables import Tables
from pltfrms.drivers.kernel.programs.bpf import Map, Program
from pltfrms.drivers.kernel.programs.bpffs import is_bpffs, mount_bpffs
from pltfrms.drivers.kernel.programs.elf import ObjectFile
from pltfrms.errors import UnavailableError
from pltfrms.model.running.balancer import BalancerCounts, BalancerSettings, BalancerTable, Hook

OBJECT: Final = Path(__file__).parent / "director" / "director.bpf.o"
_NEEDS: Final = "the director needs root, and Linux 6.1 or newer with BPF"
_NANOSECONDS_PER_MS: Final = 1_000_000
_IPV6_ETHERTYPE, _IPV4_ETHERTYPE = b"\x86\xdd", b"\x08\x00"
_LOOPBACK = 1
"""Index of the device at which a test packet is."""


class KernelBalancer:
    """`ports.Balancer` of the network namespace it runs in.

    A program that an agent before us attached works with the maps it knows. If ours have other
    shapes, ours start empty, and that program stays in its place until our first heartbeat:
    only then are our tables right. The `attach` after it changes over.
    """

    def __init__(
        self,
        directory: Path,
        devices: Devices,
        object_file: Path = OBJECT,
        *,
        with_tcx: bool | None = None,
    ) -> None:
        """Do nothing yet.

        `directory` is for a bpffs that we mount; with another one, two of us do not meet.
        `with_tcx` is for tests: None says what the kernel can.
        """
        self._directory = directory
        self._devices = devices
        self._object_file = object_file
        self._with_tcx = with_tcx
        self._maps: dict[str, Map] = {}
        self._programs: dict[str, Program] = {}
        self._running: tuple[Tables, Hooks] | None = None

    async def start(self, settings: BalancerSettings) -> str:
        """See `ports.Balancer`. Takes 0.1 s; what packets pass does not change."""
        if self._running is None:
            try:
                await self._load(settings)
            except OSError as error:
                raise UnavailableError(
                    f"{error.strerror or error} ({_NEEDS}; this is {platform.release()})"
                ) from error
            finally:
                if self._running is None:
                    self.close()
        tables, _ = self._started()
        with refusals():
            self._maps["settings"].put(0, _packed(settings))
        how = "TCX" if self._has_tcx() else "clsact"
        return f"runs at {how} hooks, with {len(tables.installed())} tables from before"

    async def attach(self, hooks: Sequence[Hook]) -> tuple[str, ...]:
        """See `ports.Balancer`. Cheap if nothing has changed: two system calls per device.

        To attach takes 16 ms per program, to replace one does not.
        """
        _, attached = self._started()
        with refusals():
            hold = self.beat_age_ms() < 0
            sentences = await attached.attach(hooks, hold=hold)
            if not hold:
                forget_maps(self._directory, but=layout())
        return sentences

    def put(self, table: BalancerTable) -> None:
        """See `ports.Balancer`; for the time it takes see `Tables`."""
        with refusals():
            self._started()[0].put(table)

    def remove(self, service_id: int) -> None:
        """See `ports.Balancer`."""
        with refusals():
            self._started()[0].remove(service_id)

    def installed(self) -> frozenset[int]:
        """See `ports.Balancer`."""
        return self._started()[0].installed()

    def row(self, service_id: int, row: int) -> tuple[IPv6Address, ...]:
        """See `ports.Balancer`."""
        with refusals():
            return self._started()[0].row(service_id, row)

    def beat(self) -> None:
        """See `ports.Balancer`."""
        self._started()
        with refusals():
            self._maps["heartbeat"].put(0, struct.pack("=Q", _now_ns()))

    def beat_age_ms(self) -> int:
        """See `ports.Balancer`."""
        self._started()
        with refusals():
            (beat_ns,) = struct.unpack("=Q", self._maps["heartbeat"].get(0) or bytes(8))
        return (_now_ns() - beat_ns) // _NANOSECONDS_PER_MS if beat_ns else -1

    def counts(self) -> BalancerCounts:
        """See `ports.Balancer`."""
        with refusals():
            return self._started()[0].counts()

    async def stop(self) -> None:
        """See `ports.Balancer`. Also ends what an agent before us left, without `start`."""
        with refusals():
            await take_all(self._devices)
            self.close()
            if is_bpffs(self._directory):
                forget_maps(self._directory)

    def close(self) -> None:
        """Close what we hold open; all goes on as it is, and `start` takes it over again."""
        for owned in (*self._programs.values(), *self._maps.values()):
            owned.close()
        self._programs, self._maps, self._running = {}, {}, None

    # ---- loading ---------------------------------------------------------------------------

    async def _load(self, settings: BalancerSettings) -> None:
        if not self._object_file.exists():
            raise UnavailableError(
                f"there is no {self._object_file}: compile it with scripts/compile-director"
            )
        objects = ObjectFile(self._object_file)
        mount_bpffs(self._directory)
        self._maps = open_maps(self._directory)
        for entry in ENTRY_POINTS:
            self._programs[entry] = _load(objects, entry, self._maps)
            await asyncio.sleep(0)  # the kernel took up to 30 ms for it
        _try_out(objects, self._maps, settings)
        tables = Tables(self._maps)
        way = Tcx(self._programs) if self._has_tcx() else Clsact(self._programs, self._devices)
        self._running = (tables, Hooks(self._maps, self._devices, way))

    def _has_tcx(self) -> bool:
        return has_tcx() if self._with_tcx is None else self._with_tcx

    def _started(self) -> tuple[Tables, Hooks]:
        if self._running is None:
            raise UnavailableError("the director has not been started")
        return self._running


def _load(objects: ObjectFile, entry: str, maps: Maps) -> Program:
    code = objects.code(entry, {name: one.fd for name, one in maps.items()})
    return Program.load(program_name(entry), code, objects.licence)


def _try_out(objects: ObjectFile, maps: Maps, settings: BalancerSettings) -> None:
    """Let a packet pass `instance_out`: IPv4 out of IPv6 is what old kernels do differently.

    With maps of its own: this packet is not counted, and no other is taken for it.
    """
    own = {name: Map.create(SHAPES[name], name) for name in ("settings", "homes", "counters")}
    try:
        address = settings.infrastructure.network_address + 1
        own["settings"].put(0, _packed(settings))
        own["homes"].put(address.packed, struct.pack("=Ii", _LOOPBACK, -1))
        with _load(objects, "instance_out", {**maps, **own}) as program:
            outer, inner = _outer(settings.source.network_address, address), _inner()
            outcome = program.test_run(bytes(12) + _IPV6_ETHERTYPE + outer + inner)
    finally:
        for one in own.values():
            one.close()
    if outcome.verdict or outcome.data[12:] != _IPV4_ETHERTYPE + inner:
        raise UnavailableError(
            "this kernel does not take the outer header off an IPv4 packet"
            f" ({_NEEDS}; this is {platform.release()})"
        )


def _outer(source: IPv6Address, destination: IPv6Address) -> bytes:
    first_word = 6 << 28 | 0xD1E00
    return struct.pack(
        ">IHBB16s16s", first_word, len(_inner()), 4, 64, source.packed, destination.packed
    )


def _inner() -> bytes:
    """Return an IPv4 packet between two addresses of the documentation's, for UDP port 9."""
    addresses = bytes((192, 0, 2, 1, 192, 0, 2, 2))
    header = struct.pack(">BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 17, 0)
    return header + addresses + struct.pack(">4H", 9, 9, 8, 0)


def _packed(settings: BalancerSettings) -> bytes:
    return struct.pack(
        "=Q16s8s8s",
        settings.stale_after_ms * _NANOSECONDS_PER_MS,
        settings.source.network_address.packed,
        settings.infrastructure.network_address.packed,
        settings.infrastructure.netmask.packed,
    )


def _now_ns() -> int:
    """Return what the program reads by `bpf_ktime_get_ns`."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
