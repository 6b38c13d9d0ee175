"""What to do next to keep the store small: forget history, give free room back, open it again.

etcd keeps every change until it is compacted. Compaction frees room inside a member's file;
only defragmentation makes the file smaller, and the quota counts the file. While a member is
defragmented, it answers nobody. So that is done where it gains much, one member at a time,
while all are well, and the leader last.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from pltfrms.model.messages.store import StoreLook, StoreMember, megabytes

WARN_SHARE: Final = 0.6
"""Part of the quota from which on people are told, and less history is kept."""
URGENT_SHARE: Final = 0.8
ROOM_SHARE: Final = 0.9
"""A full store takes writes again when no member's file is larger."""
HISTORY_SECONDS: Final = 600.0
"""How much history is kept: nobody reads any; lists and watches that last need a little."""
SHORT_HISTORY_SECONDS: Final = 60.0
"""How much of it while a member is fuller than `WARN_SHARE`."""
MARK_SECONDS: Final = 30.0
"""So often a revision is remembered, so that it is known how old it is."""
FREE_BYTES_MIN: Final = 64 * 1024 * 1024
"""Less is not worth that a member does not answer for a moment."""
FREE_SHARE: Final = 0.5
FREE_SHARE_WARN: Final = 0.2
"""Part of a file that must be free for it to be defragmented; of one over `WARN_SHARE`."""
PAUSE_SECONDS: Final = 60.0
FULL_PAUSE_SECONDS: Final = 5.0
"""Between two works that a member feels; while the store is full."""
ROUND_SECONDS: Final = 60.0
"""A full store that has still no room after all was done is compacted again after so long."""
BEHIND_MAX: Final = 1000


class Work(StrEnum):
    """What may be done for the store."""

    COMPACT = "compact"
    MOVE_LEADER = "move-leader"
    DEFRAGMENT = "defragment"
    DISARM = "disarm"
    ADD = "add"
    PROMOTE = "promote"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One thing to do, and why."""

    work: Work
    why: str
    member: str = ""
    """Whom to defragment, add, promote or remove, or who is to lead."""
    number: str = ""
    """etcd's id of who is promoted or removed."""
    peer: str = ""
    """URL of who is added."""
    revision: int = 0
    """Up to which history is forgotten."""

    @property
    def sentence(self) -> str:
        """The task in words."""
        what = {
            Work.COMPACT: f"forget history before revision {self.revision}",
            Work.MOVE_LEADER: f"have {self.member} lead",
            Work.DEFRAGMENT: f"defragment {self.member}",
            Work.DISARM: "take writes again",
            Work.ADD: f"add {self.member} as a learner",
            Work.PROMOTE: f"give {self.member} a vote",
            Work.REMOVE: f"remove member {self.member}",
        }[self.work]
        return f"{what}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Which revision the store had when, or how far in the log a learner was."""

    at: float
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What one controller remembers of its looks and works; times are monotonic seconds."""

    since: float
    """When it began to look."""
    marks: tuple[Mark, ...] = ()
    """Oldest first."""
    compacted: int = 0
    compacted_at: float | None = None
    full_since: float | None = None
    """None: the store is not full."""
    touched_at: float | None = None
    """When a member was last defragmented, or made to lead."""
    defragmented: Mapping[str, float] = field(default_factory=dict)
    """When, by name."""
    troubled: frozenset[str] = frozenset()
    """Who was not well at the last look."""
    long_troubled: frozenset[str] = frozenset()
    """Who was not well at the look before, either: more than an election."""
    learned: Mapping[str, Mark] = field(default_factory=dict)
    """By the number of a learner: how far it has come, and since when it is no further."""
    unmovable: bool = False
    """The leader was asked to let another one lead, and did not."""

    def seen(self, look: StoreLook, now: float) -> "Past":
        """Return it with one look more."""
        marks = self.marks
        if marks and look.revision and look.revision < marks[-1].revision:
            marks = ()  # the store was set back
        if look.revision and (not marks or now - marks[-1].at >= MARK_SECONDS):
            marks = (*marks, Mark(at=now, revision=look.revision))
        old = [mark for mark in marks if now - mark.at > HISTORY_SECONDS]
        since = self.full_since if self.full_since is not None else now
        troubled = frozenset(member.name for member in look.members if member.trouble)
        return replace(
            self,
            troubled=troubled,
            learned={
                member.number: self._learned(member, now)
                for member in look.members
                if member.learner
            },
            long_troubled=troubled & self.troubled,
            marks=marks[max(len(old) - 1, 0) :],
            full_since=since if look.full else None,
        )

    def _learned(self, learner: StoreMember, now: float) -> Mark:
        last = self.learned.get(learner.number)
        if last and learner.index <= last.revision:
            return last
        return Mark(at=now, revision=learner.index)

    def done(self, task: Task, now: float, *, well: bool = True) -> "Past":
        """Return it with a task that was done, or tried."""
        if task.work is Work.COMPACT:
            return replace(self, compacted=task.revision, compacted_at=now)
        if task.work is Work.MOVE_LEADER:
            return replace(self, touched_at=now, unmovable=not well)
        if task.work is Work.DEFRAGMENT:
            # Also what was not well is not tried again at once.
            when = {**self.defragmented, task.member: now}
            return replace(self, touched_at=now, defragmented=when, unmovable=False)
        return self


def next_task(look: StoreLook, past: Past, now: float) -> Task | None:
    """Return what to do now; None: nothing, or nothing yet. `past` has seen `look`."""
    if look.full:
        return (
            _compact_when_full(look, past, now)
            or _disarm(look, past)
            or _touch(look, past, now)
        )
    return _compact(look, past, now) or _touch(look, past, now)


def why_untouchable(look: StoreLook) -> str:
    """Return why no member may be kept from answering now; empty: one may."""
    if not look.members:
        return "no member is known"
    for member in look.members:
        if member.trouble:
            return f"{member.name} is not well: {member.trouble}"
        if member.behind > BEHIND_MAX:
            return f"{member.name} is {member.behind} entries behind"
        if member.learner:
            return f"{member.name} is being added"
    if sum(member.leader for member in look.members) != 1:
        return "the members do not agree who leads"
    return ""


# ---- forgetting ----------------------------------------------------------------------------


def _compact(look: StoreLook, past: Past, now: float) -> Task | None:
    tight = max((member.share for member in look.members), default=0.0) >= WARN_SHARE
    seconds = SHORT_HISTORY_SECONDS if tight else HISTORY_SECONDS
    last = past.compacted_at
    if last is not None and now - last < seconds:
        return None
    old = [mark.revision for mark in past.marks if now - mark.at >= seconds]
    if not look.revision or not old or old[-1] <= past.compacted:
        return None
    why = f"{seconds / 60:.0f} min are enough"
    return Task(work=Work.COMPACT, revision=old[-1], why=why)


def _compact_when_full(look: StoreLook, past: Past, now: float) -> Task | None:
    """Forget everything once; and again when all that followed has not helped."""
    at, since = past.compacted_at, past.full_since
    if not look.revision or since is None:
        return None
    fresh = at is not None and at >= since
    if fresh and at is not None and now - at < ROUND_SECONDS:
        return None
    if fresh and _waiting(look.members, past):
        return None
    return Task(work=Work.COMPACT, revision=look.revision, why="the store is full")


def _disarm(look: StoreLook, past: Past) -> Task | None:
    """Take writes again when there is room; of what is done for it, nothing is left out."""
    if not look.members or any(member.trouble for member in look.members):
        return None
    fullest = max(member.share for member in look.members)
    if fullest > ROOM_SHARE or (fullest > WARN_SHARE and _waiting(look.members, past)):
        return None
    return Task(work=Work.DISARM, why="every member has room")


# ---- giving room back ----------------------------------------------------------------------


def _touch(look: StoreLook, past: Past, now: float) -> Task | None:
    """Return which member is defragmented now, or made to lead so that another one can be."""
    pause = FULL_PAUSE_SECONDS if look.full else PAUSE_SECONDS
    since = past.since if past.touched_at is None else past.touched_at
    if now - since < pause or why_untouchable(look):
        return None
    members = _waiting(look.members, past) if look.full else _worth_it(look.members)
    for member in sorted(members, key=lambda each: (each.leader, -each.file_bytes, each.name)):
        successor = _successor(look.members) if member.leader else None
        if successor and not past.unmovable:
            why = f"{member.name}, which leads, is to be defragmented"
            return Task(work=Work.MOVE_LEADER, member=successor.name, why=why)
        why = "the store is full" if look.full else _why_worth_it(member)
        return Task(work=Work.DEFRAGMENT, member=member.name, why=why)
    return None


def _waiting(members: Iterable[StoreMember], past: Past) -> list[StoreMember]:
    """Return who was not defragmented since all was compacted.

    How much of a file is in use is not known then: members count anew when they write.
    """
    at = past.compacted_at
    return [
        member
        for member in members
        if at is not None and past.defragmented.get(member.name, at - 1) < at
    ]


def _worth_it(members: Iterable[StoreMember]) -> Iterator[StoreMember]:
    for member in members:
        free = member.file_bytes - member.used_bytes
        least = FREE_SHARE_WARN if member.share >= WARN_SHARE else FREE_SHARE
        enough = member.share >= WARN_SHARE or free >= FREE_BYTES_MIN
        if enough and free >= least * member.file_bytes:
            yield member


def _why_worth_it(member: StoreMember) -> str:
    return f"of {megabytes(member.file_bytes)} only {megabytes(member.used_bytes)} are in use"


def _successor(members: Iterable[StoreMember]) -> StoreMember | None:
    others = [member for member in members if not member.leader]
    return min(others, key=lambda each: (each.file_bytes, each.name), default=None)
