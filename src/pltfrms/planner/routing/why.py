"""Say in sentences why a prefix is (not) announced to a peer, and why a route is (not) used."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from pltfrms.errors import NotFoundError
from pltfrms.model.addresses import Prefix, contains
from pltfrms.model.messages.glass import RouteView
from pltfrms.model.network.announcements import Announcement, announcements_of, overrides_of
from pltfrms.model.network.interventions import Blackhole, DrainPhase
from pltfrms.model.network.peering import Peer, PeerKind, Session
from pltfrms.model.running.state import AggregateStatus, Contact, SessionStatus, Snapshot

_HERE = Contact.PRESENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """One address family of a session with a peer, where a prefix may cross the border."""

    session: str
    """`transit1@fra-e1`."""
    edge: str
    protocol: str
    """Its name in BIRD: `peer.transit1.ipv4`."""
    peer: Peer
    at: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Whether it is so, and because of what."""

    so: bool | None
    """None: it cannot be known from here."""
    because: tuple[str, ...]


def crossings(snapshot: Snapshot, peer: str, edge: str, version: int) -> tuple[Crossing, ...]:
    """Return where routes of an address family may cross to a peer; `edge` empty: anywhere.

    Raises:
        NotFoundError: there is no such peer, or it has no such session.
    """
    platform = snapshot.platform
    known = [each.name for each in platform.peers]
    if peer not in known:
        there = ", ".join(known) or "none"
        raise NotFoundError(f"there is no peer {peer!r}; there are: {there}")
    edges = dict.fromkeys(s.edge for each in platform.peers for s in each.sessions)
    found = tuple(
        Crossing(
            session=f"{name}@{place}",
            edge=place,
            protocol=f"peer.{name}.ipv{version}",
            peer=of,
            at=session,
        )
        for place in edges
        if edge in {"", place}
        for name, (of, session) in zip(
            platform.session_names(place), platform.sessions_of(place), strict=True
        )
        if of.name == peer and version in {ours.version for ours in session.ours}
    )
    if not found:
        where = f" at {edge}" if edge else ""
        raise NotFoundError(f"{peer} has no IPv{version} session{where}")
    return found


# ---- out -----------------------------------------------------------------------------------


def why_announced(snapshot: Snapshot, at: Crossing, prefix: Prefix, now_ms: int) -> Why:
    """Return whether a prefix should be announced there at `now_ms` (Unix time), and why."""
    platform = snapshot.platform
    announcements = announcements_of(platform, at.edge, snapshot.interventions, now_ms)
    for each in announcements:
        if (each.session, each.prefix) == (at.session, prefix):
            return _why_aggregate(snapshot, at, each, now_ms)
    return _why_other(snapshot, at, prefix, now_ms)


def _why_aggregate(
    snapshot: Snapshot, at: Crossing, announcement: Announcement, now_ms: int
) -> Why:
    """Gather what forbids it; what nothing forbids is announced, if all of it is known."""
    reported = _reported(snapshot, at, announcement.prefix)
    forbids = [
        *_overridden(snapshot, at, announcement, now_ms),
        *_drained(snapshot, at, now_ms),
        *(f"{at.edge} holds it back: {a.reason.sentence}" for a in reported if not a.announced),
        *_closed(snapshot, at),
    ]
    silent = [] if reported else [f"{at.edge} has not reported whether it announces it"]
    fine = [f"{at.edge} announces it: {each.reason.sentence}" for each in reported]
    because = (*fine, *_as_it_leaves(announcement))
    return _weighed(forbids, because, [*silent, *_unheard(snapshot, at)])


def _why_blackhole(snapshot: Snapshot, at: Crossing, hole: Blackhole, now_ms: int) -> Why:
    if not at.peer.takes_blackholes:
        customer = at.peer.kind is PeerKind.CUSTOMER
        why = "it is a customer" if customer else "its spec does not say `blackhole: true`"
        return Why(so=False, because=(f"{at.peer.name} takes no blackholes from us: {why}",))
    forbids = [*_drained(snapshot, at, now_ms), *_closed(snapshot, at)]
    return _weighed(forbids, (f"as a blackhole{_why(hole.why)}",), _unheard(snapshot, at))


def _weighed(forbids: Sequence[str], fine: Sequence[str], unknown: Sequence[str]) -> Why:
    """Return what all of it comes to: what nothing forbids is so, if all of it is known."""
    if forbids:
        return Why(so=False, because=(*forbids, *unknown))
    return Why(so=None if unknown else True, because=(*fine, *unknown))


def _closed(snapshot: Snapshot, at: Crossing) -> list[str]:
    session = session_status(snapshot, at)
    return [_down(at, session)] if session and not session.up else []


def _unheard(snapshot: Snapshot, at: Crossing) -> list[str]:
    """Return why what the edge says of a session may be old, or says nothing."""
    contact = snapshot.contact(at.edge)
    old = f"{at.edge} is {contact}: this is what it said last"
    silent = f"{at.edge} has not reported the session"
    return [
        *([old] if contact is not _HERE else []),
        *([] if session_status(snapshot, at) else [silent]),
    ]


def _reported(snapshot: Snapshot, at: Crossing, prefix: Prefix) -> list[AggregateStatus]:
    status = snapshot.statuses.get(at.edge)
    aggregates = status.aggregates if status else ()
    return [each for each in aggregates if each.prefix == str(prefix)]


def _overridden(
    snapshot: Snapshot, at: Crossing, announcement: Announcement, now_ms: int
) -> list[str]:
    if announcement.announce:
        return []
    last = [
        each
        for each in overrides_of(snapshot.platform, at.peer, at.at, now_ms)
        if each.announce is False and each.prefix in {None, announcement.prefix}
    ][-1]
    return [f"an override says so{_why(last.why)}"]


def _drained(snapshot: Snapshot, at: Crossing, now_ms: int) -> list[str]:
    return [
        f"the session is drained{_why(drain.why)}: {drain.about}"
        for drain in snapshot.interventions.drains
        if drain.fits(at.peer.name, snapshot.platform.machine(at.edge), at.at.interface)
        and drain.phase(now_ms) is DrainPhase.WITHDRAWN
    ]


def _as_it_leaves(announcement: Announcement) -> list[str]:
    """Return how it differs from the plain aggregate."""
    parts = [
        f"our ASN {announcement.prepend} more times" if announcement.prepend else "",
        f"MED {announcement.med}" if announcement.med is not None else "",
        "no-export" if announcement.no_export else "",
        *(":".join(map(str, community)) for community in announcement.communities),
    ]
    with_what = ", ".join(part for part in parts if part)
    drained = announcement.drain is DrainPhase.SHUTDOWN
    return [
        *([f"it leaves with {with_what}"] if with_what else []),
        *(["it is being drained: it leaves with graceful shutdown"] if drained else []),
    ]


def _why_other(snapshot: Snapshot, at: Crossing, prefix: Prefix, now_ms: int) -> Why:
    """Judge a prefix that is none of our aggregates."""
    for hole in snapshot.interventions.blackholes:
        if hole.prefix == prefix and now_ms < hole.until_ms:
            return _why_blackhole(snapshot, at, hole, now_ms)
    for aggregate in snapshot.platform.aggregates:
        if aggregate.prefix == prefix:
            only = f"it is announced only in {', '.join(aggregate.only)}: its spec says so"
            return Why(so=False, because=(only,))
        if contains(aggregate.prefix, prefix):
            only = f"it is part of {aggregate.prefix}, which is announced only as a whole"
            return Why(so=False, because=(only,))
    if at.peer.kind is PeerKind.CUSTOMER:
        rule = "a customer gets every route that we have from outside"
    else:
        rule = "besides our aggregates, only routes of customers are announced"
    return Why(so=None, because=(f"it is none of our aggregates; {rule}",))


# ---- in ------------------------------------------------------------------------------------


def why_used(
    snapshot: Snapshot,
    at: Crossing,
    prefix: Prefix,
    accepted: Sequence[RouteView],
    refused: Sequence[RouteView],
) -> Why:
    """Return whether an edge uses a route from a peer, and why.

    `accepted` are all the edge's paths to the longest match of `prefix`, `refused` the routes
    of this session that it refused.
    """
    ours = next((route for route in accepted if route.session == at.protocol), None)
    best = next((route for route in accepted if route.best), None)
    nearest = [each for each in refused if ours is None or _length(each) > _length(ours)]
    if nearest and (prefix.prefixlen in {_length(nearest[0]), prefix.max_prefixlen}):
        return Why(so=False, because=tuple(map(_refusal, nearest)))
    if ours:
        return _judged(ours, best, prefix)
    session = session_status(snapshot, at)
    if session is not None and not session.up:
        return Why(so=False, because=(_down(at, session),))
    instead = f"; the longest match, {best.prefix}, comes from {best.session}" if best else ""
    missing = f"{at.session} does not bring it{instead}"
    return Why(so=False, because=(missing, *map(_refusal, refused)))


def _length(route: RouteView) -> int:
    return ip_network(route.prefix).prefixlen


def _judged(route: RouteView, best: RouteView | None, asked: Prefix) -> Why:
    covers = [] if route.prefix == str(asked) else [f"the longest match is {route.prefix}"]
    if route.best:
        return Why(so=True, because=(*covers, "it is the best path"))
    if best is None:
        return Why(so=False, because=(*covers, "no path to it is usable"))
    return Why(so=False, because=(*covers, compare(best, route)))


def compare(best: RouteView, other: RouteView) -> str:
    """Return why `best` wins over `other`, by the first step of BGP's choice that differs."""
    if best.local_preference is None or other.local_preference is None:
        return f"{best.session} wins: not both are BGP routes"
    neighbour = best.as_path[:1] == other.as_path[:1]
    steps: tuple[tuple[str, object, object], ...] = (
        ("local preference", best.local_preference, other.local_preference),
        ("hops in the AS path", len(best.as_path), len(other.as_path)),
        ("origin", best.origin, other.origin),
        ("MED", best.med or 0, other.med or 0) if neighbour else ("", 0, 0),
        ("learned", _where(best), _where(other)),
    )
    for what, of_best, of_other in steps:
        if of_best != of_other:
            return f"{best.session} wins: {what} {of_best} against {of_other}"
    return f"{best.session} wins among equals: nearest exit, then lowest router id"


def _where(route: RouteView) -> str:
    return "at another edge" if route.session.startswith("edge.") else "here"


def _refusal(route: RouteView) -> str:
    if route.reject is None:
        return f"{route.prefix} is refused by a rule that says no reason"
    return f"{route.prefix} is refused: {route.reject.sentence} ({route.reject})"


# ---- both ----------------------------------------------------------------------------------


def session_status(snapshot: Snapshot, at: Crossing) -> SessionStatus | None:
    """Return what the edge last reported of the session, if anything."""
    status = snapshot.statuses.get(at.edge)
    sessions = status.sessions if status else ()
    return next((each for each in sessions if each.name == at.protocol), None)


def _down(at: Crossing, session: SessionStatus) -> str:
    return f"{at.session} is down{_why(session.detail)}"


def _why(text: str) -> str:
    return f" ({text})" if text else ""
