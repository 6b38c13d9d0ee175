"""ASNs that must not be on the internet, and what becomes of a network that has one."""

from collections.abc import Iterable, Mapping
from typing import Final

from pltfrms.model.network.peering import Peer, PeerKind
from pltfrms.model.network.topology import Platform

AsnRange = tuple[int, int]
"""First and last."""
AS_TRANS: Final = 23456
"""Stands for an ASN of 32 bits where only 16 fit (RFC 6793); nobody has it."""
LAST_ASNS: Final = frozenset({65535, 4_294_967_295})
"""The last of 16 and of 32 bits, which nobody has (RFC 7300)."""
_RESERVED: Final[tuple[AsnRange, ...]] = (
    (0, 0),  # RFC 7607
    (AS_TRANS, AS_TRANS),
    (64496, 64511),  # documentation, RFC 5398
    (64512, 65534),  # private, RFC 6996
    (65535, 65535),  # RFC 7300
    (65536, 65551),  # documentation, RFC 5398
    (65552, 131071),  # reserved by IANA
    (4_200_000_000, 4_294_967_294),  # private, RFC 6996
    (4_294_967_295, 4_294_967_295),  # RFC 7300
)


def reserved_asns(platform: Platform) -> tuple[tuple[AsnRange, ...], tuple[AsnRange, ...]]:
    """Return the reserved ASNs: those to refuse and to hide, and those that are let be.

    A platform whose own ASN is reserved is a laboratory. Its own range is let be there, and
    those of the networks that it lives among. A customer never changes what we think of others.
    """
    spared = _living_in(platform) if _holding(platform.asn) else frozenset()
    refused = tuple(each for each in _RESERVED if each not in spared)
    return refused, tuple(each for each in _RESERVED if each in spared)


def hidden_asns(platform: Platform, peer: Peer) -> tuple[int, ...]:
    """Return the ASNs of a peer, and behind it, that nobody else may ever see in a path."""
    refused, _ = reserved_asns(platform)
    own = dict.fromkeys((peer.asn, *peer.allowed_asns))
    return tuple(asn for asn in own if _is_in(asn, refused))


def visible_origins(platform: Platform, peer: Peer, own_asn: int) -> tuple[int, ...]:
    """Return the ASNs of which neighbours may see a customer's routes come.

    Where it is hidden they come from us, who are `own_asn` there, and a ROA must say so.
    """
    hidden = hidden_asns(platform, peer)
    origins = (peer.asn, *peer.allowed_asns)
    return tuple(dict.fromkeys(own_asn if n in hidden else n for n in origins))


def own_asns(platform: Platform) -> Mapping[str, int]:
    """Return the ASN that we have for each neighbour, by session (`PEER@EDGE`)."""
    edges = dict.fromkeys(session.edge for peer in platform.peers for session in peer.sessions)
    return {
        f"{name}@{edge}": session.local_as or platform.asn
        for edge in edges
        for name, (_, session) in zip(
            platform.session_names(edge), platform.sessions_of(edge), strict=True
        )
    }


def _living_in(platform: Platform) -> frozenset[AsnRange]:
    others = (peer.asn for peer in platform.peers if peer.kind is not PeerKind.CUSTOMER)
    return frozenset(r for asn in (platform.asn, *others) for r in _holding(asn))


def _holding(asn: int) -> tuple[AsnRange, ...]:
    return tuple(each for each in _RESERVED if _is_in(asn, (each,)))


def _is_in(asn: int, ranges: Iterable[AsnRange]) -> bool:
    return any(first <= asn <= last for first, last in ranges)
