"""Programs and maps in the kernel: bpf(2) itself, without a library.

Every error is an OSError whose `strerror` says what was asked and what the kernel answered,
such as `bpf PROG_LOAD instance_in: Operation not permitted`. File descriptors are closed on
exec; who makes a `Map` or a `Program` closes it. See bpf(2), and linux/bpf.h for the layouts.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Final, Self

from pltfrms.errors import InvariantError

_SYSCALLS: Final = {"x86_64": 321, "aarch64": 280}
_LIBC = ctypes.CDLL(None, use_errno=True)
_ATTRIBUTE_BYTES = 160
_NAME_BYTES = 15
_SCHED_CLS = 3
_REPLACE = 1 << 2
_TRIES = 5
"""A signal may end the verifier's work with EAGAIN."""
_LOG_BYTES = 1 << 20
_LOG_LINES = 6
_MOST_ADDED_BYTES = 256
"""By which a program may make a packet longer."""
_POSSIBLE_CPUS = Path("/sys/devices/system/cpu/possible")


class _Command(IntEnum):
    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    OBJ_PIN = 6
    OBJ_GET = 7
    PROG_ATTACH = 8
    PROG_DETACH = 9
    PROG_TEST_RUN = 10
    PROG_GET_FD_BY_ID = 13
    MAP_GET_FD_BY_ID = 14
    OBJ_GET_INFO_BY_FD = 15
    PROG_QUERY = 16
    MAP_LOOKUP_BATCH = 24
    MAP_UPDATE_BATCH = 26


class MapKind(IntEnum):
    """Kinds of map that we use."""

    HASH = 1
    ARRAY = 2
    PERCPU_ARRAY = 6
    ARRAY_OF_MAPS = 12


class Side(IntEnum):
    """Where at a device a program sees packets (TCX)."""

    INGRESS = 46
    EGRESS = 47


@dataclass(frozen=True, slots=True, kw_only=True)
class MapShape:
    """What a map is like; keys of arrays are u32."""

    kind: MapKind
    entries: int
    key_bytes: int = 4
    value_bytes: int = 4
    inner: "MapShape | None" = None
    """Of the maps in an ARRAY_OF_MAPS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRun:
    """What a program did with one packet."""

    verdict: int
    """Such as TC_ACT_OK (0) or TC_ACT_SHOT (2)."""
    data: bytes
    context: bytes
    duration_ns: int
    """Per repetition."""


# ---- the system call -----------------------------------------------------------------------


def _call(command: _Command, attribute: bytes, subject: str = "") -> tuple[int, bytes]:
    """Return the result and the attribute as the kernel left it."""
    number = _SYSCALLS.get(platform.machine())
    words = f"bpf {command.name} {subject}".rstrip()
    if number is None:
        raise OSError(errno.ENOSYS, f"{words}: not known on {platform.machine()}")
    buffer = ctypes.create_string_buffer(attribute, _ATTRIBUTE_BYTES)
    for _ in range(_TRIES):
        result = _LIBC.syscall(
            ctypes.c_long(number),
            ctypes.c_long(command),
            buffer,
            ctypes.c_long(_ATTRIBUTE_BYTES),
        )
        if result >= 0:
            return result, buffer.raw
        if ctypes.get_errno() not in {errno.EAGAIN, errno.EINTR}:
            break
    code = ctypes.get_errno()
    raise OSError(code, f"{words}: {os.strerror(code)}")


def _buffer(data: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(data, max(len(data), 1))


def _at(buffer: ctypes.Array[ctypes.c_char] | None) -> int:
    return 0 if buffer is None else ctypes.addressof(buffer)


def _name(name: str) -> bytes:
    return name.encode()[:_NAME_BYTES]


def _info(fd: int) -> bytes:
    info = ctypes.create_string_buffer(256)
    _call(_Command.OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, len(info), _at(info)))
    return info.raw


def _pin(fd: int, path: Path) -> None:
    where = _buffer(os.fsencode(path) + b"\0")
    _call(_Command.OBJ_PIN, struct.pack("=QI", _at(where), fd), str(path))


def _open_pinned(path: Path) -> int:
    where = _buffer(os.fsencode(path) + b"\0")
    return _call(_Command.OBJ_GET, struct.pack("=QI", _at(where), 0), str(path))[0]


class _Owned:
    """Something with a file descriptor of ours."""

    def __init__(self, fd: int) -> None:
        """Take over an open descriptor."""
        self.fd = fd

    def pin(self, path: Path) -> None:
        """Give it a name in a bpffs, so that it outlives us; OSError EEXIST if taken."""
        _pin(self.fd, path)

    def close(self) -> None:
        """Close our descriptor; pins and users in the kernel keep the thing alive."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


# ---- maps ----------------------------------------------------------------------------------


class Map(_Owned):
    """A map: keys and values are bytes of the lengths that its shape says."""

    def __init__(self, fd: int, shape: MapShape) -> None:
        """Take over an open descriptor."""
        super().__init__(fd)
        self.shape = shape

    @classmethod
    def create(cls, shape: MapShape, name: str) -> Self:
        """Make an empty map; only the first 15 characters of the name count."""
        inner = None if shape.inner is None else Map.create(shape.inner, name)
        attribute = struct.pack(
            "=7I16s",
            *(shape.kind, shape.key_bytes, shape.value_bytes, shape.entries, 0),
            *(0 if inner is None else inner.fd, 0, _name(name)),
        )
        try:
            return cls(_call(_Command.MAP_CREATE, attribute, name)[0], shape)
        finally:
            if inner is not None:
                inner.close()

    @classmethod
    def open(cls, path: Path, inner: MapShape | None = None) -> Self:
        """Open a pinned map; OSError ENOENT if there is none.

        Its shape is asked for, but that of the maps in it must be known.
        """
        fd = _open_pinned(path)
        kind, _, key_bytes, value_bytes, entries = struct.unpack_from("=5I", _info(fd))
        shape = MapShape(
            kind=MapKind(kind),
            entries=entries,
            key_bytes=key_bytes,
            value_bytes=value_bytes,
            inner=inner,
        )
        return cls(fd, shape)

    def get(self, key: bytes | int) -> bytes | None:
        """Return a value; None if there is none.

        Of a per-CPU map: the values of all possible CPUs, each padded to 8 bytes. Of a map
        of maps: the id of the inner one, u32.
        """
        value = ctypes.create_string_buffer(self.stored_bytes)
        try:
            self._element(_Command.MAP_LOOKUP_ELEM, key, value)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return value.raw

    def put(self, key: bytes | int, value: bytes) -> None:
        """Set a value (per-CPU: of all CPUs, as `get` returns them)."""
        _check_length(value, self.stored_bytes)
        self._element(_Command.MAP_UPDATE_ELEM, key, _buffer(value))

    def delete(self, key: bytes | int) -> bool:
        """Delete a key; return whether it was there."""
        try:
            self._element(_Command.MAP_DELETE_ELEM, key, None)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True

    def _keys(self) -> Iterator[bytes]:
        key: ctypes.Array[ctypes.c_char] | None = None
        for _ in range(self.shape.entries):
            following = ctypes.create_string_buffer(self.shape.key_bytes)
            attribute = struct.pack("=IxxxxQQ", self.fd, _at(key), _at(following))
            try:
                _call(_Command.MAP_GET_NEXT_KEY, attribute)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return
                raise
            yield following.raw
            key = following

    def items(self) -> dict[bytes, bytes]:
        """Return all that is in it by key, maybe without what changes meanwhile."""
        found = ((key, self.get(key)) for key in self._keys())
        return {key: value for key, value in found if value is not None}

    def values(self) -> list[bytes]:
        """Return all values of an array, in one call: 16384 of 16 bytes in 1 ms."""
        size, count = self.stored_bytes, self.shape.entries
        keys = ctypes.create_string_buffer(4 * count)
        values = ctypes.create_string_buffer(size * count)
        position = ctypes.create_string_buffer(4)
        pointers = (0, _at(position), _at(keys), _at(values))
        attribute = struct.pack("=4QIIQQ", *pointers, count, self.fd, 0, 0)
        try:
            _call(_Command.MAP_LOOKUP_BATCH, attribute)
        except OSError as error:
            if error.errno != errno.ENOENT:  # which says: no more
                raise
        raw = values.raw
        return [raw[start : start + size] for start in range(0, len(raw), size)]

    def put_maps(self, inner: Mapping[int, "Map"]) -> None:
        """Put maps into a map of maps, by index.

        The kernel waits until no program runs any more, about 16 ms, but only once.
        """
        keys = _buffer(struct.pack(f"={len(inner)}I", *inner))
        fds = _buffer(struct.pack(f"={len(inner)}I", *(one.fd for one in inner.values())))
        pointers = (0, 0, _at(keys), _at(fds))
        attribute = struct.pack("=4QIIQQ", *pointers, len(inner), self.fd, 0, 0)
        _call(_Command.MAP_UPDATE_BATCH, attribute)

    def map_in(self, index: int) -> "Map | None":
        """Return the inner map at an index of a map of maps, open; None if there is none."""
        number = self.get(index)
        if number is None or self.shape.inner is None:
            return None
        fd, _ = _call(_Command.MAP_GET_FD_BY_ID, number)
        return Map(fd, self.shape.inner)

    def _element(
        self, command: _Command, key: bytes | int, value: ctypes.Array[ctypes.c_char] | None
    ) -> None:
        raw = struct.pack("=I", key) if isinstance(key, int) else key
        _check_length(raw, self.shape.key_bytes)
        key_buffer = _buffer(raw)
        _call(command, struct.pack("=IxxxxQQQ", self.fd, _at(key_buffer), _at(value), 0))

    @property
    def stored_bytes(self) -> int:
        """Length of what `get` returns."""
        if self.shape.kind != MapKind.PERCPU_ARRAY:
            return self.shape.value_bytes
        return -(-self.shape.value_bytes // 8) * 8 * possible_cpus()


def _check_length(data: bytes, wanted: int) -> None:
    """Raise InvariantError for data that the kernel would read beyond its end."""
    if len(data) != wanted:
        raise InvariantError(f"the map takes {wanted} bytes, not {len(data)}")


@cache
def possible_cpus() -> int:
    """Return how many values a per-CPU map has for each key."""
    last = _POSSIBLE_CPUS.read_text().strip().split(",")[-1]
    return int(last.split("-")[-1]) + 1


# ---- programs ------------------------------------------------------------------------------


class Program(_Owned):
    """A loaded program of the traffic control kind."""

    @classmethod
    def load(cls, name: str, code: bytes, licence: str = "Dual MIT/GPL") -> Self:
        """Let the kernel verify and take a program, whose maps are file descriptors already.

        Raises:
            OSError: it is refused; `strerror` ends with the verifier's last lines.
        """
        instructions, terms = _buffer(code), _buffer(licence.encode() + b"\0")

        def attempt(log: ctypes.Array[ctypes.c_char] | None) -> int:
            attribute = struct.pack(
                "=IIQQIIQII16s",
                *(_SCHED_CLS, len(code) // 8, _at(instructions), _at(terms)),
                *((0, 0, 0) if log is None else (1, len(log), _at(log))),
                *(0, 0, _name(name)),
            )
            return _call(_Command.PROG_LOAD, attribute, name)[0]

        try:
            return cls(attempt(None))
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EINVAL}:
                raise
        log = ctypes.create_string_buffer(_LOG_BYTES)
        try:
            return cls(attempt(log))
        except OSError as error:
            lines = log.value.decode(errors="replace").strip().splitlines()
            said = " | ".join(lines[-_LOG_LINES:])
            raise OSError(error.errno, f"{error.strerror}; verifier: {said}") from error

    @classmethod
    def by_id(cls, number: int) -> Self:
        """Open a loaded program; OSError ENOENT if it is gone."""
        return cls(_call(_Command.PROG_GET_FD_BY_ID, struct.pack("=I", number))[0])

    @property
    def id(self) -> int:
        """The kernel's number of it."""
        number: int = struct.unpack_from("=I", _info(self.fd), 4)[0]
        return number

    @property
    def name(self) -> str:
        """The name it was loaded by, at most 15 characters."""
        return _info(self.fd)[64:80].split(b"\0")[0].decode(errors="replace")

    def test_run(self, data: bytes, context: bytes = b"", repeat: int = 1) -> ProgramRun:
        """Run it on a packet (from its Ethernet header on) that goes nowhere.

        `context` is a `struct __sk_buff`, see `packet_context`. The packet is the same one
        in all repetitions: only the first finds it as it was.
        """
        data_in = _buffer(data)
        data_out = ctypes.create_string_buffer(len(data) + _MOST_ADDED_BYTES)
        context_in = _buffer(context) if context else None
        context_out = ctypes.create_string_buffer(256) if context else None
        attribute = struct.pack(
            "=IIIIQQIIIIQQIII",
            *(self.fd, 0, len(data), len(data_out), _at(data_in), _at(data_out)),
            *(repeat, 0, len(context), 256 if context else 0),
            *(_at(context_in), _at(context_out), 0, 0, 0),
        )
        _, answer = _call(_Command.PROG_TEST_RUN, attribute)
        verdict, _, size = struct.unpack_from("=3I", answer, 4)
        duration_ns, _, context_size = struct.unpack_from("=3I", answer, 36)
        return ProgramRun(
            verdict=verdict,
            data=data_out.raw[:size],
            context=context_out.raw[:context_size] if context_out else b"",
            duration_ns=duration_ns,
        )


def packet_context(*, mark: int = 0, ifindex: int = 0) -> bytes:
    """Return a context for `Program.test_run`: the packet's mark, and the device it is at.

    The mark after the run is the u32 at offset 8 of `Outcome.context`.
    """
    return struct.pack("=8xI28xI148x", mark, ifindex)


# ---- programs at devices (TCX, Linux 6.6 and newer) ----------------------------------------


def attach(program: Program, ifindex: int, side: Side, replaced: Program | None = None) -> None:
    """Let packets of a device pass a program, until the device or `detach` ends that.

    With `replaced`, it takes the place of that one in one step: every packet passes one of
    the two. OSError ENODEV if there is no such device.
    """
    flags = 0 if replaced is None else _REPLACE
    old = 0 if replaced is None else replaced.fd
    attribute = struct.pack("=5I", ifindex, program.fd, side, flags, old)
    _call(_Command.PROG_ATTACH, attribute)


def detach(program: Program, ifindex: int, side: Side) -> None:
    """Undo `attach`; OSError ENOENT if it is not attached there."""
    _call(_Command.PROG_DETACH, struct.pack("=4I", ifindex, program.fd, side, 0))


def attached(ifindex: int, side: Side) -> tuple[int, ...]:
    """Return the ids of the programs at a device, in the order in which packets pass them.

    OSError ENODEV without the device, EINVAL if this kernel has no TCX.
    """
    ids = ctypes.create_string_buffer(4 * 64)
    attribute = struct.pack("=4IQI", ifindex, side, 0, 0, _at(ids), len(ids) // 4)
    try:
        _, answer = _call(_Command.PROG_QUERY, attribute)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return ()
        raise
    (count,) = struct.unpack_from("=I", answer, 24)
    return struct.unpack_from(f"={count}I", ids)
