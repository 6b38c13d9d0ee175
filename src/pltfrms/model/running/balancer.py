"""What the director works with: ready instances, tables of rows, and where packets pass.

The director is our program in the kernel that picks an instance for every packet to a service
prefix and sends the packet to it in an outer IPv6 packet (RFC 2473). All of its inputs are
routes of kernel table 105, which BIRD fills; see `docs/balancer.md`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import Final

from pltfrms.model.addresses import Prefix, prefixes_of
from pltfrms.model.services.members import Membership
from pltfrms.model.services.roles import RolePrefixes
from pltfrms.model.services.service import Service

ROWS: Final = 16384
"""Rows of a service's table; a flow's hash, modulo this, is its row."""
CHANCES: Final = 8
"""Instances of a row: the first one gets new flows, the others are asked in turn for a flow
that the one before does not know."""
MAX_CANDIDATES: Final = 255
"""Instances of one service in one datacenter that a table can tell apart."""
STATE_FACTOR: Final = 1000
"""Metric of a route in table 105: state x 1000 + weight."""
STALE_AFTER_MS: Final = 15_000
"""Without a heartbeat for so long, packets are left to the kernel's routes."""
ENCAPSULATED_MARK: Final = 0xD1E1
"""Of packets that the director has just given an outer header, on this machine."""
OUTER_BYTES: Final = 40
"""What the outer IPv6 header adds to a packet."""


class CandidateState(IntEnum):
    """What a ready instance is for."""

    ACTIVE = 1
    DRAINING = 2
    """Keeps the flows it has; gets new ones only if there is nobody else."""
    BACKUP = 3
    """Answers, but says that it is unhealthy: gets flows only while nothing is active
    (`is_panic`)."""


def is_panic(states: Iterable[CandidateState]) -> bool:
    """Return whether none of the instances that answer says that it is healthy.

    Guard `panic_threshold`: it is then more likely that the question is wrong than that they
    all are, and whoever answers is better than nobody.
    """
    every = set(states)
    return CandidateState.BACKUP in every and CandidateState.ACTIVE not in every


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Candidate:
    """An instance that can serve, as a route tells of it."""

    address: IPv6Address
    """Its own unicast address; the id of its service is part of it."""
    weight: int = 10
    state: CandidateState = CandidateState.ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class BalancedService:
    """What the director must know of a service that routes do not say."""

    id: int
    name: str
    prefix4: IPv4Network | None
    prefix6: IPv6Network | None
    more: tuple[Prefix, ...] = ()
    roles: tuple[RolePrefixes, ...] = ()
    """To which it leads nobody: for the names that they have."""
    members: Membership | None = None
    """Likewise; None: its replicas have no addresses for life."""

    @property
    def prefixes(self) -> tuple[Prefix, ...]:
        """Every /32 and /128, the main ones first."""
        return prefixes_of(self.prefix4, self.prefix6, self.more)


def as_balanced(service: Service, members: Membership | None) -> BalancedService:
    """Return what all machines know of a service that wants these members."""
    return BalancedService(
        id=service.id,
        name=service.name,
        prefix4=service.prefix4,
        prefix6=service.prefix6,
        more=service.more,
        roles=service.roles,
        members=members,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerTable:
    """Who gets which packet of one service."""

    service: BalancedService
    addresses: tuple[IPv6Address, ...]
    """Of the candidates; at most MAX_CANDIDATES."""
    columns: tuple[bytes, ...]
    """CHANCES columns of ROWS numbers each: 1 + the index into `addresses`, 0 = nobody."""


class HookKind(StrEnum):
    """What packets a device brings."""

    OUTSIDE = "outside"
    """From peers. An outer packet of ours can only be forged there."""
    INSIDE = "inside"
    """From our own machines: fabrics and the backbone."""
    INSTANCE = "instance"
    """To and from one instance: the machine's end of its veth."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Hook:
    """A device at which the director sees packets."""

    device: str
    kind: HookKind
    address: IPv6Address | None = None
    """Of the instance, for INSTANCE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerSettings:
    """What is the same for all services of a machine."""

    source: IPv6Network
    """A /96; outer packets come from an address in it that differs from flow to flow, so that
    network cards and ECMP spread them."""
    infrastructure: IPv6Network
    """Outer packets come from and go to here only; at most 64 bits long."""
    stale_after_ms: int = STALE_AFTER_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCounts:
    """What happened to the packets of one service on one machine, since its boot."""

    packets: int = 0
    bytes: int = 0
    new_flows: int = 0
    """TCP SYNs."""
    no_instance: int = 0
    """Left to the kernel's routes, because the row has nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceCounts:
    """What one machine did for one instance."""

    packets: int = 0
    bytes: int = 0
    """Sent to it first."""
    second_chances: int = 0
    """Sent to it after another instance did not know the flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerCounts:
    """What the program counted on one machine."""

    services: dict[int, ServiceCounts] = field(default_factory=dict)
    """By service id."""
    instances: dict[str, InstanceCounts] = field(default_factory=dict)
    """By unicast address."""
    totals: dict[str, int] = field(default_factory=dict)
    """By name, such as `stale` or `forged`; see `docs/balancer.md`."""


class BalancerMode(StrEnum):
    """What spreads the load on a machine."""

    DIRECTOR = "director"
    KERNEL = "kernel"
    """The kernel's ECMP: the director cannot run here, or is not wanted."""
    STARTING = "starting"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableView:
    """A service's table, to look at."""

    service: BalancedService
    candidates: tuple[Candidate, ...]
    shares: tuple[float, ...]
    """Of the rows, per candidate: 0..1."""
    counts: ServiceCounts = field(default_factory=ServiceCounts)
    instance_counts: tuple[InstanceCounts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerView:
    """The balancer of one machine, to look at."""

    machine: str
    mode: BalancerMode
    detail: str = ""
    """Why it is not the director, or how it is attached."""
    heartbeat_age_ms: int = 0
    devices: tuple[Hook, ...] = ()
    tables: tuple[TableView, ...] = ()
    totals: dict[str, int] = field(default_factory=dict)
