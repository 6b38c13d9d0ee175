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

from pltfrms.drivers.balancer.director.packet import (
    ACK,
    ETHERNET,
    FIN,
    IP4,
    IP6,
    IPIP,
    IPV6_IN_IP,
    NO_PORTS,
    SYN,
    TCP,
    CutOffError,
    Packet,
    PacketFlow,
    read_flow,
    read_ip,
)
from pltfrms.model.running.balancer import ENCAPSULATED_MARK, ROWS, HookKind

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
WINDOW_MAX: Final = 1 << 28
"""Bytes by which the number of a packet may differ from what comes next."""
ACK_SLACK: Final = 1 << 20
"""Bytes by which what a packet acknowledges may be beside what is on its way."""

_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_INNER: Final = ETHERNET + IP6.size
"""Where the packet in an outer packet begins."""

_TUNNELS: Final = frozenset({IPIP, IPV6_IN_IP})

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
    CLOSED = "closed"
    """What is left of one that both ends have closed (TIME_WAIT)."""
    LISTENER = "listener"
    COOKIE = "cookie"
    """A listener, and the packet returns one of its SYN cookies."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection of an instance, also one that closes, of which all is acknowledged."""

    receives: int
    sends: int
    """The numbers that come next."""

    def can_have(self, flow: PacketFlow) -> bool:
        """Return whether a packet can be of it: its client may use the ports again."""
        acknowledges = (flow.tcp_flags or 0) & ACK
        acknowledged = _differ(flow.acknowledged + ACK_SLACK, self.sends)
        return flow.begins or (
            _differ(flow.sequence + WINDOW_MAX, self.receives) < 2 * WINDOW_MAX
            and (not acknowledges or acknowledged <= 2 * ACK_SLACK)
        )


def _differ(number: int, other: int) -> int:
    return (number - other) % (1 << 32)


@dataclass(frozen=True, slots=True)
class Home:
    """An instance of this node."""

    address: bytes
    is_here: bool = False
    """Whether it is in the network namespace of the machine itself."""


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


# ---- towards an instance -------------------------------------------------------------------


def encapsulate(
    frame: bytes,
    maps: Maps,
    flow_hash: FlowHash,
    *,
    hook: HookKind,
    mark: int = 0,
    link: int = ETHERNET,
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
    frame: bytes, maps: Maps, flow_hash: FlowHash, what: tuple[Packet, Served], link: int
) -> Fate:
    packet, service = what
    if not maps.fresh:
        return _leave(frame, "stale")
    if packet.hop_limit <= 1:
        return _leave(frame, "ttl")
    try:
        flow = read_flow(frame, packet)
    except CutOffError:
        return _leave(frame, "unreadable")
    if flow is None or packet.protocol in _TUNNELS:
        return _leave(frame)
    return _send(frame, maps, flow, (service, _hash(flow, flow_hash, service.seed)), link)


def _ip_of(frame: bytes, link: int) -> Packet | None:
    v6 = {_IPV4: False, _IPV6: True}.get(frame[link - 2 : link])
    if not link:
        v6 = frame[:1] >= b"\x60"
    if v6 is None:
        return None
    try:
        return read_ip(frame, link, v6=v6)
    except CutOffError:
        return None


def _is_tunnel_to(packet: Packet, maps: Maps) -> bool:
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
    protocol = IPV6_IN_IP if flow.v6 else IPIP
    outer = IP6.pack(6 << 28 | LABEL, size, protocol, HOP_LIMIT, source, to)
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
    socket_of: Callable[[PacketFlow], Socket | Connection],
    *,
    comes_in: bool,
) -> Fate:
    """Say what becomes of an outer packet to an instance, in a frame at its node.

    `socket_of` says what the instance has for a packet of a flow. The frame comes in from
    another machine, at `inside`; or it goes out to the instance, at `instance_out`.
    """
    if frame[12:ETHERNET] != _IPV6 or len(frame) < _INNER:
        return _leave(frame)
    first, _, protocol, _, source, destination = IP6.unpack_from(frame, ETHERNET)
    if protocol not in _TUNNELS or destination != home.address:
        return _leave(frame)
    if comes_in and first >> 28 != 6:  # noqa: PLR2004 - the version
        return _leave(frame)
    label = first & _LABEL_MASK
    if label & ~(_HOPS_MASK | _MOVES_MASK) != LABEL or not _is_in(source, maps.infrastructure):
        return Fate(action=Action.SHOT, frame=frame, counters=("forged",))
    flow = _inner_flow(frame, v6=protocol == IPV6_IN_IP)
    row = _row_to_ask(flow, maps, flow_hash) if _is_strange(flow, home, socket_of) else ()
    following = next_candidate(row, home.address, label, maps.instances) if row else 0
    to = maps.instances.get(following)
    if to is None:
        why = ("last_hop",) if row and not following else ()
        redirected = comes_in and not home.is_here
        return _decapsulate(frame, why, Action.REDIRECT if redirected else Action.OK)
    link = frame[:ETHERNET] if comes_in else frame[6:12] + frame[:6] + _IPV6
    moves = to[:_NEAR] != home.address[:_NEAR]
    word = (first & ~_HOPS_MASK) + _ONE_MOVE if moves else first + 1
    outer = struct.pack(">I", word) + frame[ETHERNET + 4 : ETHERNET + 24] + to
    return Fate(
        action=Action.OK if comes_in else Action.REDIRECT,
        frame=link + outer + frame[_INNER:],
        mark=0 if comes_in else REDIRECTED,
        counters=("second_chance",),
        instance=Stat(following, (0, 0, 1)),
    )


def _decapsulate(frame: bytes, counters: tuple[str, ...], action: Action) -> Fate:
    v6 = frame[ETHERNET + 6] == IPV6_IN_IP
    if len(frame) - _INNER < (IP6.size if v6 else IP4.size):  # the kernel refuses
        return Fate(action=Action.SHOT, frame=frame, counters=(*counters, "failed"))
    return Fate(
        action=action,
        frame=frame[:12] + (_IPV6 if v6 else _IPV4) + frame[_INNER:],
        counters=(*counters, "decapsulated"),
    )


def _inner_flow(frame: bytes, *, v6: bool) -> PacketFlow | None:
    try:
        return read_flow(frame, read_ip(frame, _INNER, v6=v6))
    except CutOffError:
        return None


def _is_strange(
    flow: PacketFlow | None, home: Home, socket_of: Callable[[PacketFlow], Socket | Connection]
) -> TypeGuard[PacketFlow]:
    """Return whether the instance does not know the TCP flow of a packet."""
    if flow is None or flow.protocol != TCP or flow.ports == NO_PORTS:
        return False
    if not flow.quoted and flow.tcp_flags is None:
        return False
    found = socket_of(flow)
    if isinstance(found, Connection):
        return not flow.quoted and not found.can_have(flow)
    if found is Socket.LISTENER:
        return not flow.begins
    if found is Socket.CLOSED and flow.tcp_flags is not None:
        return flow.has_data and not flow.tcp_flags & (SYN | FIN)
    nobody = found is Socket.NONE and not home.is_here  # it may have passed the flow on
    return nobody or (found is Socket.COOKIE and flow.quoted)


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
