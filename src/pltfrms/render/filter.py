"""Say which packets from outside an edge drops (MANRS action 2, and our infrastructure)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses, ip_network
from typing import Final, cast

from pltfrms.model.addresses import Address, Prefix
from pltfrms.model.network.links import LinkKind
from pltfrms.model.network.peering import Peer, Session, customer_ports
from pltfrms.model.network.topology import Platform
from pltfrms.model.network.tunnels import endpoint_of
from pltfrms.model.running.balancer import ENCAPSULATED_MARK
from pltfrms.render.text import fill

FILTER_TABLE: Final = "inet pltfrms_edge"
"""The nftables table that is ours alone."""
REASONS: Final = (
    "spoofed-customer",
    "spoofed-ours",
    "tunnelled",
    "to-infrastructure",
    "to-edge",
    "private-source",
)
"""Names of the counters: why a packet was dropped."""
_WORDS = {4: "ip", 6: "ip6"}
_LOCAL = {4: (ip_network("127.0.0.0/8"), ip_network("169.254.0.0/16")), 6: (ip_network("::1"),)}
"""Never on a network but their own; fe80::/10 is, and the template knows for what."""

_PRIVATE = {
    4: tuple(
        map(
            ip_network,
            (
                "10.0.0.0/8",
                "100.64.0.0/10",
                "127.0.0.0/8",
                "169.254.0.0/16",
                "172.16.0.0/12",
                "192.168.0.0/16",
            ),
        )
    ),
    6: (ip_network("::1"), ip_network("fc00::/7")),
}
"""Sources that nobody outside can answer (RFC 1918, 4193, 6598)."""

_NEVER_BALANCED = {4: (), 6: (ip_network("fe80::/10"),)}
"""Link-local sources, which nobody far away can answer; of plain packets the template knows
for what they may be used."""
_INNER: Final = {4: "ip6 nexthdr 4 @nh,416,32", 6: "ip6 nexthdr 41 @nh,384,128"}
"""Source address behind an outer IPv6 header: protocol, offset and length in bits."""

_ERRORS: Final = {
    4: "icmp type { destination-unreachable, time-exceeded, parameter-problem }",
    6: "icmpv6 type { 1-4 }",  # the same, and packet-too-big
}

_Pair = tuple[Peer, Session]
_Ends = tuple[Address, Address, int]
"""Far and near endpoint of a tunnel, and its port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """What the filter knows of one address family, as nft writes elements of sets."""

    number: int
    title: str
    word: str
    links: str
    """Networks of our ports that are inside `never_from`, and still may be sources."""
    never_from: str
    never_to: str
    ours: str
    inner: str
    """The expression for the source of a packet inside an outer one of the director."""
    inner_links: str
    inner_never_from: str
    tunnel_ends: str
    tunnel_ports: str
    neighbours: str
    private: str
    """What no packet to the outside may be from."""
    public: str
    """What may, though it is in `private`: in a rehearsal aggregates are."""
    own_tunnel_ends: str
    """The near ends of tunnels, with the far ones: perhaps somebody translates them."""
    inside: str
    """Addresses of machines that mean nothing outside."""
    lines: str
    """Networks of our ports: the edge speaks from them, whatever they are."""
    error_types: str
    errors: tuple[tuple[str, Address], ...]
    """Per port, from which address errors are told to the outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _CustomerPort:
    """A port with customers and nobody else behind it."""

    interface: str
    sources: tuple[tuple[str, str], ...]
    """Per address family: nft's word for it, and what may be there."""
    inner_sources: tuple[tuple[str, str], ...]
    """The same for packets inside outer ones of the director."""


def render_filter(platform: Platform, machine: str, before: Platform | None = None) -> str:
    """Return the nftables table of an edge; empty if it has no port towards the outside.

    `before` is a platform whose routing may still be in force: what that one needs is let
    through too, so that no session ends before its edge's turn has come.
    """
    platforms = (platform, *((before,) if before else ()))
    sessions = [pair for each in platforms for pair in each.sessions_of(machine)]
    if not sessions:
        return ""
    return fill(
        "edge-filter.j2",
        table=FILTER_TABLE,
        reasons=REASONS,
        encapsulated=f"{ENCAPSULATED_MARK:#x}",
        ports=_elements(f'"{session.interface}"' for _, session in sessions),
        uplinks=_elements(f'"{port}"' for port in _uplinks(sessions)),
        customers=tuple(_ports_of_customers(sessions)),
        families=tuple(_family(platforms, machine, number, sessions) for number in _WORDS),
    )


def _family(
    platforms: Sequence[Platform],
    machine: str,
    number: int,
    sessions: Sequence[_Pair],
) -> _Family:
    platform, word = platforms[0], _WORDS[number]
    aggregates = [a.prefix for a in platform.aggregates if a.prefix.version == number]
    infrastructure = [each for each in platform.infrastructure if each.version == number]
    ports = [session for peer in platform.peers for session in peer.sessions]
    here = _addresses((port for port in ports if port.edge == machine), number)
    elsewhere = _addresses((port for port in ports if port.edge != machine), number)
    ends = [each for each in _tunnel_ends(platforms, machine) if each[0].version == number]
    never_from = (*aggregates, *infrastructure, *_LOCAL[number])
    links = [
        link
        for link in _link_networks(sessions, number)
        if link.is_link_local or any(link.overlaps(each) for each in never_from)
    ]
    return _Family(
        number=number,
        title=f"IPv{number}",
        word=word,
        links=_networks(links),
        never_from=_networks(never_from),
        never_to=_networks((*infrastructure, *elsewhere)),
        ours=_networks((*aggregates, *infrastructure, *here)),
        inner=_INNER[number],
        inner_links=_ranges(links),
        inner_never_from=_ranges((*never_from, *_NEVER_BALANCED[number])),
        tunnel_ends=_elements(f"{far} . {near}" for far, near, _ in ends),
        tunnel_ports=_elements(f"{far} . {port}" for far, _, port in ends),
        private=_networks((*infrastructure, *_PRIVATE[number])),
        public=_networks(_public(platforms, number)),
        own_tunnel_ends=_elements(f"{near} . {far}" for far, near, _ in ends),
        inside=_networks(infrastructure),
        lines=_networks(_link_networks(sessions, number)),
        error_types=_ERRORS[number],
        errors=tuple(_error_sources(platform, machine, sessions, number)),
        neighbours=_elements(
            f'"{session.interface}" . {theirs}'
            for _, session in sessions
            for theirs in session.theirs
            if theirs.version == number
        ),
    )


def _public(platforms: Sequence[Platform], number: int) -> Iterator[Prefix]:
    """Yield what the operator announces of what is private elsewhere."""
    for platform in platforms:
        allowed = (each.prefix for peer in platform.peers for each in peer.allowed)
        for prefix in (*(each.prefix for each in platform.aggregates), *allowed):
            private = (each for each in _PRIVATE[number] if each.version == prefix.version)
            if any(prefix.overlaps(each) for each in private):
                yield prefix


def _error_sources(
    platform: Platform, machine: str, sessions: Sequence[_Pair], number: int
) -> Iterator[tuple[str, Address]]:
    """Yield each port with an address that others may see: ours there, if there is one.

    Else it is the first of an aggregate, which nobody has and every neighbour lets through:
    nobody answers an error.
    """
    here = platform.aggregates_of(platform.machine(machine).datacenter)
    stand_ins = [each.prefix.network_address for each in here if each.prefix.version == number]
    for port in dict.fromkeys(session.interface for _, session in sessions):
        near = [
            each.ip
            for _, session in sessions
            for each in session.ours
            if session.interface == port and each.version == number and not each.is_link_local
        ]
        for address in (*near, *stand_ins)[:1]:
            yield port, address


def _ports_of_customers(sessions: Sequence[_Pair]) -> Iterator[_CustomerPort]:
    for port in sorted(customer_ports(sessions)):
        behind = [pair for pair in sessions if pair[1].interface == port]
        sources = [(number, list(_sources(behind, number))) for number in _WORDS]
        yield _CustomerPort(
            interface=port,
            sources=tuple((_WORDS[n], _networks(some)) for n, some in sources if some),
            inner_sources=tuple((_INNER[n], _ranges(some)) for n, some in sources if some),
        )


def _sources(behind: Sequence[_Pair], number: int) -> Iterator[Prefix]:
    yield from _link_networks(behind, number)
    for peer, _ in behind:
        yield from (a.prefix for a in peer.allowed if a.prefix.version == number)


def _uplinks(sessions: Iterable[_Pair]) -> list[str]:
    """Return the ports whose neighbours are all hops away: the machine's way to the internet.

    What ends there is not for our sessions alone.
    """
    near = {each.interface for _, each in sessions if not each.multihop}
    far = dict.fromkeys(each.interface for _, each in sessions if each.multihop)
    return [port for port in far if port not in near]


def _link_networks(sessions: Iterable[_Pair], number: int) -> Iterator[Prefix]:
    for _, session in sessions:
        yield from (ours.network for ours in session.ours if ours.version == number)
        if session.multihop:
            theirs = (each for each in session.theirs if each.version == number)
            yield from (
                ip_network(address) for address in (*theirs, *_gateways(session, number))
            )


def _gateways(session: Session, number: int) -> Iterator[Address]:
    return (each for each in session.via if each.version == number)


def _addresses(sessions: Iterable[Session], number: int) -> Iterator[Prefix]:
    for session in sessions:
        yield from (ip_network(ours.ip) for ours in session.ours if ours.version == number)


def _tunnel_ends(platforms: Iterable[Platform], machine: str) -> Iterator[_Ends]:
    for platform in platforms:
        for link in platform.links_of(machine):
            if link.kind is LinkKind.WIREGUARD:
                far = endpoint_of(link, link.far_end(machine))
                yield far, endpoint_of(link, machine), link.port


def _networks(prefixes: Iterable[Prefix]) -> str:
    """Return networks of one family without overlaps, which nft would refuse in a set."""
    alike = cast("Iterable[IPv4Network]", prefixes)  # or IPv6; the two are never mixed
    return _elements(str(each) for each in collapse_addresses(alike))


def _ranges(prefixes: Iterable[Prefix]) -> str:
    """Return networks of one family as numbers, for bits of a packet that have no name."""
    alike = cast("Iterable[IPv4Network]", prefixes)  # or IPv6; the two are never mixed
    return _elements(
        f"{int(each.network_address):#x}-{int(each.broadcast_address):#x}"
        for each in collapse_addresses(alike)
    )


def _elements(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))
