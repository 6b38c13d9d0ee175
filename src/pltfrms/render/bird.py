"""Write the BIRD configuration of our machines.

What each session may carry is decided here and in the comments of `templates/`; the templates
themselves only repeat and choose.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_network

from pltfrms.model.topology import (
    Address,
    Machine,
    Peer,
    PeerKind,
    Platform,
    Prefix,
    Role,
    Session,
    backbone_interface,
    fabric_interface,
    link_local,
)
from pltfrms.render.cold import ColdRoute, cold_routes
from pltfrms.render.text import fill

_DEFAULT_COST = 100
"""OSPF cost of a backbone link whose delay nobody has measured yet."""
_FABRIC_COST = 1
_SIBLING_PREFERENCES = (380, 58, 48)
_REMOTE_PREFERENCES = (350, 55, 45)
"""Local preference of active, backup and draining services that other edges tell us of."""

# Documentation and benchmarking ranges are left out: laboratories live on them.
_BOGONS = {
    4: (
        "0.0.0.0/8+",
        "10.0.0.0/8+",
        "100.64.0.0/10+",
        "127.0.0.0/8+",
        "169.254.0.0/16+",
        "172.16.0.0/12+",
        "192.0.0.0/24+",
        "192.168.0.0/16+",
        "224.0.0.0/3+",
    ),
    6: ("::/8+", "100::/64+", "fc00::/7+", "fe80::/10+", "fec0::/10+", "ff00::/8+"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """What differs between IPv4 and IPv6 on a machine."""

    number: int
    aggregates: tuple[Prefix, ...]
    services: tuple[str, ...]
    """Prefix patterns that every service prefix matches."""
    ours: tuple[str, ...]
    """Prefix patterns of the aggregates and all inside them."""
    infrastructure: Prefix
    peering: tuple[str, ...]
    """Prefix patterns of the networks of our external sessions."""
    bogons: tuple[str, ...]
    loopback_address: Address
    pool: Prefix | None
    default: Prefix

    @property
    def loopback(self) -> Prefix:
        return ip_network(self.loopback_address)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Neighbor:
    """The session with one machine of the datacenter over one fabric."""

    name: str
    address: IPv6Address
    interface: str
    asn: int
    accepts: str
    """The function of the template that judges its routes."""
    own: tuple[tuple[int, tuple[Prefix, ...]], ...]
    """Per family, the prefixes that are the machine's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edge:
    """The session with another edge of ours."""

    name: str
    datacenter: str
    address: IPv6Address
    preferences: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Port:
    """An interface that OSPF runs on."""

    interface: str
    type: str
    cost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _External:
    """One address family of a session with a peer."""

    name: str
    number: int
    local: Address
    address: Address
    asn: int
    interface: str
    role: str
    enforce_first_as: str
    bfd: bool
    origin: int
    preference: int
    import_limit: int
    export_limit: int


def render_bird(
    platform: Platform, machine: str, costs: Mapping[str, int], *, cold: bool = False
) -> str:
    """Return the whole configuration of the BIRD on a machine of ours.

    `costs` has the OSPF cost of backbone links by name (`A--B`), the same at both ends; a link
    that is missing costs 100. `cold` adds what an edge's BIRD needs only in its first seconds
    (see `cold_routes`). KeyError if the platform has no such machine.
    """
    me = platform.machine(machine)
    if me.role is Role.EDGE:
        ways = cold_routes(platform, me) if cold else ()
        return _render_edge(platform, me, costs, ways)
    return fill(
        "machine.j2",
        **_common(platform, me),
        serves=me.role is Role.NODE,
        link_local=link_local(me),
        own_asn=platform.private_asn(me),
        neighbors=_neighbors(platform, me, platform.machines_of(Role.EDGE, me.datacenter)),
    )


def _render_edge(
    platform: Platform, me: Machine, costs: Mapping[str, int], ways: tuple[ColdRoute, ...]
) -> str:
    inside = (
        *platform.machines_of(Role.NODE, me.datacenter),
        *platform.machines_of(Role.CONTROLLER, me.datacenter),
    )
    sessions = platform.sessions_of(me.name)
    return fill(
        "edge.j2",
        **_common(platform, me),
        datacenter=platform.datacenter(me.datacenter),
        link_local=link_local(me),
        external_bfd_interval_ms=platform.timers.external_bfd_interval_ms,
        bfd_interfaces=_unique(session.interface for _, session in sessions if session.bfd),
        ospf_ports=_ospf_ports(platform, me, costs),
        cold_routes=ways,
        neighbors=_neighbors(platform, me, inside),
        edges=_edges(platform, me),
        externals=_externals(platform, sessions),
    )


def _common(platform: Platform, me: Machine) -> dict[str, object]:
    place = f"{me.role} of datacenter {me.datacenter}"
    return {
        "title": f"BIRD on {me.name}: {place}, platform {platform.name}",
        "router_id": platform.loopback4(me),
        "asn": platform.asn,
        "families": (_family(platform, me, 4), _family(platform, me, 6)),
        "bfd_interval_ms": platform.timers.bfd_interval_ms,
        "bfd_multiplier": platform.timers.bfd_multiplier,
    }


def _family(platform: Platform, me: Machine, number: int) -> _Family:
    own = _own(platform, me, number)
    aggregates = tuple(
        aggregate.prefix
        for aggregate in platform.aggregates
        if aggregate.prefix.version == number
    )
    length = 32 if number == 4 else 128  # noqa: PLR2004 (address families)
    return _Family(
        number=number,
        aggregates=aggregates,
        services=tuple(f"{prefix}{{{length},{length}}}" for prefix in aggregates),
        ours=tuple(f"{prefix}+" for prefix in aggregates),
        infrastructure=_pick(number, platform.infrastructure4, platform.infrastructure6),
        peering=_peering(platform, number),
        bogons=_BOGONS[number],
        loopback_address=own[0].network_address,
        pool=own[1] if len(own) > 1 else None,
        default=_pick(number, ip_network("0.0.0.0/0"), ip_network("::/0")),
    )


def _pick(number: int, four: Prefix, six: Prefix) -> Prefix:
    return four if number == 4 else six  # noqa: PLR2004 (address families)


def _own(platform: Platform, machine: Machine, number: int) -> tuple[Prefix, ...]:
    """Return the loopback and, of a node, the pool."""
    loopback = _pick(
        number,
        ip_network(platform.loopback4(machine)),
        ip_network(platform.loopback6(machine)),
    )
    if machine.role is not Role.NODE:
        return (loopback,)
    return (loopback, _pick(number, platform.pool4(machine), platform.pool6(machine)))


def _peering(platform: Platform, number: int) -> tuple[str, ...]:
    return _unique(
        f"{ours.network}+"
        for peer in platform.peers
        for session in peer.sessions
        for ours in session.ours
        if ours.version == number
    )


def _neighbors(
    platform: Platform, me: Machine, machines: tuple[Machine, ...]
) -> tuple[_Neighbor, ...]:
    fabrics = platform.datacenter(me.datacenter).fabrics
    return tuple(
        _Neighbor(
            name=f"{machine.role}.{machine.name}.{fabric}",
            address=link_local(machine),
            interface=fabric_interface(fabric),
            asn=platform.private_asn(machine),
            accepts="from_node" if machine.role is Role.NODE else "from_machine",
            own=((4, _own(platform, machine, 4)), (6, _own(platform, machine, 6))),
        )
        for machine in machines
        for fabric in fabrics
    )


def _edges(platform: Platform, me: Machine) -> tuple[_Edge, ...]:
    return tuple(
        _Edge(
            name=f"edge.{edge.name}",
            datacenter=edge.datacenter,
            address=platform.loopback6(edge),
            preferences=(
                _SIBLING_PREFERENCES
                if edge.datacenter == me.datacenter
                else _REMOTE_PREFERENCES
            ),
        )
        for edge in platform.machines_of(Role.EDGE)
        if edge != me
    )


def _ospf_ports(platform: Platform, me: Machine, costs: Mapping[str, int]) -> tuple[_Port, ...]:
    backbone = tuple(
        _Port(
            interface=backbone_interface(link.far_end(me.name)),
            type="ptp",
            cost=costs.get(link.name, _DEFAULT_COST),
        )
        for link in platform.links_of(me.name)
    )
    edges_here = len(platform.machines_of(Role.EDGE, me.datacenter))
    if edges_here == 1:
        return backbone
    # Two edges need no designated router, which saves its election after every failure.
    kind = "ptp" if edges_here == 2 else "broadcast"  # noqa: PLR2004 (two ends)
    fabrics = platform.datacenter(me.datacenter).fabrics
    return backbone + tuple(
        _Port(interface=fabric_interface(fabric), type=kind, cost=_FABRIC_COST)
        for fabric in fabrics
    )


def _externals(
    platform: Platform, sessions: tuple[tuple[Peer, Session], ...]
) -> tuple[_External, ...]:
    names = _session_names(sessions)
    return tuple(
        _External(
            name=f"peer.{name}.ipv{ours.version}",
            number=ours.version,
            local=ours.ip,
            address=theirs,
            asn=peer.asn,
            interface=session.interface,
            role="customer" if peer.kind is PeerKind.TRANSIT else "rs_client",
            # A route server does not put its own ASN into the paths of its members.
            enforce_first_as="on" if peer.kind is PeerKind.TRANSIT else "off",
            bfd=session.bfd,
            origin=7 if peer.kind is PeerKind.TRANSIT else 6,
            preference=100 if peer.kind is PeerKind.TRANSIT else 200,
            import_limit=peer.max_prefixes,
            export_limit=max(1, _aggregate_count(platform, ours.version)),
        )
        for name, (peer, session) in zip(names, sessions, strict=True)
        for ours, theirs in zip(session.ours, session.theirs, strict=True)
    )


def _session_names(sessions: tuple[tuple[Peer, Session], ...]) -> tuple[str, ...]:
    """Return the peer's name per session; a second session with it is called `PEER:2`."""
    names: list[str] = []
    for peer, _ in sessions:
        earlier = sum(name.split(":")[0] == peer.name for name in names)
        names.append(f"{peer.name}:{earlier + 1}" if earlier else peer.name)
    return tuple(names)


def _aggregate_count(platform: Platform, number: int) -> int:
    return sum(aggregate.prefix.version == number for aggregate in platform.aggregates)


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
