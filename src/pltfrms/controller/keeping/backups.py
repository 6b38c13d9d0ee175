"""Backups of what is wanted: taken at one revision, sealed, kept here and outside; put back.

A backup has what people and planners decided, and the public keys of machines, not what
machines report: they report again.
What is put back becomes a commit that is newer than all that the backup knew. A machine that
has heard of a still newer one keeps what it has until the store is past that.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import structlog

from pltfrms.codec import decode, decode_fully, encode
from pltfrms.controller.records.state import (
    ALLOCATIONS,
    COMMIT_KEY,
    INTERVENTIONS_KEY,
    JOBS,
    LINEAGE_KEY,
    MACHINE_KEYS,
    NUMBERS,
    PLATFORM_KEY,
    PREFIX,
    SECRETS,
    SECRETS_KEY_KEY,
    SERVICES,
    VOLUMES,
    commit_mark,
    number_key,
)
from pltfrms.drivers.backup.ports import BackupName, BackupPlace, Seal, Vault, checksum_of
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.store.ports import Delete, Listing, Put, Store
from pltfrms.drivers.store.transaction import batches
from pltfrms.errors import ConflictError, PltfrmsError, UnavailableError, UsageError
from pltfrms.model.identity.words import MachineKey
from pltfrms.model.messages.backup import BACKUP_FORMAT, BackupEntry, IntentBackup
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.plan import LastNumber
from pltfrms.model.services.jobs import Job
from pltfrms.planner.placement.drafting.numbers import replica_of
from pltfrms.planner.upkeep.lineage import ANY

INTERVAL_SECONDS: Final = 3600.0
RETRY_SECONDS: Final = 60.0
LATE_SECONDS: Final = 3 * INTERVAL_SECONDS
"""After so long without a backup that is a problem."""
_KINDS: Final = (SERVICES, ALLOCATIONS, NUMBERS, VOLUMES, SECRETS, JOBS)
_SINGLE: Final = (PLATFORM_KEY, INTERVENTIONS_KEY, LINEAGE_KEY, SECRETS_KEY_KEY)
_RESTORING_KEY: Final = f"{PREFIX}restoring"
"""While it is there no controller decides: it is of a kind that none knows."""
_PAST_KEY: Final = "/pltfrms-past"
_AT_ONCE: Final = 64
_NUMBERS_LEFT_OUT: Final = 10_000
"""Numbers of each replica that may have been given after the backup was taken."""

_log = structlog.get_logger(__name__)


async def take(store: Store, by: str, now_ms: int) -> IntentBackup:
    """Return a backup of what the store holds now.

    Raises:
        UnavailableError: the store does not answer, or holds no platform.
        UsageError: it holds what cannot be read.
    """
    listing = await store.list(PREFIX)
    if any(each.key == _RESTORING_KEY for each in listing.entries):
        raise UnavailableError("a backup is being put back; what is there is not whole")
    wanted = [each for each in listing.entries if _is_wanted(each.key)]
    # Else nobody would be known after it is put back, and each machine had to join again.
    wanted += (await store.list(MACHINE_KEYS)).entries
    platforms = [each.value for each in wanted if each.key == PLATFORM_KEY]
    if not platforms:
        raise UnavailableError("the store holds no platform yet: there is nothing to back up")
    entries = tuple(BackupEntry(key=e.key, value=e.value.decode()) for e in wanted)
    return IntentBackup(
        platform=decode(Platform, platforms[0]).name,
        revision=_commit_of(listing),
        taken_ms=now_ms,
        by=by,
        entries=entries,
    )


def read_backup(text: str) -> IntentBackup:
    """Return the backup that a text says; UsageError if it is none of this version."""
    backup = decode_fully(IntentBackup, text)
    if backup.format != BACKUP_FORMAT:
        raise UsageError(
            f"a backup of format {backup.format}; this version reads {BACKUP_FORMAT}"
        )
    keys = [each.key for each in backup.entries]
    odd = [key for key in keys if not _is_wanted(key)]
    if odd or len(set(keys)) < len(keys) or PLATFORM_KEY not in keys:
        raise UsageError(
            f"not a whole backup: {odd[0] if odd else 'keys twice or no platform'}"
        )
    return backup


async def restore(
    store: Store,
    backup: IntentBackup,
    now_ms: int,
    *,
    past: int = 0,
    despite_data: bool = False,
) -> int:
    """Make what a backup says the intent of a store; return the commit's revision.

    It is later than that of the backup, and than `past`. Done again after it broke off, it does
    the rest. Controllers decide nothing meanwhile.

    Raises:
        ConflictError: the store has services or replicas, and `despite_data` is not set.
        UnavailableError: the store does not answer (UnclearError: restore again).
    """
    listing = await store.list(PREFIX)
    there = {each.key for each in listing.entries if _is_wanted(each.key)}
    begun = any(each.key == _RESTORING_KEY for each in listing.entries)
    if there - {PLATFORM_KEY, LINEAGE_KEY} and not (begun or despite_data):
        raise ConflictError(
            f"the store has {len(there)} documents of a platform already; a backup is for a "
            "store that has lost them. To replace them say --replace"
        )
    # With the mark, a plan that is being computed is refused when it comes.
    begin = Put(key=_RESTORING_KEY, value=str(backup.revision).encode())
    await store.commit([begin, commit_mark("restore", now_ms)])
    there = {each.key for each in (await store.list(PREFIX)).entries if _is_wanted(each.key)}
    await pass_revision(store, max(backup.revision, past))
    known = {each.key: each.value for each in (await store.list(MACHINE_KEYS)).entries}
    wanted = {
        each.key: each.value.encode()
        for each in with_numbers(backup.entries)
        if each.key not in known or _joins(each.value.encode()) > _joins(known[each.key])
    }
    lineage = wanted.get(LINEAGE_KEY, b"")
    wanted[LINEAGE_KEY] = b" ".join(filter(None, (lineage, ANY.encode())))
    writes: list[Put | Delete] = [Put(key=key, value=text) for key, text in wanted.items()]
    writes += [Delete(key=key) for key in sorted(there - wanted.keys())]
    for batch in batches(writes):
        await store.commit(batch)
    mark = commit_mark("restore", now_ms)
    return await store.commit([mark, Delete(key=_RESTORING_KEY)]) or 0


async def pass_revision(store: Store, revision: int) -> None:
    """Write until the store is at a revision."""
    while (now := (await store.list(_PAST_KEY)).revision) < revision:
        count = min(_AT_ONCE, revision - now)
        mark = Put(key=_PAST_KEY, value=str(revision).encode())
        await asyncio.gather(*(store.commit([mark]) for _ in range(count)))
    await store.commit([Delete(key=_PAST_KEY)])


def with_numbers(entries: Sequence[BackupEntry]) -> list[BackupEntry]:
    """Leave out numbers of replicas that may have been given since, to whom nobody knows."""
    others = [each for each in entries if not each.key.startswith(NUMBERS)]
    others = [_with_later_runs(each) if each.key.startswith(JOBS) else each for each in others]
    highest: dict[str, int] = {}
    for each in entries:
        if each.key.startswith(NUMBERS):
            last = decode(LastNumber, each.value)
            highest[last.replica] = max(highest.get(last.replica, 0), last.number)
        elif each.key.startswith(ALLOCATIONS):
            replica, number = replica_of(each.key.removeprefix(ALLOCATIONS))
            highest[replica] = max(highest.get(replica, 0), number)
        elif each.key.startswith(VOLUMES):
            replica, number = replica_of(each.key.removeprefix(VOLUMES), "@")
            highest[replica] = max(highest.get(replica, 0), number)
    numbers = (
        LastNumber(replica=replica, number=number + _NUMBERS_LEFT_OUT)
        for replica, number in sorted(highest.items())
    )
    return others + [
        BackupEntry(key=number_key(each.replica), value=encode(each).decode())
        for each in numbers
    ]


def _with_later_runs(entry: BackupEntry) -> BackupEntry:
    job = decode(Job, entry.value)
    later = replace(job, last_run=job.last_run + _NUMBERS_LEFT_OUT)
    return replace(entry, value=encode(later).decode())


def _joins(value: bytes) -> int:
    """Return how often a machine has joined: what is put back makes no younger key void."""
    return decode(MachineKey, value).joins


def _is_wanted(key: str) -> bool:
    return key in _SINGLE or key.startswith((*_KINDS, MACHINE_KEYS))


def _commit_of(listing: Listing) -> int:
    marks = (each.mod_revision for each in listing.entries if each.key == COMMIT_KEY)
    return next(marks, listing.revision)


class Backups:
    """Takes a backup now and then, whatever else a controller does."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        name: str,
        vault: Vault,
        seal: Seal,
        outside: BackupPlace | None = None,
    ) -> None:
        """Be the controller `name`; keep backups in `vault`, and `outside` if there is one."""
        self._store = store
        self._clock = clock
        self._name = name
        self._vault = vault
        self._seal = seal
        self._outside = outside
        self._began_ms = self._outside_ms = clock.unix_ms()
        self._unsent: tuple[BackupName, str] | None = None
        """The newest, until it is outside: that is tried again, and takes no further one."""
        self.trouble = ""
        """Why the last one was not taken, or did not get outside; empty: it did."""

    async def run(self) -> None:
        """Take one when the newest is an hour old, until cancelled."""
        while True:
            try:
                await self._clock.sleep(self.due_seconds())
                age = self.age_seconds()
                if self._unsent and age is not None and age < INTERVAL_SECONDS:
                    await self._send()
                else:
                    await self.now()
            except (PltfrmsError, OSError):
                continue  # it is told
            except Exception:  # noqa: BLE001 - a bug here must end no controller
                _log.exception("bug in backups")
                await self._clock.sleep(RETRY_SECONDS)

    def due_seconds(self) -> float:
        """Return how long the next one may wait."""
        if self.trouble:
            return RETRY_SECONDS
        age = self.age_seconds()
        return RETRY_SECONDS if age is None else max(INTERVAL_SECONDS - age, RETRY_SECONDS)

    async def now(self) -> BackupName:
        """Take one, seal it, keep it, send it.

        Raises:
            UnavailableError, UsageError: see `take`; or a tool says no.
            OSError: the disk refuses.
        """
        try:
            backup = await take(self._store, self._name, self._clock.unix_ms())
            sealed = await self._seal.close(encode(backup).decode())
            name = BackupName(
                backup.taken_ms, backup.revision, checksum_of(sealed), backup.platform
            )
            await self._vault.write(name, sealed)
        except (PltfrmsError, OSError) as error:
            self.trouble = str(error)
            _log.warning("backup failed", reason=str(error))
            raise
        self._unsent = (name, sealed)
        await self._send()
        return name

    async def _send(self) -> None:
        """Bring the newest one outside, if there is such a place."""
        if self._outside and self._unsent:
            try:
                await self._outside.send(*self._unsent)
            except (PltfrmsError, OSError) as error:
                self.trouble = str(error)
                _log.warning("backup not outside", reason=str(error))
                raise
        self._unsent, self.trouble = None, ""
        self._outside_ms = self._clock.unix_ms()

    def age_seconds(self) -> float | None:
        """Return how old the newest one is; None if there is none, or nobody can say."""
        try:
            names = self._vault.names()
        except OSError:
            return None
        return max(self._clock.unix_ms() - names[-1].taken_ms, 0) / 1000 if names else None

    @property
    def problem(self) -> str:
        """One sentence while the newest backup is too old, here or outside; else nothing."""
        age = self.age_seconds()
        since = (self._clock.unix_ms() - self._began_ms) / 1000 if age is None else age
        outside = (self._clock.unix_ms() - self._outside_ms) / 1000
        if since < LATE_SECONDS:
            late = self._unsent and outside >= LATE_SECONDS
            return f"no backup got outside for {outside:.0f} s: {self.trouble}" if late else ""
        what = "there is no backup" if age is None else f"the newest backup is {age:.0f} s old"
        return f"{what}: {self.trouble}" if self.trouble else what
