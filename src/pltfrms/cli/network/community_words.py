"""Large communities of ours, and well-known ones, in words. Pure."""

from pltfrms.model.network.peering import Reject
from pltfrms.model.network.topology import Platform

_WELL_KNOWN = {
    "65535:0": "graceful shutdown",
    "65535:666": "blackhole",
    "65535:65281": "no-export",
    "65535:65282": "no-advertise",
}
_ORIGINS = {
    1: "our aggregate",
    2: "service",
    3: "from a customer",
    4: "from a private peer",
    5: "from an exchange member",
    6: "from a route server",
    7: "from transit",
    8: "instance",
}
_STATES = {1: "active", 2: "draining", 3: "backup"}
_VALIDITIES = {1: "RPKI valid", 2: "RPKI unknown"}
_REJECTS = {reject.number: f"refused: {reject}" for reject in Reject}
_NOT_TO_KIND = {
    3: "not to customers",
    4: "not to private peers",
    5: "not to exchange members",
    6: "not to route servers",
    7: "not to transit",
}
_HERE = {0: "only from where we hear it"}
_WISHES = {100: "not to", 101: "prepend x1 to", 102: "prepend x2 to", 103: "prepend x3 to"}
_DATACENTER = 2
_WEIGHT = 10
_CLAIM = 13
_ONLY_FROM = 105
_NAMED = {
    1: _ORIGINS,
    12: _STATES,
    15: _REJECTS,
    20: _VALIDITIES,
    104: _NOT_TO_KIND,
    106: _HERE,
}
FUNCTIONS = frozenset({*_NAMED, *_WISHES, _DATACENTER, _WEIGHT, _CLAIM, _ONLY_FROM})
"""Second numbers of the large communities of ours."""


def community_words(
    platform: Platform, communities: tuple[str, ...], large: tuple[str, ...]
) -> tuple[str, ...]:
    """Return what communities say; those that are not ours or well-known stay numbers."""
    return (
        *(_large(platform, each) for each in large),
        *(_WELL_KNOWN.get(each, each) for each in communities),
    )


def _large(platform: Platform, text: str) -> str:
    parts = text.split(":")
    if len(parts) != 3 or not all(map(str.isdecimal, parts)):  # noqa: PLR2004 (RFC 8092)
        return text
    owner, function, value = map(int, parts)
    return (_ours(platform, function, value) if owner == platform.asn else "") or text


def _ours(platform: Platform, function: int, value: int) -> str:
    """Return the meaning of (OUR_ASN, function, value); empty if it has none."""
    if function in _WISHES:
        return f"{_WISHES[function]} {f'AS{value}' if value else 'anybody'}"
    if function in {_WEIGHT, _CLAIM}:
        return f"{'weight' if function == _WEIGHT else 'claim to a role:'} {value}"
    if function in {_DATACENTER, _ONLY_FROM}:
        word = "in" if function == _DATACENTER else "only from"
        return next((f"{word} {dc.name}" for dc in platform.datacenters if dc.id == value), "")
    return _NAMED.get(function, {}).get(value, "")
