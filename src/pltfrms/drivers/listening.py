"""Sockets to listen on."""

import contextlib
import socket

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
