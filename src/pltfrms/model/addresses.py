"""Addresses of both families as one type."""

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_network,
)

from pltfrms.errors import UsageError

Prefix = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface


def contains(outer: Prefix, inner: Prefix) -> bool:
    """Return whether `inner` is `outer` or lies inside it; False across families."""
    if outer.version != inner.version or inner.prefixlen < outer.prefixlen:
        return False
    shift = outer.max_prefixlen - outer.prefixlen
    return int(inner.network_address) >> shift == int(outer.network_address) >> shift


def prefixes_of(
    four: IPv4Network | None, six: IPv6Network | None, more: Iterable[Prefix]
) -> tuple[Prefix, ...]:
    """Return those that there are, as one list."""
    return tuple(each for each in (four, six, *more) if each is not None)


def scope_of(thing: Address | Prefix) -> str:
    """Return the zone that a text such as `2001:db8::1%eth0` says (RFC 4007); mostly empty.

    It means something on one machine alone, so nothing of ours has one: BIRD and nft refuse it.
    """
    address = thing.network_address if isinstance(thing, IPv4Network | IPv6Network) else thing
    return getattr(address, "scope_id", None) or ""


def read_prefix(text: str) -> Prefix:
    """Return the prefix, or the address as a prefix; UsageError if it is neither."""
    try:
        found = ip_network(text) if "/" in text else ip_network(ip_address(text))
    except ValueError as error:
        raise UsageError(
            f"{text!r} is neither an address nor a prefix: {error}; "
            "write it such as 198.51.100.7 or 198.51.100.0/24"
        ) from error
    if scope_of(found):
        raise UsageError(f"{text!r} has a scope; leave out %{scope_of(found)}")
    return found
