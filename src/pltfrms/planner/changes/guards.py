"""What no change of intent may do unless the operator says so by name.

Each guard judges what an operator asks for, before it is stored. Limits are those of the
platform *before* the change: otherwise a change could raise its own limit.

Time passes after a change: drains go on from warning to withdrawing, overrides end. So guards
compare the announcements before and after at every moment at which either may differ.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pltfrms.model.addresses import Prefix
from pltfrms.model.durations import short_duration
from pltfrms.model.messages.guards import Doubt, Guard, Verdict
from pltfrms.model.network.announcements import announcements, floor_of
from pltfrms.model.network.interventions import DrainPhase, Interventions
from pltfrms.model.network.peering import PeerKind
from pltfrms.model.network.topology import Platform, Role
from pltfrms.planner.changes.headroom import Shortage, shortages
from pltfrms.planner.changes.ways import NOT_MEASURED, Intent, Measured

_Key = tuple[str, Prefix]
"""A session, and an aggregate on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is announced at one time, without the change and with it."""

    in_ms: int
    """From now."""
    before: frozenset[_Key]
    after: frozenset[_Key]
    places_before: frozenset[tuple[str, Prefix]]
    """Datacenters, and the aggregates that at least one session of theirs announces."""
    places_after: frozenset[tuple[str, Prefix]]

    @property
    def when(self) -> str:
        """The time in words; empty for now."""
        return f", {short_duration(self.in_ms / 1000)} from now" if self.in_ms else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A change as the guards see it."""

    before: Platform
    after: Platform
    interventions_before: Interventions
    interventions_after: Interventions
    now_ms: int
    moments: tuple[Moment, ...]
    seen: Measured


def judge_change(
    before: Platform,
    after: Platform,
    interventions_before: Interventions,
    interventions_after: Interventions,
    now_ms: int,
) -> tuple[Verdict, ...]:
    """Return what all guards say of a change while nothing is known of the traffic."""
    return verdicts_of(
        make_proposal(before, after, interventions_before, interventions_after, now_ms)
    )


def verdicts_of(proposal: Proposal) -> tuple[Verdict, ...]:
    """Return what all guards say, at most one verdict per guard and thing; empty: go ahead."""
    found: dict[tuple[Guard, str], Verdict] = {}
    for guard in _GUARDS:
        for verdict in guard(proposal):
            found.setdefault((verdict.guard, verdict.about), verdict)
    return tuple(found.values())


def doubts_of(proposal: Proposal) -> tuple[Doubt, ...]:
    """Return what guards cannot judge because something is not known, once per thing."""
    found = {
        each.about: Doubt(
            guard=Guard.HEADROOM, about=each.about, sentence=f"{each.sentence}{moment.when}"
        )
        for moment in reversed(proposal.moments)
        for each in _shortages(proposal, moment)
        if not each.sure
    }
    return tuple(found.values())


def make_proposal(
    before: Platform,
    after: Platform,
    interventions_before: Interventions,
    interventions_after: Interventions,
    now_ms: int,
    seen: Measured = NOT_MEASURED,
) -> Proposal:
    """Return a change with what is announced at every moment from `now_ms` (Unix time) on.

    `seen` is the traffic now.
    """
    times = _times((before, after), (interventions_before, interventions_after), now_ms)
    return Proposal(
        before=before,
        after=after,
        interventions_before=interventions_before,
        interventions_after=interventions_after,
        now_ms=now_ms,
        moments=tuple(
            _moment((before, interventions_before), (after, interventions_after), now_ms, time)
            for time in times
        ),
        seen=seen,
    )


def _times(
    platforms: Iterable[Platform], interventions: Iterable[Interventions], now_ms: int
) -> list[int]:
    """Return when, from now on, something begins or ends by itself."""
    times = {now_ms}
    times |= {override.until_ms for each in platforms for override in each.traffic}
    times |= {at for each in interventions for drain in each.drains for at in drain.instants_ms}
    return sorted(time for time in times if time >= now_ms)


_Side = tuple[Platform, Interventions]


def _moment(before: _Side, after: _Side, now_ms: int, at_ms: int) -> Moment:
    old = [each for each in announcements(*before, at_ms) if each.visible]
    new = [each for each in announcements(*after, at_ms) if each.visible]
    return Moment(
        in_ms=at_ms - now_ms,
        before=frozenset((each.session, each.prefix) for each in old),
        after=frozenset((each.session, each.prefix) for each in new),
        places_before=frozenset((each.datacenter, each.prefix) for each in old),
        places_after=frozenset((each.datacenter, each.prefix) for each in new),
    )


# ---- the guards ----------------------------------------------------------------------------


def last_announcer(proposal: Proposal) -> tuple[Verdict, ...]:
    """Forbid that an aggregate loses its last announcement, also by leaving the spec."""
    return tuple(
        Verdict(
            guard=Guard.LAST_ANNOUNCER,
            about=str(prefix),
            sentence=f"announced on {_count(sessions, 'session')} in "
            f"{_count(places, 'datacenter')}, would be announced on 0{moment.when}",
        )
        for moment in proposal.moments
        for prefix, places, left in _places(proposal, moment)
        if places
        and not left
        and (sessions := sum(other == prefix for _, other in moment.before))
    )


def announce_floor(proposal: Proposal) -> tuple[Verdict, ...]:
    """Forbid announcing an aggregate from fewer datacenters than the floor.

    Only if the change takes one away; taking the last is the matter of `last_announcer`.
    """
    return tuple(
        Verdict(
            guard=Guard.ANNOUNCE_FLOOR,
            about=str(prefix),
            sentence=f"announced from {_count(places, 'datacenter')}, would be announced from "
            f"{left}{moment.when}; the floor is {floor}",
        )
        for moment in proposal.moments
        for prefix, places, left in _places(proposal, moment)
        for floor in [floor_of(proposal.before, prefix)]
        if 0 < left < min(floor, places)
    )


def shrink_guard(proposal: Proposal) -> tuple[Verdict, ...]:
    """Forbid taking away more than a share of all announcements in one change.

    What one single session announces may always go: nothing smaller can be taken away. What
    the drain of a datacenter takes away was asked for by name, and is bounded by other guards.
    """
    percent = proposal.before.guards.shrink_percent
    return tuple(
        Verdict(
            guard=Guard.SHRINK_GUARD,
            about="announcements",
            sentence=f"{len(lost)} of {len(moment.before)} "
            f"({100 * len(lost) / len(moment.before):.0f} %) would be withdrawn"
            f"{moment.when}; one change may take away {percent} %",
        )
        for moment in proposal.moments
        for lost in [_lost_unnamed(proposal, moment)]
        if 100 * len(lost) > percent * len(moment.before)
        and len({session for session, _ in lost}) > 1
    )


def empty_is_error(proposal: Proposal) -> tuple[Verdict, ...]:
    """Forbid that a list becomes empty which was not: an empty list is mostly a mistake."""
    old, new = _lists(proposal.before), _lists(proposal.after)
    return tuple(
        Verdict(
            guard=Guard.EMPTY_IS_ERROR,
            about=about,
            sentence=f"there {'is' if count == 1 else 'are'} {count}, there would be 0",
        )
        for about, count in old.items()
        if count and new.get(about) == 0
    )


def headroom(proposal: Proposal) -> tuple[Verdict, ...]:
    """Forbid that a datacenter loses its last way out, or its last way to the others.

    Its drain takes the last way out on purpose, and then the links are enough. And forbid to
    move more traffic than there is room for, where loads and capacities are known.
    """
    verdicts: list[Verdict] = []
    for moment in proposal.moments:
        at_ms = proposal.now_ms + moment.in_ms
        old = _ways(proposal.before, proposal.interventions_before, at_ms)
        new = _ways(proposal.after, proposal.interventions_after, at_ms)
        verdicts += [
            Verdict(
                guard=Guard.HEADROOM,
                about=datacenter,
                sentence=f"it has {_count(was.count, noun)}, would have 0{moment.when}; {rest}",
            )
            for datacenter in old
            if datacenter in new
            for drained in [_is_drained(proposal.interventions_after, datacenter, at_ms)]
            for noun, was, will, rest in _compared(
                old[datacenter], new[datacenter], drained=drained
            )
            if was.count and not will.count
        ]
        verdicts += [
            Verdict(
                guard=Guard.HEADROOM,
                about=each.about,
                sentence=f"{each.sentence}{moment.when}",
            )
            for each in _shortages(proposal, moment)
            if each.sure
        ]
    return tuple(verdicts)


def _shortages(proposal: Proposal, moment: Moment) -> Iterator[Shortage]:
    at_ms = proposal.now_ms + moment.in_ms
    before = Intent(
        platform=proposal.before, interventions=proposal.interventions_before, at_ms=at_ms
    )
    after = Intent(
        platform=proposal.after, interventions=proposal.interventions_after, at_ms=at_ms
    )
    return shortages(before, after, proposal.seen)


_GUARDS: tuple[Callable[[Proposal], tuple[Verdict, ...]], ...] = (
    last_announcer,
    announce_floor,
    shrink_guard,
    empty_is_error,
    headroom,
)


# ---- counting ------------------------------------------------------------------------------


def _is_drained(interventions: Interventions, datacenter: str, at_ms: int) -> bool:
    """Return whether a whole datacenter is drained."""
    return any(
        drain.datacenter == datacenter and drain.holds(at_ms) for drain in interventions.drains
    )


def _lost_unnamed(proposal: Proposal, moment: Moment) -> frozenset[_Key]:
    """Return the announcements that are taken away, but for those of drained datacenters."""
    at_ms = proposal.now_ms + moment.in_ms
    drained = {
        edge.name
        for edge in proposal.before.machines_of(Role.EDGE)
        if _is_drained(proposal.interventions_after, edge.datacenter, at_ms)
    }
    lost = moment.before - moment.after
    return frozenset(key for key in lost if key[0].partition("@")[2] not in drained)


def _places(proposal: Proposal, moment: Moment) -> Iterator[tuple[Prefix, int, int]]:
    """Yield each aggregate with the datacenters that announce it before and after.

    Who drains a datacenter by name means the addresses of its instances, too.
    """
    at_ms, drains = proposal.now_ms + moment.in_ms, proposal.interventions_after
    for aggregate in proposal.before.aggregates:
        if aggregate.unicast and _is_drained(drains, aggregate.unicast, at_ms):
            continue
        prefix = aggregate.prefix
        was = sum(other == prefix for _, other in moment.places_before)
        yield prefix, was, sum(other == prefix for _, other in moment.places_after)


def _lists(platform: Platform) -> dict[str, int]:
    """Return how long the lists are that never are empty on purpose."""
    return {
        "peers": len(platform.peers),
        "aggregates": len(platform.aggregates),
        "backbone": len(platform.links),
        **{f"peers.{peer.name}.sessions": len(peer.sessions) for peer in platform.peers},
        **{
            f"peers.{peer.name}.allowed": len(peer.allowed)
            for peer in platform.peers
            if peer.kind is PeerKind.CUSTOMER
        },
        **{
            f"datacenters.{dc.name}.nodes": len(platform.machines_of(Role.NODE, dc.name))
            for dc in platform.datacenters
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ways:
    """Ways out of a datacenter of one kind."""

    count: int
    mbps: int = 0
    """What they carry together, as far as the spec says."""


def _ways(
    platform: Platform, interventions: Interventions, at_ms: int
) -> dict[str, tuple[_Ways, _Ways]]:
    """Return the external sessions that are not drained and the links, by datacenter."""
    ways: dict[str, tuple[_Ways, _Ways]] = {}
    for datacenter in platform.datacenters:
        edges = platform.machines_of(Role.EDGE, datacenter.name)
        sessions = sum(
            interventions.drain_of(peer.name, edge, session.interface, at_ms)
            is not DrainPhase.WITHDRAWN
            for edge in edges
            for peer, session in platform.sessions_of(edge.name)
        )
        links = {
            link.name: link
            for edge in edges
            for link in platform.links_of(edge.name)
            if not platform.is_inside(link)
        }
        mbps = sum(link.capacity_mbps for link in links.values())
        ways[datacenter.name] = (_Ways(count=sessions), _Ways(count=len(links), mbps=mbps))
    return ways


def _compared(
    old: tuple[_Ways, _Ways], new: tuple[_Ways, _Ways], *, drained: bool
) -> Iterator[tuple[str, _Ways, _Ways, str]]:
    links = new[1]
    size = f" of {links.mbps} Mbit/s" if links.mbps else " of unknown capacity"
    rest = f"all it sends would take {_count(links.count, 'backbone link')}{size}"
    if not (drained and links.count):
        rest = rest if links.count else "it has no links"
        yield "open external session", old[0], new[0], rest
    yield "backbone link", old[1], new[1], "no other datacenter could stand in for it"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
