"""The emulated internet around a platform, as `lab.yaml` says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address, ip_interface

from pltfrms.model.addresses import Address, Interface, Prefix
from pltfrms.model.interfaces import short_interface
from pltfrms.model.network.peering import Peer, RtrCache, Session
from pltfrms.model.network.topology import Machine, Platform


class Daemon(StrEnum):
    """What speaks BGP on a machine of the emulated internet."""

    BIRD = "bird"
    FRR = "frr"
    GOBGP = "gobgp"
    OPENBGPD = "openbgpd"

    @property
    def forwards(self) -> bool:
        """Whether it puts routes into the kernel of Linux.

        Without that it can be a route server, which no packet passes, and nothing else.
        """
        return self in {Daemon.BIRD, Daemon.FRR}

    @property
    def has_bfd(self) -> bool:
        """Whether it speaks BFD."""
        return self.forwards

    @property
    def has_roles(self) -> bool:
        """Whether it says its BGP role (RFC 9234)."""
        return self is not Daemon.GOBGP


class Sends(StrEnum):
    """What a transit tells us of the outside."""

    TABLE = "table"
    DEFAULT = "default"
    """A default route and nothing else."""
    BOTH = "both"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabTransit:
    """A transit AS, as one router. Its sessions with us are those of the peer of that name."""

    name: str
    asn: int
    delays_us: Mapping[str, int] = field(default_factory=dict)
    """One-way delay of its link to each of our edges, microseconds."""
    peerings: Mapping[str, int] = field(default_factory=dict)
    """Other transits it peers with (said at one of the two), with one-way delay."""
    daemon: Daemon = Daemon.BIRD
    sends: Sends = Sends.TABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class LabIxp:
    """An IXP: one LAN and a route server, which is the peer of that name."""

    name: str
    asn: int
    delays_us: Mapping[str, int] = field(default_factory=dict)
    """One-way delay of each of our edges' ports."""
    daemon: Daemon = Daemon.BIRD


@dataclass(frozen=True, slots=True, kw_only=True)
class LabEyeball:
    """A network of clients."""

    name: str
    asn: int
    prefixes: tuple[Prefix, ...]
    """One per address family; the client itself has the first usable address of each."""
    upstreams: Mapping[str, int]
    """Transits it buys from and IXPs it is a member of, with one-way delay."""
    nearest: str
    """Datacenter that should answer it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabNetwork:
    """A neighbour of ours with clients of its own: the peer of that name.

    That is a customer, a private peer, or a member of an IXP with sessions with us.
    """

    name: str
    asn: int
    prefixes: tuple[Prefix, ...]
    """One per address family; the client itself has the first usable address of each."""
    delays_us: Mapping[str, int] = field(default_factory=dict)
    """One-way delay of its line to each of our edges; none for a member of an IXP."""
    upstreams: Mapping[str, int] = field(default_factory=dict)
    """Transits it buys from and IXPs whose route server it uses, with one-way delay."""
    member_of: str = ""
    """The IXP in whose LAN our sessions with it are; empty: it has lines of its own to us."""
    daemon: Daemon = Daemon.BIRD


LabStub = LabEyeball | LabNetwork
"""A network with clients, through which nobody else's packets pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabRoa:
    """What RPKI says: this AS may originate this prefix, and parts of it up to a length."""

    prefix: Prefix
    asn: int
    max_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """All that only an emulated internet needs."""

    link_delays_us: Mapping[str, int] = field(default_factory=dict)
    """One-way delay of each backbone link (`A--B`)."""
    transits: tuple[LabTransit, ...] = ()
    ixps: tuple[LabIxp, ...] = ()
    eyeballs: tuple[LabEyeball, ...] = ()
    networks: tuple[LabNetwork, ...] = ()
    roas: tuple[LabRoa, ...] = ()
    """What the RTR caches on our machines answer."""

    @property
    def stubs(self) -> tuple[LabStub, ...]:
        """The networks with clients."""
        return (*self.eyeballs, *self.networks)

    @property
    def machines(self) -> tuple[str, ...]:
        """Names of the machines of the emulated internet.

        First transits, then route servers, eyeballs, networks.
        """
        return (
            *(transit.name for transit in self.transits),
            *(ixp.name for ixp in self.ixps),
            *(stub.name for stub in self.stubs),
        )

    def daemon(self, machine: str) -> Daemon:
        """Return what speaks BGP on a machine of the emulated internet."""
        others: tuple[LabTransit | LabIxp | LabNetwork, ...] = (
            *self.transits,
            *self.ixps,
            *self.networks,
        )
        return next((one.daemon for one in others if one.name == machine), Daemon.BIRD)

    def link_local(self, machine: str) -> IPv6Address:
        """Return the fixed link-local address of a machine of the emulated internet."""
        return IPv6Address((0xFE80 << 112) | (0xF << 16) | (self.machines.index(machine) + 1))


def lab_interface(far_end: str) -> str:
    """Return the name of a lab machine's port towards another machine (point to point)."""
    return short_interface(f"to-{far_end}")


def lan_interface(ixp: str) -> str:
    """Return the name of a lab machine's port in an IXP's LAN."""
    return f"lan-{ixp}"


def client_addresses(stub: LabStub) -> tuple[Address, ...]:
    """Return the addresses of a network's client: the first usable one of each prefix."""
    return tuple(prefix.network_address + 1 for prefix in stub.prefixes)


def lan_addresses(
    platform: Platform, lab: Lab, ixp: str, machine: str
) -> tuple[Interface, ...]:
    """Return the addresses of a lab machine in an IXP's LAN.

    The route server and members with sessions of their own with us have those that these
    sessions name; others have the LAN's network address + 72 + their number.
    """
    ours = _peer(platform, ixp).sessions[0].ours
    direct = {network.name for network in lab.networks if network.member_of == ixp}
    if machine == ixp or machine in direct:
        return far_addresses(_peer(platform, machine))
    number = 72 + [stub.name for stub in lab.stubs].index(machine)
    return tuple(
        ip_interface(f"{one.network.network_address + number}/{one.network.prefixlen}")
        for one in ours
    )


def far_addresses(peer: Peer, edge: str = "") -> tuple[Interface, ...]:
    """Return the peer's addresses in its sessions with an edge of ours, or with any.

    Not of those that are hops away: see `gateways`.
    """
    return tuple(
        dict.fromkeys(
            ip_interface(f"{theirs}/{ours.network.prefixlen}")
            for session in peer.sessions
            if edge in {"", session.edge} and not session.multihop
            for ours, theirs in zip(session.ours, session.theirs, strict=True)
        )
    )


def gateways(session: Session) -> tuple[Address, ...]:
    """Return a transit's addresses towards an edge that is hops away, per family of `ours`.

    It is the gateway that the session names, else the first other address of our network.
    """
    return tuple(session.gateway(ours.version) or _first_other(ours) for ours in session.ours)


def _first_other(ours: Interface) -> Address:
    addresses = (ours.network.network_address + offset for offset in range(3))
    least = 0 if ours.network.prefixlen >= ours.max_prefixlen - 1 else 1
    return next(each for each in list(addresses)[least:] if each != ours.ip)


def cache_of(platform: Platform, machine: Machine) -> RtrCache | None:
    """Return the RTR cache that the lab runs on a machine of ours, if the platform asks one."""
    own = {platform.loopback4(machine), platform.loopback6(machine)}
    caches = platform.origin_validation.caches
    return next((cache for cache in caches if cache.address in own), None)


def _peer(platform: Platform, name: str) -> Peer:
    return next(peer for peer in platform.peers if peer.name == name)
