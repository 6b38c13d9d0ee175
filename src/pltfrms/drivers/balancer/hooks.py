"""Where the director's program sees packets: attaching it to devices, and taking it off."""

import asyncio
import errno
import fcntl
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from pltfrms.drivers.balancer.maps import Maps
from pltfrms.drivers.kernel.programs import bpf
from pltfrms.drivers.kernel.programs.bpf import Program, Side
from pltfrms.errors import InvariantError
from pltfrms.model.running.balancer import Hook, HookKind

ENTRY_POINTS: Final = (
    "outside",
    "outside_l3",
    "inside",
    "inside_l3",
    "instance_in",
    "instance_out",
)
"""Programs of the object file; `_l3` ones are for devices without Ethernet headers."""

_MARK: Final = "plt_"
"""The names of our programs in the kernel begin so; the names of others do not."""
_GONE: Final = frozenset({errno.ENODEV, errno.ENXIO})
_SIDES: Final = (Side.EGRESS, Side.INGRESS)
"""What goes to an instance first: it must arrive before anything is sent to it."""
_SIOCGIFHWADDR = 0x8927
_WITH_ETHERNET_HEADER: Final = frozenset({1, 772})
"""Hardware types (linux/if_arp.h): Ethernet, loopback."""


class Devices(Protocol):
    """What must be asked over rtnetlink; `netlink.KernelNetwork` does it."""

    async def peer_namespace(self, device: str) -> int | None:
        """Return the number of the namespace of a veth's far end; None without device."""
        ...

    async def put_filter(self, device: str, side: Side, program_fd: int, name: str) -> None:
        """Attach a program without TCX; OSError."""
        ...

    async def delete_filter(self, device: str, side: Side) -> None:
        """Undo `put_filter`."""
        ...

    async def filter_name(self, device: str, side: Side) -> str:
        """Return the name given to `put_filter`, or ``."""
        ...


class Device(NamedTuple):
    """A network device; another one that gets its name later has another index."""

    ifindex: int
    name: str


class Attacher(Protocol):
    """A way to attach programs."""

    async def put(self, device: Device, side: Side, entry: str, *, hold: bool) -> str:
        """Let packets pass a program; return one word what was done, `` if nothing.

        With `hold`, a program of an agent before us stays where it is. OSError ENODEV if the
        device is gone.
        """
        ...

    async def take(self, device: Device, side: Side) -> str:
        """Take off what is ours, whoever attached it; return `` if there is nothing."""
        ...


class Tcx:
    """Linux 6.6 and newer: in one step, and beside the programs of others."""

    def __init__(self, programs: Mapping[str, Program]) -> None:
        """Attach these programs, by entry point."""
        self._programs = programs
        self._ids = {program.id: entry for entry, program in programs.items()}

    async def put(self, device: Device, side: Side, entry: str, *, hold: bool) -> str:
        """See `Attacher`."""
        index, program = device.ifindex, self._programs[entry]
        have = self._ours(index, side)
        if [self._ids.get(number) for number in have] == [entry]:
            return ""
        if not have:
            bpf.attach(program, index, side)
            await asyncio.sleep(0)  # the kernel waited 16 ms for all that runs
            return "attached"
        if hold and not any(number in self._ids for number in have):
            return ""
        if program.id not in have:
            with Program.by_id(have[0]) as old:
                bpf.attach(program, index, side, old)
        _take_off(
            [number for number in self._ours(index, side) if number != program.id], index, side
        )
        return "replaced"

    async def take(self, device: Device, side: Side) -> str:
        """See `Attacher`."""
        try:
            have = self._ours(device.ifindex, side)
            _take_off(have, device.ifindex, side)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return ""
        return "detached" if have else ""

    def _ours(self, index: int, side: Side) -> list[int]:
        return [
            number
            for number in bpf.attached(index, side)
            if number in self._ids or is_ours(number)
        ]


class Clsact:
    """Older kernels: filters of the traffic control.

    Asking for them takes a dump each: what we did ourselves we believe.
    """

    def __init__(self, programs: Mapping[str, Program], devices: Devices) -> None:
        """Attach these programs, by entry point."""
        self._devices = devices
        self._programs = programs
        self._names = {
            entry: f"{_MARK}{entry}:{program.id}" for entry, program in programs.items()
        }
        self._done: dict[tuple[Device, Side], str] = {}

    async def put(self, device: Device, side: Side, entry: str, *, hold: bool) -> str:
        """See `Attacher`."""
        name = self._names[entry]
        have = await self._look(device, side)
        if have == name or (have and hold and have not in self._names.values()):
            return ""
        fd = self._programs[entry].fd
        await self._devices.put_filter(device.name, side, fd, name)
        self._done[device, side] = name
        return "replaced" if have else "attached"

    async def take(self, device: Device, side: Side) -> str:
        """See `Attacher`."""
        have = await self._look(device, side)
        if have:
            await self._devices.delete_filter(device.name, side)
        self._done[device, side] = ""
        return "detached" if have else ""

    async def _look(self, device: Device, side: Side) -> str:
        known = self._done.get((device, side))
        return await self._devices.filter_name(device.name, side) if known is None else known


class Hooks:
    """The devices that the program watches. Methods raise OSError if the kernel refuses."""

    def __init__(self, maps: Maps, devices: Devices, way: Attacher) -> None:
        """Whatever is attached now is another agent's, before us."""
        self._maps = maps
        self._devices = devices
        self._way = way
        self._known = set(_devices().values())
        self._suffixes: dict[Device, str] = {}
        self._homes: dict[bytes, Device | None] = dict.fromkeys(maps["homes"].items())
        """Devices of instances, by address; None: not from us."""

    async def attach(self, hooks: Sequence[Hook], *, hold: bool) -> tuple[str, ...]:
        """See `ports.Balancer`; for `hold` see `Attacher`. A device's first hook counts."""
        wanted: dict[str, Hook] = {}
        for hook in hooks:
            wanted.setdefault(hook.device, hook)
        there, sentences = _devices(), list[str]()
        present: dict[Device, Hook] = {}
        for name, hook in wanted.items():
            try:
                sentences += await self._attach(_found(there, name), hook, hold=hold)
            except OSError as error:
                if error.errno in _GONE:
                    sentences.append(f"missing {name}")
                    continue
                # What is there already stays, and the other devices get theirs.
                sentences.append(f"refused {name}: {error.strerror or error}")
            present[there[name]] = hook
        for device in sorted(self._known & set(there.values()) - present.keys()):
            sentences += [await self._take(device, side) for side in _SIDES]
        self._known = set(present)
        self._forget_others(present)
        return tuple(sentence for sentence in sentences if sentence)

    def _forget_others(self, present: Mapping[Device, Hook]) -> None:
        homes = {hook.address.packed for hook in present.values() if hook.address}
        for address in self._homes.keys() - homes:
            self._maps["homes"].delete(address)
            del self._homes[address]
        for device in self._suffixes.keys() - present.keys():
            del self._suffixes[device]

    async def _attach(self, device: Device, hook: Hook, *, hold: bool) -> list[str]:
        """Return sentences; empty ones are for nothing."""
        if hook.kind is HookKind.INSTANCE:
            await self._tell_home(device, hook)
            wanted = {Side.EGRESS: "instance_out", Side.INGRESS: "instance_in"}
        else:
            if device not in self._suffixes:
                self._suffixes[device] = _suffix(device.name)
            wanted = {Side.INGRESS: hook.kind.value + self._suffixes[device]}
        done: list[str] = []
        for side in _SIDES:
            if side in wanted:
                verb = await self._way.put(device, side, wanted[side], hold=hold)
                done.append(verb and f"{verb} {wanted[side]} at {device.name}")
            else:
                done.append(await self._take(device, side))
        return done

    async def _take(self, device: Device, side: Side) -> str:
        verb = await self._way.take(device, side)
        return verb and f"{verb} at {side.name.lower()} of {device.name}"

    async def _tell_home(self, device: Device, hook: Hook) -> None:
        """Tell the program where an instance is: behind which device, in which namespace."""
        if hook.address is None:
            raise InvariantError(f"the hook at {hook.device} does not say of which instance")
        address = hook.address.packed
        if self._homes.get(address) == device:
            return
        namespace = await self._devices.peer_namespace(device.name)
        if namespace is None:
            raise OSError(errno.ENODEV, f"{device.name} has just gone")
        self._maps["homes"].put(address, struct.pack("=Ii", device.ifindex, namespace))
        self._homes[address] = device


def has_tcx() -> bool:
    """Return whether this kernel has TCX."""
    try:
        bpf.attached(1, Side.INGRESS)
    except OSError as error:
        return error.errno == errno.ENODEV
    return True


async def take_all(devices: Devices) -> None:
    """Take off all that is ours from all devices of this network namespace."""
    ways: tuple[Attacher, ...] = (Clsact({}, devices), *([Tcx({})] if has_tcx() else []))
    for device in _devices().values():
        for way in ways:
            for side in _SIDES:
                await way.take(device, side)


def is_ours(number: int) -> bool:
    """Return whether a loaded program is one of the director's, whoever loaded it."""
    try:
        with Program.by_id(number) as program:
            return program.name.startswith(_MARK)
    except OSError:
        return False  # gone


def program_name(entry: str) -> str:
    """Return the name by which a program is loaded."""
    return _MARK + entry


def _take_off(numbers: Sequence[int], index: int, side: Side) -> None:
    for number in numbers:
        with Program.by_id(number) as program:
            bpf.detach(program, index, side)


def _devices() -> dict[str, Device]:
    return {name: Device(index, name) for index, name in socket.if_nameindex()}


def _found(there: Mapping[str, Device], name: str) -> Device:
    if name not in there:
        raise OSError(errno.ENODEV, f"there is no {name}")
    return there[name]


def _suffix(device: str) -> str:
    """Return `_l3` if packets of a device have no Ethernet header; OSError if it is gone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        request = struct.pack("16s16x", device.encode())
        answer = fcntl.ioctl(asker.fileno(), _SIOCGIFHWADDR, request)
    (kind,) = struct.unpack_from("=H", answer, 16)
    return "" if kind in _WITH_ETHERNET_HEADER else "_l3"
