"""Members of a service: replicas with volumes, which have a name and addresses for life.

They belong to the number of a replica, not to its allocations, and lead to wherever its volume
is. Node 0 of each datacenter, which is no machine, has the addresses. Those of IPv6 say the
service and the replica; there is no room for that in IPv4, where a service keeps a number of
its own for each of its replicas, the same in every datacenter.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.topology import Datacenter, Platform

_POOLS = 0x1000
"""As of `Platform.pool6`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The members that a service wants, as far as they are named and numbered."""

    counts: tuple[tuple[str, int], ...] = ()
    """How many in each datacenter, in the order of the platform."""
    numbers4: tuple[int, ...] = ()
    """What the first replica of each datacenter has in IPv4, the second one, and so on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A replica that has its name and its addresses for life."""

    datacenter: str
    replica: int
    address6: IPv6Address
    address4: IPv4Address | None
    """None: there is no IPv4 inside, or no number was left."""

    @property
    def label(self) -> str:
        """What its name begins with: behind it comes that of the service."""
        return f"{self.datacenter}-{self.replica}"

    @property
    def prefixes(self) -> tuple[Prefix, ...]:
        """The /32 and the /128."""
        found = (each for each in (self.address4, self.address6) if each is not None)
        return tuple(ip_network(each) for each in found)


def member_pools(platform: Platform) -> Iterator[Prefix]:
    """Yield where members of each datacenter have their addresses."""
    for each in platform.datacenters:
        if platform.infrastructure4 is not None:
            yield platform.numbering.block(platform.infrastructure4, each.id, 0)
        yield _pool6(platform, each)


def member_of(
    platform: Platform, service_id: int, numbers4: tuple[int, ...], place: tuple[str, int]
) -> Member:
    """Return the member that is a replica of a datacenter.

    KeyError if the platform has no such datacenter.
    """
    name, replica = place
    here, address4 = platform.datacenter(name), None
    if platform.infrastructure4 is not None and replica <= len(numbers4):
        block = platform.numbering.block(platform.infrastructure4, here.id, 0)
        address4 = block.network_address + numbers4[replica - 1]
    address6 = _pool6(platform, here).network_address + ((service_id << 32) | replica)
    return Member(datacenter=name, replica=replica, address6=address6, address4=address4)


def members_of(platform: Platform, service_id: int, members: Membership) -> tuple[Member, ...]:
    """Return all members of a service; of a datacenter that is gone there is none."""
    known = {each.name for each in platform.datacenters}
    return tuple(
        member_of(platform, service_id, members.numbers4, (name, replica))
        for name, count in members.counts
        if name in known
        for replica in range(1, count + 1)
    )


def next_numbers(
    numbers: tuple[int, ...], counts: Mapping[str, int], taken: Iterable[int], highest: int
) -> tuple[int, ...]:
    """Return the IPv4 numbers of a service whose largest datacenter has so many replicas.

    What was given is never taken away, and `taken` by others is never given.
    """
    missing = max(counts.values(), default=0) - len(numbers)
    used = {*taken, *numbers}
    free = (number for number in range(1, highest + 1) if number not in used)
    return (*numbers, *(number for _, number in zip(range(missing), free, strict=False)))


def _pool6(platform: Platform, datacenter: Datacenter) -> IPv6Network:
    high = (_POOLS + datacenter.id) << 64
    return IPv6Network((int(platform.infrastructure6.network_address) | high, 80))
