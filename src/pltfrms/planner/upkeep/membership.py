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
"""A learner that is not well for so long is taken out: it asks again when it comes back."""


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
        _remove_dead(look, seats, past)
        or _remove_lost(look, seats)
        or _of_learners(look, seats, past, now)
        or _add(look, seats)
        or _leave(look, seats, past)
    )


def why_unchangeable(look: StoreLook) -> str:
    """Return why no member may come or go now; empty: one may."""
    if not look.revision:
        return "no member answers"
    if look.full:
        return "the store is full"
    if [member.learner for member in look.members if member.leader] != [False]:
        return "the members do not agree who leads"
    if look.spare < 0:
        return "too few members are well"
    return ""


def _remove_dead(look: StoreLook, seats: Seats, past: Past) -> Task | None:
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
    index = max(member.index for member in look.members if member.leader)
    for member in look.members:
        name = seats.name_of(member)
        if not member.learner:
            continue
        if member in unwanted:
            return _remove(member, "it is no controller of the platform any more")
        if now - past.ill_since.get(member.number, now) >= LEARNER_SECONDS:
            why = f"it was to be added, and is not well for {LEARNER_SECONDS / 60:.0f} min"
            return _remove(member, why, name)
        if member.started and not member.trouble and index - member.index <= BEHIND_MAX:
            return Task(
                work=Work.PROMOTE, member=name, number=member.number, why="it has caught up"
            )
    return None


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
