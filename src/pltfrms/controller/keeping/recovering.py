"""After the store was recovered: nothing is decided before machines have said what they heard.

Who recovers a store from one member, or from a backup, does not know what was agreed on after
that. Machines do: each remembers on disk the newest target that it has followed, and follows no
older one. So the recovered store decides nothing until they were asked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pltfrms.codec import decode
from pltfrms.controller.keeping.backups import pass_revision, with_numbers
from pltfrms.controller.records.state import (
    ALLOCATIONS,
    COMMIT_KEY,
    JOBS,
    LINEAGE_KEY,
    MACHINES,
    NUMBERS,
    PLATFORM_KEY,
    PREFIX,
    RECOVERING_KEY,
    VOLUMES,
    commit_mark,
    contact_key,
    heard_key,
    lineage_of,
    status_key,
)
from pltfrms.drivers.store.ports import Condition, Delete, KeyValue, Put, Store
from pltfrms.drivers.store.transaction import batches
from pltfrms.errors import ConflictError, UsageError
from pltfrms.model.messages.backup import BackupEntry
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.state import MachineStatus
from pltfrms.planner.upkeep.lineage import recovered


@dataclass(frozen=True, slots=True, kw_only=True)
class Referee:
    """What machines say of a recovered store."""

    commit: int
    """The newest commit that it had."""
    mark: int
    """At which revision it was held."""
    heard: Mapping[str, int]
    """The newest commit that a machine has heard of, by name, of those that report: it takes
    no older one. Of those that are mute only what they follow."""
    silent: tuple[str, ...]
    """Machines of the platform that have not said what they heard of."""
    mute: tuple[str, ...]
    """Those of them that report: they, or the controller that they told, are of a release that
    does not know of it."""
    unknown: tuple[str, ...]
    """Instances that run, and that the store knows nothing of."""
    lineage: tuple[str, ...] = ()
    """A word of each recovery of the store, the newest last."""
    followed: Mapping[str, str] = field(default_factory=dict)
    """The newest recovery in what a machine follows, by name, of those that report."""

    @property
    def strays(self) -> tuple[str, ...]:
        """Who follows another recovery, which this store does not come from."""
        known = {"", *self.lineage}
        return tuple(sorted(n for n, word in self.followed.items() if word not in known))

    @property
    def newest(self) -> int:
        """The newest commit that any of them has heard of."""
        return max(self.heard.values(), default=0)

    @property
    def ahead(self) -> tuple[str, ...]:
        """Who has heard of a commit that the store does not have."""
        return tuple(sorted(name for name, at in self.heard.items() if at > self.commit))


async def hold(store: Store, now_ms: int) -> None:
    """Have no controller decide, and forget what machines reported before; twice is once.

    Raises:
        UnavailableError: the store does not answer (UnclearError: hold it again).
    """
    entries = (await store.list(PREFIX)).entries
    known = {each.key: each for each in entries}
    commit = _number(known.get(RECOVERING_KEY)) or (
        known[COMMIT_KEY].mod_revision if COMMIT_KEY in known else 0
    )
    mark = Put(key=RECOVERING_KEY, value=str(commit).encode())
    # With a commit, a plan that is being computed is refused when it comes.
    await store.commit([mark, commit_mark("recover", now_ms)])
    old = (Delete(key=each.key) for each in entries if each.key.startswith(MACHINES))
    writes: list[Put | Delete] = [*old, mark]
    for batch in batches(writes):
        await store.commit(batch)


async def ask(store: Store) -> Referee | None:
    """Return what machines say since the store was held; None if it is not.

    Raises:
        UnavailableError: the store does not answer.
    """
    entries = (await store.list(PREFIX)).entries
    known = {each.key: each for each in entries}
    if RECOVERING_KEY not in known:
        return None
    names = _machines(known.get(PLATFORM_KEY))
    statuses = {
        name: status
        for name in names
        if contact_key(name) in known
        and (status := _status(known.get(status_key(name)))) is not None
    }
    said = {name: _number(known.get(heard_key(name))) for name in names}
    mute = tuple(
        name
        for name, status in statuses.items()
        if heard_key(name) not in known or said[name] < status.generation
    )
    running = {each.allocation for its in statuses.values() for each in its.instances}
    return Referee(
        commit=_number(known.get(RECOVERING_KEY)),
        mark=known[RECOVERING_KEY].mod_revision,
        heard={name: max(status.generation, said[name]) for name, status in statuses.items()},
        silent=tuple(name for name in names if name not in statuses or name in mute),
        mute=mute,
        unknown=tuple(sorted(name for name in running if ALLOCATIONS + name not in known)),
        lineage=lineage_of(known.get(LINEAGE_KEY)),
        followed={name: status.recovery for name, status in statuses.items()},
    )


async def go_on(store: Store, referee: Referee, now_ms: int, word: str) -> int:
    """Have controllers decide again, by a commit that is newer than all that was heard of.

    `word`: of this recovery, which no other one has.

    Raises:
        ConflictError: somebody else did, or it was held again.
        UnavailableError: the store does not answer (UnclearError: ask again).
    """
    if referee.ahead:
        await pass_revision(store, referee.newest)
        for batch in batches(_later_numbers((await store.list(PREFIX)).entries)):
            await store.commit(batch)
    lineage = " ".join(recovered(referee.lineage, referee.followed.values(), word))
    named = Put(key=LINEAGE_KEY, value=lineage.encode())
    revision = await store.commit(
        [commit_mark("recover", now_ms), named, Delete(key=RECOVERING_KEY)],
        [Condition(key=RECOVERING_KEY, mod_revision=referee.mark)],
    )
    if revision is None:
        raise ConflictError("the store was let go on, or held again, by somebody else")
    said = [Delete(key=heard_key(name)) for name in referee.heard]
    for forgotten in batches(said):
        await store.commit(forgotten)
    return revision


def _later_numbers(entries: Iterable[KeyValue]) -> list[Put]:
    """Leave out numbers of replicas that may have been given in what is lost."""
    numbered = [
        BackupEntry(key=each.key, value=each.value.decode())
        for each in entries
        if each.key.startswith((NUMBERS, ALLOCATIONS, VOLUMES, JOBS))
    ]
    return [
        Put(key=each.key, value=each.value.encode())
        for each in with_numbers(numbered)
        if each.key.startswith((NUMBERS, JOBS))
    ]


def _number(entry: KeyValue | None) -> int:
    return int(entry.value) if entry else 0


def _machines(platform: KeyValue | None) -> list[str]:
    if platform is None:
        return []
    return [each.name for each in decode(Platform, platform.value).managed]


def _status(entry: KeyValue | None) -> MachineStatus | None:
    """Return what a machine reported; None: nothing, or nothing that can be read."""
    if entry is None:
        return None
    try:
        return decode(MachineStatus, entry.value)
    except UsageError:
        return None
