"""Sockets to listen on, and whether somebody listens."""

import contextlib
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, Self

HANDSHAKE_SECONDS: Final = 5.0
"""In which TLS has begun: who connects and says nothing is sent away."""
_IPV6_FREEBIND = 78
"""From linux/in6.h: bind an address that the machine does not have yet."""


def bind6(address: str, port: int) -> socket.socket:
    """Return a TCP socket bound to an IPv6 address.

    Where possible also before the machine has the address; else OSError.
    """
    bound = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # not every kernel lets us
            bound.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound


class Doorkeeper(Protocol):
    """Who says whether somebody may connect, before anything is said."""

    def comes(self, line: socket.socket, client: tuple[str, int]) -> bool:
        """Return whether a connection from an address and port is kept."""
        ...

    def goes(self, client: tuple[str, int]) -> None:
        """Note that a connection that was kept has ended."""
        ...


class Watched(socket.socket):
    """A listening socket that asks a doorkeeper about each connection.

    asyncio tells of connections by TLS only once hands are shaken, which who connects may put
    off.
    """

    keeper: Doorkeeper

    @classmethod
    def by(cls, keeper: Doorkeeper, listening: socket.socket) -> Self:
        """Take a listening socket over."""
        watched = cls(fileno=listening.detach())
        watched.keeper = keeper
        return watched

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection.

        Raises:
            ConnectionAbortedError: it is not wanted, and closed.
        """
        plain, address = super().accept()
        line = _Line(fileno=plain.detach())
        client = (str(address[0]), int(address[1]))
        if not self.keeper.comes(line, client):
            line.close()
            raise ConnectionAbortedError
        line.on_close = lambda: self.keeper.goes(client)
        return line, address


class _Line(socket.socket):
    """A connection that tells when it ends."""

    on_close: Callable[[], None] | None = None

    def close(self) -> None:
        """Close it."""
        super().close()
        told, self.on_close = self.on_close, None
        if told:
            told()


def who_listens(addresses: Sequence[str], port: int, seconds: float) -> tuple[str, ...]:
    """Return the addresses at which somebody takes a TCP connection within some seconds."""

    def listens(address: str) -> bool:
        try:
            socket.create_connection((address, port), seconds).close()
        except OSError:  # TimeoutError is one
            return False
        return True

    with ThreadPoolExecutor(max_workers=len(addresses) or 1) as pool:
        found = pool.map(listens, addresses)
        return tuple(each for each, there in zip(addresses, found, strict=True) if there)
