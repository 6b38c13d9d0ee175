"""The edges among each other: OSPF underneath, iBGP on top."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address

from pltfrms.model.addresses import Address
from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.model.network.tunnels import far_endpoints

_DEFAULT_COST = 100
"""OSPF cost of a backbone link whose delay nobody has measured yet."""
FABRIC_COST = 1
_FULL_MESH_EDGES = 10
"""Up to so many edges all speak with all; more have route reflectors."""
_REFLECTORS = 2
"""Per datacenter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshEdge:
    """The session with another edge of ours."""

    name: str
    datacenter: str
    address: IPv6Address
    client: bool
    """We reflect routes to it and for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """All iBGP sessions of an edge."""

    edges: tuple[MeshEdge, ...]
    tunnel_ends: tuple[tuple[int, tuple[str, ...]], ...]
    """Per family, patterns of all prefixes that contain the far end of one of our tunnels.

    Other edges must not tell us of these: a tunnel would be sent into itself.
    """
    reflected: bool
    """There are route reflectors, so a session carries all paths (ADD-PATH, RFC 7911).

    A reflector that told of its best path alone would hide the one that is best for others.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class OspfPort:
    """An interface that OSPF runs on."""

    interface: str
    type: str
    cost: int


def managed_edges(platform: Platform, datacenter: str = "") -> tuple[Machine, ...]:
    """Return the edges that run our BIRD, in one datacenter or everywhere, in spec order."""
    return tuple(
        edge for edge in platform.machines_of(Role.EDGE, datacenter) if not edge.external
    )


def mesh(platform: Platform, me: Machine) -> Mesh:
    """Return with whom an edge speaks iBGP, and how.

    With many edges the first two of every datacenter are route reflectors: they speak with
    each other and with the other edges of their datacenter, their clients.
    """
    edges = managed_edges(platform)
    reflected = len(edges) > _FULL_MESH_EDGES
    names = _reflectors(platform) if reflected else frozenset()
    return Mesh(
        reflected=reflected,
        tunnel_ends=tuple(
            (number, _containing(far_endpoints(platform, me), number)) for number in (4, 6)
        ),
        edges=tuple(
            MeshEdge(
                name=f"edge.{edge.name}",
                datacenter=edge.datacenter,
                address=platform.loopback6(edge),
                client=me.name in names and edge.name not in names,
            )
            for edge in edges
            if edge != me and (not reflected or _speak(me, edge, names))
        ),
    )


def _containing(addresses: Iterable[Address], number: int) -> tuple[str, ...]:
    return tuple(
        f"{address}/{address.max_prefixlen}-"
        for address in addresses
        if address.version == number
    )


def _reflectors(platform: Platform) -> frozenset[str]:
    return frozenset(
        edge.name
        for datacenter in platform.datacenters
        for edge in sorted(managed_edges(platform, datacenter.name), key=lambda edge: edge.id)[
            :_REFLECTORS
        ]
    )


def _speak(one: Machine, other: Machine, reflectors: frozenset[str]) -> bool:
    if one.name in reflectors and other.name in reflectors:
        return True
    either = one.name in reflectors or other.name in reflectors
    return either and one.datacenter == other.datacenter


def ospf_ports(
    platform: Platform, me: Machine, costs: Mapping[str, int]
) -> tuple[OspfPort, ...]:
    """Return the interfaces that OSPF runs on, with their costs."""
    backbone = tuple(
        OspfPort(
            interface=link.interface_at(me.name),
            type="ptp",
            cost=costs.get(link.name, _DEFAULT_COST),
        )
        for link in platform.links_of(me.name)
    )
    edges_here = len(managed_edges(platform, me.datacenter))
    if edges_here < 2:  # noqa: PLR2004 (two ends)
        return backbone
    # Two edges need no designated router, which saves its election after every failure.
    kind = "ptp" if edges_here == 2 else "broadcast"  # noqa: PLR2004 (two ends)
    return backbone + tuple(
        OspfPort(interface=port, type=kind, cost=FABRIC_COST)
        for port in platform.fabric_interfaces(me)
    )
