"""The emulated internet around a platform, as `lab.yaml` says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_interface

from pltfrms.model.topology import Interface, Platform, Prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class LabTransit:
    """A transit AS, as one router. Its sessions with us are those of the peer of that name."""

    name: str
    asn: int
    delays_us: Mapping[str, int] = field(default_factory=dict)
    """One-way delay of its link to each of our edges, microseconds."""
    peerings: Mapping[str, int] = field(default_factory=dict)
    """Other transits it peers with (said at one of the two), with one-way delay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabIxp:
    """An IXP: one LAN and a route server, which is the peer of that name."""

    name: str
    asn: int
    delays_us: Mapping[str, int] = field(default_factory=dict)
    """One-way delay of each of our edges' ports."""


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
class Lab:
    """All that only an emulated internet needs."""

    link_delays_us: Mapping[str, int] = field(default_factory=dict)
    """One-way delay of each backbone link (`A--B`)."""
    transits: tuple[LabTransit, ...] = ()
    ixps: tuple[LabIxp, ...] = ()
    eyeballs: tuple[LabEyeball, ...] = ()

    @property
    def machines(self) -> tuple[str, ...]:
        """Names of the machines of the emulated internet: transits, route servers, eyeballs."""
        return (
            *(transit.name for transit in self.transits),
            *(ixp.name for ixp in self.ixps),
            *(eyeball.name for eyeball in self.eyeballs),
        )

    def link_local(self, machine: str) -> IPv6Address:
        """Return the fixed link-local address of a machine of the emulated internet."""
        return IPv6Address((0xFE80 << 112) | (0xF << 16) | (self.machines.index(machine) + 1))


def lab_interface(far_end: str) -> str:
    """Return the name of a lab machine's port towards another machine (point to point)."""
    return f"to-{far_end}"


def lan_interface(ixp: str) -> str:
    """Return the name of a route server's or eyeball's port in an IXP's LAN."""
    return f"lan-{ixp}"


def lan_addresses(
    platform: Platform, lab: Lab, ixp: str, machine: str
) -> tuple[Interface, ...]:
    """Return the addresses of the route server or an eyeball in an IXP's LAN.

    The route server has those that our sessions name; eyeballs have the LAN's network
    address + 72 + their number.
    """
    peer = next(peer for peer in platform.peers if peer.name == ixp)
    session = peer.sessions[0]
    if machine == ixp:
        return tuple(
            ip_interface(f"{theirs}/{ours.network.prefixlen}")
            for ours, theirs in zip(session.ours, session.theirs, strict=True)
        )
    number = 72 + [eyeball.name for eyeball in lab.eyeballs].index(machine)
    return tuple(
        ip_interface(f"{ours.network.network_address + number}/{ours.network.prefixlen}")
        for ours in session.ours
    )
