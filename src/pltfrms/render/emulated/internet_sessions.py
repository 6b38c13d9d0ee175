"""Which BGP sessions a machine of the emulated internet has, whatever daemon speaks there."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network

from pltfrms.model.addresses import Interface, Prefix
from pltfrms.model.network.lab import (
    Lab,
    LabIxp,
    LabNetwork,
    LabStub,
    LabTransit,
    Sends,
    lab_interface,
    lan_addresses,
    lan_interface,
)
from pltfrms.model.network.peering import Peer, PeerKind, Session
from pltfrms.model.network.topology import Platform, link_local

_CUSTOMER = 300
_MEMBER = 210
_PEER = 200
_TRANSIT = 100
_HOST = {4: 32, 6: 128}
_BGP_PORT = 179
_ANYBODY = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_NETWORK_ROLES = {PeerKind.CUSTOMER: "customer", PeerKind.PNI: "peer", PeerKind.IXP: "peer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FarSession:
    """A session of a lab machine, as its template needs it."""

    name: str
    local: str
    address: str
    port: int = _BGP_PORT
    """There. A second session with the same address needs another in BIRD, which only waits."""
    asn: int
    interface: str
    multihop: int = 0
    """As of ours; then a route of `render.emulated.internet` leads to `address`."""
    numbers: tuple[int, ...]
    """Address families it carries."""
    role: str = "rs_server"
    """Of this machine (RFC 9234), as BIRD calls it."""
    enforce_first_as: str = "on"
    bfd: bool = True
    password: str = ""
    gtsm: bool = False
    preference: int = 0
    med: int
    export: str = ""
    """The rule of the template that judges what goes out."""
    blackholes: tuple[Prefix, ...] = ()
    """Single addresses in these may be blackholed by the far end (RFC 7999)."""

    @property
    def number(self) -> int:
        """The address family of a session that carries one."""
        return self.numbers[0]

    @property
    def link_local(self) -> bool:
        """Whether its addresses mean something on their interface only."""
        return self.address.startswith("fe80:")

    def blackholes_of(self, number: int) -> tuple[Prefix, ...]:
        """Return `blackholes` of one address family."""
        return tuple(prefix for prefix in self.blackholes if prefix.version == number)


@dataclass(frozen=True, slots=True, kw_only=True)
class FarEnd:
    """An address of ours that a transit is hops away from."""

    prefix: Prefix
    number: int
    """Its address family."""
    way: str
    """How the transit reaches it, in BIRD's words."""


def far_ends(platform: Platform, transit: LabTransit) -> tuple[FarEnd, ...]:
    """Return the addresses of ours that a transit is hops away from."""
    peer = _peer(platform, transit.name)
    return tuple(
        dict.fromkeys(
            FarEnd(
                prefix=ip_network(ours.ip),
                number=ours.version,
                way=_way(platform, session, ours),
            )
            for session in peer.sessions
            if session.multihop
            for ours in session.ours
        )
    )


def _way(platform: Platform, session: Session, ours: Interface) -> str:
    port = lab_interface(session.edge)
    if ours.version == 4 or session.device != "lo":  # noqa: PLR2004 (address families)
        return f'"{port}"'
    # Nobody answers at a port for an IPv6 address that is on lo.
    return f"{link_local(platform.machine(session.edge))}%'{port}'"


def host_length(number: int) -> int:
    """Return the length of the prefix of a single address of a family (4 or 6)."""
    return _HOST[number]


# ---- transit -------------------------------------------------------------------------------


def transit_sessions(platform: Platform, lab: Lab, transit: LabTransit) -> list[FarSession]:
    """Return a transit's sessions: with us, with its other customers, with other transits."""
    return [
        *_with_our_edges(platform, transit),
        *_with_stubs(lab, transit),
        *_with_other_transits(lab, transit),
    ]


def _with_our_edges(platform: Platform, transit: LabTransit) -> Iterator[FarSession]:
    peer = _peer(platform, transit.name)
    for session, ours, theirs in _ends(peer):
        yield FarSession(
            name=f"customer.{_numbered(peer, session)}.ipv{ours.version}",
            local=theirs,
            address=str(ours.ip),
            asn=session.local_as or platform.asn,
            interface=lab_interface(session.edge),
            multihop=session.multihop,
            numbers=(ours.version,),
            role="provider",
            bfd=session.bfd,
            password=session.password,
            gtsm=session.gtsm,
            preference=_CUSTOMER,
            med=_med(transit.delays_us.get(session.edge, 0)),
            export="to_customer" if transit.sends is Sends.TABLE else f"send_{transit.sends}",
            blackholes=_ours(platform),
        )


def _with_stubs(lab: Lab, transit: LabTransit) -> Iterator[FarSession]:
    for stub in lab.stubs:
        if transit.name in stub.upstreams:
            yield FarSession(
                name=f"customer.{stub.name}",
                local=str(lab.link_local(transit.name)),
                address=str(lab.link_local(stub.name)),
                asn=stub.asn,
                interface=lab_interface(stub.name),
                numbers=(4, 6),
                role="provider",
                preference=_CUSTOMER,
                med=_med(stub.upstreams[transit.name]),
                export="to_customer",
                blackholes=stub.prefixes,
            )


def _with_other_transits(lab: Lab, transit: LabTransit) -> Iterator[FarSession]:
    for other in lab.transits:
        delay_us = transit.peerings.get(other.name, other.peerings.get(transit.name))
        if delay_us is not None:
            yield FarSession(
                name=f"peer.{other.name}",
                local=str(lab.link_local(transit.name)),
                address=str(lab.link_local(other.name)),
                asn=other.asn,
                interface=lab_interface(other.name),
                numbers=(4, 6),
                role="peer",
                preference=_PEER,
                med=_med(delay_us),
                export="to_peer",
            )


# ---- route server --------------------------------------------------------------------------


def route_server_sessions(platform: Platform, lab: Lab, ixp: LabIxp) -> list[FarSession]:
    """Return a route server's sessions: with us and with the other members."""
    met: Counter[str] = Counter()
    found = []
    for session in (*_with_our_ports(platform, ixp), *_with_members(platform, lab, ixp)):
        found.append(replace(session, port=_BGP_PORT + met[session.address]))
        met[session.address] += 1
    return found


def _with_our_ports(platform: Platform, ixp: LabIxp) -> Iterator[FarSession]:
    peer = _peer(platform, ixp.name)
    for session, ours, theirs in _ends(peer):
        yield FarSession(
            name=f"member.{_numbered(peer, session)}.ipv{ours.version}",
            local=theirs,
            address=str(ours.ip),
            asn=session.local_as or platform.asn,
            interface=lan_interface(ixp.name),
            numbers=(ours.version,),
            bfd=session.bfd,
            password=session.password,
            gtsm=session.gtsm,
            med=_med(ixp.delays_us.get(session.edge, 0)),
            blackholes=_ours(platform),
        )


def _with_members(platform: Platform, lab: Lab, ixp: LabIxp) -> Iterator[FarSession]:
    for stub in lab.stubs:
        if ixp.name in stub.upstreams:
            for ends in _lan_ends(platform, lab, ixp, stub):
                yield FarSession(
                    name=f"member.{stub.name}{ends.number}.ipv{ends.server.version}",
                    local=str(ends.server.ip),
                    address=str(ends.member.ip),
                    asn=stub.asn,
                    interface=lan_interface(ixp.name),
                    numbers=(ends.server.version,),
                    bfd=ends.bfd,
                    med=_med(stub.upstreams[ixp.name]),
                    blackholes=stub.prefixes,
                )


# ---- eyeball or network --------------------------------------------------------------------


def stub_sessions(platform: Platform, lab: Lab, stub: LabStub) -> list[FarSession]:
    """Return the sessions of a network with clients: with us, with transits, at IXPs."""
    return [
        *(_with_us(platform, lab, stub) if isinstance(stub, LabNetwork) else ()),
        *_with_transits(lab, stub),
        *_with_route_servers(platform, lab, stub),
    ]


def _with_us(platform: Platform, lab: Lab, network: LabNetwork) -> Iterator[FarSession]:
    peer = _peer(platform, network.name)
    customer = peer.kind is PeerKind.CUSTOMER
    ixp = next((ixp for ixp in lab.ixps if ixp.name == network.member_of), None)
    for session, ours, theirs in _ends(peer):
        interface = lan_interface(ixp.name) if ixp else lab_interface(session.edge)
        delays_us = ixp.delays_us if ixp else network.delays_us
        yield FarSession(
            name=f"platform.{_numbered(peer, session)}.ipv{ours.version}",
            local=theirs,
            address=str(ours.ip),
            asn=session.local_as or platform.asn,
            interface=interface,
            numbers=(ours.version,),
            role=_NETWORK_ROLES[peer.kind],
            bfd=session.bfd,
            password=session.password,
            gtsm=session.gtsm,
            preference=_TRANSIT if customer else _MEMBER,
            med=_med(delays_us.get(session.edge, 0)),
            export="to_upstream",
            blackholes=_ours(platform),
        )


def _with_transits(lab: Lab, stub: LabStub) -> Iterator[FarSession]:
    for transit in lab.transits:
        if transit.name in stub.upstreams:
            yield FarSession(
                name=f"transit.{transit.name}",
                local=str(lab.link_local(stub.name)),
                address=str(lab.link_local(transit.name)),
                asn=transit.asn,
                interface=lab_interface(transit.name),
                numbers=(4, 6),
                role="customer",
                preference=_TRANSIT,
                med=_med(stub.upstreams[transit.name]),
                export="to_upstream",
            )


def _with_route_servers(platform: Platform, lab: Lab, stub: LabStub) -> Iterator[FarSession]:
    for ixp in lab.ixps:
        if ixp.name in stub.upstreams:
            for ends in _lan_ends(platform, lab, ixp, stub):
                yield FarSession(
                    name=f"ixp.{ixp.name}{ends.number}.ipv{ends.server.version}",
                    local=str(ends.member.ip),
                    address=str(ends.server.ip),
                    asn=ixp.asn,
                    interface=lan_interface(ixp.name),
                    numbers=(ends.server.version,),
                    role="rs_client",
                    # A route server does not put its own ASN into the paths of its members.
                    enforce_first_as="off",
                    bfd=ends.bfd,
                    preference=_PEER,
                    med=_med(stub.upstreams[ixp.name]),
                    export="to_upstream",
                    blackholes=_ANYBODY,  # the route server has checked who may ask
                )


# ---- what they share -----------------------------------------------------------------------


def _numbered(peer: Peer, session: Session) -> str:
    """Return the edge of a session, with a number if it is not the first with it."""
    same = [each for each in peer.sessions if each.edge == session.edge]
    number = same.index(session)
    return f"{session.edge}:{number + 1}" if number else session.edge


def _ends(peer: Peer) -> Iterator[tuple[Session, Interface, str]]:
    for session in peer.sessions:
        for ours, theirs in zip(session.ours, session.theirs, strict=True):
            yield session, ours, str(theirs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LanEnds:
    """The ends of a session of a member with a route server."""

    number: str
    """Tells route servers of a family apart: empty for the first, then :2 and so on."""
    server: Interface
    member: Interface
    bfd: bool


def _lan_ends(platform: Platform, lab: Lab, ixp: LabIxp, stub: LabStub) -> Iterator[_LanEnds]:
    members = {each.version: each for each in lan_addresses(platform, lab, ixp.name, stub.name)}
    servers = lan_addresses(platform, lab, ixp.name, ixp.name)
    for family, member in sorted(members.items()):
        same = [each for each in servers if each.version == family]
        for number, server in enumerate(same, start=1):
            yield _LanEnds(
                number=f":{number}" if number > 1 else "",
                server=server,
                member=member,
                # BIRD tells sessions of BFD apart by the far address alone.
                bfd=ixp.daemon.has_bfd and len(same) == 1,
            )


def _peer(platform: Platform, name: str) -> Peer:
    return next(peer for peer in platform.peers if peer.name == name)


def _ours(platform: Platform) -> tuple[Prefix, ...]:
    return tuple(aggregate.prefix for aggregate in platform.aggregates)


def _med(delay_us: int) -> int:
    """Return a one-way delay as a MED, in units of 0.1 ms."""
    return delay_us // 100
