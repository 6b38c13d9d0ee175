"""What an operator's wish makes of the interventions. Pure; controllers store the result."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches
from ipaddress import ip_network
from typing import Final

from pltfrms.errors import NotFoundError, UsageError
from pltfrms.model.addresses import Prefix, contains
from pltfrms.model.api import InterventionChange, Verb
from pltfrms.model.interventions import Blackhole, Drain, Freeze, Interventions
from pltfrms.model.topology import Platform, Role

MAX_BLACKHOLE_MS: Final = 30 * 24 * 3600 * 1000
"""Thirty days: a blackhole is a remedy for a while, not a filter."""


def apply_intervention(
    interventions: Interventions, platform: Platform, change: InterventionChange, now_ms: int
) -> Interventions:
    """Return the interventions after a wish; the same wish twice changes nothing.

    Blackholes that are over at `now_ms` (Unix time) are dropped on the way. `undrain` and
    `unblackhole` need no more than the words that began it: what they name may have left the
    platform in the meantime.

    Raises:
        UsageError: the words make no sense.
        NotFoundError: what they name is not there; says what is.
    """
    standing = tuple(each for each in interventions.blackholes if now_ms < each.until_ms)
    return _DO[change.verb](
        replace(interventions, blackholes=standing), platform, change, now_ms
    )


# ---- drains --------------------------------------------------------------------------------


def _drain(
    interventions: Interventions, platform: Platform, change: InterventionChange, now_ms: int
) -> Interventions:
    _check_drain(platform, change)
    default_ms = 1000 * platform.timers.drain_wait_seconds
    drains = interventions.drains
    for index, drain in enumerate(drains):
        if _place(drain) == _place(change):
            wait_ms = drain.wait_ms if change.wait_ms is None else change.wait_ms
            same = replace(drain, wait_ms=wait_ms)
            return replace(interventions, drains=(*drains[:index], same, *drains[index + 1 :]))
    new = Drain(
        peer=change.peer,
        edge=change.edge,
        interface=change.interface,
        since_ms=now_ms,
        wait_ms=default_ms if change.wait_ms is None else change.wait_ms,
        why=change.why,
        by=change.by,
    )
    return replace(interventions, drains=(*drains, new))


def _undrain(
    interventions: Interventions, platform: Platform, change: InterventionChange, now_ms: int
) -> Interventions:
    del platform, now_ms
    _check_words(change)
    left = tuple(each for each in interventions.drains if _place(each) != _place(change))
    if left == interventions.drains:
        about = [each.about for each in left]
        raise NotFoundError(f"{_about(change)} is not drained; {_drained(about)}")
    return replace(interventions, drains=left)


def _place(thing: Drain | InterventionChange) -> tuple[str, str, str]:
    return thing.peer, thing.edge, thing.interface


def _about(change: InterventionChange) -> str:
    words = Drain(
        peer=change.peer, edge=change.edge, interface=change.interface, since_ms=0, wait_ms=0
    )
    return words.about


def _drained(about: list[str]) -> str:
    return f"drained: {', '.join(about)}" if about else "nothing is"


def _check_words(change: InterventionChange) -> None:
    if change.interface and not change.edge:
        raise UsageError(
            f"interface {change.interface} is on which edge? Name the edge as well"
        )
    if not change.peer and not change.edge:
        raise UsageError("say what to drain: a peer, an edge, or an edge and an interface")
    if change.wait_ms is not None and change.wait_ms < 0:
        raise UsageError(f"a drain cannot wait {change.wait_ms} ms; 0 withdraws at once")


def _check_drain(platform: Platform, change: InterventionChange) -> None:
    """Refuse names that are not there, and names that have no session in common."""
    _check_words(change)
    if change.peer:
        _check_known("peer", change.peer, [peer.name for peer in platform.peers])
    if change.edge:
        edges = [edge.name for edge in platform.machines_of(Role.EDGE) if not edge.external]
        _check_known("edge", change.edge, edges)
    if change.interface:
        ports = [session.interface for _, session in platform.sessions_of(change.edge)]
        _check_known(f"external interface of {change.edge}", change.interface, ports)
    sessions = [(peer.name, session) for peer in platform.peers for session in peer.sessions]
    if not any(
        change.peer in {"", peer}
        and change.edge in {"", session.edge}
        and change.interface in {"", session.interface}
        for peer, session in sessions
    ):
        there = dict.fromkeys(
            f"{peer}@{session.edge} on {session.interface}"
            for peer, session in sessions
            if peer == change.peer or session.edge == change.edge
        )
        raise NotFoundError(
            f"no session fits {_about(change)}; there are: {', '.join(there) or 'none'}"
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
    new = Blackhole(prefix=prefix, until_ms=change.until_ms, why=change.why, by=change.by)
    standing = {each.prefix: each for each in interventions.blackholes}
    if prefix in standing and standing[prefix].until_ms == change.until_ms:
        return interventions
    return replace(interventions, blackholes=tuple({**standing, prefix: new}.values()))


def _unblackhole(
    interventions: Interventions, platform: Platform, change: InterventionChange, now_ms: int
) -> Interventions:
    del platform, now_ms
    prefix = _host(change.prefix)
    left = tuple(each for each in interventions.blackholes if each.prefix != prefix)
    if left == interventions.blackholes:
        there = ", ".join(str(each.prefix) for each in left) or "none"
        raise NotFoundError(f"there is no blackhole of {prefix}; there are: {there}")
    return replace(interventions, blackholes=left)


def _host(text: str) -> Prefix:
    try:
        prefix = ip_network(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not an address; say one such as 198.51.100.7/32"
        ) from None
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
}
