"""Drains, freezes, overrides and announcements in words. Pure."""

import datetime as dt
from dataclasses import replace

from pltfrms.model.durations import short_duration
from pltfrms.model.network.announcements import Announcement
from pltfrms.model.network.interventions import (
    LEAD_MS,
    Blackhole,
    Drain,
    Freeze,
    Interventions,
    Release,
)
from pltfrms.model.network.traffic import Community, Override

_NAMED = 5
"""Nodes of a release that are said one by one."""


def moment(at_ms: int) -> str:
    """Return a Unix time as people read it: `2030-01-31 23:59 UTC`."""
    return f"{dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC):%Y-%m-%d %H:%M} UTC"


def freeze_sentence(freeze: Freeze, now_ms: int) -> str:
    """Return since when all is frozen, who did it and why."""
    since = short_duration(max(now_ms - freeze.since_ms, 0) / 1000)
    return f"frozen for {since}{signed(freeze.why, freeze.by)}"


def drain_sentence(drain: Drain, now_ms: int) -> str:
    """Return what is drained and how far, or when it will be, and when that ends."""
    end = f"; {_end(drain.until_ms, now_ms)}" if drain.until_ms else ""
    return f"{drain.about}: {_progress(drain, now_ms)}{end}{signed(drain.why, drain.by)}"


def _progress(drain: Drain, now_ms: int) -> str:
    if drain.is_over(now_ms):
        return "over"
    if not drain.holds(now_ms):
        left = short_duration((drain.since_ms - now_ms) / 1000)
        return f"begins in {left} ({moment(drain.since_ms)})"
    if drain.node:
        return f"replicas move away since {short_duration((now_ms - drain.since_ms) / 1000)}"
    left_ms = drain.since_ms + drain.wait_ms - now_ms
    if left_ms > 0:
        left = short_duration(left_ms / 1000)
        return f"peers are told to prefer other paths; withdraws in {left}"
    return f"withdrawn for {short_duration(-left_ms / 1000)}"


def drain_word(interventions: Interventions, about: str, now_ms: int) -> str:
    """Return how far the drain of a node or a datacenter is, in one word; `-` without any."""
    drain = next((each for each in interventions.drains if each.about == about), None)
    if drain is None or drain.is_over(now_ms):
        return "-"
    if not drain.holds(now_ms):
        return "planned"
    return "drained" if drain.node else drain.phase(now_ms).value


def as_decided(interventions: Interventions) -> Interventions:
    """Return them with drains from when they are decided, before all machines know it."""
    drains = tuple(
        replace(each, since_ms=each.since_ms - LEAD_MS, wait_ms=each.wait_ms + LEAD_MS)
        for each in interventions.drains
    )
    return replace(interventions, drains=drains)


def blackhole_sentence(blackhole: Blackhole, now_ms: int) -> str:
    """Return what is dropped and until when."""
    end = _end(blackhole.until_ms, now_ms)
    return f"{blackhole.prefix}: {end}{signed(blackhole.why, blackhole.by)}"


def release_sentence(release: Release, now_ms: int) -> str:
    """Return of which nodes the brake on mass changes does not hold, and until when."""
    end = _end(release.until_ms, now_ms)
    return f"{release.datacenter}, {released(release)}: {end}{signed(release.why, release.by)}"


def released(release: Release) -> str:
    """Return which nodes a release names."""
    more = len(release.nodes) - _NAMED
    named = ", ".join(release.nodes[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    return named or "no node"


def override_sentence(override: Override, now_ms: int) -> str:
    """Return what an override does, where, until when, and why."""
    what = ", ".join(_effects(override)) or "changes nothing"
    prefix = f" on {override.prefix}" if override.prefix else ""
    end = f": {_end(override.until_ms, now_ms)}" if override.until_ms else ""
    return f"{what}{prefix}{_place(override)}{end}{signed(override.why, '')}"


def announcement_changes(each: Announcement) -> str:
    """Return how an announcement differs from the plain aggregate."""
    parts = [
        f"prepend x{each.prepend}" if each.prepend else "",
        f"med {each.med}" if each.med is not None else "",
        "no-export" if each.no_export else "",
        *(_community(community) for community in each.communities),
    ]
    return ", ".join(part for part in parts if part)


def _effects(override: Override) -> list[str]:
    parts = [
        {True: "announce", False: "do not announce", None: ""}[override.announce],
        f"prepend x{override.prepend}" if override.prepend is not None else "",
        f"med {override.med}" if override.med is not None else "",
        {True: "no-export", False: "without no-export", None: ""}[override.no_export],
        f"preference {override.preference}" if override.preference is not None else "",
        *(_community(community) for community in override.communities),
    ]
    return [part for part in parts if part]


def _place(override: Override) -> str:
    parts = (
        ("to", override.peer),
        ("to every", override.kind.value if override.kind else ""),
        ("in", override.datacenter),
        ("at", override.edge),
    )
    return "".join(f" {word} {name}" for word, name in parts if name)


def _community(community: Community) -> str:
    return ":".join(map(str, community))


def _end(until_ms: int, now_ms: int) -> str:
    distance = short_duration(abs(until_ms - now_ms) / 1000)
    if now_ms < until_ms:
        return f"ends in {distance} ({moment(until_ms)})"
    return f"ended {distance} ago ({moment(until_ms)})"


def signed(why: str, by: str) -> str:
    """Return why something is done, and who did it, in brackets; empty: neither is known."""
    parts = "; ".join(part for part in (why, f"by {by}" if by else "") if part)
    return f" ({parts})" if parts else ""
