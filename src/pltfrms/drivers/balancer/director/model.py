"""What the director's program does with a packet, said in Python.

The program is `director.bpf.c`; tests run both on the same packets. Whoever wants to know what
the program will do can ask here, without a kernel. Addresses are 16 bytes, an IPv4 address
a.b.c.d being ::ffff:a.b.c.d; frames are what is on a link, from the Ethernet header on.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from ipaddress import IPv6Address, IPv6Network
from typing import Final, TypeGuard

from pltfrms.model.balancer import ENCAPSULATED_MARK, ROWS, HookKind

MAX_EXTENSIONS: Final = 4
LABEL: Final = 0xD1E00
"""Flow label of outer packets; the last bits count hops: see `next_candidate`."""
REDIRECTED: Final = 0xD1E0
"""Mark of a packet on its way from `instance_out` to `instance_in`."""
HOP_LIMIT: Final = 64
_LABEL_MASK: Final = 0xFFFFF
_HOPS_MASK: Final = 0x7
_MOVES_MASK: Final = 0x38
_ONE_MOVE: Final = 0x8
_NEAR: Final = 8  # bytes of an address that instances of one datacenter share
MAX_HOPS: Final = 7
_MAX_PAYLOAD: Final = 0xFFFF

_ETHERNET: Final = 14
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_IP4: Final = struct.Struct(">BBHHHBBH4s4s")
_IP6: Final = struct.Struct(">IHBB16s16s")
_INNER: Final = _ETHERNET + _IP6.size
"""Where the packet in an outer packet begins."""
_EXTENSION: Final = struct.Struct(">BBH")
_MAPPED: Final = bytes(10) + b"\xff\xff"
_NO_PORTS: Final = bytes(4)
_TCP_BYTES: Final = 20
_SYN, _ACK = 0x02, 0x10

_HOP_OPTIONS, _ICMP, _IPIP, _TCP, _IPV6_IN_IP = 0, 1, 4, 6, 41
_ROUTING, _FRAGMENT, _ICMP6, _DESTINATION_OPTIONS = 43, 44, 58, 60
_EXTENSIONS: Final = frozenset({_HOP_OPTIONS, _ROUTING, _FRAGMENT, _DESTINATION_OPTIONS})
_WITH_PORTS: Final = frozenset({_TCP, 17, 33, 132, 136})
"""TCP, UDP, DCCP, SCTP, UDP-Lite."""
_TUNNELS: Final = frozenset({_IPIP, _IPV6_IN_IP})
_ICMP_BYTES: Final = 8
_ICMP_ERRORS: Final = frozenset({3, 11, 12})
_ICMP6_ERRORS: Final = range(128)
_DISCOVERY: Final = range(133, 138)

FlowHash = Callable[[bytes, bytes, int, int], int]
"""Of client (4 or 16 bytes), ports (4 bytes), protocol and seed: `planner.flow_hash.flow_hash`.
A parameter, because drivers do not import the planner."""


class Action(IntEnum):
    """What becomes of a packet, by the kernel's numbers."""

    OK = 0
    """It goes on to the kernel's routing, or to the instance."""
    SHOT = 2
    """It is dropped."""
    REDIRECT = 7
    """It comes in at another device, or again at the one it went out to."""


class Socket(Enum):
    """What an instance has for a packet of a TCP flow."""

    NONE = "none"
    FLOW = "flow"
    """A connection, also one that opens or has just closed."""
    LISTENER = "listener"
    COOKIE = "cookie"
    """A listener, and the packet returns one of its SYN cookies."""


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

    @property
    def begins(self) -> bool:
        """Whether this packet opens a TCP connection."""
        return self.tcp_flags is not None and self.tcp_flags & (_SYN | _ACK) == _SYN


@dataclass(frozen=True, slots=True)
class Home:
    """An instance of this node."""

    address: bytes
    can_look: bool = True
    """Whether its network namespace is known, so that its sockets can be looked up."""


@dataclass(frozen=True, slots=True)
class Served:
    """A service address."""

    table: int
    seed: int


@dataclass(slots=True, kw_only=True)
class Maps:
    """The maps of a machine, as the program knows them."""

    source: IPv6Network
    infrastructure: IPv6Network
    fresh: bool = True
    """Whether the heartbeat is recent enough."""
    services: Mapping[bytes, Served] = field(default_factory=dict)
    tables: Mapping[int, Sequence[tuple[int, ...]]] = field(default_factory=dict)
    """Rows of CHANCES ids, 0 = nobody."""
    instances: Mapping[int, bytes] = field(default_factory=dict)
    """Addresses by id."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What is added to an element of `service_stats` or `instance_stats`."""

    index: int
    added: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of a packet, and what is counted."""

    action: Action
    frame: bytes
    mark: int = 0
    counters: tuple[str, ...] = ()
    service: Stat | None = None
    """packets, bytes, new_flows, no_instance"""
    instance: Stat | None = None
    """packets, bytes, second_chances"""


class CutOffError(Exception):
    """A packet ends before what its headers promise, or has too many of them."""


# ---- reading -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Packet:
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


def _read_ip4(frame: bytes, at: int) -> _Packet:
    first, _, _, _, part, ttl, protocol, _, source, destination = _IP4.unpack(
        _take(frame, at, _IP4.size)
    )
    words = first & 0xF
    if first >> 4 != 4 or words * 4 < _IP4.size:  # noqa: PLR2004 - the version
        raise CutOffError
    return _Packet(
        source=_MAPPED + source,
        destination=_MAPPED + destination,
        payload=at + words * 4,
        protocol=protocol,
        hop_limit=ttl,
        fragment=_fragment(part & 0x1FFF, part & 0x2000),
        v6=False,
    )


def _read_ip6(frame: bytes, at: int) -> _Packet:
    first, _, protocol, hop_limit, source, destination = _IP6.unpack(
        _take(frame, at, _IP6.size)
    )
    if first >> 28 != 6:  # noqa: PLR2004 - the version
        raise CutOffError
    return _Packet(
        source=source,
        destination=destination,
        payload=at + _IP6.size,
        protocol=protocol,
        hop_limit=hop_limit,
        fragment=Fragment.WHOLE,
        v6=True,
    )


def _read_ip(frame: bytes, at: int, *, v6: bool) -> _Packet:
    return _read_ip6(frame, at) if v6 else _read_ip4(frame, at)


def _skip_extensions(frame: bytes, packet: _Packet) -> None:
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


def _ports(frame: bytes, packet: _Packet) -> bytes:
    if packet.protocol not in _WITH_PORTS:
        return _NO_PORTS
    return _take(frame, packet.payload, 4)


def _quoted_flow(frame: bytes, error: _Packet) -> PacketFlow:
    """Return the flow of which an ICMP error quotes a packet: that went the other way."""
    quoted = _read_ip(frame, error.payload + _ICMP_BYTES, v6=error.v6)
    _skip_extensions(frame, quoted)
    ports = _NO_PORTS if quoted.fragment is Fragment.LATER else _ports(frame, quoted)
    return PacketFlow(
        client=quoted.destination,
        service=error.destination,
        ports=ports[2:] + ports[:2],
        protocol=quoted.protocol,
        v6=error.v6,
        quoted=True,
        fragment=False,
    )


def _flow(frame: bytes, packet: _Packet) -> PacketFlow | None:
    _skip_extensions(frame, packet)
    whole = packet.fragment is Fragment.WHOLE
    if whole and packet.protocol == (_ICMP6 if packet.v6 else _ICMP):
        kind = _take(frame, packet.payload, 1)[0]
        if packet.v6 and kind in _DISCOVERY:
            return None
        if kind in (_ICMP6_ERRORS if packet.v6 else _ICMP_ERRORS):
            return _quoted_flow(frame, packet)
    ports = _ports(frame, packet) if whole else _NO_PORTS
    tcp = frame[packet.payload : packet.payload + _TCP_BYTES]
    has_flags = packet.protocol == _TCP and ports != _NO_PORTS and len(tcp) == _TCP_BYTES
    return PacketFlow(
        client=packet.source,
        service=packet.destination,
        ports=ports,
        protocol=packet.protocol,
        v6=packet.v6,
        quoted=False,
        fragment=not whole,
        tcp_flags=tcp[13] if has_flags else None,
    )


def flow_of(packet: bytes) -> PacketFlow | None:
    """Return the flow that an IP packet (without a link header) belongs to.

    None for neighbour discovery, which the director leaves alone.

    Raises:
        CutOffError: the packet cannot be read.
    """
    v6 = packet[:1] >= b"\x60"
    return _flow(packet, _read_ip(packet, 0, v6=v6))


# ---- towards an instance -------------------------------------------------------------------


def encapsulate(
    frame: bytes,
    maps: Maps,
    flow_hash: FlowHash,
    *,
    hook: HookKind,
    mark: int = 0,
    link: int = _ETHERNET,
) -> Fate:
    """Say what a program does with a frame that comes in from a device.

    For outer packets that come to an instance's node see `deliver`. `link` is 0 for devices
    without an Ethernet header.
    """
    if hook is HookKind.INSTANCE and mark == REDIRECTED:
        return _leave(frame)
    packet = _ip_of(frame, link)
    service = maps.services.get(packet.destination) if packet else None
    if packet and hook is not HookKind.INSIDE and _is_tunnel_to(packet, maps):
        verdict = Fate(action=Action.SHOT, frame=frame, counters=("forged",))
    elif packet and service and not _is_tunnel_to(packet, maps):
        verdict = _serve(frame, maps, flow_hash, (packet, service), link)
    else:
        verdict = _leave(frame)
    return verdict if verdict.mark else replace(verdict, mark=mark)


def _leave(frame: bytes, *why: str) -> Fate:
    return Fate(action=Action.OK, frame=frame, counters=why)


def _serve(
    frame: bytes, maps: Maps, flow_hash: FlowHash, what: tuple[_Packet, Served], link: int
) -> Fate:
    packet, service = what
    if not maps.fresh:
        return _leave(frame, "stale")
    if packet.hop_limit <= 1:
        return _leave(frame, "ttl")
    try:
        flow = _flow(frame, packet)
    except CutOffError:
        return _leave(frame, "unreadable")
    if flow is None or packet.protocol in _TUNNELS:
        return _leave(frame)
    return _send(frame, maps, flow, (service, _hash(flow, flow_hash, service.seed)), link)


def _ip_of(frame: bytes, link: int) -> _Packet | None:
    v6 = {_IPV4: False, _IPV6: True}.get(frame[link - 2 : link])
    if not link:
        v6 = frame[:1] >= b"\x60"
    if v6 is None:
        return None
    try:
        return _read_ip(frame, link, v6=v6)
    except CutOffError:
        return None


def _is_tunnel_to(packet: _Packet, maps: Maps) -> bool:
    return packet.protocol in _TUNNELS and _is_in(packet.destination, maps.infrastructure)


def _send(
    frame: bytes, maps: Maps, flow: PacketFlow, chosen_by: tuple[Served, int], link: int
) -> Fate:
    service, number = chosen_by
    rows = maps.tables.get(service.table)
    if rows is None:
        return _leave(frame, "no_table")
    chosen = rows[number % ROWS][0]
    to = maps.instances.get(chosen) if chosen else None
    if to is None:
        nobody = Stat(service.table, (0, 0, 0, 1))
        return Fate(action=Action.OK, frame=frame, service=nobody)
    size = len(frame) - link
    if size > _MAX_PAYLOAD:
        return _leave(frame, "failed")
    source = maps.source.network_address.packed[:12] + number.to_bytes(4, "big")
    protocol = _IPV6_IN_IP if flow.v6 else _IPIP
    outer = _IP6.pack(6 << 28 | LABEL, size, protocol, HOP_LIMIT, source, to)
    head = frame[: link - 2] + _IPV6 if link else b""
    names = {"fragment": flow.fragment, "icmp_error": flow.quoted}
    return Fate(
        action=Action.OK,
        frame=head + outer + frame[link:],
        mark=ENCAPSULATED_MARK,
        counters=tuple(name for name, is_so in names.items() if is_so),
        service=Stat(service.table, (1, size, int(flow.begins), 0)),
        instance=Stat(chosen, (1, size, 0)),
    )


def _hash(flow: PacketFlow, flow_hash: FlowHash, seed: int) -> int:
    client = flow.client if flow.v6 else flow.client[12:]
    return flow_hash(client, flow.ports, flow.protocol, seed)


def _is_in(address: bytes, network: IPv6Network) -> bool:
    return IPv6Address(address) in network


# ---- at an instance ------------------------------------------------------------------------


def deliver(
    frame: bytes,
    maps: Maps,
    flow_hash: FlowHash,
    home: Home,
    socket_of: Callable[[PacketFlow], Socket],
    *,
    comes_in: bool,
) -> Fate:
    """Say what becomes of an outer packet to an instance, in a frame at its node.

    `socket_of` says what the instance has for a packet of a flow. The frame comes in from
    another machine, at `inside`; or it goes out to the instance, at `instance_out`.
    """
    if frame[12:_ETHERNET] != _IPV6 or len(frame) < _INNER:
        return _leave(frame)
    first, _, protocol, _, source, destination = _IP6.unpack_from(frame, _ETHERNET)
    if protocol not in _TUNNELS or destination != home.address:
        return _leave(frame)
    if comes_in and first >> 28 != 6:  # noqa: PLR2004 - the version
        return _leave(frame)
    label = first & _LABEL_MASK
    if label & ~(_HOPS_MASK | _MOVES_MASK) != LABEL or not _is_in(source, maps.infrastructure):
        return Fate(action=Action.SHOT, frame=frame, counters=("forged",))
    flow = _inner_flow(frame, v6=protocol == _IPV6_IN_IP)
    row = _row_to_ask(flow, maps, flow_hash) if _is_strange(flow, home, socket_of) else ()
    following = next_candidate(row, home.address, label, maps.instances) if row else 0
    to = maps.instances.get(following)
    if to is None:
        why = ("last_hop",) if row and not following else ()
        return _decapsulate(frame, why, Action.REDIRECT if comes_in else Action.OK)
    link = frame[:_ETHERNET] if comes_in else frame[6:12] + frame[:6] + _IPV6
    moves = to[:_NEAR] != home.address[:_NEAR]
    word = (first & ~_HOPS_MASK) + _ONE_MOVE if moves else first + 1
    outer = struct.pack(">I", word) + frame[_ETHERNET + 4 : _ETHERNET + 24] + to
    return Fate(
        action=Action.OK if comes_in else Action.REDIRECT,
        frame=link + outer + frame[_INNER:],
        mark=0 if comes_in else REDIRECTED,
        counters=("second_chance",),
        instance=Stat(following, (0, 0, 1)),
    )


def _decapsulate(frame: bytes, counters: tuple[str, ...], action: Action) -> Fate:
    v6 = frame[_ETHERNET + 6] == _IPV6_IN_IP
    if len(frame) - _INNER < (_IP6.size if v6 else _IP4.size):  # the kernel refuses
        return Fate(action=Action.SHOT, frame=frame, counters=(*counters, "failed"))
    return Fate(
        action=action,
        frame=frame[:12] + (_IPV6 if v6 else _IPV4) + frame[_INNER:],
        counters=(*counters, "decapsulated"),
    )


def _inner_flow(frame: bytes, *, v6: bool) -> PacketFlow | None:
    try:
        return _flow(frame, _read_ip(frame, _INNER, v6=v6))
    except CutOffError:
        return None


def _is_strange(
    flow: PacketFlow | None, home: Home, socket_of: Callable[[PacketFlow], Socket]
) -> TypeGuard[PacketFlow]:
    """Return whether the instance does not know the TCP flow of a packet."""
    if flow is None or flow.protocol != _TCP or flow.ports == _NO_PORTS or not home.can_look:
        return False
    if not flow.quoted and flow.tcp_flags is None:
        return False
    found = socket_of(flow)
    if found is Socket.LISTENER:
        return not flow.begins
    return found is Socket.NONE or (found is Socket.COOKIE and flow.quoted)


def _row_to_ask(flow: PacketFlow, maps: Maps, flow_hash: FlowHash) -> tuple[int, ...]:
    """Return the row of a flow; () if its service has no table."""
    service = maps.services.get(flow.service)
    rows = maps.tables.get(service.table) if service else None
    if service is None or rows is None:
        return ()
    return tuple(rows[_hash(flow, flow_hash, service.seed) % ROWS])


def next_candidate(
    row: Sequence[int], me: bytes, label: int, instances: Mapping[int, bytes]
) -> int:
    """Return who is asked after the address `me`; 0 for nobody.

    The one of the row with the next higher address, in a circle: of this datacenter, then of
    the guests. `label` counts the hops among the former, and those to the latter.
    """
    others = [one for one in row if instances.get(one, me) != me]
    near = [one for one in others if instances[one][:_NEAR] == me[:_NEAR]]
    guests = [one for one in others if one not in near]
    if near and label & _HOPS_MASK < min(len(near) + 2, MAX_HOPS):
        asked = near
    elif (label & _MOVES_MASK) // _ONE_MOVE < min(len(guests), MAX_HOPS):
        asked = guests
    else:
        return 0
    above = [one for one in asked if instances[one] > me]
    return min(above or asked, key=lambda one: instances[one])
