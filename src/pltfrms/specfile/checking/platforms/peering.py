"""What makes no sense in the peers of a platform, and in what is believed of their routes."""

from collections.abc import Iterator

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.peering import Allowed, DefaultRoute, Peer, PeerKind
from pltfrms.model.network.topology import Platform
from pltfrms.specfile.findings import (
    MAX_LENGTH,
    MIN_LENGTH,
    Finding,
    Where,
    check_asn,
    check_community,
    check_name,
    check_range,
    check_unicast,
    not_routable,
)

_MOST_PREFIXES = 10_000_000
_LONGEST_HOLD_SECONDS = 600


def check_peering(platform: Platform) -> Iterator[Finding]:
    """Yield what is wrong with peers, except in their sessions, and with RPKI."""
    names: set[str] = set()
    for peer in platform.peers:
        where = ("peers", peer.name)
        yield from check_name(where, peer.name)
        if peer.name in names:
            yield Finding(where, f"a second peer {peer.name}", "names are unique")
        names.add(peer.name)
        yield from _check_peer(platform, where, peer)
        if peer.kind is PeerKind.CUSTOMER:
            yield from _check_customer(platform, where, peer)
        else:
            yield from _check_no_customer(where, peer)
    yield from _check_caches(platform)


def _check_peer(platform: Platform, where: Where, peer: Peer) -> Iterator[Finding]:
    yield from check_asn((*where, "asn"), peer.asn)
    if peer.asn == platform.asn:
        what = f"{peer.asn} is our own ASN"
        yield Finding((*where, "asn"), what, "a peer is another network")
    for count in dict.fromkeys((peer.max_prefixes4, peer.max_prefixes6)):
        yield from check_range((*where, "max_prefixes"), count, 1, _MOST_PREFIXES)
    if not peer.sessions:
        yield Finding((*where, "sessions"), "there is none", "sessions: [{edge: …}]", "")
    if not peer.route_server and peer.kind is not PeerKind.IXP:
        what = f"route_server belongs to an ixp, not to a {peer.kind}"
        yield Finding((*where, "route_server"), what, "leave it out")
    yield from _check_blackhole(platform, (*where, "blackhole"), peer)
    if peer.default is DefaultRoute.ACCEPT and peer.kind is not PeerKind.TRANSIT:
        what = f"a {peer.kind} does not carry us everywhere"
        hint = "leave it out: only a transit's default route is taken"
        yield Finding((*where, "default"), what, hint)


def _check_blackhole(platform: Platform, where: Where, peer: Peer) -> Iterator[Finding]:
    if peer.blackhole and peer.kind is PeerKind.PNI:
        # It would look like protection: the flood comes from elsewhere, over other peers.
        what = "a pni carries its own traffic alone and drops no floods of others for us"
        yield Finding(where, what, "ask transits and route servers for it")
    if peer.blackhole_communities and peer.kind is PeerKind.CUSTOMER:
        what = "a customer asks us, and with 65535:666 alone"
        yield Finding(where, what, "blackhole: true")
    for index, community in enumerate(peer.blackhole_communities):
        here = (*where, "communities", index)
        yield from check_community(platform, here, community)


# ---- customers -----------------------------------------------------------------------------


def _check_no_customer(where: Where, peer: Peer) -> Iterator[Finding]:
    for field, value in (("prefixes", peer.allowed), ("asns", peer.allowed_asns)):
        if value:
            what = f"{field} belong to a customer, not to a {peer.kind}"
            yield Finding((*where, field), what, "leave it out, or kind: customer")


def _check_customer(platform: Platform, where: Where, peer: Peer) -> Iterator[Finding]:
    if not peer.allowed:
        what = "a customer without prefixes may announce nothing"
        hint = "prefixes: [192.0.2.0/24], or prefixes_file: FILE"
        yield Finding((*where, "prefixes"), what, hint, "")
    ours = (
        *(aggregate.prefix for aggregate in platform.aggregates),
        *platform.infrastructure,
    )
    seen: set[Prefix] = set()
    for index, allowed in enumerate(peer.allowed):
        here = (*where, "prefixes", index)
        yield from _check_allowed(here, allowed, ours)
        if allowed.prefix in seen:
            yield Finding(here, f"{allowed.prefix} is in the list twice", "keep one of them")
        seen.add(allowed.prefix)
    yield from _check_asns(platform, where, peer)


def _check_allowed(
    where: Where, allowed: Allowed, ours: tuple[Prefix, ...]
) -> Iterator[Finding]:
    prefix = allowed.prefix
    shortest, longest = MIN_LENGTH[prefix.version], MAX_LENGTH[prefix.version]
    if prefix.prefixlen > longest:
        what = f"{prefix} is longer than /{longest}: other networks would filter it"
        yield Finding(where, what, f"use a prefix of /{longest} or shorter")
    elif not prefix.prefixlen <= allowed.max_length <= longest:
        what = f"max_length {allowed.max_length} is outside {prefix.prefixlen}..{longest}"
        yield Finding(where, what, "longer parts are filtered in the internet")
    if prefix.prefixlen < shortest:
        what = f"{prefix} is shorter than /{shortest}: nobody has so much"
        yield Finding(where, what, "name the prefixes of the customer")
    if not_routable(prefix):
        yield Finding(where, f"{prefix} cannot be routed in the internet")
    for other in ours:
        if prefix.version == other.version and prefix.overlaps(other):
            what = f"{prefix} overlaps our {other}"
            yield Finding(where, what, "a customer must not announce what is ours")


def _check_asns(platform: Platform, where: Where, peer: Peer) -> Iterator[Finding]:
    transits = {each.asn: each.name for each in platform.peers if each.kind is PeerKind.TRANSIT}
    if peer.asn in transits:
        what = f"{peer.asn} is the ASN of {transits[peer.asn]}: its routes would be refused"
        yield Finding((*where, "asn"), what, "nobody is transit and customer")
    for index, asn in enumerate(peer.allowed_asns):
        here = (*where, "asns", index)
        yield from check_asn(here, asn)
        if asn == platform.asn:
            yield Finding(here, f"{asn} is our own ASN", "no customer has routes of ours")
        if asn in transits:
            what = f"{asn} is the ASN of {transits[asn]}: its routes would be refused"
            yield Finding(here, what, "remove it")
        if asn == peer.asn or asn in peer.allowed_asns[:index]:
            yield Finding(here, f"{asn} is said already", "remove it")


# ---- RPKI ----------------------------------------------------------------------------------


def _check_caches(platform: Platform) -> Iterator[Finding]:
    validation = platform.origin_validation
    if not 0 <= validation.hold_seconds <= _LONGEST_HOLD_SECONDS:
        what = f"{validation.hold_seconds}s is outside 0s..{_LONGEST_HOLD_SECONDS}s"
        yield Finding(("rpki", "hold"), what, "a cache answers within seconds")
    for index, cache in enumerate(validation.caches):
        where = ("rpki", "caches", index)
        if not cache.address.is_loopback:  # an edge may have its own
            yield from check_unicast((*where, "address"), cache.address)
        yield from check_range((*where, "port"), cache.port, 1, 65535)
        if cache in validation.caches[:index]:
            what = f"{cache.address} is in the list twice"
            yield Finding(where, what, "one cache is not two")
