"""What makes no sense in an emulated internet around a platform."""

from collections import Counter
from collections.abc import Iterator, Mapping

from pltfrms.model.lab import Lab, LabEyeball, LabIxp, LabTransit, lab_interface, lan_interface
from pltfrms.model.topology import Peer, PeerKind, Platform, Prefix
from pltfrms.specfile.check_platform import MAX_LENGTH
from pltfrms.specfile.findings import (
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
        yield from _check_network(platform, transit, PeerKind.TRANSIT)
        yield from _check_peerings(lab, transit)
    for ixp in lab.ixps:
        yield from _check_network(platform, ixp, PeerKind.IXP)
    yield from _check_eyeballs(lab, platform)
    yield from _check_unique(lab, platform)
    described = _upstreams(lab)
    for peer in platform.peers:
        if peer.name not in described:
            where = (_INTERNET, f"{peer.kind}s")
            what = f"the peer {peer.name} of the platform is not described"
            yield Finding(where, what, f"add {peer.name}: {{asn: {peer.asn}}}", peer.name)


def _check_delays(
    where: Where, delays_us: Mapping[str, int], known: set[str], noun: str
) -> Iterator[Finding]:
    for name, delay_us in delays_us.items():
        here = (*where, name)
        if name not in known:
            yield Finding(here, f"there is no {noun} {name!r}", nearest(name, known), name)
        if not 0 <= delay_us <= _MAX_DELAY_US:
            yield Finding(here, f"{delay_us}us is outside 0us..2s")


# ---- transits and IXPs ---------------------------------------------------------------------


def _check_network(
    platform: Platform, network: LabTransit | LabIxp, kind: PeerKind
) -> Iterator[Finding]:
    where = (_INTERNET, f"{kind}s", network.name)
    peers = {peer.name: peer for peer in platform.peers if peer.kind is kind}
    interface = lab_interface if kind is PeerKind.TRANSIT else lan_interface
    yield from check_interface(where, interface(network.name), "take a shorter name")
    peer = peers.get(network.name)
    if peer is None:
        what = f"the platform has no {kind} {network.name!r}"
        yield Finding(where, what, nearest(network.name, peers))
        return
    if network.asn != peer.asn:
        what = f"{network.asn} is not its ASN in the platform ({peer.asn})"
        yield Finding((*where, "asn"), what, f"asn: {peer.asn}")
    yield from _check_ports(where, network, peer)


def _check_ports(where: Where, network: LabTransit | LabIxp, peer: Peer) -> Iterator[Finding]:
    here = (*where, "delays")
    edges = {session.edge for session in peer.sessions}
    noun = f"session of {peer.name} with an edge"
    yield from _check_delays(here, network.delays_us, edges, noun)
    if peer.kind is PeerKind.TRANSIT:
        for edge in sorted(edges):
            hint = f"{edge} needs a name of at most 12 characters in a lab"
            yield from check_interface(where, lab_interface(edge), hint)


def _check_peerings(lab: Lab, transit: LabTransit) -> Iterator[Finding]:
    where = (_INTERNET, "transits", transit.name, "peerings")
    others = {other.name for other in lab.transits if other.name != transit.name}
    yield from _check_delays(where, transit.peerings, others, "other transit")
    earlier = lab.transits[: lab.transits.index(transit)]
    for other in earlier:
        if transit.name in other.peerings and other.name in transit.peerings:
            what = f"already said at {other.name}"
            yield Finding((*where, other.name), what, "say it at one of the two")


# ---- eyeballs ------------------------------------------------------------------------------


def _check_eyeballs(lab: Lab, platform: Platform) -> Iterator[Finding]:
    upstreams = _upstreams(lab)
    datacenters = [datacenter.name for datacenter in platform.datacenters]
    taken: list[tuple[Prefix, str]] = [
        *((aggregate.prefix, "an aggregate") for aggregate in platform.aggregates),
        *((prefix, "our infrastructure") for prefix in _infrastructure(platform)),
    ]
    for eyeball in lab.eyeballs:
        where = (_INTERNET, "eyeballs", eyeball.name)
        yield from check_interface(where, lab_interface(eyeball.name), "take a shorter name")
        here = (*where, "upstreams")
        yield from _check_delays(here, eyeball.upstreams, upstreams, "transit or IXP")
        if not eyeball.upstreams:
            yield Finding(here, "there is none", "such as {transit1: 3ms}")
        if eyeball.nearest not in datacenters:
            what = f"there is no datacenter {eyeball.nearest!r}"
            yield Finding((*where, "nearest"), what, nearest(eyeball.nearest, datacenters))
        yield from _check_prefixes(where, eyeball, taken)
        taken += [(prefix, eyeball.name) for prefix in eyeball.prefixes]


def _upstreams(lab: Lab) -> set[str]:
    return {t.name for t in lab.transits} | {ixp.name for ixp in lab.ixps}


def _infrastructure(platform: Platform) -> tuple[Prefix, Prefix]:
    return (platform.infrastructure4, platform.infrastructure6)


def _check_prefixes(
    where: Where, eyeball: LabEyeball, taken: list[tuple[Prefix, str]]
) -> Iterator[Finding]:
    versions = [prefix.version for prefix in eyeball.prefixes]
    if not versions or len(set(versions)) != len(versions):
        what = "must be one prefix per address family"
        yield Finding((*where, "prefixes"), what, "such as [198.18.1.0/24, 2001:db8::/48]")
    for index, prefix in enumerate(eyeball.prefixes):
        here = (*where, "prefixes", index)
        longest = MAX_LENGTH[prefix.version]
        if prefix.prefixlen > longest:
            what = f"{prefix} is longer than /{longest}: networks would filter it"
            yield Finding(here, what, f"use a prefix of /{longest} or shorter")
        for other, owner in taken:
            if other.version == prefix.version and other.overlaps(prefix):
                yield Finding(here, f"{prefix} overlaps {other} of {owner}")


# ---- names and ASNs ------------------------------------------------------------------------


def _networks(lab: Lab) -> Iterator[tuple[Where, LabTransit | LabIxp | LabEyeball]]:
    for section, networks in (
        ("transits", lab.transits),
        ("ixps", lab.ixps),
        ("eyeballs", lab.eyeballs),
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
