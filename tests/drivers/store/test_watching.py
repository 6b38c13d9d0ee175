"""A mirror of the store stays true whatever its watch does. In virtual time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms.drivers.store.memory import Backup, MemoryStore, WatchFault
from pltfrms.drivers.store.ports import Delete, KeyValue, Listing, Put
from pltfrms.drivers.store.watching import Mirror, Tail, merged
from tests.simulation.virtual import VirtualClock, run_beside, run_virtual


def _mirror(store: MemoryStore) -> Mirror:
    random = Random(1)  # noqa: S311 - jitter, not a secret
    return Mirror(store, "/a/", VirtualClock(), random=random)


async def _put(store: MemoryStore, key: str = "/a/x") -> int:
    revision = await store.commit([Put(key=key, value=b"")])
    assert revision is not None
    return revision


def test_a_change_is_seen_at_once_by_watch() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        store = MemoryStore(clock)
        mirror = _mirror(store)

        async def main() -> None:
            assert mirror.listing is None
            assert mirror.last_success_at is None
            await mirror.wait_newer(0)
            await clock.sleep(1)
            for _ in range(3):
                revision = await _put(store)
                began = clock.monotonic()
                listing = await mirror.wait_newer(revision - 1)
                assert listing.entries[0].mod_revision == revision
                assert clock.monotonic() - began <= 0.021
            assert mirror.last_success_at == pytest.approx(clock.monotonic())

        await run_beside(main(), mirror.run())

    run_virtual(scenario())


def test_a_change_lets_nobody_list_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        store = MemoryStore(clock)
        mirror = _mirror(store)
        sizes: list[int] = []
        plain = store.list

        async def counted(prefix: str, after: int = 0) -> Listing:
            listing = await plain(prefix, after)
            sizes.append(len(listing.entries))
            return listing

        async def main() -> None:
            for number in range(20):
                await _put(store, f"/a/{number}")
            await mirror.wait_newer(0)
            await clock.sleep(1)
            monkeypatch.setattr(store, "list", counted)
            for _ in range(5):
                await mirror.wait_newer(await _put(store, "/a/7") - 1)
                await clock.sleep(1)
            assert max(sizes) == 1
            assert len(mirror.listing.entries if mirror.listing else ()) == 20

        await run_beside(main(), mirror.run())

    run_virtual(scenario())


def test_a_burst_of_hints_makes_few_lists() -> None:
    async def scenario() -> int:
        clock = VirtualClock()
        store = _CountingStore(clock)
        mirror = _mirror(store)

        async def main() -> None:
            await mirror.wait_newer(0)
            before = store.lists
            for _ in range(100):
                await _put(store)
                await clock.sleep(0.001)
            await clock.sleep(0.1)
            store.lists -= before

        await run_beside(main(), mirror.run())
        return store.lists

    assert 2 <= run_virtual(scenario()) <= 7


def test_a_slow_store_is_asked_for_several_changes_at_once() -> None:
    """Lists take 0.1 s and something changes all the time: half of it there is a rest."""

    async def scenario() -> int:
        clock = VirtualClock()
        store = _CountingStore(clock)
        mirror = _mirror(store)

        async def main() -> int:
            await mirror.wait_newer(0)
            await clock.sleep(1)
            store.list_seconds = lambda: 0.1
            before = store.lists
            for _ in range(500):
                await _put(store)
                await clock.sleep(0.01)
            return store.lists - before

        return await run_beside(main(), mirror.run())

    assert 23 <= run_virtual(scenario()) <= 28


class _CountingStore(MemoryStore):
    lists = 0

    async def list(self, prefix: str, after: int = 0) -> Listing:
        self.lists += 1
        return await super().list(prefix, after)


@pytest.mark.parametrize("fault", [WatchFault.SKIP, WatchFault.END, WatchFault.BACK])
def test_a_bad_watch_costs_at_most_a_resync(fault: WatchFault) -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        store = MemoryStore(clock)
        store.watch_fault = lambda: fault
        mirror = _mirror(store)

        async def main() -> None:
            await mirror.wait_newer(0)
            for _ in range(20):
                revision = await _put(store)
                async with asyncio.timeout(12.1):
                    await mirror.wait_newer(revision - 1)

        await run_beside(main(), mirror.run())

    run_virtual(scenario())


def test_the_end_of_a_watch_is_a_hint_too() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        store = MemoryStore(clock)
        store.watch_fault = lambda: WatchFault.END
        mirror = _mirror(store)

        async def main() -> None:
            await mirror.wait_newer(0)
            await clock.sleep(1)
            revision = await _put(store)
            async with asyncio.timeout(0.1):
                await mirror.wait_newer(revision - 1)

        await run_beside(main(), mirror.run())

    run_virtual(scenario())


def test_while_the_store_is_away_the_last_listing_stays_and_its_age_shows() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        store, other = _pair(clock)
        mirror = _mirror(store)

        async def main() -> None:
            listing = await mirror.wait_newer(0)
            store.unavailable = True
            revision = await _put(other)
            await clock.sleep(60)
            assert mirror.listing == listing
            assert mirror.last_success_at is not None
            assert clock.monotonic() - mirror.last_success_at >= 59
            store.unavailable = False
            async with asyncio.timeout(5.1):
                await mirror.wait_newer(revision - 1)

        await run_beside(main(), mirror.run())

    run_virtual(scenario())


def _pair(clock: VirtualClock) -> tuple[MemoryStore, MemoryStore]:
    store = MemoryStore(clock)
    return store, MemoryStore(clock, store.state)


def test_a_store_that_was_set_back_is_followed_and_counted() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        store = MemoryStore(clock)
        mirror = _mirror(store)

        async def main() -> None:
            await _put(store, "/a/old")
            backup = store.state.backup()
            revisions = [await _put(store, "/a/new") for _ in range(50)]
            revision = revisions[-1]
            waiting = asyncio.create_task(mirror.wait_newer(revision))
            await mirror.wait_newer(revision - 1)
            store.state.restore(backup)
            async with asyncio.timeout(12.1):
                listing = await waiting
            assert listing.revision == backup.revision
            assert [entry.key for entry in listing.entries] == ["/a/old"]
            assert mirror.regressions == 1
            await clock.sleep(1)
            again = await _put(store)
            async with asyncio.timeout(0.1):
                await mirror.wait_newer(again - 1)

        await run_beside(main(), mirror.run())

    run_virtual(scenario())


def test_one_stale_answer_is_not_believed() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        store = _StaleStore(clock)
        mirror = _mirror(store)

        async def main() -> None:
            await mirror.wait_newer(0)
            await _put(store)
            listing = await mirror.wait_newer(1)
            store.stale_answers = 1
            await clock.sleep(30)
            assert store.stale_answers == 0
            assert mirror.listing == listing
            assert mirror.regressions == 0

        await run_beside(main(), mirror.run())

    run_virtual(scenario())


class _StaleStore(MemoryStore):
    stale_answers = 0

    async def list(self, prefix: str, after: int = 0) -> Listing:
        if self.stale_answers:
            self.stale_answers -= 1
            return Listing(revision=1, entries=())
        return await super().list(prefix, after)


@settings(max_examples=40)
@given(random=st.randoms(use_true_random=True))
def test_after_any_faults_it_converges(random: Random) -> None:
    """Faults of every kind for a minute, then none: equal to the store within an audit."""

    async def scenario() -> tuple[Listing | None, Listing]:
        clock = VirtualClock()
        writer = MemoryStore(clock)
        store = MemoryStore(clock, writer.state)
        store.watch_fault = lambda: random.choice(list(WatchFault))
        store.delay_seconds = lambda: random.expovariate(20)
        jitter = Random(1)  # noqa: S311 - jitter, not a secret
        mirror = Mirror(store, "/a/", clock, random=jitter, audit_seconds=15.0)

        async def main() -> tuple[Listing | None, Listing]:
            backups = [writer.state.backup()]
            while clock.monotonic() < 60:
                await _disturb(random, store, writer, backups)
                await clock.sleep(random.expovariate(2))
            store.unavailable = False
            store.watch_fault = lambda: WatchFault.NONE
            await clock.sleep(40)
            return mirror.listing, await writer.list("/a/")

        return await run_beside(main(), mirror.run())

    mirrored, real = run_virtual(scenario())
    assert mirrored == real


async def _disturb(
    random: Random, store: MemoryStore, writer: MemoryStore, backups: list[Backup]
) -> None:
    actions: list[Callable[[], object]] = [
        lambda: setattr(store, "unavailable", not store.unavailable),
        lambda: backups.append(writer.state.backup()),
        lambda: writer.state.restore(random.choice(backups)),
    ]
    if random.random() < 0.2:
        random.choice(actions)()
    key = f"/a/{random.randrange(5)}"
    write = Delete(key=key) if random.random() < 0.3 else Put(key=key, value=b"")
    await writer.commit([write, Put(key="/b", value=b"")])


class _ListingStore(MemoryStore):
    """Counts what it lists; `hides` is a key that lists of what is new leave out."""

    listed = 0
    hides = ""

    async def list(self, prefix: str, after: int = 0) -> Listing:
        listing = await super().list(prefix, after)
        shown = tuple(each for each in listing.entries if not after or each.key != self.hides)
        self.listed += len(shown)
        return replace(listing, entries=shown)


def test_a_change_costs_what_changes_and_a_deletion_is_seen_too() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        store = _ListingStore(clock)
        for number in range(100):
            await _put(store, f"/a/{number:03d}")
        mirror = _mirror(store)

        async def main() -> None:
            await mirror.wait_newer(0)
            store.listed = 0
            for number in range(10):
                await mirror.wait_newer(await _put(store, f"/a/{number:03d}") - 1)
            await clock.sleep(30)
            assert store.listed == 10
            revision = await store.commit([Delete(key="/a/050")])
            assert revision
            assert len((await mirror.wait_newer(revision - 1)).entries) == 99
            assert mirror.listing == await store.list("/a/")
            assert mirror.divergences == 0

        await run_beside(main(), mirror.run())

    run_virtual(scenario())


def test_what_was_known_otherwise_than_stored_is_found_counted_and_believed() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        store = _ListingStore(clock)
        await _put(store)
        mirror = _mirror(store)

        async def main() -> None:
            await mirror.wait_newer(0)
            store.hides = "/a/x"
            await _put(store)
            await clock.sleep(30)
            assert mirror.listing
            assert mirror.listing.entries != (await store.list("/a/")).entries
            await clock.sleep(60)
            assert mirror.listing.entries == (await store.list("/a/")).entries
            assert mirror.divergences == 1

        await run_beside(main(), mirror.run())

    run_virtual(scenario())


def _tail(store: MemoryStore, kept: int) -> Tail:
    random = Random(1)  # noqa: S311 - jitter, not a secret
    return Tail(store, "/a/", VirtualClock(), random=random, kept=kept)


def _newest(listing: Listing, kept: int) -> list[str]:
    entries = sorted(listing.entries, key=lambda entry: (entry.mod_revision, entry.key))
    return [entry.key for entry in entries][-kept:]


@settings(max_examples=20)
@given(random=st.randoms(use_true_random=True), kept=st.integers(1, 60))
def test_after_any_faults_a_tail_has_the_newest_entries(random: Random, kept: int) -> None:
    async def scenario() -> tuple[Tail, Listing]:
        clock = VirtualClock()
        writer = MemoryStore(clock)
        store = MemoryStore(clock, writer.state)
        store.watch_fault = lambda: random.choice(list(WatchFault))
        store.delay_seconds = lambda: random.expovariate(20)
        tail = _tail(store, kept)

        async def main() -> tuple[Tail, Listing]:
            for number in range(50):
                if random.random() < 0.2:
                    store.unavailable = not store.unavailable
                twins = [Put(key=f"/a/{number}-{twin}", value=b"") for twin in range(2)]
                await writer.commit(twins)
                await clock.sleep(random.expovariate(2))
            store.unavailable = False
            await clock.sleep(20)
            return tail, await writer.list("/a/")

        return await run_beside(main(), tail.run())

    tail, real = run_virtual(scenario())
    assert tail.listing is not None
    assert [entry.key for entry in tail.listing.entries] == _newest(real, kept)
    missing = {entry.mod_revision for entry in real.entries} - {
        entry.mod_revision for entry in tail.listing.entries
    }
    assert max(missing, default=0) <= tail.complete_after


def test_a_tail_of_a_store_that_was_set_back_begins_anew() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        store = MemoryStore(clock)
        tail = _tail(store, 3)

        async def main() -> None:
            await _put(store, "/a/old")
            backup = store.state.backup()
            for number in range(5):
                await tail.wait_newer(await _put(store, f"/a/{number}") - 1)
            assert tail.complete_after
            store.state.restore(backup)
            await clock.sleep(13)
            assert tail.listing == await store.list("/a/")
            assert tail.complete_after == 0

        await run_beside(main(), tail.run())

    run_virtual(scenario())


def test_the_newest_is_asked_for_by_what_was_written_since() -> None:
    """Also before the mirror has heard of it, and after a deletion or a step back."""

    async def scenario() -> None:
        clock = VirtualClock()
        store = _ListingStore(clock)
        mirror = _mirror(store)
        assert await mirror.newest() == await store.list("/a/")

        async def main() -> None:
            for number in range(20):
                await _put(store, f"/a/{number}")
            backup = store.state.backup()
            await mirror.wait_newer(store.state.revision - 1)
            await clock.sleep(1)
            store.watch_fault = lambda: WatchFault.SKIP
            for key in ("/a/7", "/a/new", "/a/0"):
                await _put(store, key)
                store.listed = 0
                newest = await mirror.newest()
                assert store.listed <= 3
                assert newest == await store.list("/a/")
            await store.commit([Delete(key="/a/3")])
            assert await mirror.newest() == await store.list("/a/")
            store.state.restore(backup)
            assert await mirror.newest() == await store.list("/a/")

        await run_beside(main(), mirror.run())

    run_virtual(scenario())


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 3)), max_size=40))
def test_what_was_written_since_is_put_where_it_belongs(writes: list[tuple[int, int]]) -> None:
    def listing(words: dict[str, int]) -> Listing:
        entries = tuple(
            KeyValue(key=key, value=b"", mod_revision=words[key]) for key in sorted(words)
        )
        return Listing(revision=max(words.values()), entries=entries, total=len(entries))

    known = {f"/a/{number}": 1 for number in range(0, 30, 3)}
    newer = {f"/a/{number}": 1 + revision for number, revision in writes}
    assert merged(listing(known), listing(newer or known)) == listing(known | newer)
