"""Whether packets in packets reach a machine: it answers that it has no use for this one."""

import asyncio
import socket
import struct
from ipaddress import IPv6Address
from typing import Final

from pltfrms.drivers.kernel.checked.echo import TIMEOUT_SECONDS

_UNREACHABLE, _BAD_PARAMETER = 1, 4
_NEXT_HEADER = 8 + 6
"""Where an ICMPv6 error quotes the next header of the packet that it is about."""
_DISCARDED: Final = (IPv6Address("100::1").packed, IPv6Address("100::2").packed)
"""From and to nobody (RFC 6666)."""
_NOTHING_FOLLOWS: Final = 59
_INNER: Final = struct.pack("!IHBB", 6 << 28, 0, _NOTHING_FOLLOWS, 1) + b"".join(_DISCARDED)


async def passes(interface: str, address: IPv6Address, protocol: int) -> bool:
    """Return whether a neighbour at a link-local address hears a protocol of IPv6.

    Linux answers what nobody there waits for with an ICMPv6 error (RFC 8200 section 4); no
    answer in time is False.

    Raises:
        OSError: the packet cannot be sent; PermissionError: this is for root.
    """
    scope = socket.if_nametoindex(interface)
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as heard,
        socket.socket(socket.AF_INET6, socket.SOCK_RAW, protocol) as sent,
    ):
        heard.settimeout(0)
        heard.bind(("::", 0, 0, scope))
        sent.sendto(_INNER, (str(address), 0, 0, scope))
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await _error_about(heard, address, protocol)
        except TimeoutError:
            return False
    return True


async def _error_about(heard: socket.socket, address: IPv6Address, protocol: int) -> None:
    loop = asyncio.get_running_loop()
    while True:
        packet, sender = await loop.sock_recvfrom(heard, 512)
        from_there = IPv6Address(str(sender[0]).partition("%")[0]) == address
        if (
            from_there
            and packet[0] in {_UNREACHABLE, _BAD_PARAMETER}
            and packet[_NEXT_HEADER : _NEXT_HEADER + 1] == bytes([protocol])
        ):
            return
