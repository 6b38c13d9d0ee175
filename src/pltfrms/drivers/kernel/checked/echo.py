"""Measure the round trip time of a backbone link with ICMPv6 echo."""

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Final

TIMEOUT_SECONDS: Final = 0.9
_LOOKS: Final = 6
"""So often in that time it is seen whether to go on waiting."""
_LOOKS_IN_DOUBT: Final = 3
"""So many are enough where another witness has fallen silent."""
_ECHO_REQUEST, _ECHO_REPLY = 128, 129
_ICMP6_FILTER = 1
_SOL_ICMPV6 = 58
_HEADER = struct.Struct("!BBHHH")
_FILTER = struct.Struct("@8I")
_LINK_HOPS = 255


class IcmpPinger:
    """`LinkPinger` with a raw socket; needs CAP_NET_RAW."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._identifier = os.getpid() & 0xFFFF
        self._sequence = 0

    async def ping(
        self, interface: str, address: IPv6Address, in_doubt: Callable[[], bool]
    ) -> float | None:
        """See `LinkPinger`."""
        self._sequence = (self._sequence + 1) & 0xFFFF
        # The kernel fills in the checksum of raw ICMPv6.
        request = _HEADER.pack(_ECHO_REQUEST, 0, 0, self._identifier, self._sequence)
        with _echo_socket() as echo:
            scope = socket.if_nametoindex(interface)
            echo.bind(("::", 0, 0, scope))
            begun = time.perf_counter()
            echo.sendto(request, (str(address), 0, 0, scope))
            reply = asyncio.ensure_future(self._reply(echo, address, request[4:]))
            heard = await _came(reply, in_doubt)
            return (time.perf_counter() - begun) * 1000 if heard else None

    async def _reply(self, echo: socket.socket, address: IPv6Address, about: bytes) -> None:
        loop = asyncio.get_running_loop()
        while True:
            packet, sender = await loop.sock_recvfrom(echo, 512)
            from_there = IPv6Address(str(sender[0]).partition("%")[0]) == address
            if from_there and packet[0] == _ECHO_REPLY and packet[4:8] == about:
                return


async def _came(reply: asyncio.Future[None], in_doubt: Callable[[], bool]) -> bool:
    """Return whether it came in time: also if it did while this process could not look."""
    try:
        for look in range(1, _LOOKS + 1):
            await asyncio.wait({reply}, timeout=TIMEOUT_SECONDS / _LOOKS)
            if reply.done():
                reply.result()
                return True
            if look >= _LOOKS_IN_DOUBT and in_doubt():
                break
        return False
    finally:
        reply.cancel()
        await asyncio.wait({reply})  # it reads of a socket that is closed next


def _echo_socket() -> socket.socket:
    """Return a raw socket that hears echo replies only."""
    echo = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    words = [0xFFFFFFFF] * 8
    words[_ECHO_REPLY >> 5] &= ~(1 << (_ECHO_REPLY & 31))
    echo.setsockopt(_SOL_ICMPV6, _ICMP6_FILTER, _FILTER.pack(*words))
    echo.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _LINK_HOPS)
    echo.settimeout(0)
    return echo
