"""Who is to be a member of the store: the next single step, and why. Pure.

The platform's controllers are the members of the store. A member comes as a learner, which has
no vote, and gets one when it has caught up; one that leaves gives up leading first. There is
never more than one step at a time, and none after which too few of those that vote are well.
What is not known waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from pltfrms.model.messages.store import StoreLook, StoreMember
from pltfrms.planner.upkeep.upkeep import BEHIND_MAX, Past, Task, Work

LEARNER_SECONDS: Final = 300.0
"""A learner that comes no further for so long is taken out: it asks again when it is back."""
FILLING_BYTES_PER_SECOND: Final = 1_000_000
"""Slower than that nobody needs to be sent all there is, which happens before it answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seats:
    """Who is to be a member, and who asks for it."""

    wanted: Mapping[str, str]
    """URL for other members, by name of a controller of the platform."""
    asking: Mapping[str, str] = field(default_factory=dict)
    """Machines whose member has no data, and waits to be added: with the number of the member
    whose data is lost; empty if it was none."""

    def holder(self, look: StoreLook, name: str) -> StoreMember | None:
        """Return the member of a machine; None: it has none."""
        return next((m for m in look.members if _is_at(m, self.wanted[name])), None)

    def unwanted(self, look: StoreLook) -> tuple[StoreMember, ...]:
        """Return the members that no controller of the platform is."""
        return tuple(
            member
            for member in look.members
            if not any(_is_at(member, peer) for peer in self.wanted.values())
        )

    def missing(self, look: StoreLook) -> tuple[str, ...]:
        """Return the controllers that have no vote."""
        return tuple(
            name
            for name in self.wanted
            if (member := self.holder(look, name)) is None or member.learner
        )

    def name_of(self, member: StoreMember) -> str:
        """Return how people call a member: it has no name before it has started."""
        for name, peer in self.wanted.items():
            if _is_at(member, peer):
                return name
        return member.name


def next_change(look: StoreLook, seats: Seats, past: Past, now: float) -> Task | None:
    """Return the next step at time `now`; None: nothing, or nothing yet.

    `past` has seen `look`.
    """
    if why_unchangeable(look) or not seats.wanted:
        return None
    return (
        _remove_dead(look, seats, past, now)
        or _remove_lost(look, seats)
        or _of_learners(look, seats, past, now)
        or _add(look, seats)
        or _leave(look, seats, past)
    )


def why_unchangeable(look: StoreLook) -> str:
    """Return why no member may come or go now; empty: one may."""
    if not look.revision:
        return "no member answers"
    if look.strangers:
        return f"members of another store answer at {', '.join(look.strangers)}"
    if look.full:
        return "the store is full"
    if [member.learner for member in look.members if member.leader] != [False]:
        return "the members do not agree who leads"
    if look.spare < 0:
        return "too few members are well"
    return ""


def _remove_dead(look: StoreLook, seats: Seats, past: Past, now: float) -> Task | None:
    """Remove who is gone and not wanted; it may yet come back while others are being filled."""
    unwanted = seats.unwanted(look)
    coming = [m for m in look.members if m.learner and m not in unwanted]
    if any(_is_coming(look, member, past, now) for member in coming):
        return None
    for member in seats.unwanted(look):
        if member.name in past.long_troubled and _goes_on_without(look, member):
            why = "it is no controller of the platform any more, and does not answer"
            return _remove(member, why)
    return None


def _remove_lost(look: StoreLook, seats: Seats) -> Task | None:
    """Remove a member of which the machine says that its data is lost, and which is silent."""
    for name in sorted(seats.asking.keys() & seats.wanted.keys()):
        member = seats.holder(look, name)
        lost = member is not None and member.number == seats.asking[name]
        if member and lost and member.trouble and _goes_on_without(look, member):
            return _remove(member, "its machine has lost its data; it is added anew", name)
    return None


def _of_learners(look: StoreLook, seats: Seats, past: Past, now: float) -> Task | None:
    unwanted = seats.unwanted(look)
    for member in look.members:
        name = seats.name_of(member)
        if not member.learner:
            continue
        if member in unwanted:
            return _remove(member, "it is no controller of the platform any more")
        if _has_caught_up(look, member):
            return Task(
                work=Work.PROMOTE, member=name, number=member.number, why="it has caught up"
            )
        still = _still_seconds(member, past, now)
        if still >= _patience_seconds(look, member):
            why = f"it was to be added, and has come no further for {still / 60:.0f} min"
            return _remove(member, why, name)
    return None


def _has_caught_up(look: StoreLook, learner: StoreMember) -> bool:
    index = max(member.index for member in look.members if member.leader)
    return learner.started and not learner.trouble and index - learner.index <= BEHIND_MAX


def _is_coming(look: StoreLook, learner: StoreMember, past: Past, now: float) -> bool:
    """Whether a learner is still behind, and is waited for."""
    still = _still_seconds(learner, past, now)
    return not _has_caught_up(look, learner) and still < _patience_seconds(look, learner)


def _still_seconds(learner: StoreMember, past: Past, now: float) -> float:
    last = past.learned.get(learner.number)
    return now - last.at if last else 0.0


def _patience_seconds(look: StoreLook, learner: StoreMember) -> float:
    """Return how long it may come no further: before its first answer it is sent everything."""
    if learner.started:
        return LEARNER_SECONDS
    size = max(member.file_bytes for member in look.members)
    return LEARNER_SECONDS + size / FILLING_BYTES_PER_SECOND


def _add(look: StoreLook, seats: Seats) -> Task | None:
    """Add one while all are well, as etcd demands, too, and while no other is being added."""
    if any(member.learner or member.trouble for member in look.members):
        return None
    for name in sorted(seats.asking.keys() & seats.wanted.keys()):
        if seats.holder(look, name) is None:
            why = "it is a controller of the platform, and no member yet"
            return Task(work=Work.ADD, member=name, peer=seats.wanted[name], why=why)
    return None


def _leave(look: StoreLook, seats: Seats, past: Past) -> Task | None:
    """Have one go that is well, when all that are to stay have come."""
    if seats.missing(look):
        return None
    unwanted = seats.unwanted(look)
    for member in sorted(unwanted, key=lambda each: (each.leader, each.name)):
        if member.trouble or not _goes_on_without(look, member):
            continue
        heirs = [v for v in look.voters if v not in unwanted and not v.trouble]
        if member.leader and heirs and not past.unmovable:
            why = f"{member.name}, which leads, is no controller any more"
            heir = min(heirs, key=lambda each: each.name)
            return Task(work=Work.MOVE_LEADER, member=heir.name, why=why)
        return _remove(member, "it is no controller of the platform any more")
    return None


def _remove(member: StoreMember, why: str, name: str = "") -> Task:
    who = name or member.name
    return Task(work=Work.REMOVE, member=who, number=member.number, why=why)


def _goes_on_without(look: StoreLook, member: StoreMember) -> bool:
    left = [voter for voter in look.voters if voter is not member]
    return sum(not voter.trouble for voter in left) > len(left) // 2


def _is_at(member: StoreMember, peer: str) -> bool:
    """Whether a member is that of an address; how one speaks there may change."""
    return urlsplit(member.peer).hostname == urlsplit(peer).hostname
