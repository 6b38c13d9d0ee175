"""Ways to our other edges for the first seconds of a platform's life.

OSPF originates its first LSA before it knows a neighbor, and may not say more for another 5 s
(MinLSInterval, RFC 2328 appendix B). Where everything starts at once that is most of the time
until the datacenters hear of each other. These static routes bridge it: shortest paths by hop
count over the links of the spec. They are computed alike on every edge, and each hop is
strictly nearer, so they cannot loop. OSPF's own routes win over them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from ipaddress import IPv6Address

from pltfrms.model.network.topology import Machine, Platform, link_local
from pltfrms.render.routing.mesh import managed_edges

_LINK_HOPS, _FABRIC_HOPS = 100, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdRoute:
    """A way to the loopback of another edge."""

    loopback: IPv6Address
    nexthops: tuple[tuple[IPv6Address, str], ...]
    """(link-local address, interface) of each."""


def cold_routes(platform: Platform, me: Machine) -> tuple[ColdRoute, ...]:
    """Return a route to every other edge that the links of the spec reach, in spec order."""
    first = _first_hops(platform, me)
    return tuple(
        ColdRoute(
            loopback=platform.loopback6(edge),
            nexthops=_nexthops(platform, me, platform.machine(first[edge.name])),
        )
        for edge in managed_edges(platform)
        if edge.name in first
    )


def _first_hops(platform: Platform, me: Machine) -> Mapping[str, str]:
    """Return the neighbor through which each reachable edge is nearest (Dijkstra)."""
    first: dict[str, str] = {}
    done: set[str] = set()
    queue: list[tuple[int, str, str]] = [(0, me.name, "")]
    while queue:
        distance, name, via = heappop(queue)
        if name in done:
            continue
        done.add(name)
        if via:
            first[name] = via
        for neighbor, hops in _neighbors(platform, platform.machine(name)):
            heappush(queue, (distance + hops, neighbor, via or neighbor))
    return first


def _neighbors(platform: Platform, edge: Machine) -> Iterator[tuple[str, int]]:
    for link in platform.links_of(edge.name):
        yield link.far_end(edge.name), _LINK_HOPS
    for other in managed_edges(platform, edge.datacenter):
        if other != edge:
            yield other.name, _FABRIC_HOPS


def _nexthops(
    platform: Platform, me: Machine, neighbor: Machine
) -> tuple[tuple[IPv6Address, str], ...]:
    if neighbor.datacenter != me.datacenter:
        address = platform.backbone_link_local(neighbor)
        return tuple(
            (address, link.interface_at(me.name))
            for link in platform.links_of(me.name)
            if link.far_end(me.name) == neighbor.name
        )
    return tuple((link_local(neighbor), port) for port in platform.fabric_interfaces(me))
