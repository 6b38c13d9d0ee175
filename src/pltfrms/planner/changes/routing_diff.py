"""What the neighbours see of a change, line by line, and how much each line disturbs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pltfrms.model.addresses import Prefix
from pltfrms.model.durations import short_duration
from pltfrms.model.messages.guards import Effect, RoutingChange
from pltfrms.model.network.announcements import Announcement, announcements, preference_of
from pltfrms.model.network.interventions import Drain, DrainPhase, Interventions
from pltfrms.model.network.links import Link, LinkKind
from pltfrms.model.network.peering import Allowed, Peer, Session
from pltfrms.model.network.topology import Aggregate, Platform
from pltfrms.model.network.traffic import Community

BACKBONE: Final = "backbone"
"""What `RoutingChange.session` says of links."""
_GUARDS: Final = (
    "announce_floor",
    "shrink_percent",
    "headroom_percent",
    "vantage_floor",
    "table_floor4",
    "table_floor6",
    "node_prefixes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Neighbour:
    """A session with all that decides what crosses it."""

    peer: Peer
    session: Session
    preference: int
    bfd_ms: int
    """Interval between packets; 0 without BFD."""
    bfd_multiplier: int
    announced: Mapping[Prefix, Announcement]
    blackholes: tuple[Prefix, ...]
    drain: Drain | None
    """The first that takes everything back, now or later; None without drain."""


_Line = tuple[str, Effect]
_CALLED_OFF: Final = "the drain that was planned is called off"


def routing_changes(
    before: Platform,
    after: Platform,
    interventions_before: Interventions,
    interventions_after: Interventions,
    now_ms: int,
) -> tuple[RoutingChange, ...]:
    """Return what changes for each neighbour at `now_ms` (Unix time).

    By session in spec order, then the backbone, then what no neighbour sees. A drain that
    only warns now says when it withdraws. Secrets are never shown.
    """
    old = _neighbours(before, interventions_before, now_ms)
    new = _neighbours(after, interventions_after, now_ms)
    changes = [
        RoutingChange(session=name, what=what, effect=effect)
        for name in dict.fromkeys((*old, *new))
        for what, effect in _session_lines(old.get(name), new.get(name), now_ms)
    ]
    for subject, lines in (
        (BACKBONE, _link_lines(before, after)),
        ("fabrics", _port_lines(before, after)),
        ("aggregates", _aggregate_lines(before, after)),
        ("rpki", _validation_lines(before, after)),
        ("guards", _guard_lines(before, after)),
    ):
        changes += [RoutingChange(session=subject, what=w, effect=e) for w, e in lines]
    return tuple(changes)


# ---- sessions ------------------------------------------------------------------------------


def _neighbours(
    platform: Platform, interventions: Interventions, now_ms: int
) -> dict[str, _Neighbour]:
    announced: dict[str, dict[Prefix, Announcement]] = {}
    for each in announcements(platform, interventions, now_ms):
        announced.setdefault(each.session, {})[each.prefix] = each
    timers = platform.timers
    edges = dict.fromkeys(session.edge for peer in platform.peers for session in peer.sessions)
    return {
        f"{name}@{edge}": _Neighbour(
            peer=peer,
            session=session,
            preference=preference_of(platform, peer, session, now_ms),
            bfd_ms=timers.external_bfd_interval_ms if session.bfd else 0,
            bfd_multiplier=timers.bfd_multiplier if session.bfd else 0,
            announced=announced.get(f"{name}@{edge}", {}),
            blackholes=_blackholes(platform, interventions, (peer, session), now_ms),
            drain=_first_drain(platform, interventions, (peer, session), now_ms),
        )
        for edge in edges
        for name, (peer, session) in zip(
            platform.session_names(edge), platform.sessions_of(edge), strict=True
        )
    }


def _blackholes(
    platform: Platform, interventions: Interventions, at: tuple[Peer, Session], now_ms: int
) -> tuple[Prefix, ...]:
    """Return what a session asks its peer to drop."""
    peer, session = at
    edge = platform.machine(session.edge)
    phase = interventions.drain_of(peer.name, edge, session.interface, now_ms)
    if not peer.takes_blackholes or phase is DrainPhase.WITHDRAWN:
        return ()
    families = {ours.version for ours in session.ours}
    return tuple(
        blackhole.prefix
        for blackhole in interventions.blackholes
        if now_ms < blackhole.until_ms and blackhole.prefix.version in families
    )


def _first_drain(
    platform: Platform, interventions: Interventions, at: tuple[Peer, Session], now_ms: int
) -> Drain | None:
    peer, session = at
    edge = platform.machine(session.edge)
    drains = [
        drain
        for drain in interventions.drains
        if drain.fits(peer.name, edge, session.interface) and not drain.is_over(now_ms)
    ]
    return min(drains, key=lambda drain: drain.since_ms + drain.wait_ms, default=None)


def _session_lines(
    old: _Neighbour | None, new: _Neighbour | None, now_ms: int
) -> Iterator[_Line]:
    if old is None and new is not None:
        yield "session added", Effect.MOVES
    elif new is None:
        yield "session removed", Effect.MOVES
    elif old is not None:
        yield from _resets(old, new)
        yield from _other_settings(old, new)
    yield from _prefix_lines(old, new, now_ms)


def _resets(old: _Neighbour, new: _Neighbour) -> Iterator[_Line]:
    """Yield what makes BIRD close the session and open it again."""
    words = [
        _moved("kind", old.peer.kind, new.peer.kind),
        _moved("asn", old.peer.asn, new.peer.asn),
        _moved("role", old.peer.role, new.peer.role),
        _moved("our addresses", _join(old.session.ours), _join(new.session.ours)),
        _moved("their addresses", _join(old.session.theirs), _join(new.session.theirs)),
        _moved("interface", old.session.interface, new.session.interface),
        _moved("bfd", _switch(old.session.bfd), _switch(new.session.bfd)),
        _secret(old.session.password, new.session.password),
        _moved("gtsm", _switch(old.session.gtsm), _switch(new.session.gtsm)),
        _moved(
            "require_role",
            _switch(old.session.require_role),
            _switch(new.session.require_role),
        ),
        _moved("multihop", old.session.multihop, new.session.multihop),
        _moved("via", _join(old.session.via), _join(new.session.via)),
        _moved("passive", _switch(old.session.passive), _switch(new.session.passive)),
        _moved("local_as", old.session.local_as or None, new.session.local_as or None),
    ]
    yield from ((word, Effect.RESET) for word in words if word)


def _other_settings(old: _Neighbour, new: _Neighbour) -> Iterator[_Line]:
    preference = _moved("preference", old.preference, new.preference)
    if preference:
        yield preference, Effect.MOVES
    default = _moved("default", old.peer.default, new.peer.default)
    if default:
        yield default, Effect.MOVES
    yield from _allowed_lines(old.peer, new.peer)
    words = [
        _moved("max_prefixes ipv4", old.peer.max_prefixes4, new.peer.max_prefixes4),
        _moved("max_prefixes ipv6", old.peer.max_prefixes6, new.peer.max_prefixes6),
        _moved("blackhole", _switch(old.peer.blackhole), _switch(new.peer.blackhole)),
        _moved(
            "blackhole communities",
            _join(map(_community, old.peer.blackhole_communities)),
            _join(map(_community, new.peer.blackhole_communities)),
        ),
        _moved("capacity", _capacity(old.session), _capacity(new.session)),
    ]
    if old.session.bfd and new.session.bfd:
        words += [
            _moved("bfd interval", f"{old.bfd_ms} ms", f"{new.bfd_ms} ms"),
            _moved("bfd multiplier", old.bfd_multiplier, new.bfd_multiplier),
        ]
    yield from ((word, Effect.COSMETIC) for word in words if word)


def _capacity(session: Session) -> str:
    return f"{session.capacity_mbps} Mbit/s" if session.capacity_mbps else "not said"


def _allowed_lines(old: Peer, new: Peer) -> Iterator[_Line]:
    """Yield what a customer may no longer announce, which moves traffic, and what it may."""
    before = [_allowed(each) for each in old.allowed] + [f"AS{n}" for n in old.allowed_asns]
    after = [_allowed(each) for each in new.allowed] + [f"AS{n}" for n in new.allowed_asns]
    gone = [f"-{each}" for each in before if each not in after]
    come = [f"+{each}" for each in after if each not in before]
    if gone or come:
        effect = Effect.MOVES if gone else Effect.COSMETIC
        yield f"allowed {' '.join((*gone, *come))}", effect


def _allowed(allowed: Allowed) -> str:
    longer = allowed.max_length != allowed.prefix.prefixlen
    return f"{allowed.prefix} up to /{allowed.max_length}" if longer else str(allowed.prefix)


# ---- prefixes ------------------------------------------------------------------------------


def _prefix_lines(
    old: _Neighbour | None, new: _Neighbour | None, now_ms: int
) -> Iterator[_Line]:
    before = _visible(old)
    after = _visible(new)
    for prefix in dict.fromkeys((*before, *after)):
        was, will = before.get(prefix), after.get(prefix)
        if will is None:
            yield f"-{prefix}", Effect.MOVES
        elif was is None:
            yield " ".join((f"+{prefix}", *_attributes(will))), Effect.MOVES
        else:
            moved = [word for word in _moved_attributes(was, will) if word]
            drained = _drain_words(old, new, now_ms)
            called_off = drained[-1:] == [_CALLED_OFF]
            effect = Effect.MOVES if moved or not called_off else Effect.COSMETIC
            if moved or drained:
                yield f"{prefix} {', '.join((*moved, *drained))}", effect
    asked = old.blackholes if old else ()
    asks = new.blackholes if new else ()
    yield from ((f"-{p} blackhole", Effect.MOVES) for p in asked if p not in asks)
    yield from ((f"+{p} blackhole", Effect.MOVES) for p in asks if p not in asked)


def _visible(neighbour: _Neighbour | None) -> dict[Prefix, Announcement]:
    announced = neighbour.announced if neighbour else {}
    return {prefix: each for prefix, each in announced.items() if each.visible}


def _attributes(announcement: Announcement) -> Iterator[str]:
    if announcement.prepend:
        yield f"prepend x{announcement.prepend}"
    if announcement.med is not None:
        yield f"med {announcement.med}"
    if announcement.no_export:
        yield "no-export"
    if announcement.communities:
        yield f"communities {_communities(announcement)}"
    if announcement.drain is DrainPhase.SHUTDOWN:
        yield "graceful shutdown"


def _moved_attributes(was: Announcement, will: Announcement) -> Iterator[str]:
    yield _moved("prepend", f"x{was.prepend}", f"x{will.prepend}")
    yield _moved("med", was.med, will.med)
    yield _moved("no-export", _switch(was.no_export), _switch(will.no_export))
    yield _moved("communities", _communities(was), _communities(will))


def _drain_words(old: _Neighbour | None, new: _Neighbour | None, now_ms: int) -> list[str]:
    """Return what a drain does to a prefix that stays announced for the moment."""
    was = old.drain if old else None
    will = new.drain if new else None
    if (was and was.instants_ms) == (will and will.instants_ms):
        return []
    ends = was is not None and was.holds(now_ms) and not (will and will.holds(now_ms))
    words = ["graceful shutdown ends"] if ends else []
    if will:
        words += _drain_to_come(will, now_ms)
    return words or [_CALLED_OFF]


def _drain_to_come(drain: Drain, now_ms: int) -> Iterator[str]:
    """Yield what a drain that has not withdrawn does from now on, in the order of time."""

    def after(at_ms: int) -> str:
        return f"in {short_duration(max(0, at_ms - now_ms) / 1000)}"

    withdraws_ms = drain.since_ms + drain.wait_ms
    withdraws = not drain.is_over(withdraws_ms)
    if drain.wait_ms:
        begun = drain.holds(now_ms)
        yield "graceful shutdown" if begun else f"graceful shutdown {after(drain.since_ms)}"
    if withdraws:
        yield f"withdrawn {after(withdraws_ms)}"
    if drain.until_ms:
        yield f"{'back' if withdraws else 'ends'} {after(drain.until_ms)}"


def _communities(announcement: Announcement) -> str:
    return " ".join(map(_community, announcement.communities)) or "none"


def _community(community: Community) -> str:
    return ":".join(map(str, community))


# ---- what is not a session -----------------------------------------------------------------


def _link_lines(before: Platform, after: Platform) -> Iterator[_Line]:
    old = {_which(link): link for link in before.links}
    new = {_which(link): link for link in after.links}
    for which in dict.fromkeys((*old, *new)):
        was, will = old.get(which), new.get(which)
        if will is None:
            yield f"{old[which].name} removed", Effect.MOVES
        elif was is None:
            yield f"{will.name} added", Effect.MOVES
        else:
            yield from _link_settings(was, will)


def _link_settings(was: Link, will: Link) -> Iterator[_Line]:
    moves = (
        _moved("kind", was.kind, will.kind),
        _moved("endpoints", _endpoints(was), _endpoints(will)),
        _moved("interfaces", _interfaces(was), _interfaces(will)),
        _moved("port", was.port, will.port),
        _moved("mtu", was.mtu, will.mtu),
    )
    yield from ((f"{will.name} {word}", Effect.MOVES) for word in moves if word)
    if was.kind is will.kind is LinkKind.WIREGUARD and was.name != will.name:
        what = (
            f"{will.name} was {was.name}: other keys, nothing passes until both ends have them"
        )
        yield what, Effect.MOVES
    old, new = (f"{link.capacity_mbps} Mbit/s" for link in (was, will))
    capacity = _moved("capacity", old, new)
    if capacity:
        yield f"{will.name} {capacity}", Effect.COSMETIC


def _which(link: Link) -> tuple[frozenset[str], str]:
    """Return what a link is told by from others, whichever end is named first."""
    return frozenset((link.a, link.b)), link.label


def _interfaces(link: Link) -> str:
    return _join(f"{edge} {link.interface_at(edge)}" for edge in sorted((link.a, link.b)))


def _endpoints(link: Link) -> str:
    """Return them in an order that does not depend on which end is named first."""
    pairs = sorted(zip((link.a, link.b), link.endpoints, strict=False))
    return _join(f"{edge} {address}" for edge, address in pairs)


def _port_lines(before: Platform, after: Platform) -> Iterator[_Line]:
    """Yield what ports in fabrics are called from now on; many machines may say the same."""
    old, moved = _ports(before), dict[str, list[str]]()
    for port, name in _ports(after).items():
        machine, fabric = port
        word = _moved(fabric, old.get(port), name) if port in old else ""
        if word:
            moved.setdefault(word, []).append(machine)
    for word, machines in moved.items():
        more = f" and {len(machines) - 1} more" if machines[1:] else ""
        yield f"{word} on {machines[0]}{more}", Effect.MOVES


def _ports(platform: Platform) -> dict[tuple[str, str], str]:
    """Return the names of ports by machine and fabric."""
    fabrics = {each.name: each.fabrics for each in platform.datacenters}
    return {
        (machine.name, fabric): platform.fabric_interface(machine, fabric)
        for machine in platform.machines
        for fabric in fabrics[machine.datacenter]
    }


def _aggregate_lines(before: Platform, after: Platform) -> Iterator[_Line]:
    old = {aggregate.prefix: aggregate.announce for aggregate in before.aggregates}
    homes = {aggregate.prefix: aggregate.unicast for aggregate in before.aggregates}
    for aggregate in after.aggregates:
        word = _moved("announce", old.get(aggregate.prefix), aggregate.announce)
        if aggregate.prefix in old and word:
            yield f"{aggregate.prefix} {word}", Effect.MOVES
        word = _moved("only in", *(_only(each, aggregate) for each in (before, after)))
        if aggregate.prefix in old and word:
            yield f"{aggregate.prefix} {word}", Effect.MOVES
        moved = _moved(
            "unicast", homes.get(aggregate.prefix) or None, aggregate.unicast or None
        )
        if aggregate.prefix in old and moved:
            yield f"{aggregate.prefix} {moved}", Effect.MOVES


def _only(platform: Platform, aggregate: Aggregate) -> str | None:
    """Return the datacenters that alone announce an aggregate; None: all do."""
    same = (each for each in platform.aggregates if each.prefix == aggregate.prefix)
    return next((", ".join(each.datacenters) or None for each in same), None)


def _validation_lines(before: Platform, after: Platform) -> Iterator[_Line]:
    old, new = before.origin_validation, after.origin_validation
    for sign, here, there in (("-", old, new), ("+", new, old)):
        for cache in here.caches:
            if cache not in there.caches:
                yield f"{sign}cache {cache.address} port {cache.port}", Effect.COSMETIC
    word = _moved("hold", f"{old.hold_seconds} s", f"{new.hold_seconds} s")
    if word:
        yield word, Effect.COSMETIC


def _guard_lines(before: Platform, after: Platform) -> Iterator[_Line]:
    for name in _GUARDS:
        word = _moved(name, getattr(before.guards, name), getattr(after.guards, name))
        if word:
            yield word, Effect.COSMETIC


# ---- words ---------------------------------------------------------------------------------


def _moved(name: str, was: object, will: object) -> str:
    """Return `name was -> will`; empty if both are the same."""
    if was == will:
        return ""
    return f"{name} {'none' if was is None else was} -> {'none' if will is None else will}"


def _secret(was: str, will: str) -> str:
    if was == will:
        return ""
    if not was:
        return "password added"
    return "password changed" if will else "password removed"


def _switch(on: bool) -> str:  # noqa: FBT001 - the value itself, not a mode
    return "on" if on else "off"


def _join(things: Iterable[object]) -> str:
    return ", ".join(str(thing) for thing in things) or "none"
