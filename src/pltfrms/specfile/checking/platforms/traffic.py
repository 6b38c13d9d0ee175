"""What makes no sense in traffic engineering and in the guards of a platform."""

from collections.abc import Iterator

from pltfrms.model.addresses import contains
from pltfrms.model.network.peering import Session
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.network.traffic import Override
from pltfrms.specfile.findings import (
    Finding,
    Where,
    check_community,
    check_range,
    community_text,
    nearest,
)

_LARGE = 0xFFFF_FFFF
_BLACKHOLE = (65535, 666)
_REMOTE_PREFERENCE = 350
"""Local preference of our services in other datacenters."""
_LONGEST_REASON = 200


def check_traffic(platform: Platform) -> Iterator[Finding]:
    """Yield what is wrong with overrides and guards."""
    seen: set[Override] = set()
    for index, override in enumerate(platform.traffic):
        where = ("traffic", index)
        unknown = list(_check_names(platform, where, override))
        yield from unknown
        if not unknown:
            yield from _check_conditions(platform, where, override)
        yield from _check_actions(where, override)
        yield from _check_numbers(where, override)
        yield from _check_communities(platform, where, override)
        if override in seen:
            yield Finding(where, "said twice", "keep one of them")
        seen.add(override)
    yield from _check_guards(platform)


# ---- conditions ----------------------------------------------------------------------------


def _check_names(platform: Platform, where: Where, override: Override) -> Iterator[Finding]:
    aggregates = [str(aggregate.prefix) for aggregate in platform.aggregates]
    edges = [machine.name for machine in platform.machines if machine.has(Role.EDGE)]
    for field, said, known in (
        ("peer", override.peer, [peer.name for peer in platform.peers]),
        ("datacenter", override.datacenter, [dc.name for dc in platform.datacenters]),
        ("edge", override.edge, edges),
    ):
        if said and said not in known:
            what = f"there is no {field} {said!r}"
            yield Finding((*where, field), what, nearest(said, known), said)
    prefix = override.prefix
    if prefix is not None and str(prefix) not in aggregates:
        inside = [each for each in platform.aggregates if contains(each.prefix, prefix)]
        what = f"{prefix} is no aggregate: only aggregates are announced"
        hint = (
            f"it is part of {inside[0].prefix}" if inside else nearest(str(prefix), aggregates)
        )
        yield Finding((*where, "prefix"), what, hint, str(prefix))


def _check_conditions(
    platform: Platform, where: Where, override: Override
) -> Iterator[Finding]:
    contradictions = list(_contradictions(platform, where, override))
    yield from contradictions
    if contradictions:
        return
    sessions = _fitting(platform, override)
    families = {ours.version for session in sessions for ours in session.ours}
    prefix = override.prefix
    if not sessions:
        what = f"there is no session {_place(override)}".rstrip()
    elif prefix is not None and prefix.version not in families:
        what = f"no session there speaks IPv{prefix.version}"
    else:
        return
    part: Where = ("peers", override.peer, "sessions") if override.peer else ("peers",)
    hint = "look at the sessions in peers"
    yield Finding(where, f"it can never hold: {what}", hint, part)


def _place(override: Override) -> str:
    who, at = override.peer or override.kind or "", override.edge or override.datacenter
    return " ".join(
        words for words in (f"with {who}" if who else "", f"at {at}" if at else "") if words
    )


def _contradictions(platform: Platform, where: Where, override: Override) -> Iterator[Finding]:
    if override.peer and override.kind is not None:
        kinds = {peer.kind for peer in platform.peers if peer.name == override.peer}
        if override.kind not in kinds:
            what = f"{override.peer} is a {'/'.join(kinds)}, not a {override.kind}"
            yield Finding((*where, "kind"), what, "the peer is enough")
    if override.edge and override.datacenter:
        home = platform.machine(override.edge).datacenter
        if home != override.datacenter:
            what = f"{override.edge} is in {home}, not in {override.datacenter}"
            yield Finding((*where, "datacenter"), what, "the edge is enough")


def _fitting(platform: Platform, override: Override) -> list[Session]:
    homes = {machine.name: machine.datacenter for machine in platform.machines}
    return [
        session
        for peer in platform.peers
        for session in peer.sessions
        if override.peer in {"", peer.name}
        and override.kind in {None, peer.kind}
        and override.edge in {"", session.edge}
        # An edge that nobody knows may be in any datacenter.
        and override.datacenter in {"", homes.get(session.edge, override.datacenter)}
    ]


# ---- actions -------------------------------------------------------------------------------


def _check_actions(where: Where, override: Override) -> Iterator[Finding]:
    announcement = {
        "prepend": override.prepend is not None,
        "med": override.med is not None,
        "no_export": override.no_export is not None,
        "communities": bool(override.communities),
    }
    said = [field for field, there in announcement.items() if there]
    if override.announce is None and override.preference is None and not said:
        what = "it changes nothing"
        hint = "say announce, prepend, med, no_export, communities or preference"
        yield Finding(where, what, hint, "")
    if override.announce is False:
        for field in said:
            what = f"{field} of what is not announced"
            yield Finding((*where, field), what, "remove it, or announce: false")
    if override.preference is not None and override.prefix is not None:
        what = "it is for routes that we learn there, whatever we announce"
        yield Finding((*where, "preference"), what, "make it an override without prefix:")


def _check_numbers(where: Where, override: Override) -> Iterator[Finding]:
    for field, value, low, high in (
        ("prepend", override.prepend, 0, 10),
        ("med", override.med, 0, _LARGE),
    ):
        if value is not None and not low <= value <= high:
            yield Finding((*where, field), f"{value} is outside {low}..{high}")
    preference = override.preference
    if preference is not None and not 1 <= preference < _REMOTE_PREFERENCE:
        what = f"{preference} is outside 1..{_REMOTE_PREFERENCE - 1}"
        hint = (
            f"our services in other datacenters are at {_REMOTE_PREFERENCE}, above all others"
        )
        yield Finding((*where, "preference"), what, hint)
    if override.until_ms < 0:
        yield Finding((*where, "until"), f"{override.until_ms} is not a time")
    if len(override.why) > _LONGEST_REASON or not override.why.isprintable():
        what = f"must be one line of at most {_LONGEST_REASON} characters"
        yield Finding((*where, "why"), what)


def _check_communities(
    platform: Platform, where: Where, override: Override
) -> Iterator[Finding]:
    for index, community in enumerate(override.communities):
        here = (*where, "communities", index)
        yield from check_community(platform, here, community)
        if community == _BLACKHOLE:
            what = f"{community_text(community)} asks to drop all that goes to the aggregate"
            yield Finding(here, what, "a blackhole is for single addresses")


# ---- guards --------------------------------------------------------------------------------


def _check_guards(platform: Platform) -> Iterator[Finding]:
    homes = {machine.name: machine.datacenter for machine in platform.machines}
    count = len(
        {
            # An edge that nobody knows may be in a datacenter of its own.
            homes.get(session.edge, session.edge)
            for peer in platform.peers
            for session in peer.sessions
        }
    )
    floor = platform.guards.announce_floor
    if floor < 1:
        what = f"{floor} is less than 1: an aggregate must be announced from somewhere"
        yield Finding(("guards", "announce_floor"), what)
    elif floor > max(1, count):
        what = f"{floor} is more than the {count} datacenters with external sessions"
        yield Finding(("guards", "announce_floor"), what, absent=("peers",))
    if platform.guards.vantage_floor < 0:
        yield Finding(("guards", "vantage_floor"), "must not be negative", "0 means none")
    floors = (platform.guards.table_floor4, platform.guards.table_floor6)
    if any(floor is not None and floor < 0 for floor in floors):
        yield Finding(("guards", "table_floor"), "must not be negative", "0 means none")
    for name in ("shrink_percent", "headroom_percent"):
        yield from check_range(("guards", name), getattr(platform.guards, name), 1, 100)
