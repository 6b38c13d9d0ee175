"""The IPv6 routes of a table that lead to one address: followed by what the kernel tells.

Between the death of an instance and the last packet to it lies nothing but this and a table
put into place, so what changes is read from the message that tells of it: to read a whole table
of 20 000 routes takes 0.1 s. That is done beside, in parts, to find what nobody has told us.
Messages are those of rtnetlink(7).

The kernel answers in parts, too, and finds its place again by counting: what is deleted between
two parts makes it leave out routes that stay, and it says nothing (there is no
NLM_F_DUMP_INTR; Linux 6.18 left out half of 700 routes). So we listen while we read.
"""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address
from typing import Final

from pltfrms.drivers.descriptors import readable
from pltfrms.drivers.kernel.tables.followed import HostRoute, Key, RouteBook
from pltfrms.drivers.kernel.tables.hints import IPV6_ROUTES_GROUP, Hints
from pltfrms.errors import UnavailableError

ATTEMPTS: Final = 5
"""Of a table that never stays the same while it is read, all that was seen is believed."""
_NEW_ROUTE, _DELETED_ROUTE, _GET_ROUTE = 24, 25, 26
_ERROR, _DONE = 2, 3
_REQUEST, _DUMP = 0x1, 0x300
_STRICT: Final = (270, 12)
"""SOL_NETLINK, NETLINK_GET_STRICT_CHK: the kernel itself leaves out other tables."""
_HEADER: Final = struct.Struct("=IHHII")
_ROUTE: Final = struct.Struct("=8BI")
_ATTRIBUTE: Final = struct.Struct("=HH")
_HOP: Final = struct.Struct("=HBBi")
_DESTINATION, _DEVICE, _GATEWAY, _PRIORITY, _MULTIPATH = 1, 4, 5, 6, 9
_HOST_LENGTH = 128
_BUFFER_BYTES = 1 << 16


class KernelHostRoutes:
    """`ports.HostRoutes` of a table (1..251) of the network namespace it is made in."""

    def __init__(self, table: int) -> None:
        """Listen from now on. OSError if the kernel refuses."""
        self._table = table
        self._hints = Hints(IPV6_ROUTES_GROUP, table)
        self._book = RouteBook()
        self._read: dict[bytes, HostRoute | None] = {}
        """Messages of the last audit: most are the same each time."""

    @property
    def unsure(self) -> bool:
        """See `ports.HostRoutes`."""
        return self._book.unsure

    async def wait(self) -> None:
        """See `ports.HostRoutes`."""
        await readable(self._hints.fileno())
        self._hear()

    def news(self) -> Mapping[IPv6Address, tuple[int, ...]]:
        """See `ports.HostRoutes`."""
        self._hear()
        return self._book.news()

    async def audit(self) -> None:
        """See `ports.HostRoutes`. 1 ms for 1000 routes that are as before."""
        try:
            await self._audit()
        except OSError as error:
            raise UnavailableError(
                f"routes of table {self._table}: {error.strerror}"
            ) from error

    def close(self) -> None:
        """See `ports.HostRoutes`."""
        self._hints.close()

    def _hear(self) -> None:
        messages, lost = self._hints.take()
        if lost:
            self._book.lose()
        for data in messages:
            for kind, body in _messages(data):
                if kind not in {_NEW_ROUTE, _DELETED_ROUTE}:
                    continue
                route = _host_route(body, self._table)
                if route is not None:
                    (self._book.put if kind == _NEW_ROUTE else self._book.delete)(route)

    async def _audit(self) -> None:
        every, differing = set[Key](), list[HostRoute]()
        self._hear()
        self._book.begin_audit()
        for _ in range(ATTEMPTS):
            told, found = self._book.told, await self._whole(differing)
            self._hear()
            every |= found
            if told == self._book.told:
                every = found
                break
        self._book.settle(every, differing)

    async def _whole(self, differing: list[HostRoute]) -> set[Key]:
        """Read the table, and note what nobody told us.

        Others have their turn after each part of some hundred routes.
        """
        found = set[Key]()
        before, self._read = self._read, {}
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as asker:
            asker.setsockopt(*_STRICT, 1)
            question = _ROUTE.pack(socket.AF_INET6, 0, 0, 0, self._table, 0, 0, 0, 0)
            length = _HEADER.size + len(question)
            asker.send(_HEADER.pack(length, _GET_ROUTE, _REQUEST | _DUMP, 1, 0) + question)
            while True:
                for kind, body in _messages(asker.recv(_BUFFER_BYTES)):
                    if kind == _DONE or (kind == _ERROR and _is_no_table(body)):
                        return found
                    if body not in before:
                        before[body] = _host_route(body, self._table)
                    route = self._read[body] = before[body]
                    if route is not None:
                        found.add(route[:2])
                        if self._book.differs(route):
                            differing.append(route)
                await asyncio.sleep(0)


def _is_no_table(body: bytes) -> bool:
    """Return whether an error means that nobody has put a route there; else OSError."""
    code = -struct.unpack_from("=i", body)[0]
    if code != errno.ENOENT:
        raise OSError(code, os.strerror(code))
    return True


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and body."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size : at + length]
        at += (max(length, _HEADER.size) + 3) & ~3


def _host_route(body: bytes, table: int) -> HostRoute | None:
    """Return the host route that a message tells of, if it is one."""
    _, length, _, _, its_table, *_ = _ROUTE.unpack_from(body)
    if its_table != table or length != _HOST_LENGTH:
        return None
    values = dict(_attributes(body, _ROUTE.size))
    if _DESTINATION not in values:
        return None
    (metric,) = struct.unpack("=I", values.get(_PRIORITY, bytes(4)))
    return HostRoute(values[_DESTINATION], metric, frozenset(_hops(values)))


def _hops(values: Mapping[int, bytes]) -> Iterator[bytes]:
    """Yield where a route leads: index of the device, and gateway."""
    if _DEVICE in values:
        yield values[_DEVICE] + values.get(_GATEWAY, b"")
    every, at = values.get(_MULTIPATH, b""), 0
    while at + _HOP.size <= len(every):
        size, _, _, device = _HOP.unpack_from(every, at)
        inner = dict(_attributes(every[: at + size], at + _HOP.size))
        yield struct.pack("=i", device) + inner.get(_GATEWAY, b"")
        at += (max(size, _HOP.size) + 3) & ~3


def _attributes(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Yield kind and value."""
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        yield kind, data[at + _ATTRIBUTE.size : at + size]
        at += (max(size, _ATTRIBUTE.size) + 3) & ~3
