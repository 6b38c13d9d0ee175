"""Packets, byte by byte: what clients, routers and forgers send to the director."""

import struct
from functools import cache
from ipaddress import ip_address

INFRASTRUCTURE = "fd00:1:2::/48"
SOURCE = "fd00:1:2:0:d1::/96"
EDGE = "fd00:1:2:0:d1::"
WEB4, WEB6 = "198.51.100.1", "2001:db8::1"
"""A service with a table."""
TEAM4, TEAM6 = "198.51.100.4", "2001:db8::4"
"""A service all of whose rows are (1, 2, 3, 0)."""
BARE4 = "198.51.100.2"
"""A service without one."""
IDLE6 = "2001:db8::3"
"""A service whose rows have nobody."""
CLIENT4, CLIENT6 = "203.0.113.9", "2001:db8:c::9"
ELSEWHERE4, ELSEWHERE6 = "192.0.2.77", "2001:db8:e::77"

OUR_MAC, ANOTHER_MAC = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
LABEL = 0xD1E00


def instance(number: int) -> str:
    return f"fd00:1:2:3e9:1:7:0:{number:x}"


@cache
def packed(address: str) -> bytes:
    return ip_address(address).packed


def key(address: str) -> bytes:
    """Return an address as the director has it: IPv4 is mapped into IPv6."""
    raw = packed(address)
    return raw if len(raw) == 16 else bytes(10) + b"\xff\xff" + raw


def tcp(
    source: int = 40_000,
    destination: int = 80,
    flags: int = ACK,
    more: int = 0,
    numbers: tuple[int, int] = (1, 1),
) -> bytes:
    """Return a segment with `more` bytes; `numbers` are its own and what it acknowledges."""
    header = struct.pack(">HHIIBBHHH", source, destination, *numbers, 0x50, flags, 0, 0, 0)
    return header + bytes(more)


def udp(source: int = 40_000, destination: int = 53, payload: bytes = b"question") -> bytes:
    return struct.pack(">HHHH", source, destination, 8 + len(payload), 0) + payload


def icmp(kind: int, code: int = 0, body: bytes = b"", rest: int = 0) -> bytes:
    return struct.pack(">BBHI", kind, code, 0, rest) + body


def ip4(
    payload: bytes,
    protocol: int = TCP,
    source: str = CLIENT4,
    destination: str = WEB4,
    ttl: int = 60,
    fragment: int = 0,
) -> bytes:
    """Return a packet; `fragment` is the 16-bit field with flags."""
    size = 20 + len(payload)
    header = struct.pack(">BBHHHBBH", 0x45, 0, size, 7, fragment, ttl, protocol, 0)
    return header + packed(source) + packed(destination) + payload


def with_options(packet: bytes, options: bytes) -> bytes:
    """Return an IPv4 packet with options (of a length divisible by 4) in its header."""
    words, size = 5 + len(options) // 4, len(packet) + len(options)
    start = struct.pack(">BBH", 0x40 | words, 0, size)
    return start + packet[4:20] + options + packet[20:]


def ip6(
    payload: bytes,
    protocol: int = TCP,
    source: str = CLIENT6,
    destination: str = WEB6,
    hops: int = 60,
    label: int = 0,
) -> bytes:
    header = struct.pack(">IHBB", 6 << 28 | label, len(payload), protocol, hops)
    return header + packed(source) + packed(destination) + payload


def extension(following: int, payload: bytes, eights: int = 0) -> bytes:
    """Return an extension header with options, 8 bytes and 8 x `eights` long."""
    return bytes([following, eights, 1, 4, 0, 0, 0, 0]) + bytes(8 * eights) + payload


def fragment6(following: int, payload: bytes, offset: int = 0, *, more: bool = False) -> bytes:
    return struct.pack(">BBHI", following, 0, offset << 3 | more, 9) + payload


def frame(packet: bytes, kind: int | None = None) -> bytes:
    """Return a packet with an Ethernet header in front."""
    if kind is None:
        kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
    return OUR_MAC + ANOTHER_MAC + struct.pack(">H", kind) + packet


def outer(
    packet: bytes, to: int = 1, hop: int = 0, source: str = EDGE, label: int = LABEL
) -> bytes:
    """Return a frame with an outer packet to an instance."""
    protocol = 41 if packet[:1] >= b"\x60" else 4
    return frame(ip6(packet, protocol, source, instance(to), 63, label | hop))
