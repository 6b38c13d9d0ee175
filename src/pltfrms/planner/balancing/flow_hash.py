"""Compute to which row of a service's table a flow belongs, as the director does. Pure.

`drivers/balancer/director/packet.h` says the same in C.
"""

import struct
from typing import Final

from pltfrms.model.addresses import Address
from pltfrms.model.running.balancer import ROWS

_MASK: Final = 0xFFFFFFFF
_START: Final = 0xDEADBEEF
_WORD: Final = struct.Struct("<I")
_WORDS: Final = struct.Struct("<4I")


def flow_row(
    client: Address, client_port: int, service_port: int, protocol: int, seed: int
) -> int:
    """Return the row of a flow: 0..ROWS-1.

    Ports are 0 where there are none, as in ICMP, and for fragments. `protocol` is the number in
    the IP header, `seed` the id of the service.
    """
    ports = struct.pack(">HH", client_port, service_port)
    return flow_hash(client.packed, ports, protocol, seed) % ROWS


def flow_hash(client: bytes, ports: bytes, protocol: int, seed: int) -> int:
    """Return the 32-bit hash of a flow (Bob Jenkins' lookup3).

    `client` is its address (4 or 16 bytes), `ports` that of the client and that of the service
    (2 bytes each), all as in a packet.
    """
    a = b = c = (_START + seed) & _MASK
    if len(client) == _WORDS.size:
        one, two, three, last = _WORDS.unpack(client)
        a, b, c = _mix((a + one) & _MASK, (b + two) & _MASK, (c + three) & _MASK)
    else:
        (last,) = _WORD.unpack(client)
    (both,) = _WORD.unpack(ports)
    return _final((a + last) & _MASK, (b + both) & _MASK, (c + protocol) & _MASK)


def _rotate(word: int, bits: int) -> int:
    return (word << bits | word >> (32 - bits)) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in (4, 6, 8, 16, 19, 4):
        # One step for (a, c, b), then for (b, a, c), then for (c, b, a), and again.
        a = (a - c & _MASK) ^ _rotate(c, bits)
        c = c + b & _MASK
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    for bits in (14, 11, 25, 16, 4, 14, 24):
        # One step for (c, b), then for (a, c), then for (b, a), and again.
        c = (c ^ b) - _rotate(b, bits) & _MASK
        a, b, c = b, c, a
    return b
