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
    peers: dict[str, str] = field(default_factory=dict)
    """Where others reach a member, by name; of one that is not here `http://NAME:2380`."""
    learners: set[str] = field(default_factory=set)
    unstarted: set[str] = field(default_factory=set)
    added: int = 0

    async def look(self) -> StoreLook:
        """Return how all members are."""
        room = self.state.room
        away = self.silent | self.unstarted
        well = [name for name in room.file_bytes if name not in away]
        if not well:
            troubled = tuple(
                StoreMember(name=name, trouble="silent") for name in room.file_bytes
            )
            return StoreLook(revision=0, members=troubled)
        voters = [name for name in well if name not in self.learners] or well
        leader = room.leader if room.leader in voters else voters[0]
        members = tuple(
            StoreMember(
                name=name,
                number=f"number of {name}",
                peer=self.peer(name),
                learner=name in self.learners,
                started=name not in self.unstarted,
                index=0 if name in away else self.state.revision,
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

    async def add(self, peer: str) -> None:
        """Add a learner; it has no name before `begin`."""
        if peer not in map(self.peer, self.state.room.file_bytes):
            self.added += 1
            name = f"new{self.added}"
            self.state.room.file_bytes[name] = 0
            self.peers[name] = peer
            self.learners.add(name)
            self.unstarted.add(name)
            self.done.append(f"add {peer}")

    def begin(self, peer: str, name: str) -> None:
        """Have a learner that was added start, which gives it its name."""
        (added,) = [each for each in self.unstarted if self.peer(each) == peer]
        self._forget(added)
        self.state.room.file_bytes[name] = self.state.room.used_bytes
        self.peers[name] = peer
        self.learners.add(name)
        self.silent.discard(name)

    async def promote(self, number: str) -> None:
        """Give a learner a vote."""
        name = number.removeprefix("number of ")
        self._require(name)
        if name in self.unstarted:
            raise UnavailableError(f"{name} has not caught up (simulated)")
        self.learners.discard(name)
        self.done.append(f"promote {name}")

    async def remove(self, number: str) -> None:
        """Take a member out."""
        name = number.removeprefix("number of ")
        if name in self.state.room.file_bytes:
            self._forget(name)
            self.done.append(f"remove {name}")

    def peer(self, name: str) -> str:
        """Return where others reach a member."""
        return self.peers.get(name, f"http://{name}:2380")

    def _forget(self, name: str) -> None:
        del self.state.room.file_bytes[name]
        self.peers.pop(name, None)
        self.learners.discard(name)
        self.unstarted.discard(name)

    async def disarm(self) -> None:
        """Have a full store take writes again."""
        self.state.room.full = False
        self.done.append("disarm")

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    def _require(self, member: str) -> None:
        if member in self.silent or member not in self.state.room.file_bytes:
            raise UnavailableError(f"member {member!r} does not answer (simulated)")
