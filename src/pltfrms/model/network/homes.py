"""Which aggregate an address of a service belongs to, and which addresses none gives. Pure."""

from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Interface, IPv4Network, IPv6Network, ip_network

from pltfrms.model.addresses import Address, Prefix, contains
from pltfrms.model.network.peering import Session
from pltfrms.model.network.topology import Aggregate, Platform


def home_of(platform: Platform, address: Address) -> Aggregate | None:
    """Return the smallest aggregate around an address; None if no service may have it."""
    inside = [each for each in platform.aggregates if _has(each.prefix, address)]
    found = max(inside, key=lambda each: each.prefix.prefixlen, default=None)
    return None if found is None or found.unicast else found


def spoken_for(platform: Platform) -> Mapping[Address, str]:
    """Return the addresses of our ports and of the machines beyond them, with whose they are.

    A session may be numbered from an aggregate. Of a network on a port of IPv4, its own address
    and the broadcast address count, too: the kernel keeps them for itself.
    """
    found: dict[Address, str] = {}
    for peer in platform.peers:
        for session in peer.sessions:
            who = f"the session of {session.edge} with {peer.name}"
            for address, whose in _of_session(session):
                found.setdefault(address, f"{whose} {who}")
    for cache in platform.origin_validation.caches:
        found.setdefault(cache.address, "that of an RPKI cache")
    return found


def _of_session(session: Session) -> Iterator[tuple[Address, str]]:
    for ours in session.ours:
        yield ours.ip, "our own of"
    for theirs in session.theirs:
        yield theirs, "the neighbour's of"
    for gateway in session.via:
        yield gateway, "a gateway of"
    for ours in session.ours:
        if isinstance(ours, IPv4Interface) and ours.network.num_addresses > 2:  # noqa: PLR2004
            for address in (ours.network.network_address, ours.network.broadcast_address):
                yield address, f"kept by {ours.network} of"


def unfit(platform: Platform, aggregate: Aggregate, address: Address) -> str:
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
    whose = spoken_for(platform).get(address)
    return f"{address} is an address in use, {whose}" if whose else ""


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
    lowest. What belongs to a smaller aggregate inside, or to a session, is not given.
    """
    most = len(taken) + len(spoken_for(platform)) + 1
    for number in (preferred, *_numbers(platform, aggregate, most)):
        if number < aggregate.prefix.num_addresses:
            address = aggregate.prefix.network_address + number
            found = ip_network(address)
            if found in taken or home_of(platform, address) is not aggregate:
                continue
            if not unfit(platform, aggregate, address):
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
