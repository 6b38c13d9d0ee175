"""What makes no sense in an emulated internet around a platform."""

from collections import Counter
from collections.abc import Iterator, Mapping

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.lab import (
    Lab,
    LabEyeball,
    LabIxp,
    LabNetwork,
    LabStub,
    LabTransit,
    cache_of,
    lab_interface,
    lan_interface,
)
from pltfrms.model.network.peering import Peer, PeerKind
from pltfrms.model.network.topology import Platform
from pltfrms.specfile.checking.labs.lab_daemons import check_daemons
from pltfrms.specfile.findings import (
    MAX_LENGTH,
    Finding,
    Where,
    check_asn,
    check_interface,
    check_name,
    nearest,
)

_INTERNET = "internet"
_MAX_DELAY_US = 2_000_000


def lab_findings(lab: Lab, platform: Platform) -> Iterator[Finding]:
    """Yield everything that is wrong with a lab around this platform."""
    links = {link.name for link in platform.links}
    yield from _check_delays(("links",), lab.link_delays_us, links, "backbone link")
    for transit in lab.transits:
        yield from _check_peer(platform, transit)
        yield from _check_peerings(lab, transit)
    for ixp in lab.ixps:
        yield from _check_peer(platform, ixp)
    for network in lab.networks:
        yield from _check_peer(platform, network)
        yield from _check_member(lab, platform, network)
    yield from _check_wires(lab, platform)
    yield from _check_stubs(lab, platform)
    yield from _check_unique(lab, platform)
    yield from check_daemons(lab, platform)
    yield from _check_roas(lab, platform)
    yield from _check_all_described(lab, platform)


def _check_all_described(lab: Lab, platform: Platform) -> Iterator[Finding]:
    described = {network.name for _, network in _networks(lab)}
    for peer in platform.peers:
        if peer.name not in described:
            where = (_INTERNET, _section(peer))
            what = f"the peer {peer.name} of the platform is not described"
            yield Finding(where, what, f"add {peer.name}: {{asn: {peer.asn}}}", peer.name)


def _section(peer: Peer) -> str:
    """Return the part of `internet` where a peer of the platform is described."""
    if peer.kind is PeerKind.TRANSIT:
        return "transits"
    return "ixps" if peer.kind is PeerKind.IXP and peer.route_server else "networks"


def _check_delays(
    where: Where, delays_us: Mapping[str, int], known: set[str], noun: str
) -> Iterator[Finding]:
    for name, delay_us in delays_us.items():
        here = (*where, name)
        if name not in known:
            yield Finding(here, f"there is no {noun} {name!r}", nearest(name, known), name)
        if not 0 <= delay_us <= _MAX_DELAY_US:
            yield Finding(here, f"{delay_us}us is outside 0us..2s")


# ---- transits, IXPs, neighbours ------------------------------------------------------------

_SECTIONS = {LabTransit: "transits", LabIxp: "ixps", LabNetwork: "networks"}
_WORDS = {
    "transits": "transit",
    "ixps": "ixp with route servers",
    "networks": "customer, pni or member of an ixp",
}
_Peer = LabTransit | LabIxp | LabNetwork


def _check_peer(platform: Platform, network: _Peer) -> Iterator[Finding]:
    section = _SECTIONS[type(network)]
    where = (_INTERNET, section, network.name)
    peers = {peer.name: peer for peer in platform.peers if _section(peer) == section}
    interface = lan_interface if section == "ixps" else lab_interface
    yield from check_interface(where, interface(network.name), "take a shorter name")
    peer = peers.get(network.name)
    if peer is None:
        what = f"the platform has no {_WORDS[section]} {network.name!r}"
        yield Finding(where, what, nearest(network.name, peers))
        return
    if network.asn != peer.asn:
        what = f"{network.asn} is not its ASN in the platform ({peer.asn})"
        yield Finding((*where, "asn"), what, f"asn: {peer.asn}")
    here = (*where, "delays")
    edges = {session.edge for session in peer.sessions}
    noun = f"session of {peer.name} with an edge"
    yield from _check_delays(here, network.delays_us, edges, noun)
    if peer.kind is not PeerKind.IXP:
        yield from _check_lines(where, peer)


def _check_lines(where: Where, peer: Peer) -> Iterator[Finding]:
    ports: dict[str, str] = {}
    for session in peer.sessions:
        port = ports.setdefault(session.edge, session.interface)
        if port != session.interface:
            what = f"{session.edge} has two ports to it, {port} and {session.interface}"
            yield Finding(where, what, "a lab has one line between two machines")


def _check_wires(lab: Lab, platform: Platform) -> Iterator[Finding]:
    """Find ports that lead to two networks; members of an IXP are behind its port."""
    owners: dict[tuple[str, str], str] = {}
    behind = {each.name: each.member_of or each.name for each in lab.networks}
    peers = {peer.name: peer for peer in platform.peers}
    networks: tuple[_Peer, ...] = (*lab.transits, *lab.ixps, *lab.networks)
    for network in networks:
        sessions = peers[network.name].sessions if network.name in peers else ()
        mine = behind.get(network.name, network.name)
        for edge, port in dict.fromkeys((each.edge, each.interface) for each in sessions):
            owner = owners.setdefault((edge, port), mine)
            if owner != mine:
                where = (_INTERNET, _SECTIONS[type(network)], network.name)
                what = f"{port} of {edge} already leads to {owner}"
                yield Finding(where, what, "a lab has one line behind a port")


def _check_member(lab: Lab, platform: Platform, network: LabNetwork) -> Iterator[Finding]:
    where = (_INTERNET, "networks", network.name)
    peers = {peer.name: peer for peer in platform.peers}
    peer = peers.get(network.name)
    if peer is None:
        return
    if peer.kind is not PeerKind.IXP:
        if network.member_of:
            what = f"a {peer.kind} has lines of its own to us"
            yield Finding((*where, "member_of"), what, "leave it out")
        return
    ixps = {ixp.name: peers[ixp.name] for ixp in lab.ixps if ixp.name in peers}
    if network.member_of not in ixps:
        what = f"there is no ixp {network.member_of!r}"
        hint = nearest(network.member_of, ixps) if ixps else "where our sessions with it are"
        yield Finding((*where, "member_of"), what, hint, "")
        return
    if network.delays_us:
        what = "ports of an IXP's network have delays, sessions have none"
        yield Finding((*where, "delays"), what, f"say it at ixps: {network.member_of}")
    yield from _check_lan((*where, "member_of"), peer, ixps[network.member_of])


def _check_lan(where: Where, member: Peer, ixp: Peer) -> Iterator[Finding]:
    lan = {one.network for session in ixp.sessions for one in session.ours}
    for session in member.sessions:
        for one in session.ours:
            if one.network not in lan:
                what = f"{one} of {session.edge} is not in the network of {ixp.name}"
                yield Finding(where, what, "a member's sessions use our port at the IXP")


def _check_peerings(lab: Lab, transit: LabTransit) -> Iterator[Finding]:
    where = (_INTERNET, "transits", transit.name, "peerings")
    others = {other.name for other in lab.transits if other.name != transit.name}
    yield from _check_delays(where, transit.peerings, others, "other transit")
    earlier = lab.transits[: lab.transits.index(transit)]
    for other in earlier:
        if transit.name in other.peerings and other.name in transit.peerings:
            what = f"already said at {other.name}"
            yield Finding((*where, other.name), what, "say it at one of the two")


# ---- networks with clients -----------------------------------------------------------------


def _check_stubs(lab: Lab, platform: Platform) -> Iterator[Finding]:
    taken: list[tuple[Prefix, str]] = [
        *((aggregate.prefix, "an aggregate") for aggregate in platform.aggregates),
        *((prefix, "our infrastructure") for prefix in platform.infrastructure),
    ]
    for stub in lab.stubs:
        section = "eyeballs" if isinstance(stub, LabEyeball) else "networks"
        where = (_INTERNET, section, stub.name)
        here = (*where, "upstreams")
        yield from _check_delays(here, stub.upstreams, _upstreams(lab), "transit or IXP")
        if isinstance(stub, LabEyeball):
            yield from _check_eyeball(where, stub, platform)
        yield from _check_prefixes(where, stub, taken)
        taken += [(prefix, stub.name) for prefix in stub.prefixes]


def _check_eyeball(where: Where, eyeball: LabEyeball, platform: Platform) -> Iterator[Finding]:
    datacenters = [datacenter.name for datacenter in platform.datacenters]
    if not eyeball.upstreams:
        yield Finding((*where, "upstreams"), "there is none", "such as {transit1: 3ms}")
    if eyeball.nearest not in datacenters:
        what = f"there is no datacenter {eyeball.nearest!r}"
        yield Finding((*where, "nearest"), what, nearest(eyeball.nearest, datacenters))


def _upstreams(lab: Lab) -> set[str]:
    return {t.name for t in lab.transits} | {ixp.name for ixp in lab.ixps}


def _check_prefixes(
    where: Where, stub: LabStub, taken: list[tuple[Prefix, str]]
) -> Iterator[Finding]:
    versions = [prefix.version for prefix in stub.prefixes]
    if not versions or len(set(versions)) != len(versions):
        what = "must be one prefix per address family"
        yield Finding((*where, "prefixes"), what, "such as [198.18.1.0/24, 2001:db8::/48]")
    for index, prefix in enumerate(stub.prefixes):
        here = (*where, "prefixes", index)
        longest = MAX_LENGTH[prefix.version]
        if prefix.prefixlen > longest:
            what = f"{prefix} is longer than /{longest}: networks would filter it"
            yield Finding(here, what, f"use a prefix of /{longest} or shorter")
        for other, owner in taken:
            if other.version == prefix.version and other.overlaps(prefix):
                yield Finding(here, f"{prefix} overlaps {other} of {owner}")


# ---- names and ASNs ------------------------------------------------------------------------


def _networks(lab: Lab) -> Iterator[tuple[Where, LabTransit | LabIxp | LabStub]]:
    for section, networks in (
        ("transits", lab.transits),
        ("ixps", lab.ixps),
        ("eyeballs", lab.eyeballs),
        ("networks", lab.networks),
    ):
        for network in networks:
            yield (_INTERNET, section, network.name), network


def _check_unique(lab: Lab, platform: Platform) -> Iterator[Finding]:
    ours = {machine.name for machine in platform.machines}
    names = Counter(lab.machines)
    owners = {platform.asn: "us"}
    for where, network in _networks(lab):
        yield from check_name(where, network.name)
        yield from check_asn((*where, "asn"), network.asn)
        if network.name in ours:
            yield Finding(where, f"{network.name} is one of our machines", "names are unique")
        if names[network.name] > 1:
            what = f"{names[network.name]} networks are called {network.name}"
            yield Finding(where, what, "names are unique")
        owner = owners.setdefault(network.asn, network.name)
        if owner != network.name:
            what = f"{network.asn} is already the ASN of {owner}"
            yield Finding((*where, "asn"), what, "ASNs are unique")


# ---- RPKI ----------------------------------------------------------------------------------


def _check_roas(lab: Lab, platform: Platform) -> Iterator[Finding]:
    where = ("rpki", "roas")
    if lab.roas and not any(cache_of(platform, one) for one in platform.machines):
        what = "no machine of the platform is a cache, so nobody asks for them"
        yield Finding(where, what, "rpki: {caches: [CONTROLLER]} in platform.yaml")
    for index, roa in enumerate(lab.roas):
        longest = roa.prefix.max_prefixlen
        if not roa.prefix.prefixlen <= roa.max_length <= longest:
            here = (*where, index, "max_length")
            what = f"{roa.max_length} is outside {roa.prefix.prefixlen}..{longest}"
            yield Finding(here, what, f"parts of {roa.prefix} are longer than it")
        if roa.asn:  # 0: nobody may (RFC 6483)
            yield from check_asn((*where, index, "asn"), roa.asn)
