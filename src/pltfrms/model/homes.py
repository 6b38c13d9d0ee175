"""Which aggregate an address of a service belongs to, and which addresses none gives. Pure."""

from collections.abc import Collection, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network

from pltfrms.model.addresses import Address, Prefix, contains
from pltfrms.model.topology import Aggregate, Platform


def home_of(platform: Platform, address: Address) -> Aggregate | None:
    """Return the smallest aggregate around an address; None if no service may have it."""
    inside = [each for each in platform.aggregates if _has(each.prefix, address)]
    found = max(inside, key=lambda each: each.prefix.prefixlen, default=None)
    return None if found is None or found.unicast else found


def unfit(aggregate: Aggregate, address: Address) -> str:
    """Return why no service can have an address of an aggregate; empty if one can.

    Routers and hosts treat the first address of a network as their own or the network's
    (RFC 4291 section 2.6.1), and the last one of an IPv4 network as everybody's.
    """
    prefix = aggregate.prefix
    if address == prefix.network_address:
        what = "network" if isinstance(prefix, IPv4Network) else "subnet-router anycast"
        return f"{address} is the {what} address of {prefix}"
    if isinstance(prefix, IPv4Network) and address == prefix.broadcast_address:
        return f"{address} is the broadcast address of {prefix}"
    return ""


def called(platform: Platform, word: str) -> tuple[Aggregate, ...]:
    """Return the aggregates that a word means: a prefix, or a name."""
    return tuple(
        each
        for each in platform.service_aggregates
        if word in {str(each.prefix), each.name} - {""}
    )


def general(platform: Platform, version: int) -> tuple[Aggregate, ...]:
    """Return where services get addresses of a family that say nothing of it, in this order."""
    return tuple(
        each
        for each in platform.service_aggregates
        if each.prefix.version == version and not each.datacenters
    )


def free_prefix(
    platform: Platform, aggregate: Aggregate, preferred: int, taken: Collection[Prefix]
) -> Prefix | None:
    """Return a free /32 or /128 of an aggregate; None if there is none.

    It is the one with the number `preferred` in the aggregate if that can be had, else the
    lowest. What belongs to a smaller aggregate inside is not given.
    """
    for number in (preferred, *_numbers(platform, aggregate, len(taken) + 1)):
        if number < aggregate.prefix.num_addresses:
            address = aggregate.prefix.network_address + number
            found = ip_network(address)
            mine = home_of(platform, address) is aggregate and not unfit(aggregate, address)
            if mine and found not in taken:
                return found
    return None


def _numbers(platform: Platform, aggregate: Aggregate, most: int) -> Iterator[int]:
    """Yield the lowest numbers in no smaller aggregate, a few more than `most`."""
    first, size = int(aggregate.prefix.network_address), aggregate.prefix.num_addresses
    parts = [
        (int(each.prefix.network_address) - first, each.prefix.num_addresses)
        for each in platform.aggregates
        if each is not aggregate and contains(aggregate.prefix, each.prefix)
    ]
    number, left = 1, most + 1
    while number < size and left:
        end = max((begin + n for begin, n in parts if begin <= number < begin + n), default=0)
        if end:
            number = end
        else:
            yield number
            number, left = number + 1, left - 1


def _has(prefix: IPv4Network | IPv6Network, address: Address) -> bool:
    return contains(prefix, ip_network(address))
