"""The ways that traffic can take out of a datacenter, and what they carry now. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.announcements import announcements_of
from pltfrms.model.network.interventions import DrainPhase, Interventions
from pltfrms.model.network.links import Link
from pltfrms.model.network.peering import Peer, PeerKind, Session
from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.model.running.state import Contact, Load, SessionStatus, Snapshot

TRANSIT: Final = "transit"
OUTSIDE: Final = "outside"
"""Pools of ports: what a transit carried needs a transit; what peers carried, any of both."""
Where = tuple[str, str]
"""An edge, and an interface of it."""
_GBIT: Final = 10**9


class Direction(StrEnum):
    """Seen from us."""

    OUT = "out"
    IN = "in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known of the traffic now."""

    loads: Mapping[Where, Load] = field(default_factory=dict)
    down: frozenset[str] = frozenset()
    """Sessions such as `transit1@fra-e1` of which no address family is up."""


NOT_MEASURED: Final = Measured()


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What is wanted of the network at one time."""

    platform: Platform
    interventions: Interventions
    at_ms: int
    """Unix time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A port with all its sessions, or one end of a backbone link."""

    datacenter: str
    name: str
    """`transit1@fra-e1`; `fra-e2/x-ixp1` if several sessions share it; `fra-e1--ams-e2`."""
    where: Where
    capacity_mbps: int
    """In each direction; 0: not said."""
    load: Load | None
    """None: not known."""
    pools: frozenset[str] = frozenset()
    """Ports: the traffic that it can carry: `transit`, `outside`, `customer NAME`."""
    open: bool = True
    prefixes: frozenset[Prefix] = frozenset()
    """Ports: the aggregates that are announced there."""

    def bps(self, direction: Direction) -> int | None:
        """Return the load in one direction, None if it is not known."""
        if self.load is None:
            return None
        return self.load.sent_bps if direction is Direction.OUT else self.load.received_bps

    def takes(self, direction: Direction) -> bool:
        """Return whether more traffic can come that way."""
        comes = direction is Direction.OUT or OUTSIDE not in self.pools or bool(self.prefixes)
        return self.open and comes


def measured(snapshot: Snapshot) -> Measured:
    """Return what the edges in contact have told of their traffic and their sessions."""
    platform = snapshot.platform
    known = {
        name: status
        for name, status in snapshot.statuses.items()
        if snapshot.contact(name) is Contact.PRESENT
    }
    return Measured(
        loads={
            (name, interface): load
            for name, status in known.items()
            for interface, load in status.loads.items()
        },
        down=frozenset(
            f"{session}@{edge.name}"
            for edge in platform.machines_of(Role.EDGE)
            if edge.name in known
            for session in platform.session_names(edge.name)
            if _is_down(session, known[edge.name].sessions)
        ),
    )


def _is_down(session: str, said: Iterable[SessionStatus]) -> bool:
    names = {f"peer.{session}.ipv{version}" for version in (4, 6)}
    known = [each.up for each in said if each.name in names]
    return bool(known) and not any(known)


def rate_words(bps: int) -> str:
    """Return bits per second in words, such as `6.2 Gbit/s`."""
    unit, size = ("Gbit/s", _GBIT) if bps >= _GBIT else ("Mbit/s", 10**6)
    return f"{bps / size:.3g} {unit}"


# ---- ports ---------------------------------------------------------------------------------


def ports(intent: Intent, seen: Measured) -> dict[Where, Way]:
    """Return the ports of all sessions with the outside, by edge, in spec order."""
    return {
        way.where: way
        for edge in intent.platform.machines_of(Role.EDGE)
        for way in _ports_of(intent, seen, edge)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _User:
    """A session of a port."""

    name: str
    peer: Peer
    session: Session
    open: bool
    prefixes: frozenset[Prefix]


def _ports_of(intent: Intent, seen: Measured, edge: Machine) -> Iterable[Way]:
    on_port: dict[str, list[_User]] = {}
    for user in _users(intent, seen, edge):
        on_port.setdefault(user.session.interface, []).append(user)
    for interface, users in on_port.items():
        where = (edge.name, interface)
        yield Way(
            datacenter=edge.datacenter,
            name=users[0].name if len(users) == 1 else f"{edge.name}/{interface}",
            where=where,
            capacity_mbps=max(user.session.capacity_mbps for user in users),
            load=seen.loads.get(where),
            pools=_pools([user.peer for user in users]),
            open=any(user.open for user in users),
            prefixes=frozenset().union(*(user.prefixes for user in users if user.open)),
        )


def _users(intent: Intent, seen: Measured, edge: Machine) -> Iterable[_User]:
    platform = intent.platform
    announced: dict[str, set[Prefix]] = {}
    for each in announcements_of(platform, edge.name, intent.interventions, intent.at_ms):
        if each.visible:
            announced.setdefault(each.session, set()).add(each.prefix)
    sessions = platform.sessions_of(edge.name)
    for name, (peer, session) in zip(platform.session_names(edge.name), sessions, strict=True):
        full = f"{name}@{edge.name}"
        phase = intent.interventions.drain_of(peer.name, edge, session.interface, intent.at_ms)
        yield _User(
            name=full,
            peer=peer,
            session=session,
            # What a drain says before it withdraws moves the traffic already.
            open=phase is DrainPhase.NONE and full not in seen.down,
            prefixes=frozenset(announced.get(full, ())),
        )


def _pools(peers: Iterable[Peer]) -> frozenset[str]:
    users = tuple(peers)
    kinds = {peer.kind for peer in users}
    if kinds == {PeerKind.CUSTOMER}:
        return frozenset(f"customer {peer.name}" for peer in users)
    return frozenset({OUTSIDE, TRANSIT} if PeerKind.TRANSIT in kinds else {OUTSIDE})


# ---- links ---------------------------------------------------------------------------------


def links(intent: Intent, seen: Measured) -> dict[Where, Way]:
    """Return both ends of all backbone links; what one end does not tell, the other may."""
    return {
        (near, link.interface_at(near)): Way(
            datacenter=intent.platform.machine(near).datacenter,
            name=link.name,
            where=(near, link.interface_at(near)),
            capacity_mbps=link.capacity_mbps,
            load=_link_load(seen, link, near),
        )
        for link in intent.platform.links
        for near in (link.a, link.b)
    }


def _link_load(seen: Measured, link: Link, near: str) -> Load | None:
    """Return the load of a link, as the edge `near` sees it; None: not known."""
    far = link.far_end(near)
    here = seen.loads.get((near, link.interface_at(near)))
    there = seen.loads.get((far, link.interface_at(far)))
    if here or there is None:
        return here
    return Load(received_bps=there.sent_bps, sent_bps=there.received_bps)
