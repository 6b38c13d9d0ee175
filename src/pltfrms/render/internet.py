"""Write the BIRD configuration of the machines of the emulated internet."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from pltfrms.model.lab import (
    Lab,
    LabEyeball,
    LabIxp,
    LabTransit,
    lab_interface,
    lan_addresses,
    lan_interface,
)
from pltfrms.model.topology import Address, Peer, Platform, Prefix
from pltfrms.render.text import fill

_CUSTOMER = 300
_IXP = 200
_PEER = 200
_TRANSIT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """A session of a lab machine, as its template needs it."""

    name: str
    local: str
    address: str
    asn: int
    interface: str
    numbers: tuple[int, ...]
    """Address families it carries."""
    role: str = "rs_server"
    enforce_first_as: str = "on"
    bfd: bool = True
    preference: int = 0
    med: int
    export: str = ""
    """The function of the template that judges what goes out."""

    @property
    def number(self) -> int:
        """The address family of a session that carries one."""
        return self.numbers[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    number: int
    prefixes: tuple[Prefix, ...]
    client: Address | None


def render_internet(platform: Platform, lab: Lab, machine: str) -> str:
    """Return the whole configuration of the BIRD on a transit, route server or eyeball.

    KeyError if the lab has no such machine.
    """
    for transit in lab.transits:
        if transit.name == machine:
            return _render_transit(platform, lab, transit)
    for ixp in lab.ixps:
        if ixp.name == machine:
            return _render_route_server(platform, lab, ixp)
    for eyeball in lab.eyeballs:
        if eyeball.name == machine:
            return _render_eyeball(platform, lab, eyeball)
    raise KeyError(machine)


def client_addresses(eyeball: LabEyeball) -> tuple[Address, ...]:
    """Return the addresses of the eyeball's client: the first usable one of each prefix."""
    return tuple(prefix.network_address + 1 for prefix in eyeball.prefixes)


# ---- transit -------------------------------------------------------------------------------


def _render_transit(platform: Platform, lab: Lab, transit: LabTransit) -> str:
    sessions = (
        *_with_our_edges(platform, transit),
        *_with_eyeballs(lab, transit),
        *_with_other_transits(lab, transit),
    )
    return fill(
        "transit.j2",
        **_common(platform, lab, transit, "transit"),
        families=(4, 6),
        sessions=sessions,
    )


def _with_our_edges(platform: Platform, transit: LabTransit) -> Iterator[_Session]:
    for session in _peer(platform, transit.name).sessions:
        for ours, theirs in zip(session.ours, session.theirs, strict=True):
            yield _Session(
                name=f"customer.{session.edge}.ipv{ours.version}",
                local=str(theirs),
                address=str(ours.ip),
                asn=platform.asn,
                interface=lab_interface(session.edge),
                numbers=(ours.version,),
                role="provider",
                bfd=session.bfd,
                preference=_CUSTOMER,
                med=_med(transit.delays_us.get(session.edge, 0)),
                export="to_customer",
            )


def _with_eyeballs(lab: Lab, transit: LabTransit) -> Iterator[_Session]:
    for eyeball in lab.eyeballs:
        if transit.name in eyeball.upstreams:
            yield _Session(
                name=f"customer.{eyeball.name}",
                local=str(lab.link_local(transit.name)),
                address=_far_end(lab, eyeball.name),
                asn=eyeball.asn,
                interface=lab_interface(eyeball.name),
                numbers=(4, 6),
                role="provider",
                preference=_CUSTOMER,
                med=_med(eyeball.upstreams[transit.name]),
                export="to_customer",
            )


def _with_other_transits(lab: Lab, transit: LabTransit) -> Iterator[_Session]:
    for other in lab.transits:
        delay_us = transit.peerings.get(other.name, other.peerings.get(transit.name))
        if delay_us is not None:
            yield _Session(
                name=f"peer.{other.name}",
                local=str(lab.link_local(transit.name)),
                address=_far_end(lab, other.name),
                asn=other.asn,
                interface=lab_interface(other.name),
                numbers=(4, 6),
                role="peer",
                preference=_PEER,
                med=_med(delay_us),
                export="to_peer",
            )


# ---- route server --------------------------------------------------------------------------


def _render_route_server(platform: Platform, lab: Lab, ixp: LabIxp) -> str:
    sessions = (*_with_our_ports(platform, ixp), *_with_members(platform, lab, ixp))
    return fill(
        "route-server.j2",
        **_common(platform, lab, ixp, "route server"),
        families=(4, 6),
        sessions=sessions,
    )


def _with_our_ports(platform: Platform, ixp: LabIxp) -> Iterator[_Session]:
    for session in _peer(platform, ixp.name).sessions:
        for ours, theirs in zip(session.ours, session.theirs, strict=True):
            yield _Session(
                name=f"member.{session.edge}.ipv{ours.version}",
                local=str(theirs),
                address=str(ours.ip),
                asn=platform.asn,
                interface=lan_interface(ixp.name),
                numbers=(ours.version,),
                bfd=session.bfd,
                med=_med(ixp.delays_us.get(session.edge, 0)),
            )


def _with_members(platform: Platform, lab: Lab, ixp: LabIxp) -> Iterator[_Session]:
    server = lan_addresses(platform, lab, ixp.name, ixp.name)
    for eyeball in lab.eyeballs:
        if ixp.name not in eyeball.upstreams:
            continue
        members = lan_addresses(platform, lab, ixp.name, eyeball.name)
        for ours, theirs in zip(server, members, strict=True):
            yield _Session(
                name=f"member.{eyeball.name}.ipv{ours.version}",
                local=str(ours.ip),
                address=str(theirs.ip),
                asn=eyeball.asn,
                interface=lan_interface(ixp.name),
                numbers=(ours.version,),
                med=_med(eyeball.upstreams[ixp.name]),
            )


# ---- eyeball -------------------------------------------------------------------------------


def _render_eyeball(platform: Platform, lab: Lab, eyeball: LabEyeball) -> str:
    sessions = (*_with_transits(lab, eyeball), *_with_ixps(platform, lab, eyeball))
    return fill(
        "eyeball.j2",
        **_common(platform, lab, eyeball, "eyeball"),
        families=tuple(_eyeball_family(eyeball, number) for number in (4, 6)),
        sessions=sessions,
    )


def _eyeball_family(eyeball: LabEyeball, number: int) -> _Family:
    clients = (client for client in client_addresses(eyeball) if client.version == number)
    return _Family(
        number=number,
        prefixes=tuple(prefix for prefix in eyeball.prefixes if prefix.version == number),
        client=next(clients, None),
    )


def _with_transits(lab: Lab, eyeball: LabEyeball) -> Iterator[_Session]:
    for transit in lab.transits:
        if transit.name in eyeball.upstreams:
            yield _Session(
                name=f"transit.{transit.name}",
                local=str(lab.link_local(eyeball.name)),
                address=_far_end(lab, transit.name),
                asn=transit.asn,
                interface=lab_interface(transit.name),
                numbers=(4, 6),
                role="customer",
                preference=_TRANSIT,
                med=_med(eyeball.upstreams[transit.name]),
                export="to_upstream",
            )


def _with_ixps(platform: Platform, lab: Lab, eyeball: LabEyeball) -> Iterator[_Session]:
    for ixp in lab.ixps:
        if ixp.name not in eyeball.upstreams:
            continue
        server = lan_addresses(platform, lab, ixp.name, ixp.name)
        mine = lan_addresses(platform, lab, ixp.name, eyeball.name)
        for ours, theirs in zip(mine, server, strict=True):
            yield _Session(
                name=f"ixp.{ixp.name}.ipv{ours.version}",
                local=str(ours.ip),
                address=str(theirs.ip),
                asn=ixp.asn,
                interface=lan_interface(ixp.name),
                numbers=(ours.version,),
                role="rs_client",
                enforce_first_as="off",
                preference=_IXP,
                med=_med(eyeball.upstreams[ixp.name]),
                export="to_upstream",
            )


# ---- what they share -----------------------------------------------------------------------


def _common(
    platform: Platform, lab: Lab, machine: LabTransit | LabIxp | LabEyeball, kind: str
) -> dict[str, object]:
    number = lab.machines.index(machine.name) + 1
    return {
        "title": f"BIRD on {machine.name}: {kind} of the emulated internet",
        "router_id": IPv4Address((15 << 16) | number),
        "asn": machine.asn,
        "bfd_interval_ms": platform.timers.external_bfd_interval_ms,
        "bfd_multiplier": platform.timers.bfd_multiplier,
    }


def _peer(platform: Platform, name: str) -> Peer:
    return next(peer for peer in platform.peers if peer.name == name)


def _far_end(lab: Lab, machine: str) -> str:
    return str(lab.link_local(machine))


def _med(delay_us: int) -> int:
    """Return a one-way delay as a MED, in units of 0.1 ms."""
    return delay_us // 100
