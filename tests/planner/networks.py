"""Platforms with peers, and strategies of what operators do to them."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import strategies as st

from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.network.links import Link
from pltfrms.model.network.peering import Peer, PeerKind, Session
from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.model.network.traffic import Override
from tests.strategies import make_platform

FOUR = ip_network("198.51.100.0/24")
SIX = ip_network("2001:db8:100::/48")
NOW_MS = 1_000_000_000
NOTHING = Interventions()


def make_session(edge: str, number: int, *, interface: str = "", bfd: bool = True) -> Session:
    """Return a session of both families; `number` makes its addresses."""
    return Session(
        edge=edge,
        ours=(
            ip_interface(f"203.0.113.{2 * number + 1}/31"),
            ip_interface(f"2001:db8:f000:{number:x}::1/127"),
        ),
        theirs=(
            ip_address(f"203.0.113.{2 * number}"),
            ip_address(f"2001:db8:f000:{number:x}::"),
        ),
        interface=interface or f"x-{number}",
        bfd=bfd,
    )


def make_network() -> Platform:
    """Return three datacenters of two edges, a ring of links, and three peers.

    transit1: fra-e1, fra-e2, ams-e2; transit2: ams-e1, ams-e2, lon-e2; ixp1: lon-e1, lon-e2,
    fra-e2. Nine sessions, eighteen announcements, three sessions per datacenter. Of the
    peers, transit1 takes blackholes.
    """
    platform = make_platform({"fra": 1, "ams": 1, "lon": 1})
    second = tuple(
        Machine(name=f"{name}-e2", datacenter=name, role=Role.EDGE, id=2)
        for name in ("fra", "ams", "lon")
    )
    edges = {
        "transit1": ("fra-e1", "fra-e2", "ams-e2"),
        "transit2": ("ams-e1", "ams-e2", "lon-e2"),
        "ixp1": ("lon-e1", "lon-e2", "fra-e2"),
    }
    numbers = iter(range(100))
    peers = tuple(
        Peer(
            name=name,
            kind=PeerKind.IXP if name == "ixp1" else PeerKind.TRANSIT,
            asn=64601 + index,
            blackhole=name == "transit1",
            sessions=tuple(
                make_session(edge, next(numbers), interface=f"x-{name}") for edge in places
            ),
        )
        for index, (name, places) in enumerate(edges.items())
    )
    links = (("fra-e1", "ams-e2"), ("ams-e1", "lon-e2"), ("lon-e1", "fra-e2"))
    return replace(
        platform,
        machines=(*platform.machines, *second),
        links=tuple(Link(a=a, b=b, capacity_mbps=10_000) for a, b in links),
        peers=peers,
    )


NETWORK = make_network()


def with_peer(platform: Platform, peer: Peer) -> Platform:
    """Return the platform with a peer in the place of its namesake."""
    peers = tuple(peer if old.name == peer.name else old for old in platform.peers)
    return replace(platform, peers=peers)


def without_sessions(platform: Platform, *gone: str) -> Platform:
    """Return the platform without sessions such as `transit1@fra-e1`."""
    return replace(
        platform,
        peers=tuple(
            replace(
                peer,
                sessions=tuple(
                    each for each in peer.sessions if f"{peer.name}@{each.edge}" not in gone
                ),
            )
            for peer in platform.peers
        ),
    )


def drain(
    peer: str = "",
    edge: str = "",
    *,
    datacenter: str = "",
    wait_ms: int = 0,
    since_ms: int = NOW_MS,
    until_ms: int = 0,
) -> Interventions:
    """Return one drain."""
    one = Drain(
        peer=peer,
        edge=edge,
        datacenter=datacenter,
        since_ms=since_ms,
        wait_ms=wait_ms,
        until_ms=until_ms,
    )
    return Interventions(drains=(one,))


# ---- strategies ----------------------------------------------------------------------------

_PEERS = [peer.name for peer in NETWORK.peers]
_EDGES = [edge.name for edge in NETWORK.machines_of(Role.EDGE)]
_UNTIL = st.sampled_from([0, NOW_MS - 1, NOW_MS, NOW_MS + 1, NOW_MS + 60_000])

overrides = st.builds(
    Override,
    prefix=st.sampled_from([None, FOUR, SIX]),
    peer=st.sampled_from(["", *_PEERS]),
    kind=st.sampled_from([None, PeerKind.TRANSIT, PeerKind.IXP]),
    datacenter=st.sampled_from(["", "fra", "ams", "lon"]),
    edge=st.sampled_from(["", "", *_EDGES]),
    announce=st.sampled_from([None, True, False]),
    prepend=st.sampled_from([None, 0, 2]),
    until_ms=_UNTIL,
)
platforms = st.builds(
    lambda traffic, peers, aggregates: replace(
        NETWORK, traffic=tuple(traffic), peers=tuple(peers), aggregates=tuple(aggregates)
    ),
    st.lists(overrides, max_size=4),
    st.lists(st.sampled_from(NETWORK.peers), min_size=0, unique=True),
    st.lists(st.sampled_from(NETWORK.aggregates), min_size=1, unique=True),
)
interventions = st.builds(
    lambda drains: Interventions(drains=tuple(drains)),
    st.lists(
        st.builds(
            Drain,
            peer=st.sampled_from(["", *_PEERS]),
            edge=st.sampled_from(["", *_EDGES]),
            datacenter=st.sampled_from(["", "", "fra", "ams"]),
            since_ms=st.one_of(st.integers(NOW_MS - 90_000, NOW_MS), st.just(NOW_MS + 30_000)),
            wait_ms=st.sampled_from([0, 60_000]),
            until_ms=st.sampled_from([0, 0, NOW_MS + 2, NOW_MS + 60_000, NOW_MS + 90_000]),
        ),
        max_size=3,
    ),
)
