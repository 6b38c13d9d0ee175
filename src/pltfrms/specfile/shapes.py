"""The shape of each spec file: fields, types, units. The docstrings are what editors show."""

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pltfrms.model.service import Probe, ProbeKind, Run
from pltfrms.model.topology import AnnouncePolicy, PeerKind, Timers
from pltfrms.specfile.units import (
    AddressText,
    Bytes,
    InterfaceText,
    Mbps,
    Microseconds,
    Milliseconds,
    PrefixText,
    Seconds,
    default,
    one_of,
    wrong,
)

_TIMERS = Timers()
_RUN = Run(process=())
_PROBE = Probe(kind=ProbeKind.TCP)
_MIB = 1024 * 1024


class Shape(BaseModel):
    """Base: no unknown field, no silent conversion."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )
    stand_ins: ClassVar[dict[str, Any]] = {}
    """For required top fields that are missing or wrong, so that the rest can be checked."""


# ---- platform.yaml -------------------------------------------------------------------------


class MachineShape(Shape):
    """An edge or a controller."""

    id: int | None = None
    """Number of the machine, 1..250, unique per datacenter and role; part of its addresses.
    By default the digits at the end of its name."""
    rack: str = ""
    """Where it stands."""


class NodeShape(MachineShape):
    """A machine that runs instances."""

    cpu: float
    """Cores that instances may be promised."""
    memory: Bytes
    """Memory that instances may be promised, such as 8GiB."""


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


Machines = Annotated[
    dict[str, MachineShape],
    BeforeValidator(_by_name, json_schema_input_type=list[str] | dict[str, MachineShape]),
]


class DatacenterShape(Shape):
    """A site."""

    id: int
    """Number of the datacenter, 1..200, unique; part of every address in it, so never
    change it."""
    city: str = ""
    """Where it is, for people."""
    fabrics: list[str]
    """Names of its L2 segments; each machine has a port `fab-NAME` in each. Two are best."""
    edges: Machines = Field(default_factory=dict)
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
    """When an edge announces it: healthy-local (a service is healthy in its datacenter),
    any-healthy (anywhere), or always."""


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
    """A machine silent this long is lost. More than two heartbeats."""
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


class LinkShape(Shape):
    """A backbone link."""

    link: list[str]
    """The two edges that it connects, of different datacenters."""
    kind: Annotated[str, *one_of("direct", later=("wireguard",))]
    """What it is made of."""
    capacity: Mbps = default(0, "0Mbit")
    """Such as 10Gbit; 0Mbit if not said."""


class SessionShape(Shape):
    """One BGP neighbourship of an edge."""

    edge: str
    """Our edge."""
    ours: list[InterfaceText]
    """Our addresses on that network with length, one per address family."""
    theirs: list[AddressText]
    """The neighbour's addresses, one for each of `ours`, in the same order."""
    interface: str = ""
    """Our network interface; by default x-PEER. Unique on the edge."""
    bfd: bool = False
    """True if the neighbour runs BFD too: failures are then seen within a second."""


class PeerShape(Shape):
    """An external BGP counterparty."""

    kind: Annotated[str, *one_of(*PeerKind, later=("pni", "customer"))]
    """What it is to us."""
    asn: int
    """Its ASN."""
    sessions: list[SessionShape]
    """Our neighbourships with it."""
    max_prefixes: int = 1_500_000
    """A session on which more arrive is shut: something is wrong at the other end."""


class PlatformShape(Shape):
    """All that the operator owns."""

    platform: str
    """Name of the platform."""
    asn: int
    """Our ASN."""
    aggregates: list[AggregateEntry]
    """Public prefixes that leave the AS; services get their addresses from them. At least one
    per address family."""
    infrastructure: list[PrefixText] = Field(default_factory=list)
    """Private prefixes for our own machines: an IPv4 /8 (default 10.0.0.0/8) and an IPv6 /48
    (by default a unique local one made from the platform's name)."""
    timers: TimersShape = Field(default_factory=TimersShape)
    """How fast we notice failures, and how long we wait before we act."""
    datacenters: dict[str, DatacenterShape]
    """Sites by name."""
    backbone: list[LinkShape] = Field(default_factory=list)
    """Links between datacenters."""
    peers: dict[str, PeerShape] = Field(default_factory=dict)
    """Transits and IXPs by name."""

    stand_ins: ClassVar[dict[str, Any]] = {
        "platform": "unknown",
        "asn": 1,
        "aggregates": [],
        "datacenters": {},
    }


# ---- service.yaml --------------------------------------------------------------------------


class RunShape(Shape):
    """How an instance is started."""

    process: list[str]
    """Command and arguments; the working directory is the instance's own. ${pltfrms.instance},
    service, datacenter, node, replica, prefix4, prefix6, address4 and address6 are replaced
    here, in `files` and in `environment`."""
    files: dict[str, str] = Field(default_factory=dict)
    """Files to write into the working directory before the start: name and text."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Environment variables."""
    cpu: float = _RUN.cpu
    """Cores promised to one instance."""
    memory: Bytes = default(_RUN.memory_bytes, f"{_RUN.memory_bytes // _MIB}MiB")
    """Memory promised to one instance, such as 64MiB."""
    stop_grace: Milliseconds = default(_RUN.stop_grace_ms, f"{_RUN.stop_grace_ms}ms")
    """Time between the polite and the hard end of an instance."""


class ReplicasShape(Shape):
    """How many copies, and where."""

    per_datacenter: int
    """Exact number of replicas in each datacenter."""
    datacenters: list[str] = Field(default_factory=list)
    """Where it runs; by default in every datacenter that has nodes."""
    max_per_node: int = 1
    """At most this many of them on one node."""


class ProbeShape(Shape):
    """A question asked to every instance over and over: exactly one of http, tcp, exec."""

    http: str | None = None
    """Path to GET, such as /healthz; any 2xx or 3xx answer is a success. Needs `port`."""
    port: int = 0
    """TCP port for `http`."""
    tcp: int | None = None
    """TCP port to connect to."""
    exec: list[str] | None = None
    """Command run inside the instance; exit code 0 is a success."""
    interval: Milliseconds = default(_PROBE.interval_ms, f"{_PROBE.interval_ms}ms")
    """Time between two questions. A hung instance is noticed after at most
    fall x (interval + timeout)."""
    timeout: Milliseconds = default(_PROBE.timeout_ms, f"{_PROBE.timeout_ms}ms")
    """No answer within this time is a failure."""
    rise: int = _PROBE.rise
    """Successes in a row before an unhealthy instance counts as healthy."""
    fall: int = _PROBE.fall
    """Failures in a row before a healthy instance counts as unhealthy and is restarted."""
    grace: Milliseconds = default(_PROBE.grace_ms, f"{_PROBE.grace_ms}ms")
    """A starting instance that has not succeeded once after this long is restarted."""


def _port(value: object) -> object:
    if isinstance(value, int):
        raise wrong(f"{value} has no protocol", f"write {value}/tcp or {value}/udp")
    return value


class ServiceShape(Shape):
    """What to run."""

    service: str
    """Name of the service."""
    run: RunShape
    """What one instance is: its command, its files, what it needs."""
    replicas: ReplicasShape
    """How many instances, and where they run."""
    ports: list[Annotated[str, BeforeValidator(_port)]] = Field(default_factory=list)
    """What it listens on, such as 80/tcp."""
    weight: int = 10
    """Share of the traffic one instance gets, 1..64."""
    probe: ProbeShape
    """How an instance is asked whether it can serve."""

    stand_ins: ClassVar[dict[str, Any]] = {
        "service": "unknown",
        "run": {"process": ["true"]},
        "replicas": {"per_datacenter": 1},
        "probe": {"tcp": 1},
    }


# ---- lab.yaml ------------------------------------------------------------------------------


class TransitShape(Shape):
    """A transit AS of the emulated internet: the peer of that name."""

    asn: int
    """Its ASN, as in the platform."""
    delays: dict[str, Microseconds] = Field(default_factory=dict)
    """One-way delay of its link to each of our edges; 0 where not said."""
    peerings: dict[str, Microseconds] = Field(default_factory=dict)
    """Other transits it peers with (say it at one of the two), with one-way delay."""


class IxpShape(Shape):
    """An IXP of the emulated internet: the peer of that name."""

    asn: int
    """ASN of its route server, as in the platform."""
    delays: dict[str, Microseconds] = Field(default_factory=dict)
    """One-way delay of each of our edges' ports; 0 where not said."""


class EyeballShape(Shape):
    """A network of clients."""

    asn: int
    """Its ASN."""
    prefixes: list[PrefixText]
    """Its prefixes, one per address family."""
    upstreams: dict[str, Microseconds]
    """Transits it buys from and IXPs it is a member of, with one-way delay."""
    nearest: str
    """Datacenter that should answer it."""


class InternetShape(Shape):
    """The other networks."""

    transits: dict[str, TransitShape] = Field(default_factory=dict)
    """Transits by name: the same names as in the platform."""
    ixps: dict[str, IxpShape] = Field(default_factory=dict)
    """IXPs by name: the same names as in the platform."""
    eyeballs: dict[str, EyeballShape] = Field(default_factory=dict)
    """Networks of clients by name."""


class LabShape(Shape):
    """All that only an emulated internet needs."""

    links: dict[str, Microseconds] = Field(default_factory=dict)
    """One-way delay of each backbone link (EDGE--EDGE, as the platform has them); 0 where
    not said."""
    internet: InternetShape = Field(default_factory=InternetShape)
    """The networks around ours."""
