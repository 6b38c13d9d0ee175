"""Packets made by hand: UDP in IPv4 and IPv6, alone or inside of an IPv6 packet."""

import struct
from ipaddress import IPv6Address, ip_address

UDP = 17
IPIP = 4
IPV6_IN = 41
FLOW_LABEL = 0xD1E00
"""What the director writes into its outer packets, plus the number of the chance."""


def udp(source: str, source_port: int, target: str, target_port: int, data: bytes) -> bytes:
    """Return a whole IP packet of the family of its addresses."""
    one, other = ip_address(source), ip_address(target)
    length = 8 + len(data)
    head = struct.pack("!HHHH", source_port, target_port, length, 0)
    if isinstance(one, IPv6Address) and isinstance(other, IPv6Address):
        pseudo = one.packed + other.packed + struct.pack("!II", length, UDP)
        total = _checksum(pseudo + head + data)
        return ipv6(one, other, UDP, head[:6] + struct.pack("!H", total or 0xFFFF) + data)
    return _ipv4(one.packed, other.packed, head + data)  # no checksum: allowed in IPv4


def ipv6(
    source: IPv6Address, target: IPv6Address, protocol: int, inner: bytes, label: int = 0
) -> bytes:
    """Return an IPv6 packet."""
    first = 6 << 28 | label
    head = struct.pack("!IHBB", first, len(inner), protocol, 64)
    return head + source.packed + target.packed + inner


def outer(source: IPv6Address, target: IPv6Address, inner: bytes) -> bytes:
    """Return a packet as the director sends it to an instance."""
    protocol = IPIP if inner[0] >> 4 == 4 else IPV6_IN
    return ipv6(source, target, protocol, inner, FLOW_LABEL)


def _ipv4(source: bytes, target: bytes, inner: bytes) -> bytes:
    words = (0x45, 0, 20 + len(inner), 0, 0, 64, UDP)
    head = struct.pack("!BBHHHBBH", *words, 0) + source + target
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + inner


def _checksum(data: bytes) -> int:
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(packet: bytes) -> bytes:
    """Return an Ethernet frame with an IP packet in it."""
    return bytes(12) + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet
