"""Write the BIRD configuration of our machines.

What each session may carry is decided here and in the comments of `templates/`; the templates
themselves only repeat and choose.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_network

from pltfrms.model.addresses import Address, Prefix
from pltfrms.model.network.topology import Machine, NodePrefixes, Platform, Role, link_local
from pltfrms.model.running.plan import Permit
from pltfrms.model.services.egress import node_egress
from pltfrms.model.services.members import member_pools
from pltfrms.model.services.roles import CLAIM_STEP, claim_of
from pltfrms.render.conditions import NORMAL, Conditions
from pltfrms.render.routing.cold import cold_routes
from pltfrms.render.routing.far import far_neighbours
from pltfrms.render.routing.mesh import managed_edges, mesh, ospf_ports
from pltfrms.render.routing.outside import outside, takes_defaults
from pltfrms.render.text import fill

_DATACENTER_LENGTH = 64
"""The pools of a datacenter's nodes are what one prefix of this length has."""
_SERVICE_LENGTH = 96
"""A node's instances of one service have addresses in one prefix of this length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """What differs between IPv4 and IPv6 on a machine."""

    number: int
    aggregates: tuple[Prefix, ...]
    services: tuple[str, ...]
    """Prefix patterns that every service prefix matches, and every address of a member."""
    loopback_address: Address | None
    pool: Prefix | None
    pools: tuple[Prefix, ...]
    """Of a node: that pool, and what its instances speak with the internet from."""
    default: Prefix
    to_machines: tuple[Prefix, ...]
    """What edges announce to nodes and controllers: a default route. Beside external edges,
    which may not know the other datacenters, also our infrastructure."""
    floor: tuple[Prefix, ...]
    """What edges drop if they know no better way."""

    @property
    def to_machines_only(self) -> str:
        """The test whether a prefix is one of `to_machines`."""
        if len(self.to_machines) == 1:
            return f"= {self.default}"
        return f"~ [ {', '.join(map(str, self.to_machines))} ]"

    @property
    def loopback(self) -> Prefix | None:
        return ip_network(self.loopback_address) if self.loopback_address else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Permitted:
    """The services that are accepted from a node, and their instances there.

    What is in a set of BIRD, as text: there may be many thousands, so each is said once,
    however many sessions with the node there are.
    """

    node: str
    four: str
    six: str
    instances: str
    """Patterns of the addresses that instances of these services have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Neighbor:
    """The session with one machine of the datacenter over one fabric."""

    name: str
    address: IPv6Address
    interface: str
    asn: int
    local: str
    """Our address, where it is not the usual one."""
    as_node: bool
    """It is an edge and we are an edge and a node: here we speak as a node."""
    accepts: str
    """The function of the template that judges its routes; empty: all are refused."""
    own: tuple[tuple[int, tuple[Prefix, ...]], ...]
    """Per family, the prefixes that are the machine's own."""
    instances: str
    """Pattern of its instances' addresses; empty if it has none."""
    permitted: _Permitted | None
    """Of all services those that are accepted from it; None: any."""


def render_bird(platform: Platform, machine: str, conditions: Conditions = NORMAL) -> str:
    """Return the whole configuration of the BIRD on a machine of ours.

    KeyError if the platform has no such machine.
    """
    me = platform.machine(machine)
    if me.has(Role.EDGE):
        return _render_edge(platform, me, conditions)
    return fill(
        "machine.j2",
        **_common(platform, me),
        edge=False,
        neighbors=_neighbors(platform, me, platform.machines_of(Role.EDGE, me.datacenter)),
    )


def policy_fingerprint(platform: Platform, machine: str) -> str:
    """Return a name of what the platform wants of a machine's BIRD, whatever the conditions.

    Two platforms that want the same of it have the same. KeyError as `render_bird`.
    """
    text = render_bird(platform, machine, NORMAL)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _render_edge(platform: Platform, me: Machine, conditions: Conditions) -> str:
    sessions = platform.sessions_of(me.name)
    inside = [each for each in platform.behind_edges(me.datacenter) if each != me]
    if me.has(Role.NODE):  # other edges hear of us as of a node
        edges = managed_edges(platform, me.datacenter)
        inside += [each for each in edges if each not in (me, *inside)]
    neighbors = _neighbors(platform, me, tuple(inside), conditions)
    return fill(
        "edge.j2",
        **_common(platform, me),
        edge=True,
        external_bfd_interval_ms=platform.timers.external_bfd_interval_ms,
        bfd_interfaces=_unique(
            session.interface for _, session in sessions if session.bfd and not session.multihop
        ),
        far=far_neighbours(platform, me),
        ospf_ports=ospf_ports(platform, me, conditions.costs),
        cold_routes=cold_routes(platform, me) if conditions.cold else (),
        neighbors=neighbors,
        permitted=tuple(dict.fromkeys(each.permitted for each in neighbors if each.permitted)),
        placed_only=platform.guards.node_prefixes is NodePrefixes.PLACED,
        mesh=mesh(platform, me),
        defaults=takes_defaults(platform),
        outside=outside(platform, me, conditions),
        mark=platform.mesh_mark(me),
        edges_elsewhere=tuple(
            platform.mesh_mark(edge)
            for edge in managed_edges(platform)
            if edge.datacenter != me.datacenter
        ),
    )


def _common(platform: Platform, me: Machine) -> dict[str, object]:
    place = f"{' and '.join(me.roles)} of datacenter {me.datacenter}"
    return {
        "title": f"BIRD on {me.name}: {place}, platform {platform.name}",
        "router_id": platform.router_id(me),
        "asn": platform.asn,
        "datacenter": platform.datacenter(me.datacenter),
        "serves": me.has(Role.NODE),
        "link_local": link_local(me),
        "own_asn": platform.private_asn(me),
        "role_rank": _role_rank(platform, me),
        # Every machine's pool would be in here; only nodes have one.
        "instances": platform.pool6(me).supernet(new_prefix=_DATACENTER_LENGTH),
        "families": (_family(platform, me, 4), _family(platform, me, 6)),
        "named_ports": _named_ports(platform, me),
        "bfd_interval_ms": platform.timers.bfd_interval_ms,
        "bfd_multiplier": platform.timers.bfd_multiplier,
    }


def _role_rank(platform: Platform, me: Machine) -> int:
    """Return by what a claim of this machine wins, or not, over one of the same epoch."""
    return claim_of(0, platform.datacenter(me.datacenter).id, me.id_as(Role.NODE)) % CLAIM_STEP


def _named_ports(platform: Platform, me: Machine) -> tuple[str, ...]:
    """Return the ports inside that only the spec knows by name, for patterns do not."""
    ports = platform.inside_interfaces(me)
    return _unique(port for port in ports if not port.startswith(("fab-", "bb-")))


def _family(platform: Platform, me: Machine, number: int) -> _Family:
    own = _own(platform, me, number)
    aggregates = tuple(
        aggregate.prefix
        for aggregate in platform.aggregates
        if aggregate.prefix.version == number
    )
    default = _pick(number, ip_network("0.0.0.0/0"), ip_network("::/0"))
    inside = tuple(each for each in platform.infrastructure if each.version == number)
    length = 32 if number == 4 else 128  # noqa: PLR2004 (address families)
    return _Family(
        number=number,
        aggregates=aggregates,
        services=tuple(
            f"{prefix}{{{length},{length}}}"
            for prefix in (
                *(each.prefix for each in platform.service_aggregates),
                *member_pools(platform),
            )
            if prefix.version == number
        ),
        loopback_address=own[0].network_address if own else None,
        pool=own[1] if len(own) > 1 else None,
        pools=own[1:],
        default=default,
        to_machines=(default, *inside)
        if platform.has_external_edges(me.datacenter)
        else (default,),
        floor=(default, *inside)
        if platform.has_external_edges(me.datacenter) or takes_defaults(platform)
        else (default,),
    )


def _pick(number: int, four: Prefix, six: Prefix) -> Prefix:
    return four if number == 4 else six  # noqa: PLR2004 (address families)


def _own(platform: Platform, machine: Machine, number: int) -> tuple[Prefix, ...]:
    """Return the loopback and, of a node, the pool and its part of unicast prefixes.

    Nothing of a family that it has not got.
    """
    four = number == 4  # noqa: PLR2004 (address families)
    loopback = platform.loopback4(machine) if four else platform.loopback6(machine)
    pool = platform.pool4(machine) if four else platform.pool6(machine)
    if loopback is None or pool is None:
        return ()
    own = ip_network(loopback)
    egress = (each for each in node_egress(platform, machine) if each.version == number)
    return (own, pool, *egress) if machine.has(Role.NODE) else (own,)


def _neighbors(
    platform: Platform,
    me: Machine,
    machines: tuple[Machine, ...],
    conditions: Conditions = NORMAL,
) -> tuple[_Neighbor, ...]:
    fabrics = platform.datacenter(me.datacenter).fabrics
    return tuple(
        _Neighbor(
            name=f"{_role_there(me, machine)}.{machine.name}.{fabric}",
            address=link_local(machine),
            interface=platform.fabric_interface(me, fabric),
            asn=platform.private_asn(machine) if accepts else platform.asn,
            local=str(platform.fabric_link_local(me, fabric)) if machine.external else "",
            as_node=me.has(Role.EDGE) and me.has(Role.NODE) and machine.has(Role.EDGE),
            accepts=accepts,
            own=((4, _own(platform, machine, 4)), (6, _own(platform, machine, 6))),
            instances=f"{platform.pool6(machine)}{{128,128}}" if machine.has(Role.NODE) else "",
            permitted=permitted,
        )
        for machine in machines
        for accepts in (_JUDGES[_role_there(me, machine)],)
        for permitted in (_permitted(platform, machine, conditions),)
        for fabric in fabrics
    )


def _role_there(me: Machine, machine: Machine) -> Role:
    """Return as what we speak with another machine of our datacenter."""
    if not me.has(Role.EDGE):
        return Role.EDGE
    return Role.NODE if machine.has(Role.NODE) else machine.role


_JUDGES = {Role.NODE: "from_node", Role.CONTROLLER: "from_machine", Role.EDGE: ""}


def _permitted(
    platform: Platform, machine: Machine, conditions: Conditions
) -> _Permitted | None:
    any_service = platform.guards.node_prefixes is NodePrefixes.ANY
    if any_service or not machine.has(Role.NODE) or conditions.permits is None:
        return None
    permits = conditions.permits.get(machine.name, ())
    return _Permitted(
        node=machine.name,
        four=", ".join(_permitted_prefixes(permits, 4)),
        six=", ".join(_permitted_prefixes(permits, 6)),
        instances=", ".join(
            f"{platform.instance6(machine, permit.id, 0)}/{_SERVICE_LENGTH}{{128,128}}"
            for permit in permits
        ),
    )


def _permitted_prefixes(permits: Iterable[Permit], number: int) -> Iterator[str]:
    for permit in permits:
        yield from (str(each) for each in permit.prefixes if each.version == number)


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
