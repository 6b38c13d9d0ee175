"""What an operator's wish makes of the interventions. Pure; controllers store the result."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from ipaddress import ip_network
from typing import Final

from pltfrms.errors import ConflictError, NotFoundError, UsageError
from pltfrms.model.addresses import Prefix, contains, scope_of
from pltfrms.model.messages.api import InterventionChange, Verb
from pltfrms.model.network.interventions import (
    LEAD_MS,
    Blackhole,
    Drain,
    Freeze,
    Interventions,
    Release,
)
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.running.texts import TEXT_MAX

MAX_BLACKHOLE_MS: Final = 30 * 24 * 3600 * 1000
"""Thirty days: a blackhole is a remedy for a while, not a filter."""
MAX_RELEASE_MS: Final = 24 * 3600 * 1000
"""A day: who is dead for longer is taken out of the spec."""
MAX_AHEAD_MS: Final = 10 * 366 * 24 * 3600 * 1000
"""Ten years: nobody plans a drain for later, and every clock and calendar can say it."""


def apply_intervention(
    interventions: Interventions,
    platform: Platform,
    change: InterventionChange,
    now_ms: int,
    releasable: tuple[str, ...] = (),
) -> Interventions:
    """Return the interventions after a wish; the same wish twice changes nothing.

    What is over at `now_ms` (Unix time) is dropped on the way. `undrain` and `unblackhole`
    need no more than the words that began it: what they name may have left the
    platform in the meantime. `releasable` are the nodes that a release of the brake of the
    datacenter is for now.

    Raises:
        UsageError: the words make no sense.
        NotFoundError: what they name is not there; says what is.
        ConflictError: a brake is to be released which holds nothing.
    """
    if max(len(change.why), len(change.by)) > TEXT_MAX:
        raise UsageError(f"a reason and a name have at most {TEXT_MAX} characters each")
    ends = change.verb in {Verb.UNDRAIN, Verb.UNBLACKHOLE}  # also what is over by itself
    before = interventions if ends else _standing(interventions, now_ms)
    release = partial(_release, releasable)
    do = release if change.verb is Verb.RELEASE else _DO[change.verb]
    return _standing(do(before, platform, change, now_ms), now_ms)


def _standing(interventions: Interventions, now_ms: int) -> Interventions:
    return replace(
        interventions,
        drains=tuple(each for each in interventions.drains if not each.is_over(now_ms)),
        blackholes=tuple(each for each in interventions.blackholes if now_ms < each.until_ms),
        releases=tuple(each for each in interventions.releases if now_ms < each.until_ms),
    )


# ---- drains --------------------------------------------------------------------------------


def _drain(
    interventions: Interventions, platform: Platform, change: InterventionChange, now_ms: int
) -> Interventions:
    _check_drain(platform, change)
    _check_times(change, now_ms)
    drains = interventions.drains
    for index, drain in enumerate(drains):
        if drain.place == named(change).place:
            same = _again(drain, change, now_ms)
            return replace(interventions, drains=(*drains[:index], same, *drains[index + 1 :]))
    wait_ms = _wait_ms(platform, change)
    since_ms = change.since_ms or _begins_ms(wait_ms, now_ms)
    new = replace(named(change), since_ms=since_ms, why=change.why)
    new = replace(new, wait_ms=wait_ms, until_ms=change.until_ms, by=change.by)
    return replace(interventions, drains=(*drains, new))


def _wait_ms(platform: Platform, change: InterventionChange) -> int:
    if change.node:
        return 0
    default_ms = 1000 * platform.timers.drain_wait_seconds
    return default_ms if change.wait_ms is None else change.wait_ms


def _begins_ms(wait_ms: int, now_ms: int) -> int:
    """Return when a drain begins that is wanted now; one without a first phase is urgent."""
    return now_ms + LEAD_MS if wait_ms else now_ms


def _again(drain: Drain, change: InterventionChange, now_ms: int) -> Drain:
    """Return a drain that is asked for again: what is not said stays as it is.

    One that is planned may be moved, also to now; one that has begun stays so.
    """
    if drain.holds(now_ms) and change.since_ms:
        raise UsageError(f"{drain.about} is drained already; undrain it before another time")
    wait_ms = drain.wait_ms if change.wait_ms is None else change.wait_ms
    soon_ms = min(drain.since_ms, _begins_ms(wait_ms, now_ms))
    since_ms = drain.since_ms if drain.holds(now_ms) else change.since_ms or soon_ms
    until_ms = change.until_ms or drain.until_ms
    if 0 < until_ms <= since_ms:
        raise UsageError(f"{drain.about} would be over before it begins: set a later end")
    return replace(drain, since_ms=since_ms, wait_ms=wait_ms, until_ms=until_ms)


def _undrain(
    interventions: Interventions, platform: Platform, change: InterventionChange, now_ms: int
) -> Interventions:
    del platform
    _check_words(change)
    left = tuple(each for each in interventions.drains if each.place != named(change).place)
    if left == interventions.drains:
        about = [each.about for each in left if not each.is_over(now_ms)]
        raise NotFoundError(f"{named(change).about} is not drained; {_drained(about)}")
    return replace(interventions, drains=left)


def named(change: InterventionChange) -> Drain:
    """Return a drain of what a wish is about, without its times."""
    return Drain(
        peer=change.peer,
        edge=change.edge,
        interface=change.interface,
        datacenter=change.datacenter,
        node=change.node,
        since_ms=0,
        wait_ms=0,
    )


def _drained(about: list[str]) -> str:
    return f"drained: {', '.join(about)}" if about else "nothing is"


def _check_words(change: InterventionChange) -> None:
    if change.interface and not change.edge:
        raise UsageError(
            f"interface {change.interface} is on which edge? Name the edge as well"
        )
    places = ((change.peer or change.edge), change.datacenter, change.node)
    if sum(map(bool, places)) != 1:
        raise UsageError(
            "say what to drain: a peer, an edge, an edge and an interface, a datacenter, or a "
            "node"
        )
    if change.wait_ms is not None and change.node:
        raise UsageError("the drain of a node has no phases to wait between")
    if change.wait_ms is not None and change.wait_ms < 0:
        raise UsageError(f"a drain cannot wait {change.wait_ms} ms; 0 withdraws at once")


def _check_times(change: InterventionChange, now_ms: int) -> None:
    if change.since_ms and change.since_ms < now_ms:
        late_s = (now_ms - change.since_ms) / 1000
        raise UsageError(f"the drain would have begun {late_s:.0f} s ago: set a later time")
    if change.until_ms and change.until_ms <= max(now_ms, change.since_ms):
        raise UsageError("the drain would be over before it begins: set a later end")
    last_ms = max(change.since_ms or now_ms, change.until_ms) + (change.wait_ms or 0)
    if last_ms > now_ms + MAX_AHEAD_MS:
        raise UsageError(
            "a drain begins, withdraws and ends within ten years: set earlier times, or no end"
        )


def _check_drain(platform: Platform, change: InterventionChange) -> None:
    """Refuse names that are not there, and names that have no session in common."""
    _check_words(change)
    if change.node:
        nodes = [node.name for node in platform.machines_of(Role.NODE)]
        _check_known("node", change.node, nodes)
        return
    if change.datacenter:
        _check_known("datacenter", change.datacenter, [dc.name for dc in platform.datacenters])
    if change.peer:
        _check_known("peer", change.peer, [peer.name for peer in platform.peers])
    if change.edge:
        edges = [edge.name for edge in platform.machines_of(Role.EDGE) if not edge.external]
        _check_known("edge", change.edge, edges)
    if change.interface:
        ports = [session.interface for _, session in platform.sessions_of(change.edge)]
        _check_known(f"external interface of {change.edge}", change.interface, ports)
    _check_sessions(platform, change)


def _check_sessions(platform: Platform, change: InterventionChange) -> None:
    wanted = named(change)
    sessions = [(peer.name, session) for peer in platform.peers for session in peer.sessions]
    if not any(
        wanted.fits(peer, platform.machine(session.edge), session.interface)
        for peer, session in sessions
    ):
        there = dict.fromkeys(
            f"{peer}@{session.edge} on {session.interface}"
            for peer, session in sessions
            if peer == change.peer or session.edge == change.edge
        )
        raise NotFoundError(
            f"no session fits {wanted.about}; there are: {', '.join(there) or 'none'}"
        )


def _check_known(noun: str, name: str, known: Iterable[str]) -> None:
    names = sorted(set(known))
    if name in names:
        return
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    raise NotFoundError(
        f"there is no {noun} {name!r}; {hint}there are: {', '.join(names) or 'none'}"
    )


# ---- freeze --------------------------------------------------------------------------------


def _freeze(
    interventions: Interventions, platform: Platform, change: InterventionChange, now_ms: int
) -> Interventions:
    del platform
    if interventions.freeze:
        return interventions
    freeze = Freeze(since_ms=now_ms, why=change.why, by=change.by)
    return replace(interventions, freeze=freeze)


def _unfreeze(
    interventions: Interventions, platform: Platform, change: InterventionChange, now_ms: int
) -> Interventions:
    del platform, change, now_ms
    return replace(interventions, freeze=None)


# ---- the brake on mass changes -------------------------------------------------------------


def _release(
    nodes: tuple[str, ...],
    interventions: Interventions,
    platform: Platform,
    change: InterventionChange,
    now_ms: int,
) -> Interventions:
    """Let replicas of these lost nodes be moved; asked for again, it is for those lost then."""
    name = change.datacenter
    _check_known("datacenter", name, [dc.name for dc in platform.datacenters])
    if not now_ms < change.until_ms <= now_ms + MAX_RELEASE_MS:
        raise UsageError(
            f"the brake of {name} may be released for a day at most, and not for no time: set "
            "another end, and renew it if need be"
        )
    if not nodes:
        raise ConflictError(
            f"the brake of {name} holds nothing: of no lost node there replicas wait to be "
            "moved, so there is nothing to release; look at: pltfrms status"
        )
    others = tuple(each for each in interventions.releases if each.datacenter != name)
    same = [each for each in interventions.releases if each.datacenter == name]
    if same and (same[0].until_ms, same[0].nodes) == (change.until_ms, nodes):
        return interventions
    new = Release(datacenter=name, nodes=nodes, until_ms=change.until_ms)
    new = replace(new, why=change.why, by=change.by)
    return replace(interventions, releases=(*others, new))


def _hold(
    interventions: Interventions, platform: Platform, change: InterventionChange, now_ms: int
) -> Interventions:
    del now_ms
    left = tuple(e for e in interventions.releases if e.datacenter != change.datacenter)
    if left == interventions.releases:
        _check_known("datacenter", change.datacenter, [dc.name for dc in platform.datacenters])
    return replace(interventions, releases=left)


# ---- blackholes ----------------------------------------------------------------------------


def _blackhole(
    interventions: Interventions, platform: Platform, change: InterventionChange, now_ms: int
) -> Interventions:
    prefix = _host(change.prefix)
    aggregates = [aggregate.prefix for aggregate in platform.aggregates]
    if not any(contains(aggregate, prefix) for aggregate in aggregates):
        ours = ", ".join(map(str, aggregates)) or "none"
        raise UsageError(f"{prefix} is in no aggregate of ours; there are: {ours}")
    if change.until_ms <= now_ms:
        raise UsageError(f"the blackhole of {prefix} would be over already: set a later end")
    if change.until_ms > now_ms + MAX_BLACKHOLE_MS:
        raise UsageError(
            f"the blackhole of {prefix} may last 30 days at most; set an earlier end, and "
            "renew it if need be"
        )
    _check_asked(platform, prefix)
    new = Blackhole(prefix=prefix, until_ms=change.until_ms, why=change.why, by=change.by)
    standing = {each.prefix: each for each in interventions.blackholes}
    if prefix in standing and standing[prefix].until_ms == change.until_ms:
        return interventions
    return replace(interventions, blackholes=tuple({**standing, prefix: new}.values()))


def _check_asked(platform: Platform, prefix: Prefix) -> None:
    """Refuse a blackhole that nobody is asked for: it would look like protection."""
    if not any(
        peer.takes_blackholes and prefix.version in {ours.version for ours in session.ours}
        for peer in platform.peers
        for session in peer.sessions
    ):
        raise UsageError(
            f"nobody would drop {prefix}: no peer with an IPv{prefix.version} session takes "
            "blackholes from us. Write `blackhole: true` in platform.yaml at the transits and "
            "route servers that take 65535:666, and apply it"
        )


def _unblackhole(
    interventions: Interventions, platform: Platform, change: InterventionChange, now_ms: int
) -> Interventions:
    del platform
    prefix = _host(change.prefix)
    left = tuple(each for each in interventions.blackholes if each.prefix != prefix)
    if left == interventions.blackholes:
        standing = [str(each.prefix) for each in left if now_ms < each.until_ms]
        there = ", ".join(standing) or "none"
        raise NotFoundError(f"there is no blackhole of {prefix}; there are: {there}")
    return replace(interventions, blackholes=left)


def _host(text: str) -> Prefix:
    try:
        prefix = ip_network(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not an address; say one such as 198.51.100.7/32"
        ) from None
    if scope_of(prefix):
        raise UsageError(f"{prefix} has a scope (%), which no route can have; leave it out")
    if prefix.prefixlen != prefix.max_prefixlen:
        raise UsageError(
            f"{prefix} is more than one address: a blackhole takes a /{prefix.max_prefixlen}"
        )
    return prefix


_DO: dict[Verb, Callable[[Interventions, Platform, InterventionChange, int], Interventions]] = {
    Verb.DRAIN: _drain,
    Verb.UNDRAIN: _undrain,
    Verb.FREEZE: _freeze,
    Verb.UNFREEZE: _unfreeze,
    Verb.BLACKHOLE: _blackhole,
    Verb.UNBLACKHOLE: _unblackhole,
    Verb.HOLD: _hold,
}
