"""What makes no sense in the backbone, the peers and the sessions of a platform."""

import re
from collections.abc import Iterator, Sequence

from pltfrms.model.topology import (
    Interface,
    Peer,
    Platform,
    Role,
    Session,
    backbone_interface,
    fabric_interface,
)
from pltfrms.specfile.findings import (
    Finding,
    Where,
    check_asn,
    check_interface,
    check_name,
    nearest,
)

_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


def check_routing(platform: Platform) -> Iterator[Finding]:
    """Yield what is wrong with backbone, peers and sessions."""
    yield from _check_backbone(platform)
    for peer in platform.peers:
        yield from _check_peer(platform, peer)
    yield from _check_interfaces(platform)
    yield from _check_addresses(platform)


# ---- backbone ------------------------------------------------------------------------------


def _check_backbone(platform: Platform) -> Iterator[Finding]:
    seen: dict[frozenset[str], int] = {}
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
            yield from _check_ends(platform, where, link.a, link.b)
        if seen.setdefault(frozenset((link.a, link.b)), index) != index:
            what = f"a second link between {link.a} and {link.b}"
            yield Finding(where, what, "join the circuits below us, or use another edge")
        if link.capacity_mbps < 0:
            yield Finding((*where, "capacity"), "must not be negative")


def _check_ends(platform: Platform, where: Where, a: str, b: str) -> Iterator[Finding]:
    ends = (platform.machine(a), platform.machine(b))
    if ends[0].datacenter == ends[1].datacenter:
        what = f"{a} and {b} are both in {ends[0].datacenter}"
        hint = "the fabrics connect a datacenter inside; a link joins two datacenters"
        yield Finding((*where, "link"), what, hint)
    for position, end in enumerate((a, b)):
        hint = f"the far end names it so: give {end} a name of at most 12 characters"
        here = (*where, "link", position)
        yield from check_interface(here, backbone_interface(end), hint)


def check_edge(platform: Platform, where: Where, name: str) -> Iterator[Finding]:
    """Find a name that is not that of an edge."""
    edges = [machine.name for machine in platform.machines_of(Role.EDGE)]
    if name in edges:
        return
    others = {machine.name: machine.role for machine in platform.machines}
    if name in others:
        yield Finding(where, f"{name} is a {others[name]}, not an edge", nearest(name, edges))
    else:
        yield Finding(where, f"there is no edge {name!r}", nearest(name, edges), name)


# ---- peers ---------------------------------------------------------------------------------


def _check_peer(platform: Platform, peer: Peer) -> Iterator[Finding]:
    where = ("peers", peer.name)
    yield from check_name(where, peer.name)
    yield from check_asn((*where, "asn"), peer.asn)
    if peer.asn == platform.asn:
        what = f"{peer.asn} is our own ASN"
        yield Finding((*where, "asn"), what, "a peer is another network")
    if peer.max_prefixes < 1:
        yield Finding((*where, "max_prefixes"), "must be at least 1")
    if not peer.sessions:
        yield Finding((*where, "sessions"), "there is none", "sessions: [{edge: …}]", "")
    for index, session in enumerate(peer.sessions):
        here = (*where, "sessions", index)
        yield from check_edge(platform, (*here, "edge"), session.edge)
        yield from _check_families(here, session)
        for ours in session.ours:
            for prefix in (platform.infrastructure4, platform.infrastructure6):
                if ours.version == prefix.version and ours.network.overlaps(prefix):
                    what = f"{ours} is inside our infrastructure {prefix}"
                    yield Finding((*here, "ours"), what, "set infrastructure: to another")


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
        if getattr(near, "scope_id", None) or getattr(far, "scope_id", None):
            yield Finding(here, "an address must not have a scope (%)")
        if far == near.ip:
            yield Finding(here, f"{far} is our own address")
        elif far not in near.network:
            what = f"{far} is not in {near.network}, the network of our {near.ip}"
            yield Finding(here, what, "ours and theirs share one network")


def _families(versions: Sequence[int]) -> str:
    return ", ".join(f"IPv{version}" for version in versions) or "nothing"


# ---- what must be unique -------------------------------------------------------------------


def _sessions(platform: Platform) -> Iterator[tuple[Where, Session]]:
    for peer in platform.peers:
        for index, session in enumerate(peer.sessions):
            yield ("peers", peer.name, "sessions", index), session


def _check_interfaces(platform: Platform) -> Iterator[Finding]:
    users: dict[tuple[str, str], Where] = {
        (edge.name, name): where
        for edge in platform.machines_of(Role.EDGE)
        for name, where in _own_interfaces(platform, edge.name, edge.datacenter).items()
    }
    for where, session in _sessions(platform):
        here = (*where, "interface")
        if not _INTERFACE.match(session.interface):
            yield Finding(here, f"{session.interface!r} is not the name of an interface")
        hint = "set interface: to a shorter name"
        yield from check_interface(here, session.interface, hint)
        if users.setdefault((session.edge, session.interface), where) != where:
            what = f"{session.interface} of {session.edge} is already in use"
            yield Finding(here, what, "set interface: to a name that is unique on the edge")


def _own_interfaces(platform: Platform, edge: str, datacenter: str) -> dict[str, Where]:
    fabrics = next((dc.fabrics for dc in platform.datacenters if dc.name == datacenter), ())
    return {
        "lo": (),
        **{fabric_interface(fabric): ("datacenters", datacenter) for fabric in fabrics},
        **{backbone_interface(k.far_end(edge)): ("backbone",) for k in platform.links_of(edge)},
    }


def _check_addresses(platform: Platform) -> Iterator[Finding]:
    users: dict[Interface, str] = {}
    for where, session in _sessions(platform):
        for index, address in enumerate(session.ours):
            if address in users:
                what = f"{address} is already an address of {users[address]}"
                yield Finding((*where, "ours", index), what, "addresses are unique")
            users.setdefault(address, session.edge)
