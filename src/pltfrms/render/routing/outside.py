"""The sessions with the outside: default deny both ways.

Here is decided what each session may carry; `templates/edge-outside*.j2` say how BIRD does it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from pltfrms.model.addresses import Address, Prefix
from pltfrms.model.network.announcements import Announcement, announcements_of, preference_of
from pltfrms.model.network.asns import AsnRange, hidden_asns, reserved_asns
from pltfrms.model.network.interventions import DrainPhase
from pltfrms.model.network.peering import (
    Allowed,
    DefaultRoute,
    Peer,
    PeerKind,
    Reject,
    RtrCache,
    Session,
)
from pltfrms.model.network.topology import Machine, Platform
from pltfrms.model.network.traffic import Community
from pltfrms.render.conditions import Conditions
from pltfrms.render.routing.outside_bogons import bogons

_NO_EXPORT = (65535, 65281)
_BLACKHOLE = (65535, 666)
_LONGEST = {4: 24, 6: 48}
"""The longest prefixes that the internet carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideFamily:
    """What the filters know of one address family."""

    number: int
    shortest: int
    longest: int
    """Prefix lengths that the internet carries."""
    host: int
    """Length of the prefix of one address."""
    bogons: tuple[str, ...]
    ours: tuple[str, ...]
    """Prefix patterns of what nobody else may announce: all that is ours."""
    blackholes: tuple[Prefix, ...]
    """Addresses of ours that peers are asked to drop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """How the announcement of an aggregate on a session differs from the aggregate itself."""

    prefix: Prefix
    announce: bool
    prepend: int
    med: int | None
    communities: tuple[Community, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideSession:
    """One address family of a session with a peer."""

    name: str
    number: int
    peer: Peer
    session: Session
    local: Address
    address: Address
    preference: int
    drain: DrainPhase
    receive_limit: int
    export_limit: int | None
    """None: the neighbour gets everything."""
    allowed: tuple[str, ...]
    """Customer: patterns of the prefixes it may announce."""
    blackholes: tuple[str, ...]
    """Customer: patterns of the addresses that it may blackhole."""
    transits: tuple[int, ...]
    """ASNs of our transits, through which its paths must not lead."""
    deviations: tuple[Deviation, ...]
    loops: tuple[int, ...]
    """ASNs of ours that BIRD does not look for in paths by itself."""
    hidden: tuple[int, ...]
    """Reserved ASNs of the neighbour, which may be in its paths alone and never leave us."""

    @property
    def asn(self) -> str:
        """The ASN that we have here, in BIRD's words."""
        return str(self.session.local_as or "OUR_ASN")

    @property
    def blackhole_communities(self) -> tuple[Community, ...]:
        """What asks the neighbour to drop an address."""
        return self.peer.blackhole_communities or (_BLACKHOLE,)

    @property
    def customer(self) -> bool:
        """Whether the neighbour pays us, not we it, nor nobody anybody."""
        return self.peer.kind is PeerKind.CUSTOMER

    @property
    def origins(self) -> tuple[int, ...]:
        """ASNs that a customer's routes may come from."""
        return tuple(dict.fromkeys((self.peer.asn, *self.peer.allowed_asns)))

    @property
    def transparent(self) -> bool:
        """Whether the neighbour does not put its own ASN into paths: a route server."""
        return self.peer.kind is PeerKind.IXP and self.peer.route_server


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """All that the outside part of an edge's configuration is made of."""

    families: tuple[OutsideFamily, ...]
    rejects: tuple[Reject, ...]
    reserved_asns: tuple[str, ...]
    spared_asns: tuple[str, ...]
    """Ranges of reserved ASNs that a laboratory lives in."""
    caches: tuple[RtrCache, ...]
    sessions: tuple[OutsideSession, ...]
    closed: bool
    """The sessions are configured and stay down."""
    archive: str


def takes_defaults(platform: Platform) -> bool:
    """Return whether any edge takes a default route from outside."""
    return any(peer.default is DefaultRoute.ACCEPT for peer in platform.peers)


def outside(platform: Platform, me: Machine, conditions: Conditions) -> Outside:
    """Return what an edge of the platform says to the outside under the conditions."""
    refused, spared = reserved_asns(platform)
    return Outside(
        families=tuple(_family(platform, conditions, number) for number in (4, 6)),
        rejects=tuple(Reject),
        reserved_asns=_ranges(refused),
        spared_asns=_ranges(spared),
        caches=platform.origin_validation.caches,
        sessions=tuple(_sessions(platform, me, conditions)),
        closed=conditions.hold_outside,
        archive=conditions.archive,
    )


def _ranges(ranges: tuple[AsnRange, ...]) -> tuple[str, ...]:
    return tuple(str(first) if first == last else f"{first}..{last}" for first, last in ranges)


def _family(platform: Platform, conditions: Conditions, number: int) -> OutsideFamily:
    lans = (
        # The network around an address that is hops away from its peer is not ours.
        ip_network(ours.ip) if session.multihop else ours.network
        for peer in platform.peers
        for session in peer.sessions
        for ours in session.ours
    )
    everything = (
        *(each.prefix for each in platform.aggregates),
        *platform.infrastructure,
        *lans,
    )
    return OutsideFamily(
        number=number,
        shortest=8 if number == 4 else 12,  # noqa: PLR2004 (address families)
        longest=_LONGEST[number],
        host=_host_length(number),
        bogons=bogons(platform, number),
        ours=tuple(dict.fromkeys(f"{p}+" for p in everything if p.version == number)),
        blackholes=_blackholes(conditions, number),
    )


def _sessions(
    platform: Platform, me: Machine, conditions: Conditions
) -> Iterator[OutsideSession]:
    changed = _deviations(platform, me, conditions)
    named = zip(platform.session_names(me.name), platform.sessions_of(me.name), strict=True)
    for name, (peer, session) in named:
        for ours, theirs in zip(session.ours, session.theirs, strict=True):
            number = ours.version
            yield OutsideSession(
                name=f"peer.{name}.ipv{number}",
                number=number,
                peer=peer,
                session=session,
                local=ours.ip,
                address=theirs,
                preference=preference_of(platform, peer, session, conditions.now_ms),
                drain=conditions.interventions.drain_of(
                    peer.name, me, session.interface, conditions.now_ms
                ),
                receive_limit=peer.max_prefixes(number),
                export_limit=_export_limit(platform, peer, conditions, number),
                allowed=_allowed(peer, number),
                blackholes=_allowed_blackholes(peer, number),
                transits=_foreign_transits(platform, peer),
                loops=_loops(platform, session),
                hidden=hidden_asns(platform, peer),
                deviations=tuple(
                    deviation
                    for deviation in changed.get(f"{name}@{me.name}", ())
                    if deviation.prefix.version == number
                ),
            )


# ---- in ------------------------------------------------------------------------------------


def _loops(platform: Platform, session: Session) -> tuple[int, ...]:
    every = {each.local_as or platform.asn for peer in platform.peers for each in peer.sessions}
    every.add(platform.asn)
    return tuple(sorted(every - {session.local_as or platform.asn}))


def _foreign_transits(platform: Platform, peer: Peer) -> tuple[int, ...]:
    """Return the transits that a peer has no business to lead us through."""
    if peer.kind is PeerKind.TRANSIT:
        return ()
    transits = {each.asn for each in platform.peers if each.kind is PeerKind.TRANSIT}
    return tuple(sorted(transits - {peer.asn}))


def _allowed(peer: Peer, number: int) -> tuple[str, ...]:
    return tuple(
        f"{each.prefix}{{{each.prefix.prefixlen},{each.max_length}}}"
        for each in peer.allowed
        if each.prefix.version == number
    )


def _allowed_blackholes(peer: Peer, number: int) -> tuple[str, ...]:
    if not peer.blackhole or peer.kind is not PeerKind.CUSTOMER:
        return ()
    host = _host_length(number)
    return tuple(
        f"{each.prefix}{{{host},{host}}}"
        for each in peer.allowed
        if each.prefix.version == number
    )


# ---- out -----------------------------------------------------------------------------------


def _deviations(
    platform: Platform, me: Machine, conditions: Conditions
) -> dict[str, tuple[Deviation, ...]]:
    """Return by session what is not announced as it is."""
    found: dict[str, tuple[Deviation, ...]] = {}
    for each in announcements_of(
        platform, me.name, conditions.interventions, conditions.now_ms
    ):
        deviation = _deviation(each)
        if deviation:
            found[each.session] = (*found.get(each.session, ()), deviation)
    return found


def _deviation(announcement: Announcement) -> Deviation | None:
    extra = (_NO_EXPORT,) if announcement.no_export else ()
    deviation = Deviation(
        prefix=announcement.prefix,
        announce=announcement.announce,
        prepend=announcement.prepend,
        med=announcement.med,
        communities=tuple(dict.fromkeys((*extra, *announcement.communities))),
    )
    changes = deviation.prepend or deviation.med is not None or deviation.communities
    return deviation if changes or not deviation.announce else None


def _export_limit(
    platform: Platform, peer: Peer, conditions: Conditions, number: int
) -> int | None:
    """Return how many routes a neighbour gets at most; None if it gets everything."""
    if peer.kind is PeerKind.CUSTOMER:
        return None
    aggregates = sum(each.prefix.version == number for each in platform.aggregates)
    blackholes = len(_blackholes(conditions, number)) if peer.takes_blackholes else 0
    customers = sum(
        min(each.max_prefixes(number), sum(_parts(a) for a in _of(each, number)))
        for each in platform.peers
        if each.kind is PeerKind.CUSTOMER
    )
    return max(1, aggregates + blackholes + customers)


def _of(peer: Peer, number: int) -> Iterator[Allowed]:
    return (each for each in peer.allowed if each.prefix.version == number)


def _parts(allowed: Allowed) -> int:
    """Return how many prefixes an allowance is good for."""
    longest = min(allowed.max_length, _LONGEST[allowed.prefix.version])
    return sum(1 << bits for bits in range(longest - allowed.prefix.prefixlen + 1))


def _blackholes(conditions: Conditions, number: int) -> tuple[Prefix, ...]:
    return tuple(
        dict.fromkeys(
            each.prefix
            for each in conditions.interventions.blackholes
            if each.prefix.version == number and conditions.now_ms < each.until_ms
        )
    )


def _host_length(number: int) -> int:
    return 32 if number == 4 else 128  # noqa: PLR2004 (address families)
