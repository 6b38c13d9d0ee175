"""Reserved prefixes, which must not be on the internet.

Laboratories live on documentation ranges. What a platform uses itself is therefore not refused:
its own words say that it is in such a place.
"""

from collections.abc import Iterator
from ipaddress import ip_network

from pltfrms.model.addresses import Prefix, contains
from pltfrms.model.network.topology import Platform

_ALWAYS = {
    4: (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "224.0.0.0/3",
    ),
    # Only 2000::/3 has been given out. In it: Teredo, ORCHID, 6to4, and the old 6bone.
    6: (
        "::/3",
        "4000::/2",
        "8000::/1",
        "2001::/32",
        "2001:10::/28",
        "2001:20::/28",
        "2002::/16",
        "3ffe::/16",
    ),
}
_LABORATORY = {
    4: ("192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
    6: ("2001:2::/48", "2001:db8::/32", "3fff::/20"),
}
"""For documentation and benchmarks."""


def bogons(platform: Platform, version: int) -> tuple[str, ...]:
    """Return the reserved prefixes of an address family (4 or 6), in BIRD's words.

    Without those for documentation and benchmarks if the platform itself uses one of them.
    """
    laboratory = _LABORATORY[version]
    used = any(
        contains(ip_network(lab), prefix)
        for lab in laboratory
        for prefix in _used(platform, version)
    )
    return tuple(f"{prefix}+" for prefix in _ALWAYS[version] + (() if used else laboratory))


def _used(platform: Platform, version: int) -> Iterator[Prefix]:
    """Yield the public prefixes that the platform speaks of."""
    everything = [aggregate.prefix for aggregate in platform.aggregates]
    for peer in platform.peers:
        everything += [allowed.prefix for allowed in peer.allowed]
        everything += [ours.network for session in peer.sessions for ours in session.ours]
    return (prefix for prefix in everything if prefix.version == version)
