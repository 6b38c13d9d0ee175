"""What the director's program reads of a packet, as `packet.h` does; see `model`."""

import struct
from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_EXTENSIONS: Final = 4
ETHERNET: Final = 14
IP4: Final = struct.Struct(">BBHHHBBH4s4s")
IP6: Final = struct.Struct(">IHBB16s16s")
_EXTENSION: Final = struct.Struct(">BBH")
MAPPED: Final = bytes(10) + b"\xff\xff"
NO_PORTS: Final = bytes(4)
_TCP_BYTES: Final = 20
FIN, SYN, ACK = 0x01, 0x02, 0x10
_HOP_OPTIONS, _ICMP, IPIP, TCP, IPV6_IN_IP = 0, 1, 4, 6, 41
_ROUTING, _FRAGMENT, _ICMP6, _DESTINATION_OPTIONS = 43, 44, 58, 60
_EXTENSIONS: Final = frozenset({_HOP_OPTIONS, _ROUTING, _FRAGMENT, _DESTINATION_OPTIONS})
_WITH_PORTS: Final = frozenset({TCP, 17, 33, 132, 136})
"""TCP, UDP, DCCP, SCTP, UDP-Lite."""
_ICMP_BYTES: Final = 8
_ICMP_ERRORS: Final = frozenset({3, 11, 12})
_ICMP6_ERRORS: Final = range(128)
_DISCOVERY: Final = range(133, 138)


class Fragment(Enum):
    """Which part of a packet this is."""

    WHOLE = "whole"
    FIRST = "first"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class PacketFlow:
    """Whose packet it is, as its client sees it; for an ICMP error the flow it is about."""

    client: bytes
    service: bytes
    ports: bytes
    """The client's, then the service's; zeros if the client alone counts."""
    protocol: int
    v6: bool
    quoted: bool
    """By an ICMP error."""
    fragment: bool
    tcp_flags: int | None = None
    """Of a packet with a whole TCP header."""
    sequence: int = 0
    """Number of its first byte."""
    acknowledged: int = 0
    """Number of the byte that it asks for, if it has the flag ACK."""
    has_data: bool = False

    @property
    def begins(self) -> bool:
        """Whether this packet opens a TCP connection."""
        return self.tcp_flags is not None and self.tcp_flags & (SYN | ACK) == SYN


class CutOffError(Exception):
    """A packet ends before what its headers promise, or has too many of them."""


@dataclass(slots=True)
class Packet:
    """An IP packet: what its header says, and where in the frame the rest begins."""

    source: bytes
    destination: bytes
    payload: int
    protocol: int
    hop_limit: int
    fragment: Fragment
    v6: bool


def _take(frame: bytes, at: int, size: int) -> bytes:
    part = frame[at : at + size]
    if len(part) < size:
        raise CutOffError
    return part


def _fragment(offset: int, more: int) -> Fragment:
    if offset:
        return Fragment.LATER
    return Fragment.FIRST if more else Fragment.WHOLE


def _read_ip4(frame: bytes, at: int) -> Packet:
    first, _, _, _, part, ttl, protocol, _, source, destination = IP4.unpack(
        _take(frame, at, IP4.size)
    )
    words = first & 0xF
    if first >> 4 != 4 or words * 4 < IP4.size:  # noqa: PLR2004 - the version
        raise CutOffError
    return Packet(
        source=MAPPED + source,
        destination=MAPPED + destination,
        payload=at + words * 4,
        protocol=protocol,
        hop_limit=ttl,
        fragment=_fragment(part & 0x1FFF, part & 0x2000),
        v6=False,
    )


def _read_ip6(frame: bytes, at: int) -> Packet:
    first, _, protocol, hop_limit, source, destination = IP6.unpack(_take(frame, at, IP6.size))
    if first >> 28 != 6:  # noqa: PLR2004 - the version
        raise CutOffError
    return Packet(
        source=source,
        destination=destination,
        payload=at + IP6.size,
        protocol=protocol,
        hop_limit=hop_limit,
        fragment=Fragment.WHOLE,
        v6=True,
    )


def read_ip(frame: bytes, at: int, *, v6: bool) -> Packet:
    """Read the IP header at `at`; CutOffError if there is none."""
    return _read_ip6(frame, at) if v6 else _read_ip4(frame, at)


def _skip_extensions(frame: bytes, packet: Packet) -> None:
    """Go on to what follows the extension headers, or the one that makes it a fragment."""
    skipped = 0
    while packet.v6 and packet.protocol in _EXTENSIONS and packet.fragment is Fragment.WHOLE:
        if skipped == MAX_EXTENSIONS:
            raise CutOffError
        following, length, part = _EXTENSION.unpack(_take(frame, packet.payload, 4))
        if packet.protocol == _FRAGMENT:
            packet.fragment = _fragment(part & 0xFFF8, part & 1)
            length = 0
        packet.payload += 8 + length * 8
        packet.protocol = following
        skipped += 1


def _ports(frame: bytes, packet: Packet) -> bytes:
    if packet.protocol not in _WITH_PORTS:
        return NO_PORTS
    return _take(frame, packet.payload, 4)


def _quoted_flow(frame: bytes, error: Packet) -> PacketFlow:
    """Return the flow of which an ICMP error quotes a packet: that went the other way."""
    quoted = read_ip(frame, error.payload + _ICMP_BYTES, v6=error.v6)
    _skip_extensions(frame, quoted)
    ports = NO_PORTS if quoted.fragment is Fragment.LATER else _ports(frame, quoted)
    return PacketFlow(
        client=quoted.destination,
        service=error.destination,
        ports=ports[2:] + ports[:2],
        protocol=quoted.protocol,
        v6=error.v6,
        quoted=True,
        fragment=False,
    )


def read_flow(frame: bytes, packet: Packet) -> PacketFlow | None:
    """Return the flow of a packet; see `flow_of`."""
    _skip_extensions(frame, packet)
    whole = packet.fragment is Fragment.WHOLE
    if whole and packet.protocol == (_ICMP6 if packet.v6 else _ICMP):
        kind = _take(frame, packet.payload, 1)[0]
        if packet.v6 and kind in _DISCOVERY:
            return None
        if kind in (_ICMP6_ERRORS if packet.v6 else _ICMP_ERRORS):
            return _quoted_flow(frame, packet)
    ports = _ports(frame, packet) if whole else NO_PORTS
    tcp = frame[packet.payload : packet.payload + _TCP_BYTES]
    is_tcp = packet.protocol == TCP and ports != NO_PORTS and len(tcp) == _TCP_BYTES
    return PacketFlow(
        client=packet.source,
        service=packet.destination,
        ports=ports,
        protocol=packet.protocol,
        v6=packet.v6,
        quoted=False,
        fragment=not whole,
        tcp_flags=tcp[13] if is_tcp else None,
        sequence=int.from_bytes(tcp[4:8]) if is_tcp else 0,
        acknowledged=int.from_bytes(tcp[8:12]) if is_tcp else 0,
        has_data=is_tcp and len(frame) > packet.payload + (tcp[12] >> 4) * 4,
    )


def flow_of(packet: bytes) -> PacketFlow | None:
    """Return the flow that an IP packet (without a link header) belongs to.

    None for neighbour discovery, which the director leaves alone.

    Raises:
        CutOffError: the packet cannot be read.
    """
    v6 = packet[:1] >= b"\x60"
    return read_flow(packet, read_ip(packet, 0, v6=v6))
