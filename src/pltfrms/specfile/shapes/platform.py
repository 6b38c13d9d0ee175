"""The shape of `platform.yaml`: fields, types, units. The docstrings are what editors show."""

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from pltfrms.model.network.links import Link, LinkKind
from pltfrms.model.network.topology import (
    Admission,
    AnnouncePolicy,
    Guards,
    NodePrefixes,
    OperatorRole,
    Role,
    Timers,
    TwoPeople,
)
from pltfrms.model.network.vantage import INTERVAL_MS, PER_ROUND
from pltfrms.specfile.shapes.peering import OverrideShape, PeerShape, RpkiShape
from pltfrms.specfile.shapes.shapes import Shape, SparseShape
from pltfrms.specfile.shapes.units import (
    AddressText,
    Bytes,
    FileText,
    InfrastructureText,
    Mbps,
    Milliseconds,
    PrefixText,
    Seconds,
    default,
    one_of,
    said,
    some,
    wrong,
)

_TIMERS = Timers()
_GUARDS = Guards()
_LINK = Link(a="", b="")


class FabricShape(SparseShape):
    """How machines are connected to an L2 segment."""

    interface: str = said()
    """What the operating system calls the port, such as eno1.100; by default fab-NAME. VLANs
    and bonds are made by the operating system."""

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, value: object) -> object:
        if isinstance(value, str):
            hint = f"write {{interface: {value}}}"
            raise wrong(f"must be a mapping, not the text {value!r}", hint)
        return value


class MachineShape(Shape):
    """An edge or a controller."""

    id: int | None = None
    """Number of the machine, 1..250 (nodes 1..4000), unique per datacenter and role; part of
    its addresses. By default the digits at the end of its name, or before its first dot."""
    rack: str = ""
    """Where it stands."""
    fabrics: dict[str, FabricShape] = Field(default_factory=dict)
    """Fabrics whose port has another name here than on the datacenter's other machines:
    {a: {interface: eth1}}."""


class EdgeShape(MachineShape):
    """A router with external BGP."""

    external: bool = False
    """True if others manage it: we speak BGP with it and run nothing on it. It has no
    sessions in `peers` and no link in `backbone`."""


class NodeShape(MachineShape):
    """A machine that runs instances."""

    cpu: float
    """Cores that instances may be promised."""
    memory: Bytes
    """Memory that instances may be promised, such as 8GiB."""


class ServerShape(MachineShape):
    """A machine with several roles, each with the id of the machine."""

    roles: list[Annotated[str, *one_of(*Role)]] = Field(default_factory=lambda: [*Role])
    """What it is: edge, node, controller; all three if nothing is said."""
    cpu: float = 0.0
    """Of a node: cores that instances may be promised."""
    memory: Bytes = default(0, "0B")
    """Of a node: memory that instances may be promised, such as 8GiB."""


def _by_name(value: object) -> object:
    """Accept `[fra-e1, fra-e2]` for `{fra-e1: {}, fra-e2: {}}`."""
    if not isinstance(value, list):
        return value
    for name in value:
        if not isinstance(name, str):
            raise wrong(f"must be a list of names, not of {name!r}", "such as [fra-e1, fra-e2]")
        if value.count(name) > 1:
            raise wrong(f"{name} is in the list twice", "names are unique")
    return {name: {} for name in value}


Fabrics = Annotated[
    dict[str, FabricShape],
    BeforeValidator(_by_name, json_schema_input_type=list[str] | dict[str, FabricShape]),
]
Edges = Annotated[
    dict[str, EdgeShape],
    BeforeValidator(_by_name, json_schema_input_type=list[str] | dict[str, EdgeShape]),
]
Machines = Annotated[
    dict[str, MachineShape],
    BeforeValidator(_by_name, json_schema_input_type=list[str] | dict[str, MachineShape]),
]


class LocationShape(Shape):
    """A place on Earth, in degrees."""

    lat: float
    """To the north, -90 to 90; negative: south of the equator."""
    lon: float
    """To the east, -180 to 180; negative: west of Greenwich."""


class DatacenterShape(Shape):
    """A site."""

    id: int
    """Number of the datacenter, 1..200, unique; part of every address in it, so never
    change it."""
    city: str = ""
    """Where it is, for people."""
    location: LocationShape | None = None
    """Where the map shows it, such as {lat: 50.1, lon: 8.7}; by default where `city` is, as far
    as that is a well known one."""
    fabrics: Fabrics = Field(default_factory=dict)
    """Names of its L2 segments; each machine has a port in each: `fab-NAME`, or as it says,
    {a: {interface: eno1.100}}. Two are best; one machine alone needs none."""
    machines: dict[str, ServerShape] = Field(default_factory=dict)
    """Machines that are edge, node and controller at once, or what `roles` says. A name that
    stands in several of the lists below is such a machine, too."""
    edges: Edges = Field(default_factory=dict)
    """Our routers with external BGP: a list of names, or a mapping from names to details."""
    nodes: dict[str, NodeShape] = Field(default_factory=dict)
    """Machines that run instances; without any, the datacenter only brings traffic in."""
    controllers: Machines = Field(default_factory=dict)
    """Machines that run a controller and a store member; an odd number over all is best."""


class AggregateShape(Shape):
    """A public prefix that leaves the AS."""

    prefix: PrefixText
    """At most /24 long for IPv4 and /48 for IPv6: longer ones are filtered in the internet."""
    announce: Annotated[str, *one_of(*AnnouncePolicy)] = AnnouncePolicy.HEALTHY_LOCAL.value
    """When an edge announces it: healthy-local (services are healthy in its datacenter, or
    one anywhere if that has no nodes), any-healthy (one anywhere), or always."""
    unicast: str = said()
    """A datacenter: its instances speak with the internet from addresses of this prefix. Only
    its edges announce it, and always; services get no addresses from it."""
    per_node: int = 0
    """With unicast, for IPv4: so many of its addresses belong to each node, a power of two up
    to 256; by default one. More are needed for services with `egress: own`."""
    name: str = said()
    """What services may call it, such as europe; an IPv4 and an IPv6 prefix may share it."""
    datacenters: list[str] = some()
    """The only ones that announce it; by default all do. No service gets an address of it
    that does not name it."""


def _as_aggregate(value: object) -> object:
    return {"prefix": value} if isinstance(value, str) else value


AggregateEntry = Annotated[
    AggregateShape,
    BeforeValidator(_as_aggregate, json_schema_input_type=str | AggregateShape),
]


class TimersShape(Shape):
    """How fast we notice and how long we wait."""

    bfd_interval: Milliseconds = default(
        _TIMERS.bfd_interval_ms, f"{_TIMERS.bfd_interval_ms}ms"
    )
    """BFD inside a datacenter and on the backbone; detection takes interval x multiplier."""
    external_bfd_interval: Milliseconds = default(
        _TIMERS.external_bfd_interval_ms, f"{_TIMERS.external_bfd_interval_ms}ms"
    )
    """BFD towards peers whose sessions have `bfd: true`."""
    bfd_multiplier: int = _TIMERS.bfd_multiplier
    """So many BFD packets in a row must be missing."""
    heartbeat: Milliseconds = default(_TIMERS.heartbeat_ms, f"{_TIMERS.heartbeat_ms}ms")
    """An agent tells a controller that it lives this often."""
    contact_ttl: Seconds = default(
        _TIMERS.contact_ttl_seconds, f"{_TIMERS.contact_ttl_seconds}s"
    )
    """A machine silent this long is out of contact; a node is lost only if its edges miss it.
    More than two heartbeats."""
    stable_after: Seconds = default(
        _TIMERS.stable_after_seconds, f"{_TIMERS.stable_after_seconds}s"
    )
    """A machine that came back gets replicas moved to it only after this long."""
    withdraw_after: Milliseconds = default(
        _TIMERS.withdraw_after_ms, f"{_TIMERS.withdraw_after_ms}ms"
    )
    """An aggregate's condition must be bad this long before it is withdrawn."""
    announce_after: Milliseconds = default(
        _TIMERS.announce_after_ms, f"{_TIMERS.announce_after_ms}ms"
    )
    """An aggregate's condition must be good this long before it is announced."""
    flap_hold: Seconds = default(_TIMERS.flap_hold_seconds, f"{_TIMERS.flap_hold_seconds}s")
    """After a withdrawal, the wait before the next announcement; doubles per flap to 300s."""
    flap_half_life: Seconds = default(
        _TIMERS.flap_half_life_seconds, f"{_TIMERS.flap_half_life_seconds}s"
    )
    """Half of what a flap counts is forgotten after this long. Not less than flap_hold."""
    drain_wait: Seconds = default(_TIMERS.drain_wait_seconds, f"{_TIMERS.drain_wait_seconds}s")
    """Between telling a peer that we shall leave (RFC 8326) and withdrawing from it."""
    confirm: Seconds = default(_TIMERS.confirm_seconds, f"{_TIMERS.confirm_seconds}s")
    """A new routing configuration that is not seen to be good within this time reverts;
    5s to 10m, and longer than external BFD needs to find a neighbour gone."""


def _for_both(value: object) -> object:
    """Accept `eno2` for the same name at both ends."""
    return {"": value} if isinstance(value, str) else value


Interfaces = Annotated[
    dict[str, Annotated[str, Field(min_length=1)]],
    BeforeValidator(_for_both, json_schema_input_type=str | dict[str, str]),
]


class LinkShape(Shape):
    """A backbone link."""

    link: list[str]
    """The two edges that it connects."""
    label: str = said()
    """Tells it from other links between the same two edges, such as south; it is a part of
    the link's name, EDGE--EDGE:LABEL."""
    interface: Interfaces = Field(default_factory=dict)
    """Direct: what the operating system calls the port: one name for both ends, or {fra-e1:
    eno1.30, ams-e1: bond0.20}. By default bb-EDGE after the edge at the far end, with a label
    bb-EDGE.LABEL; over 15 characters it is cut and gets digits: say one, or see `pltfrms
    doctor`."""
    kind: Annotated[str, *one_of(*LinkKind)]
    """What it is made of: direct (a circuit) or wireguard (a tunnel)."""
    capacity: Mbps = default(0, "0Mbit")
    """Such as 10Gbit; leave it out if it is not known."""
    endpoints: list[AddressText] = Field(default_factory=list)
    """WireGuard: the addresses of the two ends, in the order of `link`, of one family. They
    must reach each other without our backbone."""
    port: int = _LINK.port
    """WireGuard: UDP port at both ends; unique on an edge."""
    mtu: int = _LINK.mtu
    """Direct: of the interface. WireGuard: of the path between the endpoints; the tunnel
    takes 60 bytes (IPv4 endpoints) or 80 (IPv6) for itself."""


class TableFloorShape(SparseShape):
    """How many routes to the outside a table has that leads to everybody."""

    ipv4: int | None = None
    """Fewest IPv4 routes."""
    ipv6: int | None = None
    """Fewest IPv6 routes."""


def _as_table_floor(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"ipv4": value, "ipv6": value}
    return value


TableFloor = Annotated[
    TableFloorShape,
    BeforeValidator(_as_table_floor, json_schema_input_type=int | TableFloorShape),
]


class GuardsShape(Shape):
    """What no change may do unless the operator names the guard that forbids it."""

    announce_floor: int = _GUARDS.announce_floor
    """Every aggregate stays announced from at least so many datacenters."""
    shrink_percent: int = _GUARDS.shrink_percent
    """One change may take away at most this share of all announcements, 1..100."""
    vantage_floor: int = _GUARDS.vantage_floor
    """An aggregate that the outside hears on fewer sessions than this is shown as a problem; 0
    for none. It forbids nothing."""
    table_floor: TableFloor = Field(default_factory=TableFloorShape)
    """An edge without a default route that knows fewer routes to the outside than this has no
    way back to everybody, which is shown as a problem: a number for each family, or {ipv4: …,
    ipv6: …}; 0 for none. By default half of a full table: 500000 and 100000, and 1 where all
    aggregates of the family are for documentation, as in labs. It forbids no change; without a
    way back an edge withdraws."""
    headroom_percent: int = _GUARDS.headroom_percent
    """A change may load what is left at most to this share of its capacity, 1..100."""
    n1_admission: Annotated[str, *one_of(*Admission)] = _GUARDS.n1_admission.value
    """What is done with a change after which replicas find no place if any one node is lost, or
    a service is answered nowhere if any one datacenter is lost: off, warn or refuse."""
    node_prefixes: Annotated[str, *one_of(*NodePrefixes)] = _GUARDS.node_prefixes.value
    """What edges accept from a node: any (every service) or placed (the services that have an
    allocation on it)."""
    two_people: list[Annotated[str, *one_of(*TwoPeople)]] = Field(default_factory=list)
    """What needs a second operator's approval: platform, drains, blackholes, overrides (of the
    guards above). Needs at least two operators."""


class OperatorShape(Shape):
    """Somebody who logs in, signs changes, and approves those of others."""

    keys: list[str]
    """Public keys as OpenSSH writes them: lines of .pub files."""
    role: Annotated[str, *one_of(*OperatorRole)] | None = None
    """viewer, deployer (of services), operator (all but the platform itself) or admin. As soon
    as one operator has a role, who writes must have logged in, and who has none is a viewer."""
    services: list[str] = Field(default_factory=list)
    """What a deployer may apply and delete: names of services, or their beginnings before *."""


def _as_operator(value: object) -> object:
    return {"keys": value} if isinstance(value, list) else value


OperatorEntry = Annotated[
    OperatorShape,
    BeforeValidator(_as_operator, json_schema_input_type=list[str] | OperatorShape),
]


class NumberingShape(SparseShape):
    """How many of each must fit; what is not said suits the length of the prefix."""

    nodes: int | None = None
    """Highest id of a node in a datacenter, at most 4000."""
    instances: int | None = None
    """Instances on one node, at most 254; also the highest id of an edge or controller."""


class VantageShape(SparseShape):
    """Who asks services as their clients do, and tells controllers how that went."""

    machines: Annotated[str, *one_of("edges", "edges and nodes", "none")] = "edges"
    """Which machines of ours ask: edges, edges and nodes, or none."""
    datacenters: list[str] = some()
    """Only machines of these ask; by default those of all."""
    services: list[str] = some()
    """Only these are asked; by default all, at every TCP port that everybody may ask."""
    interval: Milliseconds = default(INTERVAL_MS, f"{INTERVAL_MS // 1000}s")
    """Each question is asked this often."""
    per_round: int = PER_ROUND
    """So many questions one vantage point asks in an interval at most: at more services each
    asks a part of them."""
    outside: list[str] = some()
    """Names of vantage points elsewhere, which run `pltfrms vantage run` and report with a
    token; who is not named here any more is not heard."""


class MetricsShape(SparseShape):
    """Who may read the metrics of controllers and machines, and nothing else."""

    readers: dict[str, str] = Field(default_factory=dict, min_length=1)
    """By name, SHA-256 of a token: `pltfrms metrics token NAME` makes both. As soon as there is
    a reader, every machine tells its own metrics, too, at TCP port 7482."""


class PlatformShape(Shape):
    """All that the operator owns."""

    platform: str
    """Name of the platform."""
    asn: int
    """Our ASN."""
    domain: str = said()
    """In which services have names for instances, such as svc.example.net: web is
    web.svc.example.net there. By default NAME.internal."""
    aggregates: list[AggregateEntry]
    """Public prefixes that leave the AS; services get their addresses from them: one of each
    address family that there is. One family is enough. A prefix may stand beside its parts."""
    infrastructure: list[InfrastructureText] = some()
    """Prefixes for our own machines and instances, private or public: IPv4 of /8 to /22
    (default 10.0.0.0/8), or the word no-ipv4; and an IPv6 /48 (by default a unique local one
    made from the platform's name). They cannot change later."""
    numbering: NumberingShape = Field(default_factory=NumberingShape)
    """How many machines the IPv4 prefix of infrastructure must have room for. It cannot change
    later."""
    timers: TimersShape = Field(default_factory=TimersShape)
    """How fast we notice failures, and how long we wait before we act."""
    vantage: VantageShape = Field(default_factory=VantageShape)
    """Who asks services as their clients do. By default every edge."""
    metrics: MetricsShape = Field(default_factory=MetricsShape)
    """Who may read metrics. By default controllers and root on them alone."""
    datacenters: dict[str, DatacenterShape]
    """Sites by name."""
    backbone: list[LinkShape] = Field(default_factory=list)
    """Links between edges, of other datacenters or of one."""
    peers: dict[str, PeerShape] = Field(default_factory=dict)
    """Transits, exchanges, private peers and customers by name."""
    peeringdb: FileText = ""
    """File, relative to this one, with what PeeringDB's /api/net answered (JSON); for peers
    with `max_prefixes: peeringdb`."""
    traffic: list[OverrideShape] = Field(default_factory=list)
    """Traffic engineering: deviations from announcing every aggregate everywhere as it is.
    Later ones win over earlier ones."""
    rpki: RpkiShape = Field(default_factory=RpkiShape)
    """RPKI origin validation; without caches there is none."""
    guards: GuardsShape = Field(default_factory=GuardsShape)
    """Limits of every change: beyond them it needs the operator to name the guard."""
    operators: dict[str, OperatorEntry] = Field(default_factory=dict)
    """Who may log in, and sign and approve what needs two people: name, and public keys as
    OpenSSH writes them, or a mapping with a role, too."""
    director: bool = True
    """True: the director spreads the load where the kernel can run it. False: kernel ECMP does
    everywhere."""
    allowed_host_paths: list[str] = some()
    """Files and directories of the machines that `host_paths` of services may name, with all
    that is below them, such as /etc/ssl/certs. By default none."""
    allow_exec: bool = False
    """Whether operators and admins may have commands run in instances: `service exec`. Nodes
    refuse them else."""

    stand_ins: ClassVar[dict[str, Any]] = {
        "platform": "unknown",
        "asn": 1,
        "aggregates": [],
        "datacenters": {},
    }
