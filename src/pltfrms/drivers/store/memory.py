"""`ports.Store` in memory: the twin of etcd, for tests and simulations, with faults on demand.

One MemoryStoreState is the cluster; each MemoryStore is one client's handle on it, with its
own faults. All waiting goes through the clock, so that it works in virtual time.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from pltfrms.drivers.clock import wait_event
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.store.ports import Condition, Delete, KeyValue, LeaseTime, Listing, Put
from pltfrms.drivers.store.transaction import check_transaction
from pltfrms.errors import NotFoundError, StoreFullError, UnavailableError, UnclearError

_LOG_LENGTH = 10_000
"""Changes kept for watchers; a watch that asks for older ones ends (as after compaction)."""
_FAR_SECONDS = 86_400.0
_SHORTEST_WAIT_SECONDS = 0.001
"""Bounds of one wait for a lease to expire."""


class WatchFault(Enum):
    """What goes wrong with one notification of a watch; etcd 3.4 has been seen doing each."""

    NONE = auto()
    SKIP = auto()
    """It is lost."""
    REPEAT = auto()
    """It is delivered twice."""
    BACK = auto()
    """It is followed by one of an older revision."""
    END = auto()
    """The watch ends instead."""


@dataclass(frozen=True, slots=True)
class Backup:
    """The data of a store at one moment."""

    revision: int
    entries: tuple[KeyValue, ...]
    leases: tuple[tuple[int, int], ...]
    """(id, TTL in seconds)."""


@dataclass(slots=True)
class _Lease:
    ttl_seconds: int
    expires_at: float


class Room:
    """How large a simulated store is: the files of its members, and what is used of them."""

    def __init__(self) -> None:
        """Begin empty, with one member and no quota."""
        self.quota_bytes = 0
        """0: as large as it likes."""
        self.full = False
        """Whether writes are refused until it is disarmed."""
        self.file_bytes = {"only": 0}
        """By member."""
        self.leader = "only"
        self._used: dict[tuple[int, str], int] = {}

    @property
    def used_bytes(self) -> int:
        """What is kept: what is there, and what was and is not compacted."""
        return sum(self._used.values())

    def require(self, puts: Iterable[Put]) -> None:
        """Refuse what there is no room for; StoreFullError."""
        size = sum(len(put.key.encode()) + len(put.value) for put in puts)
        if size and self.quota_bytes:
            largest = max(*self.file_bytes.values(), self.used_bytes + size)
            self.full = self.full or largest > self.quota_bytes
            if self.full:
                raise StoreFullError("the store is full (simulated)")

    def take(self, revision: int, write: Put | Delete) -> None:
        """Keep a write; without a quota it is not looked at."""
        if not self.quota_bytes:
            return
        size = len(write.value) if isinstance(write, Put) else 0
        self._used[revision, write.key] = len(write.key.encode()) + size
        self._grow()

    def forget(self, revision: int, living: Container[tuple[int, str]]) -> None:
        """Keep of what was written before a revision only what is there still."""
        self._grow()
        self._used = {
            written: size
            for written, size in self._used.items()
            if written[0] >= revision or written in living
        }

    def _grow(self) -> None:
        used = self.used_bytes
        self.file_bytes = {name: max(size, used) for name, size in self.file_bytes.items()}


class MemoryStoreState:
    """The data of a simulated cluster. Revisions begin at 1, as etcd's do."""

    def __init__(self, clock: Clock) -> None:
        """Begin empty; leases expire by `clock`."""
        self._clock = clock
        self._entries: dict[str, KeyValue] = {}
        self._leases: dict[int, _Lease] = {}
        self._last_lease = 0
        self._log: list[tuple[int, str]] = []
        self._log_begins_after = 0
        self._changed = asyncio.Event()
        self.revision = 1
        self.room = Room()

    # ---- reading ---------------------------------------------------------------------------

    def list(self, prefix: str, after: int = 0) -> Listing:
        """Return what is there now and was written after a revision, sorted by key."""
        self._expire()
        found = [entry for key, entry in self._entries.items() if key.startswith(prefix)]
        written = (entry for entry in found if entry.mod_revision > after)
        entries = sorted(written, key=lambda entry: entry.key)
        return Listing(revision=self.revision, entries=tuple(entries), total=len(found))

    def changed_after(self, prefix: str, after: int) -> Sequence[int] | None:
        """Return the revisions > `after` that touched `prefix`; None if too long ago."""
        self._expire()
        if after < self._log_begins_after:
            return None
        start = bisect_right(self._log, after, key=lambda change: change[0])
        touched = (rev for rev, key in self._log[start:] if key.startswith(prefix))
        return tuple(dict.fromkeys(touched))

    async def wait(self) -> None:
        """Return when something changed, or a lease is due, or `wake` was called."""
        soonest = min((lease.expires_at for lease in self._leases.values()), default=None)
        now = self._clock.monotonic()
        seconds = _FAR_SECONDS if soonest is None else soonest - now
        await wait_event(self._changed, self._clock, max(seconds, _SHORTEST_WAIT_SECONDS))

    def wake(self) -> None:
        """Make everybody who waits look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    # ---- writing ---------------------------------------------------------------------------

    def commit(
        self, writes: Sequence[Put | Delete], conditions: Sequence[Condition]
    ) -> int | None:
        """Do all writes at one revision if all conditions hold; see `ports.Store`."""
        self._expire()
        if not all(self._holds(condition) for condition in conditions):
            return None
        for write in writes:
            if isinstance(write, Put) and write.lease:
                self._lease(write.lease)
        self.room.require(write for write in writes if isinstance(write, Put))
        self._write(writes)
        return self.revision

    def grant(self, ttl_seconds: int) -> int:
        """Make a lease."""
        self._expire()
        self.room.require((Put(key="lease", value=b""),))
        self._last_lease += 1
        expires_at = self._clock.monotonic() + ttl_seconds
        self._leases[self._last_lease] = _Lease(ttl_seconds, expires_at)
        self.wake()
        return self._last_lease

    def keep_alive(self, lease: int) -> bool:
        """Renew a lease, if it is there."""
        self._expire()
        found = self._leases.get(lease)
        if found:
            found.expires_at = self._clock.monotonic() + found.ttl_seconds
        return found is not None

    def lease_time(self, lease: int) -> LeaseTime | None:
        """Return how long a lease still has, if it is there."""
        self._expire()
        found = self._leases.get(lease)
        if found is None:
            return None
        remaining = int(found.expires_at - self._clock.monotonic())
        return LeaseTime(remaining_seconds=remaining, granted_seconds=found.ttl_seconds)

    def revoke(self, lease: int) -> None:
        """End a lease, if it is there, and delete its keys at one revision."""
        self._expire()
        if self._leases.pop(lease, None):
            self._write(self._deletions_of(lease))

    def compact(self, revision: int) -> None:
        """Forget changes before a revision; a watch that asks for them ends."""
        self._expire()
        begin = bisect_right(self._log, revision - 1, key=lambda change: change[0])
        self._log_begins_after = max(self._log_begins_after, revision - 1)
        del self._log[:begin]
        living = {(entry.mod_revision, entry.key) for entry in self._entries.values()}
        self.room.forget(revision, living)
        self.wake()

    # ---- disasters -------------------------------------------------------------------------

    def backup(self) -> Backup:
        """Return a copy of all data."""
        leases = tuple((number, lease.ttl_seconds) for number, lease in self._leases.items())
        return Backup(self.revision, tuple(self._entries.values()), leases)

    def restore(self, backup: Backup) -> None:
        """Go back to a backup: the revision goes back with it, leases begin anew."""
        now = self._clock.monotonic()
        self._entries = {entry.key: entry for entry in backup.entries}
        self._leases = {number: _Lease(ttl, now + ttl) for number, ttl in backup.leases}
        self.revision = backup.revision
        self._log.clear()
        self._log_begins_after = 0
        self.wake()

    # ---- parts -----------------------------------------------------------------------------

    def _holds(self, condition: Condition) -> bool:
        entry = self._entries.get(condition.key)
        return (entry.mod_revision if entry else 0) == condition.mod_revision

    def _lease(self, lease: int) -> _Lease:
        if lease not in self._leases:
            raise NotFoundError(f"lease {lease} does not exist; grant a new one")
        return self._leases[lease]

    def _deletions_of(self, lease: int) -> Sequence[Delete]:
        keys = (entry.key for entry in self._entries.values() if entry.lease == lease)
        return tuple(Delete(key=key) for key in keys)

    def _expire(self) -> None:
        now = self._clock.monotonic()
        due = [number for number, lease in self._leases.items() if lease.expires_at <= now]
        for number in due:
            del self._leases[number]
            self._write(self._deletions_of(number))

    def _write(self, writes: Iterable[Put | Delete]) -> None:
        effective = [
            write for write in writes if isinstance(write, Put) or write.key in self._entries
        ]
        if not effective:
            return
        self.revision += 1
        for write in effective:
            self._log.append((self.revision, write.key))
            self.room.take(self.revision, write)
            if isinstance(write, Put):
                self._entries[write.key] = KeyValue(
                    key=write.key,
                    value=write.value,
                    mod_revision=self.revision,
                    lease=write.lease,
                )
            else:
                del self._entries[write.key]
        self._trim_log()
        self.wake()

    def _trim_log(self) -> None:
        if len(self._log) < 2 * _LOG_LENGTH:
            return
        self._log_begins_after = self._log[-_LOG_LENGTH - 1][0]
        del self._log[:-_LOG_LENGTH]


class MemoryStore:
    """One client's handle on a MemoryStoreState.

    Faults, changeable at any time:
        unavailable: every call raises UnavailableError, and watches end.
        unknown_outcome: asked at every write; when it says True, the write is done, but
            UnclearError is raised.
        watch_fault: asked at every notification of a watch.
        delay_seconds: asked twice per call, for the way there and the way back.
        list_seconds: asked at every list; how much longer it takes than anything else.
    """

    def __init__(self, clock: Clock, state: MemoryStoreState | None = None) -> None:
        """Open a handle on `state`, or on a new cluster."""
        self.state = state or MemoryStoreState(clock)
        self.unknown_outcome: Callable[[], bool] = lambda: False
        self.watch_fault: Callable[[], WatchFault] = lambda: WatchFault.NONE
        self.delay_seconds: Callable[[], float] = lambda: 0.0
        self.list_seconds: Callable[[], float] = lambda: 0.0
        self._clock = clock
        self._unavailable = False

    @property
    def unavailable(self) -> bool:
        """Whether this client is cut off."""
        return self._unavailable

    @unavailable.setter
    def unavailable(self, unavailable: bool) -> None:
        self._unavailable = unavailable
        self.state.wake()

    async def list(self, prefix: str, after: int = 0) -> Listing:
        """Return all entries whose key starts with `prefix`, written after a revision."""
        await self._travel()
        listing = self.state.list(prefix, after)
        await self._clock.sleep(self.list_seconds())
        await self._travel()
        return listing

    async def commit(
        self, writes: Sequence[Put | Delete], conditions: Sequence[Condition] = ()
    ) -> int | None:
        """Do all writes if all conditions hold; NotFoundError if a lease does not exist."""
        check_transaction(writes, conditions)
        await self._travel()
        revision = self.state.commit(writes, conditions)
        await self._travel_back_from_write()
        return revision

    async def changes(self, prefix: str, after: int) -> AsyncIterator[int]:
        """Yield revisions > `after` that touched `prefix`, unless faults meddle."""
        while True:
            self._require_available()
            revisions = self.state.changed_after(prefix, after)
            if revisions is None:
                return
            for revision in revisions:
                fault = self.watch_fault()
                if fault is WatchFault.END:
                    return
                for seen in _distorted(revision, fault):
                    yield seen
                after = revision
            if not revisions:
                await self.state.wait()

    async def grant(self, ttl_seconds: int) -> int:
        """Make a lease and return its id."""
        await self._travel()
        lease = self.state.grant(ttl_seconds)
        await self._travel_back_from_write()
        return lease

    async def keep_alive(self, lease: int) -> bool:
        """Renew a lease; False if it does not exist any more."""
        await self._travel()
        alive = self.state.keep_alive(lease)
        await self._travel_back_from_write()
        return alive

    async def lease_time(self, lease: int) -> LeaseTime | None:
        """Return how long a lease still has; None if it does not exist any more."""
        await self._travel()
        time = self.state.lease_time(lease)
        await self._travel()
        return time

    async def revoke(self, lease: int) -> None:
        """End a lease and delete its keys."""
        await self._travel()
        self.state.revoke(lease)
        await self._travel_back_from_write()

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    async def _travel(self) -> None:
        await self._clock.sleep(self.delay_seconds())
        self._require_available()

    async def _travel_back_from_write(self) -> None:
        await self._clock.sleep(self.delay_seconds())
        if self._unavailable or self.unknown_outcome():
            raise UnclearError("the answer of the store was lost; it may or may not be done")

    def _require_available(self) -> None:
        if self._unavailable:
            raise UnavailableError("the store does not answer (simulated)")


def _distorted(revision: int, fault: WatchFault) -> tuple[int, ...]:
    if fault is WatchFault.SKIP:
        return ()
    if fault is WatchFault.REPEAT:
        return (revision, revision)
    if fault is WatchFault.BACK:
        return (revision, max(revision - 10, 1))
    return (revision,)
