"""`ports.Members` in memory: the members of a MemoryStoreState, with faults on demand."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pltfrms.drivers.ports import Clock
from pltfrms.drivers.store.memory import MemoryStoreState
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.store import NO_SPACE, StoreAlarm, StoreLook, StoreMember


@dataclass(slots=True)
class MemoryMembers:
    """One client's handle on the members of a simulated store.

    Faults: `silent` members do not answer; `defragment_seconds` is how long one takes, in
    which the member does not answer either.
    """

    clock: Clock
    state: MemoryStoreState
    silent: set[str] = field(default_factory=set)
    defragment_seconds: Callable[[], float] = lambda: 0.2
    done: list[str] = field(default_factory=list)
    """What was done, in order, such as `defragment fra-c1`; shared by handles as they like."""

    async def look(self) -> StoreLook:
        """Return how all members are."""
        room = self.state.room
        well = [name for name in room.file_bytes if name not in self.silent]
        if not well:
            troubled = tuple(
                StoreMember(name=name, trouble="silent") for name in room.file_bytes
            )
            return StoreLook(revision=0, members=troubled)
        leader = room.leader if room.leader in well else well[0]
        members = tuple(
            StoreMember(
                name=name,
                file_bytes=room.file_bytes[name],
                used_bytes=room.used_bytes,
                quota_bytes=room.quota_bytes,
                leader=name == leader,
                trouble="" if name in well else "silent",
            )
            for name in sorted(room.file_bytes)
        )
        alarms = (StoreAlarm(member=leader, what=NO_SPACE),) if room.full else ()
        return StoreLook(revision=self.state.revision, members=members, alarms=alarms)

    async def compact(self, revision: int) -> None:
        """Forget what was before a revision."""
        self.state.compact(revision)
        self.done.append(f"compact {revision}")

    async def lead(self, member: str) -> None:
        """Have a member lead the others."""
        self._require(member)
        self.state.room.leader = member
        self.done.append(f"lead {member}")

    async def defragment(self, member: str) -> None:
        """Make the file of a member as small as what is in use."""
        self._require(member)
        self.silent.add(member)
        try:
            await self.clock.sleep(self.defragment_seconds())
        finally:
            self.silent.discard(member)
        self.state.room.file_bytes[member] = self.state.room.used_bytes
        self.done.append(f"defragment {member}")

    async def disarm(self) -> None:
        """Have a full store take writes again."""
        self.state.room.full = False
        self.done.append("disarm")

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    def _require(self, member: str) -> None:
        if member in self.silent or member not in self.state.room.file_bytes:
            raise UnavailableError(f"member {member!r} does not answer (simulated)")
