"""What makes no sense in the backbone and the sessions of a platform."""

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Interface

from pltfrms.model.addresses import Address, scope_of
from pltfrms.model.network.links import Link, LinkKind
from pltfrms.model.network.peering import Session
from pltfrms.model.network.topology import Platform, Role
from pltfrms.specfile.checking.platforms.sessions import check_far_session
from pltfrms.specfile.findings import (
    Finding,
    Where,
    check_end,
    check_name,
    check_range,
    check_unicast,
    nearest,
)

_LARGEST_MTU = 9216
_PASSWORD = re.compile(r"[^\x00-\x20\x7f-\U0010ffff\"'`\\]{0,80}\Z")
_LINK = Link(a="", b="")


def check_routing(platform: Platform) -> Iterator[Finding]:
    """Yield what is wrong with the backbone and the sessions."""
    yield from _check_backbone(platform)
    yield from _check_ports(platform)
    yield from _check_endpoint_owners(platform)
    for where, session in _sessions(platform):
        yield from _check_session(platform, where, session)
    yield from _check_capacities(platform)
    yield from _check_addresses(platform)


# ---- backbone ------------------------------------------------------------------------------


def _check_backbone(platform: Platform) -> Iterator[Finding]:
    for index, link in enumerate(platform.links):
        where = ("backbone", index)
        if not link.a or not link.b:
            hint = "such as link: [fra-e1, ams-e1]"
            yield Finding((*where, "link"), "must name two edges", hint)
            continue
        ends = [
            finding
            for position, end in enumerate((link.a, link.b))
            for finding in check_edge(platform, (*where, "link", position), end)
        ]
        yield from ends
        if not ends:
            yield from _check_pair(where, link, platform.links[:index])
        yield from _check_link(platform, where, link)


def _check_pair(where: Where, link: Link, others: Iterable[Link]) -> Iterator[Finding]:
    if link.a == link.b:
        yield Finding((*where, "link"), f"both ends are {link.a}", "a link joins two edges")
    if link.label:
        yield from check_name((*where, "label"), link.label)
    for other in others:
        if {other.a, other.b} != {link.a, link.b}:
            continue
        if other.label == link.label:
            what = f"a second link between {link.a} and {link.b}"
            called = f" called {link.label}" if link.label else ""
            yield Finding(where, what + called, "label: south tells it from the first")
        elif link.endpoints and set(other.endpoints) == set(link.endpoints):
            what = f"{other.name} has the same endpoints: it fails when this one does"
            yield Finding((*where, "endpoints"), what, "take addresses of other lines")


def _check_link(platform: Platform, where: Where, link: Link) -> Iterator[Finding]:
    if link.capacity_mbps < 0:
        yield Finding((*where, "capacity"), "must not be negative")
    room = link.mtu - link.inner_mtu
    if not 1280 + room <= link.mtu <= _LARGEST_MTU:
        tunnel = f" ({room} bytes are for the tunnel)" if room else ""
        what = f"{link.mtu} is outside {1280 + room}..{_LARGEST_MTU}{tunnel}"
        yield Finding((*where, "mtu"), what, "IPv6 needs 1280 bytes inside")
    if link.kind is LinkKind.WIREGUARD:
        yield from check_range((*where, "port"), link.port, 1, 65535)
        yield from _check_endpoints(platform, where, link)
        return
    hint = "leave it out, or kind: wireguard"
    if link.endpoints:
        what = f"a {link.kind} link has no endpoints: it is an interface at both ends"
        yield Finding((*where, "endpoints"), what, hint)
    if link.port != _LINK.port:
        yield Finding((*where, "port"), f"a {link.kind} link has no port", hint)


def _check_endpoints(platform: Platform, where: Where, link: Link) -> Iterator[Finding]:
    here = (*where, "endpoints")
    example = "such as endpoints: [203.0.113.1, 203.0.113.5]"
    if len(link.endpoints) != 2:  # noqa: PLR2004 (as the message says)
        what = f"must be the addresses of {link.a} and {link.b}, in this order"
        yield Finding(here, what, example, "")
        return
    if link.endpoints[0] == link.endpoints[1]:
        yield Finding(here, "both ends have the same address", example)
    if link.endpoints[0].version != link.endpoints[1].version:
        yield Finding(here, "must be of one address family", example)
    for index, address in enumerate(link.endpoints):
        yield from check_unicast((*here, index), address)
        for prefix, why in (
            *((each.prefix, "every datacenter has it") for each in platform.aggregates),
            *((each, "it is reached through the backbone") for each in platform.infrastructure),
        ):
            if address in prefix:
                what = f"{address} is inside {prefix}: {why}"
                hint = "take an address that reaches the other end without us"
                yield Finding((*here, index), what, hint)


def _tunnel_ends(platform: Platform) -> Iterator[tuple[Where, Link, int, str]]:
    """Yield the ends of all tunnels: path of the link, link, 0 or 1, edge."""
    for index, link in enumerate(platform.links):
        if link.kind is LinkKind.WIREGUARD:
            for end, edge in enumerate((link.a, link.b)):
                yield ("backbone", index), link, end, edge


def _check_ports(platform: Platform) -> Iterator[Finding]:
    users: dict[tuple[str, int], Link] = {}
    for where, link, _, edge in _tunnel_ends(platform):
        other = users.setdefault((edge, link.port), link)
        if other is not link:
            what = f"{edge} already listens on port {link.port} for {other.name}"
            yield Finding((*where, "port"), what, "give one of the links another port:")


def _check_endpoint_owners(platform: Platform) -> Iterator[Finding]:
    owners: dict[Address, str] = {}
    for where, link, end, edge in _tunnel_ends(platform):
        for address in link.endpoints[end : end + 1]:
            owner = owners.setdefault(address, edge)
            if owner != edge:
                what = f"{address} is already an address of {owner}"
                yield Finding((*where, "endpoints", end), what, "in the order of link:")


def check_edge(platform: Platform, where: Where, name: str) -> Iterator[Finding]:
    """Find a name that is not that of an edge that we manage."""
    edges = [machine.name for machine in platform.machines_of(Role.EDGE)]
    if name in edges:
        if any(machine.name == name and machine.external for machine in platform.machines):
            what = f"{name} is managed by others: we configure nothing on it"
            yield Finding(where, what, "remove external:, or take another edge")
        return
    others = {machine.name: " and ".join(machine.roles) for machine in platform.machines}
    if name in others:
        yield Finding(where, f"{name} is a {others[name]}, not an edge", nearest(name, edges))
    else:
        yield Finding(where, f"there is no edge {name!r}", nearest(name, edges), name)


# ---- sessions ------------------------------------------------------------------------------


def _sessions(platform: Platform) -> Iterator[tuple[Where, Session]]:
    for peer in platform.peers:
        for index, session in enumerate(peer.sessions):
            yield ("peers", peer.name, "sessions", index), session


def _check_session(platform: Platform, where: Where, session: Session) -> Iterator[Finding]:
    yield from check_edge(platform, (*where, "edge"), session.edge)
    yield from _check_families(where, session)
    yield from _check_ends(where, session)
    yield from check_far_session(platform, where, session)
    for ours in session.ours:
        for prefix in platform.infrastructure:
            if ours.version == prefix.version and ours.network.overlaps(prefix):
                what = f"{ours} is inside our infrastructure {prefix}"
                yield Finding((*where, "ours"), what, "set infrastructure: to another")
    # What is wrong with a secret is said without it.
    if not _PASSWORD.match(session.password):
        what = "it must be 1 to 80 printable ASCII characters without spaces, quotes and \\"
        yield Finding((*where, "password"), what, "TCP MD5 and BIRD take no others")


def _check_families(where: Where, session: Session) -> Iterator[Finding]:
    ours = [address.version for address in session.ours]
    theirs = [address.version for address in session.theirs]
    if not ours or len(set(ours)) != len(ours):
        what = "must have one address per family"
        yield Finding((*where, "ours"), what, "such as [203.0.113.1/31, 2001:db8::1/127]")
    if ours != theirs:
        what = f"{_families(theirs)} does not fit ours: {_families(ours)}"
        yield Finding((*where, "theirs"), what, "the same families in the same order")
        return
    for index, (near, far) in enumerate(zip(session.ours, session.theirs, strict=True)):
        here = (*where, "theirs", index)
        if scope_of(near) or scope_of(far):
            yield Finding(here, "an address must not have a scope (%)")
        if far == near.ip:
            yield Finding(here, f"{far} is our own address")
        elif far not in near.network and not session.multihop:
            what = f"{far} is not in {near.network}, the network of our {near.ip}"
            hint = "ours and theirs share one network; multihop: N if routers are between"
            yield Finding(here, what, hint)


def _check_ends(where: Where, session: Session) -> Iterator[Finding]:
    ends: list[tuple[Where, Address]] = [
        *(((*where, "ours", n), ours.ip) for n, ours in enumerate(session.ours)),
        *(((*where, "theirs", n), theirs) for n, theirs in enumerate(session.theirs)),
    ]
    networks = {
        ours.network
        for ours in session.ours
        if isinstance(ours, IPv4Interface) and ours.network.num_addresses > 2  # noqa: PLR2004
    }
    for here, address in ends:
        yield from check_end(here, address)
        for network in networks:
            if address in {network.network_address, network.broadcast_address}:
                what = f"{address} is the network's own or the broadcast address of {network}"
                yield Finding(here, what, "an address between these two")


def _families(versions: Sequence[int]) -> str:
    return ", ".join(f"IPv{version}" for version in versions) or "nothing"


# ---- what must be unique -------------------------------------------------------------------


def _check_capacities(platform: Platform) -> Iterator[Finding]:
    said: dict[tuple[str, str], int] = {}
    for where, session in _sessions(platform):
        here = (*where, "capacity")
        if session.capacity_mbps < 0:
            yield Finding(here, "must not be negative")
        elif session.capacity_mbps:
            port = (session.edge, session.interface)
            other = said.setdefault(port, session.capacity_mbps)
            if other != session.capacity_mbps:
                what = f"{session.interface} of {session.edge} has {other} Mbit/s already"
                yield Finding(here, what, "sessions that share a port share its capacity")


def _check_addresses(platform: Platform) -> Iterator[Finding]:
    """Find addresses that are not unique; link-local ones need only be so on their port."""
    users: dict[tuple[Address, tuple[str, str] | None], tuple[str, str]] = {}
    far_ends: dict[tuple[str, Address, str], Where] = {}
    for where, session in _sessions(platform):
        port = (session.edge, session.device)
        for index, ours in enumerate(session.ours):
            link = port if ours.ip.is_link_local else None
            edge, interface = users.setdefault((ours.ip, link), port)
            if (edge, interface) != port:
                what = f"{ours.ip} is already an address of {edge} ({interface})"
                yield Finding((*where, "ours", index), what, "addresses are unique")
        for index, theirs in enumerate(session.theirs):
            interface = session.interface if theirs.is_link_local else ""
            if far_ends.setdefault((session.edge, theirs, interface), where) != where:
                what = f"{session.edge} already has a session with {theirs}"
                yield Finding((*where, "theirs", index), what, "keep one of them")
