"""Netlink sockets that say when to look again; few read what they say.

Raw sockets, because a message that nobody parses costs nothing but a wake-up.
"""

import contextlib
import ctypes
import errno
import socket
import struct
from collections.abc import AsyncIterator
from typing import Final

from pltfrms.drivers.descriptors import readable

ROUTING_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18
"""Multicast groups: link; IPv4 address, route, rule; IPv6 address, route, rule."""
IPV6_ROUTES_GROUP: Final = 0x400

_NETLINK_ROUTE = 0
_SO_RCVBUFFORCE = 33
_SO_ATTACH_FILTER = 26
_BUFFER_BYTES = 8 * 1024 * 1024
_TABLE_OFFSET = 16 + 4
"""Of `rtm_table`: after a `struct nlmsghdr`, in a `struct rtmsg`."""


class Hints:
    """A socket that hears from now on; iterate `wait` to learn that something happened."""

    def __init__(self, groups: int, table: int = 0, buffer_bytes: int = _BUFFER_BYTES) -> None:
        """Listen to these multicast groups.

        With `table` (1..251; 254 is main), only routes of that table wake us: the kernel itself
        leaves out the others, which is what makes it cheap beside a BIRD with many routes.
        """
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_ROUTE
        )
        with contextlib.suppress(PermissionError):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer_bytes)
        if table:
            _only(self._socket, table)
        self._socket.bind((0, groups))

    async def wait(self) -> AsyncIterator[None]:
        """Yield after something happened, once for all that did; ends after `close`."""
        try:
            while self._socket.fileno() >= 0:
                await readable(self._socket.fileno())
                drain(self._socket)
                yield
        finally:
            self.close()

    def heard(self) -> bool:
        """Return at once whether something happened since it was asked last."""
        return drain(self._socket)

    def take(self) -> tuple[list[bytes], bool]:
        """Return at once what was said since last time, and whether some of it was lost."""
        return take(self._socket)

    def fileno(self) -> int:
        """Return what is readable when there is something to take."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket. An iteration must have been ended by its owner."""
        self._socket.close()


def drain(listener: socket.socket) -> bool:
    """Take all that is there; return whether it was any. Lost ones (ENOBUFS) are, too."""
    messages, lost = take(listener)
    return lost or bool(messages)


def take(listener: socket.socket) -> tuple[list[bytes], bool]:
    """Take all that is there; return it, and whether the kernel had no room for more."""
    messages, lost = list[bytes](), False
    with contextlib.suppress(BlockingIOError):
        while True:
            try:
                messages.append(listener.recv(65536))
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost = True
    return messages, lost


def _only(listener: socket.socket, table: int) -> None:
    """Let the kernel drop all messages but those on routes of a table (classic BPF)."""
    instructions = (
        (0x30, 0, 0, _TABLE_OFFSET),  # load the byte
        (0x15, 0, 1, table),  # is it ours?
        (0x06, 0, 0, 0xFFFFFFFF),  # yes: take the whole message
        (0x06, 0, 0, 0),  # no: drop it
    )
    code = b"".join(struct.pack("=HBBI", *each) for each in instructions)
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(instructions), ctypes.addressof(held))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
