"""The network's outside as a person wants to see it. Pure: from one snapshot to rows.

What an edge out of contact said last is `unknown`, neither up nor down; so is what it says of
sessions while its BIRD is silent.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pltfrms.errors import NotFoundError
from pltfrms.model.addresses import Prefix
from pltfrms.model.network.announcements import Announcement, announcements_of, overrides_of
from pltfrms.model.network.interventions import DrainPhase, Interventions
from pltfrms.model.network.peering import Peer, PeerKind, Reject
from pltfrms.model.network.topology import Machine, Role
from pltfrms.model.running.state import (
    Contact,
    MachineStatus,
    RoutingState,
    SessionStatus,
    Snapshot,
)
from pltfrms.planner.routing.expiry import ending_overrides
from pltfrms.seen.loads import LoadRow, load_rows
from pltfrms.seen.words import (
    announcement_changes,
    blackhole_sentence,
    drain_sentence,
    override_sentence,
    release_sentence,
)

UNKNOWN = "unknown"
EXTERNAL = "external"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """One address family of a session with the outside."""

    session: str
    """`transit1@fra-e1`."""
    peer: str
    edge: str
    family: str
    """`ipv4` or `ipv6`."""
    interface: str
    ours: str
    theirs: str
    state: str
    """`up`, `down` or `unknown`."""
    detail: str = ""
    imported: int = 0
    exported: int = 0
    filtered: int = 0
    rejects: Mapping[str, int] = field(default_factory=dict)
    drain: DrainPhase


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRow:
    """A peer with all its sessions in numbers."""

    name: str
    kind: PeerKind
    asn: int
    sessions_up: int
    sessions: int
    unknown: int
    """Sessions of edges out of contact, or whose BIRD is silent."""
    imported: int
    exported: int
    filtered: int
    drain: str
    """`none`, `shutdown`, `withdrawn`, or `partly …` if its sessions differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectRow:
    """Routes that are refused for one reason."""

    reason: str
    routes: int
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncementRow:
    """One aggregate on one session."""

    session: str
    prefix: str
    state: str
    """`announced`, `not announced`, `withdrawn` or `unknown`."""
    why: str
    changes: str
    """`prepend x2, no-export`; empty if it leaves as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerDetail:
    """All of one peer."""

    peer: PeerRow
    sessions: tuple[SessionRow, ...]
    rejects: tuple[RejectRow, ...]
    announcements: tuple[AnnouncementRow, ...]
    overrides: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeRow:
    """An edge and where it is with its routing."""

    name: str
    datacenter: str
    contact: Contact
    routing: str
    """A `RoutingState`; `unknown` out of contact; `external` if others manage it."""
    detail: str
    running: str
    """Fingerprint of the policy in force."""
    wanted: str
    sessions_up: int
    unknown: int
    """Sessions of which it is not known."""
    sessions: int
    drain: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeDetail:
    """All of one edge."""

    edge: EdgeRow
    sessions: tuple[SessionRow, ...]
    announcements: tuple[AnnouncementRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkDetail:
    """What is done to the network for a while, and which edges are not settled."""

    frozen: bool
    interventions: Interventions
    asked: Mapping[str, str]
    """Who is asked to drop what, in words, by the prefix of each blackhole."""
    unsettled: tuple[EdgeRow, ...]
    """Edges whose routing is not confirmed."""
    overrides: tuple[str, ...]
    """Those that end soon or have ended."""
    loads: tuple[LoadRow, ...]
    """Ports and links of which the load or the capacity is known."""


# ---- sessions ------------------------------------------------------------------------------


def session_rows(snapshot: Snapshot, now_ms: int) -> tuple[SessionRow, ...]:
    """Return all sessions with the outside, by edge, in spec order."""
    return tuple(
        row
        for edge in snapshot.platform.machines_of(Role.EDGE)
        for row in _edge_sessions(snapshot, edge, now_ms)
    )


def _edge_sessions(snapshot: Snapshot, edge: Machine, now_ms: int) -> Iterable[SessionRow]:
    platform = snapshot.platform
    said = _said(snapshot, edge.name)
    names = platform.session_names(edge.name)
    for name, (peer, session) in zip(names, platform.sessions_of(edge.name), strict=True):
        drain = snapshot.interventions.drain_of(peer.name, edge, session.interface, now_ms)
        for ours, theirs in zip(session.ours, session.theirs, strict=True):
            family = f"ipv{ours.version}"
            status = said.get(f"peer.{name}.{family}")
            yield SessionRow(
                session=f"{name}@{edge.name}",
                peer=peer.name,
                edge=edge.name,
                family=family,
                interface=session.interface,
                ours=str(ours),
                theirs=str(theirs),
                state=_state(status),
                detail=status.detail if status else "",
                imported=status.imported if status else 0,
                exported=status.exported if status else 0,
                filtered=status.filtered if status else 0,
                rejects=status.rejects if status else {},
                drain=drain,
            )


def _said(snapshot: Snapshot, edge: str) -> dict[str, SessionStatus]:
    """Return what an edge says of its sessions; nothing while it is out of contact."""
    status = _heard(snapshot, edge)
    return {session.name: session for session in status.sessions} if status else {}


def _heard(snapshot: Snapshot, edge: str) -> MachineStatus | None:
    """Return what an edge says; None while it is out of contact."""
    present = snapshot.contact(edge) is Contact.PRESENT
    return snapshot.statuses.get(edge) if present else None


def _state(status: SessionStatus | None) -> str:
    if status is None or not status.known:
        return UNKNOWN
    return "up" if status.up else "down"


def _drain_word(rows: Iterable[SessionRow]) -> str:
    phases = {row.drain for row in rows} or {DrainPhase.NONE}
    if len(phases) == 1:
        return phases.pop().value
    furthest = DrainPhase.WITHDRAWN if DrainPhase.WITHDRAWN in phases else DrainPhase.SHUTDOWN
    return f"partly {furthest.value}"


# ---- peers ---------------------------------------------------------------------------------


def peer_rows(snapshot: Snapshot, now_ms: int) -> tuple[PeerRow, ...]:
    """Return all peers in spec order."""
    sessions = session_rows(snapshot, now_ms)
    return tuple(_peer_row(peer, sessions) for peer in snapshot.platform.peers)


def _peer_row(peer: Peer, sessions: Iterable[SessionRow]) -> PeerRow:
    rows = [row for row in sessions if row.peer == peer.name]
    return PeerRow(
        name=peer.name,
        kind=peer.kind,
        asn=peer.asn,
        sessions_up=sum(row.state == "up" for row in rows),
        sessions=len(rows),
        unknown=sum(row.state == UNKNOWN for row in rows),
        imported=sum(row.imported for row in rows),
        exported=sum(row.exported for row in rows),
        filtered=sum(row.filtered for row in rows),
        drain=_drain_word(rows),
    )


def peer_detail(snapshot: Snapshot, name: str, now_ms: int) -> PeerDetail:
    """Return all of one peer; NotFoundError if there is none of that name."""
    peer = _find("peer", name, snapshot.platform.peers)
    rows = tuple(row for row in session_rows(snapshot, now_ms) if row.peer == name)
    announced = [
        _announcement_row(snapshot, each)
        for edge in dict.fromkeys(session.edge for session in peer.sessions)
        for each in announcements_of(snapshot.platform, edge, snapshot.interventions, now_ms)
        if each.peer == name
    ]
    return PeerDetail(
        peer=_peer_row(peer, rows),
        sessions=rows,
        rejects=_reject_rows(rows),
        announcements=tuple(announced),
        overrides=tuple(
            override_sentence(override, now_ms)
            for override in dict.fromkeys(
                each
                for session in peer.sessions
                for each in overrides_of(snapshot.platform, peer, session, now_ms)
            )
        ),
    )


def _reject_rows(rows: Iterable[SessionRow]) -> tuple[RejectRow, ...]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(row.rejects)
    return tuple(
        RejectRow(reason=reason, routes=routes, sentence=_reject_sentence(reason))
        for reason, routes in counts.most_common()
        if routes
    )


def _reject_sentence(reason: str) -> str:
    try:
        return Reject(reason).sentence
    except ValueError:
        return "a reason that this version does not know"


def _announcement_row(snapshot: Snapshot, each: Announcement) -> AnnouncementRow:
    state, why = _announced(snapshot, each)
    return AnnouncementRow(
        session=each.session,
        prefix=str(each.prefix),
        state=state,
        why=why,
        changes=announcement_changes(each),
    )


def _announced(snapshot: Snapshot, each: Announcement) -> tuple[str, str]:
    """Return whether an announcement is out, and why (not)."""
    if not each.announce:
        return "not announced", "an override says so"
    status = _heard(snapshot, each.edge)
    if status is None:
        return UNKNOWN, "the edge is out of contact"
    if each.drain is DrainPhase.WITHDRAWN:
        return "withdrawn", "the session is drained"
    prefix = str(each.prefix)
    said = next((a for a in status.aggregates if a.prefix == prefix), None)
    if said is None:
        return UNKNOWN, "the edge says nothing of it"
    return ("announced" if said.announced else "not announced"), said.reason.sentence


# ---- edges and the whole -------------------------------------------------------------------


def edge_rows(snapshot: Snapshot, now_ms: int) -> tuple[EdgeRow, ...]:
    """Return all edges in spec order."""
    edges = snapshot.platform.machines_of(Role.EDGE)
    return tuple(_edge_row(snapshot, edge, now_ms) for edge in edges)


def edge_detail(snapshot: Snapshot, name: str, now_ms: int) -> EdgeDetail:
    """Return all of one edge; NotFoundError if there is none of that name."""
    edge = _find("edge", name, snapshot.platform.machines_of(Role.EDGE))
    announced = announcements_of(snapshot.platform, name, snapshot.interventions, now_ms)
    return EdgeDetail(
        edge=_edge_row(snapshot, edge, now_ms),
        sessions=tuple(_edge_sessions(snapshot, edge, now_ms)),
        announcements=tuple(_announcement_row(snapshot, each) for each in announced),
    )


def _edge_row(snapshot: Snapshot, edge: Machine, now_ms: int) -> EdgeRow:
    status = snapshot.statuses.get(edge.name)
    rows = tuple(_edge_sessions(snapshot, edge, now_ms))
    return EdgeRow(
        name=edge.name,
        datacenter=edge.datacenter,
        contact=snapshot.contact(edge.name),
        routing=_routing_word(snapshot, edge),
        detail=status.routing.detail if status else "",
        running=status.routing.running if status else "",
        wanted=status.routing.wanted if status else "",
        sessions_up=sum(row.state == "up" for row in rows),
        unknown=sum(row.state == UNKNOWN for row in rows),
        sessions=len(rows),
        drain=_drain_word(rows),
    )


def _routing_word(snapshot: Snapshot, edge: Machine) -> str:
    if edge.external:
        return EXTERNAL
    status = _heard(snapshot, edge.name)
    return status.routing.state.value if status else UNKNOWN


def network_detail(snapshot: Snapshot, now_ms: int) -> NetworkDetail:
    """Return what is done to the network for a while, and what is not settled."""
    settled = {RoutingState.CONFIRMED.value, EXTERNAL}
    return NetworkDetail(
        frozen=snapshot.interventions.freeze is not None,
        interventions=snapshot.interventions,
        asked={
            str(each.prefix): asked_sentence(snapshot, each.prefix, now_ms)
            for each in snapshot.interventions.blackholes
        },
        unsettled=tuple(r for r in edge_rows(snapshot, now_ms) if r.routing not in settled),
        overrides=tuple(
            override_sentence(each, now_ms)
            for each in ending_overrides(snapshot.platform, now_ms)
        ),
        loads=load_rows(snapshot),
    )


def network_lines(detail: NetworkDetail, now_ms: int) -> tuple[str, ...]:
    """Return what `status` says of the network, but for a freeze."""
    done = detail.interventions
    return (
        *(f"drain {drain_sentence(each, now_ms)}" for each in done.drains),
        *(f"blackhole {sentence}" for sentence in blackhole_lines(detail, now_ms)),
        *(f"brake released, {release_sentence(each, now_ms)}" for each in done.releases),
        *(f"override {sentence}" for sentence in detail.overrides),
        *(f"routing of {unsettled_sentence(each)}" for each in detail.unsettled),
    )


def blackhole_lines(detail: NetworkDetail, now_ms: int) -> tuple[str, ...]:
    """Return each blackhole with its end and with who is asked to drop what goes there."""
    return tuple(
        f"{blackhole_sentence(each, now_ms)}; {detail.asked[str(each.prefix)]}"
        for each in detail.interventions.blackholes
    )


def asked_sentence(snapshot: Snapshot, prefix: Prefix, now_ms: int) -> str:
    """Return which sessions ask their peers to drop what goes to `prefix`, and which cannot."""
    takers = {peer.name for peer in snapshot.platform.peers if peer.takes_blackholes}
    rows = [
        row
        for row in session_rows(snapshot, now_ms)
        if row.peer in takers and row.family == f"ipv{prefix.version}"
    ]
    troubles = {row.session: _asks_not(row) for row in rows}
    asked = [session for session, trouble in troubles.items() if not trouble]
    not_now = [f"{session} ({trouble})" for session, trouble in troubles.items() if trouble]
    first = f"asked to drop it: {', '.join(asked)}" if asked else "nobody is asked to drop it"
    return f"{first}; not {', '.join(not_now)}" if not_now else first


def _asks_not(row: SessionRow) -> str:
    """Return why a session asks for nothing, or is not known to; empty if it asks."""
    if row.drain is DrainPhase.WITHDRAWN:
        return "drained"
    return "" if row.state == "up" else row.state


def unsettled_sentence(edge: EdgeRow) -> str:
    """Return where an edge is with its routing."""
    return f"{edge.name}: {edge.routing}{f': {edge.detail}' if edge.detail else ''}"


_Named = TypeVar("_Named", Peer, Machine)


def _find(noun: str, name: str, among: Iterable[_Named]) -> _Named:
    """Return the one called `name`; NotFoundError with the known ones if there is none."""
    there = {each.name: each for each in among}
    if name in there:
        return there[name]
    known = ", ".join(there) or "none"
    raise NotFoundError(f"there is no {noun} {name!r}; there are: {known}")
