"""How the store is: its members, how large they are, and what is in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

NO_SPACE: Final = "NOSPACE"
"""etcd's word for a member that has reached its quota: no member takes a write any more."""

_MEGABYTE = 1_000_000


def megabytes(size: int) -> str:
    """Return a size in bytes for people."""
    digits = 1 if size < 10 * _MEGABYTE else 0
    return f"{size / _MEGABYTE:.{digits}f} MB"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreMember:
    """One member of the store, as it says itself; what is not known is 0."""

    name: str
    """Of its machine; as etcd calls it before it has started for the first time."""
    number: str = ""
    """etcd's id of it; a member that is added anew has another one."""
    peer: str = ""
    """URL at which the other members reach it."""
    learner: bool = False
    """It hears everything and has no vote: it is being added."""
    started: bool = True
    """It has run once since it was added."""
    index: int = 0
    """The newest entry of the log that it has applied."""
    file_bytes: int = 0
    """Size of its file. It never shrinks by itself: what is free in it is used again."""
    used_bytes: int = 0
    """What of the file is in use, as it was when the member wrote last."""
    quota_bytes: int = 0
    """How large the file may be."""
    leader: bool = False
    behind: int = 0
    """Entries of the log that it has and has not applied yet."""
    trouble: str = ""
    """Why nothing can be asked of it now, one sentence; empty: it is well."""

    @property
    def share(self) -> float:
        """How full it is, 0 to 1 and more; 0 if the quota is not known."""
        return self.file_bytes / self.quota_bytes if self.quota_bytes else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberData:
    """Whose data is on a disk, as etcd has written it there; empty: not known."""

    number: str = ""
    """etcd's id of the member."""
    store: str = ""
    """etcd's id of the store: another one's members have other data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreMembers:
    """The members of one store, as one says that has just read what all of them agree on."""

    members: tuple[StoreMember, ...]
    store: str = ""
    """etcd's id of the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAlarm:
    """What etcd itself warns of, until somebody disarms it."""

    member: str
    what: str
    """etcd's word: `NOSPACE`, `CORRUPT`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLook:
    """What the members say at one moment."""

    revision: int
    """Of the store; 0 if no member answers."""
    members: tuple[StoreMember, ...] = ()
    """All that the store has, sorted by name; or all that are asked, if none answers."""
    alarms: tuple[StoreAlarm, ...] = ()
    strangers: tuple[str, ...] = ()
    """Where members of another store answer."""

    @property
    def full(self) -> bool:
        """Whether the store refuses writes for want of room."""
        return any(alarm.what == NO_SPACE for alarm in self.alarms)

    @property
    def voters(self) -> tuple[StoreMember, ...]:
        """Who decides: all but learners."""
        return tuple(member for member in self.members if not member.learner)

    @property
    def spare(self) -> int:
        """How many more voters may fail and leave a majority; below 0: there is none now."""
        well = sum(not member.trouble for member in self.voters)
        return well - (len(self.voters) // 2 + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatRequest:
    """A controller machine whose member has no data asks to be added; kept while it waits."""

    machine: str
    lost: str = ""
    """etcd's id of the member whose data is lost; empty: the machine was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSize:
    """How much there is of one kind of key."""

    keys: int
    bytes: int | None = None
    """Keys and values; None: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreState:
    """The store for readers, as the controller that answers sees it."""

    look: StoreLook
    kinds: Mapping[str, KindSize] = field(default_factory=dict)
    """By the beginning of keys, such as `/pltfrms/services/`."""
    problems: tuple[str, ...] = ()
    """What somebody should know, one sentence each."""
