"""The operator's network: datacenters, machines, backbone, peers, and how they are numbered.

Every address of ours is computed here from ids, never allocated at run time. Ids come from the
spec and never change for a machine's life, so neither do its addresses.

IPv6 infrastructure prefix `I` (a /48):
    I:0:0:DC:ROLE:ID          loopback of a machine; ROLE is e (edge), a (node), c (controller)
    I:(1000+DC):NODE::/80     pool of a node; I:(1000+DC):NODE:SERVICE:0:SLOT is an instance
    I:(3000+DC):ROLE:ID::     what only iBGP tells of an edge where there is no IPv4
IPv4 infrastructure prefix (10.0.0.0/8; others and none at all: `model.network.numbering`):
    10.DC.NODE.0/24           pool of a node; .0 is the node's loopback, .SLOT an instance
    10.DC.254.ID, 10.DC.255.ID   loopbacks of edges and controllers
Link-local addresses on fabrics: fe80::ROLE:ID; on backbone links: fe80::DC:ROLE:ID; towards
external edges, on the fabric that is number F in the spec's list: fe80::F:ROLE:ID.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TypeVar

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.links import FabricPort, Link
from pltfrms.model.network.location import Location
from pltfrms.model.network.numbering import (
    CONTROLLERS,
    EDGES,
    Numbering,
    numbering_of,
    stand_in_router_id,
)
from pltfrms.model.network.peering import OriginValidation, Peer, Session
from pltfrms.model.network.readers import MetricsReader
from pltfrms.model.network.traffic import Override
from pltfrms.model.network.vantage import VantageSpec

CONTROLLER_PORT = 7480
"""TCP port of the controllers' HTTP API, on the machine's IPv6 loopback address."""
GLASS_PORT = 7481
"""TCP port of a machine's looking glass, on its IPv6 loopback address."""
ETCD_CLIENT_PORT, ETCD_PEER_PORT = 2379, 2380


class Role(StrEnum):
    """What a machine is for."""

    EDGE = "edge"
    NODE = "node"
    CONTROLLER = "controller"


ROLES_IN_ORDER = (Role.EDGE, Role.NODE, Role.CONTROLLER)
"""The first one that a machine has is its main role: its addresses are made from that."""
SECTIONS = {Role.EDGE: "edges", Role.NODE: "nodes", Role.CONTROLLER: "controllers"}
"""Where the spec has the machines of a role."""
_ROLE_DIGIT = {Role.EDGE: 0xE, Role.NODE: 0xA, Role.CONTROLLER: 0xC}


class AnnouncePolicy(StrEnum):
    """When an edge announces an aggregate to the outside."""

    HEALTHY_LOCAL = "healthy-local"
    ANY_HEALTHY = "any-healthy"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """A public prefix that leaves the AS. It may have parts that are aggregates too."""

    prefix: Prefix
    announce: AnnouncePolicy = AnnouncePolicy.HEALTHY_LOCAL
    unicast: str = ""
    """The datacenter whose addresses are in it: instances there speak with the internet from
    them. Only its edges announce it, whatever services do, and no service has an address of it.
    Empty: it is for services."""
    per_node: int = 0
    """IPv4 unicast: so many addresses belong to each node, a power of two; 0: one."""
    name: str = ""
    """Another word for it, such as `europe`; IPv4 and IPv6 may share one."""
    datacenters: tuple[str, ...] = ()
    """The only ones that announce it; empty: all do."""

    @property
    def only(self) -> tuple[str, ...]:
        """The only datacenters that may announce it; empty: all."""
        return (self.unicast,) if self.unicast else self.datacenters

    def is_of(self, datacenter: str) -> bool:
        """Return whether a datacenter may announce it."""
        return not self.only or datacenter in self.only


@dataclass(frozen=True, slots=True, kw_only=True)
class Timers:
    """How fast we notice and how long we wait. Defaults suit one metro network (`lan`)."""

    bfd_interval_ms: int = 100
    """BFD inside a datacenter and on the backbone; detection = interval x multiplier."""
    external_bfd_interval_ms: int = 300
    """BFD towards peers whose sessions have `bfd: true`."""
    bfd_multiplier: int = 3
    heartbeat_ms: int = 1000
    """An agent tells a controller that it lives this often."""
    contact_ttl_seconds: int = 3
    """A machine silent this long is out of contact: a node `unknown`, and `lost` if its edges
    miss it; another machine `lost`. Must exceed two heartbeats."""
    stable_after_seconds: int = 15
    """A machine that came back gets replicas moved to it only after this long."""
    withdraw_after_ms: int = 2000
    """An aggregate's condition must be bad this long before it is withdrawn."""
    announce_after_ms: int = 500
    """An aggregate's condition must be good this long before it is announced."""
    flap_hold_seconds: int = 10
    """After a withdrawal, the wait before the next announcement; doubles per flap to 300 s."""
    flap_half_life_seconds: int = 300
    """Half of what a flap counts is forgotten after this long."""
    drain_wait_seconds: int = 60
    """Between telling a peer that we shall leave (RFC 8326) and withdrawing from it."""
    confirm_seconds: int = 20
    """A new routing configuration that is not seen to be good within this time reverts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FurtherRole:
    """What a machine is for beside its main role."""

    role: Role
    id: int
    """As that of a machine with this main role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A host with our agent, or an edge that others manage (`external`).

    Ask `has`: `role` alone does not say what else it is for.
    """

    name: str
    datacenter: str
    role: Role
    """Its main role, the first of `ROLES_IN_ORDER` that it has."""
    id: int
    """Unique per datacenter and role: nodes 1..4000, others 1..250."""
    further: tuple[FurtherRole, ...] = ()
    """In the same order."""
    cpu: float = 0.0
    """Cores that instances may be promised; nodes only."""
    memory_bytes: int = 0
    """Memory that instances may be promised; nodes only."""
    rack: str = ""
    external: bool = False
    """An edge that others manage: we speak BGP with it and run nothing on it."""
    ports: tuple[FabricPort, ...] = ()
    """What its ports in fabrics are called, where it is not as on others of its datacenter."""

    @property
    def roles(self) -> tuple[Role, ...]:
        """All that it is for, the main one first."""
        return (self.role, *(each.role for each in self.further))

    def has(self, role: Role) -> bool:
        """Return whether it is for this, too."""
        return role is self.role or any(role is each.role for each in self.further)

    @property
    def forwards(self) -> bool:
        """Whether packets of clients pass it: it is an edge, a node, or both."""
        return self.has(Role.EDGE) or self.has(Role.NODE)

    def id_as(self, role: Role) -> int:
        """Return its id in a role; that of its main role if it has not this one."""
        return next((each.id for each in self.further if each.role is role), self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Datacenter:
    """A site."""

    name: str
    id: int
    """1..200; part of every address in the datacenter."""
    fabrics: tuple[str, ...]
    """Names of the L2 segments; each machine has one port in each."""
    city: str = ""
    location: Location | None = None
    """None: not said."""
    ports: tuple[FabricPort, ...] = ()
    """What the ports are called on its machines, where it is not `fab-NAME`."""


class NodePrefixes(StrEnum):
    """What edges accept from a node beside itself and its pool."""

    ANY = "any"
    """Every service prefix, and all instance addresses of its pool."""
    PLACED = "placed"
    """Those of the services that have an allocation on the node."""


class TwoPeople(StrEnum):
    """What one operator alone may not do."""

    PLATFORM = "platform"
    """Change what `platform.yaml` says."""
    DRAINS = "drains"
    """Drain a peer, an edge, a port, a node or a datacenter."""
    BLACKHOLES = "blackholes"
    OVERRIDES = "overrides"
    """Do what a guard forbids."""


class OperatorRole(StrEnum):
    """What an operator may do; each may also do what those before it may."""

    VIEWER = "viewer"
    """Look."""
    DEPLOYER = "deployer"
    """Apply and delete the services that are named for him."""
    OPERATOR = "operator"
    """All services, drains, freezes, blackholes, overrides of guards."""
    ADMIN = "admin"
    """Change the platform, and let machines join."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Somebody who logs in, signs changes, and approves those of others."""

    name: str
    keys: tuple[str, ...]
    """Public keys as OpenSSH writes them, without comment: `ssh-ed25519 AAAA...`."""
    role: OperatorRole | None = None
    """None: none is said; a viewer, where any operator has one."""
    services: tuple[str, ...] = ()
    """Of a deployer: names, or beginnings of names before a `*`."""


class Admission(StrEnum):
    """What is done with a change after which the loss of a node or datacenter leaves a gap."""

    OFF = "off"
    WARN = "warn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """What no change may do unless the operator names the guard that forbids it."""

    announce_floor: int = 1
    """Every aggregate stays announced from at least so many datacenters."""
    shrink_percent: int = 34
    """One change may take away at most this share of all announcements."""
    vantage_floor: int = 2
    """An aggregate that the outside hears on fewer sessions is a problem; it forbids nothing.
    Where there are fewer sessions at all, it is all of them."""
    table_floor4: int | None = None
    table_floor6: int | None = None
    """An edge without a default route that knows fewer routes to the outside has no way back
    to everybody: a problem, and it withdraws. None: half of a full table."""
    headroom_percent: int = 90
    """Ports and links may be loaded up to this share of their capacity by a change."""
    n1_admission: Admission = Admission.WARN
    """Whether all that is wanted must fit in after the loss of any one node, and each service
    be answered after the loss of any one datacenter."""
    node_prefixes: NodePrefixes = NodePrefixes.ANY
    """What a node may announce, whatever it says. It is about nodes, not about changes."""
    two_people: tuple[TwoPeople, ...] = ()
    """What needs a second operator who approves it. To end something never does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """All that the operator owns, as `platform.yaml` says it."""

    name: str
    asn: int
    aggregates: tuple[Aggregate, ...]
    infrastructure4: IPv4Network | None
    """None: our machines and instances have IPv6 addresses only; services have both."""
    infrastructure6: IPv6Network
    datacenters: tuple[Datacenter, ...]
    machines: tuple[Machine, ...]
    numbering4: Numbering | None = None
    """How `infrastructure4` is shared out; None: as suits its length."""
    links: tuple[Link, ...] = ()
    peers: tuple[Peer, ...] = ()
    traffic: tuple[Override, ...] = ()
    """Traffic engineering; later ones win over earlier ones."""
    origin_validation: OriginValidation = field(default_factory=OriginValidation)
    guards: Guards = field(default_factory=Guards)
    operators: tuple[Operator, ...] = ()
    """Who may sign and approve what needs two people."""
    director: bool = True
    """Spread load with the director where the kernel can run it, else with kernel ECMP."""
    timers: Timers = field(default_factory=Timers)
    domain: str = ""
    """In which services have names; empty: the platform's name below `internal`."""
    allowed_host_paths: tuple[str, ...] = ()
    """Files and directories of machines that services may have their instances read."""
    allow_exec: bool = False
    """Operators may have commands run in instances."""
    vantage: VantageSpec = field(default_factory=VantageSpec)
    readers: tuple[MetricsReader, ...] = ()

    def datacenter(self, name: str) -> Datacenter:
        """Return the datacenter called `name`; KeyError if there is none."""
        return _named(self.datacenters, name)

    def machine(self, name: str) -> Machine:
        """Return the machine called `name`; KeyError if there is none."""
        return _named(self.machines, name)

    def aggregates_of(self, datacenter: str) -> tuple[Aggregate, ...]:
        """Return the aggregates that edges of a datacenter may announce, in spec order."""
        return tuple(each for each in self.aggregates if each.is_of(datacenter))

    @property
    def service_aggregates(self) -> tuple[Aggregate, ...]:
        """The aggregates that services have addresses of, in spec order."""
        return tuple(each for each in self.aggregates if not each.unicast)

    @property
    def managed(self) -> tuple[Machine, ...]:
        """The machines that run our agent: all but external edges."""
        return tuple(machine for machine in self.machines if not machine.external)

    def behind_edges(self, datacenter: str) -> tuple[Machine, ...]:
        """Return with whom the edges of a datacenter speak: nodes, then other controllers."""
        nodes = self.machines_of(Role.NODE, datacenter)
        controllers = self.machines_of(Role.CONTROLLER, datacenter)
        return (*nodes, *(each for each in controllers if not each.forwards))

    def machines_of(self, role: Role, datacenter: str = "") -> tuple[Machine, ...]:
        """Return the machines with a role, in one datacenter or everywhere, in spec order."""
        return tuple(
            machine
            for machine in self.machines
            if machine.has(role) and datacenter in {"", machine.datacenter}
        )

    def fabric_interface(self, machine: Machine, fabric: str) -> str:
        """Return the name of a machine's port in a fabric of its datacenter."""
        said = (*machine.ports, *self.datacenter(machine.datacenter).ports)
        named = (port.interface for port in said if port.fabric == fabric)
        return next(named, f"fab-{fabric}")

    def fabric_interfaces(self, machine: Machine) -> tuple[str, ...]:
        """Return the names of a machine's ports, in the order of the fabrics."""
        fabrics = self.datacenter(machine.datacenter).fabrics
        return tuple(self.fabric_interface(machine, fabric) for fabric in fabrics)

    def inside_interfaces(self, machine: Machine) -> tuple[str, ...]:
        """Return the names of a machine's ports in fabrics, then of those of its links."""
        links = (link.interface_at(machine.name) for link in self.links_of(machine.name))
        return (*self.fabric_interfaces(machine), *links)

    def links_of(self, machine: str) -> tuple[Link, ...]:
        """Return the backbone links that end at `machine`."""
        return tuple(link for link in self.links if machine in {link.a, link.b})

    def is_inside(self, link: Link) -> bool:
        """Return whether a link joins edges of one datacenter; it leads to no other then."""
        return self.machine(link.a).datacenter == self.machine(link.b).datacenter

    def sessions_of(self, edge: str) -> tuple[tuple[Peer, Session], ...]:
        """Return the external sessions of an edge with their peers."""
        return tuple(
            (peer, session)
            for peer in self.peers
            for session in peer.sessions
            if session.edge == edge
        )

    def session_names(self, edge: str) -> tuple[str, ...]:
        """Return what the sessions of an edge are called, in the order of `sessions_of`.

        The peer's name; a second session of the same edge with it is `PEER:2`.
        """
        names: list[str] = []
        for peer, _ in self.sessions_of(edge):
            earlier = sum(name.split(":")[0] == peer.name for name in names)
            names.append(f"{peer.name}:{earlier + 1}" if earlier else peer.name)
        return tuple(names)

    # ---- numbering -------------------------------------------------------------------------

    def loopback6(self, machine: Machine) -> IPv6Address:
        """Return the machine's own IPv6 address."""
        dc = self.datacenter(machine.datacenter)
        low = (dc.id << 32) | _digits(machine)
        return IPv6Address(int(self.infrastructure6.network_address) | low)

    @property
    def infrastructure(self) -> tuple[Prefix, ...]:
        """The prefixes of our machines and instances: IPv4, if there is one, and IPv6."""
        four = () if self.infrastructure4 is None else (self.infrastructure4,)
        return (*four, self.infrastructure6)

    @property
    def numbering(self) -> Numbering:
        """How many nodes and instances there may be, and where their IPv4 addresses are."""
        return numbering_of(self.infrastructure4, self.numbering4)

    def loopback4(self, machine: Machine) -> IPv4Address | None:
        """Return the machine's own IPv4 address; None where there is no IPv4."""
        if machine.role is Role.NODE:
            return _at(self.pool4(machine), 0)
        others = EDGES if machine.role is Role.EDGE else CONTROLLERS
        return _at(self._block4(machine, others), machine.id)

    def pool4(self, node: Machine) -> IPv4Network | None:
        """Return the prefix from which a node's instances are numbered, if there is IPv4."""
        return self._block4(node, node.id_as(Role.NODE))

    def pool6(self, node: Machine) -> IPv6Network:
        """Return the /80 from which a node's instances are numbered."""
        dc = self.datacenter(node.datacenter)
        high = ((0x1000 + dc.id) << 64) | (node.id_as(Role.NODE) << 48)
        return IPv6Network((int(self.infrastructure6.network_address) | high, 80))

    def instance4(self, node: Machine, slot: int) -> IPv4Address | None:
        """Return the unicast IPv4 address of the instance in `slot`, if there is IPv4."""
        return _at(self.pool4(node), slot)

    def instance6(self, node: Machine, service_id: int, slot: int) -> IPv6Address:
        """Return the unicast IPv6 address of an instance; it contains the service id."""
        return self.pool6(node).network_address + ((service_id << 32) | slot)

    def balancer_source(self, machine: Machine) -> IPv6Network:
        """Return the /96 from which a machine sends the outer packets of its director."""
        dc = self.datacenter(machine.datacenter)
        high = ((0x2000 + dc.id) << 64) | (_digits(machine) << 32)
        return IPv6Network((int(self.infrastructure6.network_address) | high, 96))

    def backbone_link_local(self, edge: Machine) -> IPv6Address:
        """Return the fixed link-local address of an edge on its backbone links.

        It has the datacenter id in it: edges of different datacenters may have equal ids, and
        OSPF cannot work between two equal addresses.
        """
        dc = self.datacenter(edge.datacenter)
        return IPv6Address(int(link_local(edge)) | (dc.id << 32))

    def fabric_link_local(self, machine: Machine, fabric: str) -> IPv6Address:
        """Return the link-local address with which a machine speaks to external edges.

        It has the number of the fabric in it: most software but BIRD knows the other end by its
        address alone, and could not have two sessions with `link_local(machine)`.
        """
        number = self.datacenter(machine.datacenter).fabrics.index(fabric) + 1
        return IPv6Address(int(link_local(machine)) | (number << 32))

    def has_external_edges(self, datacenter: str) -> bool:
        """Return whether others manage an edge of a datacenter."""
        return any(edge.external for edge in self.machines_of(Role.EDGE, datacenter))

    def private_asn(self, machine: Machine) -> int:
        """Return the private ASN of a node or controller (RFC 6996, 32-bit range)."""
        dc = self.datacenter(machine.datacenter)
        if machine.role is Role.CONTROLLER:
            return 4_200_000_000 + dc.id * 1000 + 500 + machine.id
        number = machine.id_as(Role.NODE)
        if number <= 250:  # noqa: PLR2004 (as many as there once could be)
            return 4_200_000_000 + dc.id * 1000 + number
        return 4_201_000_000 + dc.id * 10_000 + number

    def router_id(self, machine: Machine) -> IPv4Address:
        """Return the number by which BGP and OSPF know a machine: its IPv4 loopback, if any."""
        dc, digit = self.datacenter(machine.datacenter), _ROLE_DIGIT[machine.role]
        return self.loopback4(machine) or stand_in_router_id(dc.id, digit, machine.id)

    def mesh_mark(self, edge: Machine) -> Prefix:
        """Return what only iBGP tells of an edge of ours, so that one sees who is heard of.

        Its IPv4 loopback; the IPv6 one is in OSPF. Where there is no IPv4 it is a /128 for this
        alone.
        """
        if loopback4 := self.loopback4(edge):
            return ip_network(loopback4)
        dc = self.datacenter(edge.datacenter)
        high = ((0x3000 + dc.id) << 64) | (_digits(edge) << 32)
        return IPv6Network((int(self.infrastructure6.network_address) | high, 128))

    def _block4(self, machine: Machine, number: int) -> IPv4Network | None:
        if self.infrastructure4 is None:
            return None
        dc = self.datacenter(machine.datacenter)
        return self.numbering.block(self.infrastructure4, dc.id, number)


def link_local(machine: Machine) -> IPv6Address:
    """Return the fixed link-local address of a machine on its fabrics."""
    return IPv6Address((0xFE80 << 112) | _digits(machine))


def controller_url(platform: Platform, machine: Machine, *, secure: bool = False) -> str:
    """Return the base URL of the controller on `machine`; `secure`: by TLS."""
    return f"http{'s' if secure else ''}://[{platform.loopback6(machine)}]:{CONTROLLER_PORT}"


def _digits(machine: Machine) -> int:
    """Return what tells a machine from others of its datacenter: 32 bits `ROLE:ID`."""
    return (_ROLE_DIGIT[machine.role] << 16) | machine.id


def _at(block: IPv4Network | None, number: int) -> IPv4Address | None:
    return None if block is None else block.network_address + number


_T = TypeVar("_T", Datacenter, Machine)


def _named(things: tuple[_T, ...], name: str) -> _T:
    for thing in things:
        if thing.name == name:
            return thing
    raise KeyError(name)
