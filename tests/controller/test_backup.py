"""Backups are whole, and what is put back takes back no machine."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pltfrms.codec import decode, encode
from pltfrms.controller.keeping.backups import (
    INTERVAL_SECONDS,
    LATE_SECONDS,
    Backups,
    read_backup,
    restore,
    take,
    with_numbers,
)
from pltfrms.controller.records.state import MACHINE_KEYS, PREFIX, number_key, volume_key
from pltfrms.drivers.backup.memory import MemorySeal, MemoryVault
from pltfrms.drivers.backup.ports import BackupName
from pltfrms.drivers.store.memory import MemoryStore, MemoryStoreState
from pltfrms.drivers.store.memory_members import MemoryMembers
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import ConflictError, UnavailableError, UsageError
from pltfrms.model.identity.words import MachineKey
from pltfrms.model.messages.api import Change, InterventionChange, Verb
from pltfrms.model.messages.backup import BackupEntry
from pltfrms.model.running.plan import LastNumber
from pltfrms.planner.upkeep.lineage import ANY
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import simulate
from tests.simulation.virtual import VirtualClock, run_virtual
from tests.strategies import make_platform, make_spec

WEB = make_spec("web")
Story = Callable[[Cluster], Awaitable[None]]


async def serve(cluster: Cluster, *names: str) -> None:
    for name in names:
        await cluster.operations.apply(Change(services=(make_spec(name),)))
    await cluster.until(lambda: all(cluster.settled(name) for name in names), 60)


async def lose_the_store(cluster: Cluster) -> None:
    """End all controllers, and let them begin with an empty store of another cluster."""
    for seat in cluster.seats.values():
        await seat.crash()
    cluster.state = MemoryStoreState(cluster.clock)
    cluster.members = MemoryMembers(cluster.clock, cluster.state)
    for seat in cluster.seats.values():
        seat.store = MemoryStore(cluster.clock, cluster.state)


def begin(cluster: Cluster) -> None:
    for seat in cluster.seats.values():
        seat.start()


def wanted(cluster: Cluster) -> dict[str, bytes]:
    kinds = ("platform", "interventions", "services/", "allocations/")
    prefixes = tuple(f"{PREFIX}{kind}" for kind in kinds)
    return {
        e.key: e.value for e in cluster.state.list(PREFIX).entries if e.key.startswith(prefixes)
    }


def test_what_is_put_back_is_what_was_taken_and_nobody_ends_what_serves() -> None:
    async def story(cluster: Cluster) -> None:
        await serve(cluster, "web", "shop")
        freeze = InterventionChange(verb=Verb.FREEZE, why="w", by="ada")
        await cluster.operations.intervene(freeze)
        backup = await take(next(iter(cluster.seats.values())).store, "fra-c1", 7)
        backup = read_backup(encode(backup).decode())
        before, running = wanted(cluster), serving(cluster)
        await lose_the_store(cluster)
        store = MemoryStore(cluster.clock, cluster.state)
        commit = await restore(store, backup, 8)
        assert commit > backup.revision
        assert wanted(cluster) == before
        begin(cluster)
        for _ in range(60):
            await cluster.clock.sleep(1)
            assert serving(cluster) == running
        assert cluster.stored().unreadable == ()
        assert wanted(cluster) == before
        assert cluster.stored().lineage == (ANY,), "whoever followed another one follows it"

    simulate(story)


def serving(cluster: Cluster) -> set[str]:
    return {name for agent in cluster.agents.values() for name in agent.running()}


def test_an_old_backup_takes_back_no_machine_until_the_store_is_past_it() -> None:
    async def story(cluster: Cluster) -> None:
        await serve(cluster, "web")
        backup = await take(next(iter(cluster.seats.values())).store, "fra-c1", 7)
        for _ in range(20):
            await cluster.operations.controller.store.commit([Put(key="/x", value=b"")])
        await serve(cluster, "shop")
        await cluster.clock.sleep(5)
        running = serving(cluster)
        newest = max(agent.generation for agent in cluster.agents.values())
        assert newest > backup.revision
        await lose_the_store(cluster)
        commit = await restore(MemoryStore(cluster.clock, cluster.state), backup, 8)
        assert commit <= newest
        begin(cluster)
        for _ in range(30):
            await cluster.clock.sleep(1)
            assert serving(cluster) == running, "a machine was taken back"

    simulate(story)


def test_applied_again_past_what_machines_have_heard_all_is_as_it_was() -> None:
    async def story(cluster: Cluster) -> None:
        await serve(cluster, "web")
        backup = await take(next(iter(cluster.seats.values())).store, "fra-c1", 7)
        await serve(cluster, "shop")
        newest = max(agent.generation for agent in cluster.agents.values())
        old = serving(cluster)
        await lose_the_store(cluster)
        store = MemoryStore(cluster.clock, cluster.state)
        assert await restore(store, backup, 8, past=newest + 5) > newest + 5
        begin(cluster)
        await cluster.until(lambda: bool(cluster.stored().leases), 30)
        await serve(cluster, "shop")
        await cluster.until(lambda: cluster.settled("web") and cluster.settled("shop"), 60)
        new = {name for name in serving(cluster) if name.startswith("shop")} - old
        assert all(int(name.rpartition("-")[2]) >= 1 for name in new)

    simulate(story)


def test_a_store_that_has_lost_nothing_is_not_overwritten_unless_that_is_said() -> None:
    async def story(cluster: Cluster) -> None:
        await serve(cluster, "web")
        store = next(iter(cluster.seats.values())).store
        backup = await take(store, "fra-c1", 7)
        await serve(cluster, "shop")
        before = wanted(cluster)
        with pytest.raises(ConflictError, match="documents of a platform"):
            await restore(store, backup, 8)
        assert wanted(cluster) == before
        await restore(store, backup, 8, despite_data=True)
        assert f"{PREFIX}services/shop" not in wanted(cluster)
        assert cluster.stored().unreadable == ()

    simulate(story)


def test_a_restore_that_broke_off_anywhere_decides_nothing_and_can_be_done_again() -> None:
    async def story(cluster: Cluster) -> None:
        await serve(cluster, "web")
        backup = await take(next(iter(cluster.seats.values())).store, "fra-c1", 7)
        before = wanted(cluster)
        for after in range(3):
            await lose_the_store(cluster)
            store = _Breaking(cluster, after)
            with pytest.raises(UnavailableError):
                await restore(store, backup, 8)
            begin(cluster)
            await cluster.clock.sleep(10)
            if after:
                assert cluster.stored().unreadable
                assert "restoring" in str(cluster.stored().problems)
            await restore(MemoryStore(cluster.clock, cluster.state), backup, 8)
            assert wanted(cluster).keys() == before.keys()
            assert cluster.stored().unreadable == ()

    simulate(story)


class _Breaking(MemoryStore):
    """Ends after some writes that are not only to let revisions pass."""

    def __init__(self, cluster: Cluster, after: int) -> None:
        super().__init__(cluster.clock, cluster.state)
        self._left = after

    async def commit(self, writes, conditions=()):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        if "/pltfrms-past" not in {each.key for each in writes}:
            if not self._left:
                raise UnavailableError("the store is gone")
            self._left -= 1
        return await super().commit(writes, conditions)


def test_no_number_of_a_replica_is_given_again() -> None:
    async def story(cluster: Cluster) -> None:
        await serve(cluster, "web")
        backup = await take(next(iter(cluster.seats.values())).store, "fra-c1", 7)
        await lose_the_store(cluster)
        await restore(MemoryStore(cluster.clock, cluster.state), backup, 8)
        numbers = cluster.stored().numbers
        replicas = {name.rpartition("-")[0] for name in cluster.stored().allocations}
        assert numbers.keys() == replicas
        assert min(last.number for last in numbers.values()) > 10_000

    simulate(story)


def test_no_number_is_given_again_of_which_only_a_volume_is_known() -> None:
    kept = BackupEntry(key=volume_key("db.fra.1@7"), value="{}")
    _, number = with_numbers([kept])
    assert number.key == number_key("db.fra.1")
    assert decode(LastNumber, number.value).number == 10_007


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('"format":1', '"format":2'), "format 2"),
        (("/pltfrms/services/web", "/pltfrms/machines/x/status"), "not a whole backup"),
        (("/pltfrms/services/web", "/pltfrms/platform"), "not a whole backup"),
        (("/pltfrms/platform", "/pltfrms/services/x"), "not a whole backup"),
        (('"by"', '"of_the_next_release":1,"by"'), "does not know"),
    ],
)
def test_what_is_no_whole_backup_is_refused(change: tuple[str, str], says: str) -> None:
    async def story(cluster: Cluster) -> None:
        await serve(cluster, "web")
        backup = await take(next(iter(cluster.seats.values())).store, "fra-c1", 7)
        text = encode(backup).decode()
        assert change[0] in text
        with pytest.raises(UsageError, match=says):
            read_backup(text.replace(*change))

    simulate(story)


def test_backups_are_taken_each_hour_and_told_when_they_are_not() -> None:
    async def story() -> None:
        clock = VirtualClock()
        store = MemoryStore(clock, MemoryStoreState(clock))
        platform = make_platform({"fra": 3})
        await store.commit([Put(key=f"{PREFIX}platform", value=encode(platform))])
        vault = MemoryVault(most=5)
        backups = Backups(store, clock, "fra-c1", vault, MemorySeal())
        running = asyncio.create_task(backups.run())
        await clock.sleep(10 * INTERVAL_SECONDS)
        assert len(vault.names()) == 5
        age = backups.age_seconds()
        assert age is not None
        assert age <= INTERVAL_SECONDS + 60
        assert backups.problem == ""
        newest = vault.names()[-1]
        assert newest.fits(vault.read(newest))
        assert read_backup(await MemorySeal().open(vault.read(newest))).platform == "test"
        vault.broken = lambda: OSError(28, "No space left on device")
        await clock.sleep(LATE_SECONDS + 60)
        assert "there is no backup: [Errno 28] No space left" in backups.problem
        running.cancel()

    run_virtual(story())


class Away:
    """A place outside that refuses for a while."""

    def __init__(self) -> None:
        self.away = True
        self.kept: list[BackupName] = []

    async def send(self, name: BackupName, sealed: str) -> None:
        assert sealed
        if self.away:
            raise UnavailableError("no route to it")
        self.kept.append(name)


def test_a_place_outside_that_is_away_costs_no_older_backup_and_is_told() -> None:
    async def story() -> None:
        clock = VirtualClock()
        store = MemoryStore(clock, MemoryStoreState(clock))
        platform = encode(make_platform({"fra": 3}))
        await store.commit([Put(key=f"{PREFIX}platform", value=platform)])
        vault, outside = MemoryVault(most=72), Away()
        backups = Backups(store, clock, "fra-c1", vault, MemorySeal(), outside)
        running = asyncio.create_task(backups.run())
        await clock.sleep(LATE_SECONDS - 120)
        assert len(vault.names()) <= LATE_SECONDS / INTERVAL_SECONDS + 1
        assert backups.problem == ""
        await clock.sleep(300)
        assert "no backup got outside for" in backups.problem
        assert "no route to it" in backups.problem
        outside.away = False
        await clock.sleep(120)
        assert outside.kept == [vault.names()[-1]]
        assert backups.problem == ""
        running.cancel()

    run_virtual(story())


def test_a_bug_in_a_backup_ends_no_controller() -> None:
    async def story() -> None:
        clock = VirtualClock()
        store = MemoryStore(clock, MemoryStoreState(clock))
        await store.commit([Put(key=f"{PREFIX}platform", value=b"\xff")])
        backups = Backups(store, clock, "fra-c1", MemoryVault(most=5), MemorySeal())
        running = asyncio.create_task(backups.run())
        await clock.sleep(600)
        assert not running.done()
        running.cancel()

    run_virtual(story())


def test_what_is_being_put_back_is_no_backup() -> None:
    async def story(cluster: Cluster) -> None:
        await serve(cluster, "web")
        store = next(iter(cluster.seats.values())).store
        await store.commit([Put(key=f"{PREFIX}restoring", value=b"7")])
        with pytest.raises(UnavailableError, match="not whole"):
            await take(store, "fra-c1", 7)

    simulate(story)


def test_machines_that_have_joined_are_known_after_it_is_put_back() -> None:
    def key(name: str, joins: int) -> Put:
        word = MachineKey(machine=name, joins=joins, public_key=f"key {joins}", at_ms=1)
        return Put(key=f"{MACHINE_KEYS}{name}", value=encode(word))

    async def story(cluster: Cluster) -> None:
        await serve(cluster, "web")
        store = next(iter(cluster.seats.values())).store
        await store.commit([key("fra-n1", 2), key("fra-n2", 2)])
        backup = read_backup(encode(await take(store, "fra-c1", 7)).decode())
        await lose_the_store(cluster)
        store = MemoryStore(cluster.clock, cluster.state)
        await store.commit([key("fra-n1", 1), key("fra-n2", 3)])
        await restore(store, backup, 8)
        found = {each.key: each.value for each in cluster.state.list(MACHINE_KEYS).entries}
        assert found == {each.key: each.value for each in (key("fra-n1", 2), key("fra-n2", 3))}

    simulate(story)


def test_an_empty_store_is_no_backup() -> None:
    async def story() -> None:
        clock = VirtualClock()
        with pytest.raises(UnavailableError, match="nothing to back up"):
            await take(MemoryStore(clock, MemoryStoreState(clock)), "fra-c1", 7)

    run_virtual(story())
