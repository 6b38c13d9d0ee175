"""What every store promises: the same tests against memory and against real etcd."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.store import etcd as etcd_module
from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.drivers.store.memory import MemoryStore
from pltfrms.drivers.store.ports import Condition, Delete, Listing, Put, Store
from pltfrms.errors import InvariantError, NotFoundError, UsageError
from tests.contracts.etcd import EtcdCluster

Scenario = Callable[[Store, str], Awaitable[None]]
Check = Callable[[Scenario], None]

_numbers = itertools.count()


@pytest.fixture(params=["memory", "etcd", "etcd_by_tls"])
def check(request: pytest.FixtureRequest) -> Check:
    """Run a scenario with a store and a prefix that nobody else uses."""
    cluster: EtcdCluster | None = None
    if request.param != "memory":
        cluster = cast("EtcdCluster", request.getfixturevalue(request.param))

    async def run(scenario: Scenario) -> None:
        store: Store = MemoryStore(SystemClock())
        if cluster:
            store = EtcdStore(cluster.endpoints, tls=cluster.tls)
        try:
            await asyncio.wait_for(scenario(store, f"/t{next(_numbers)}/"), 20)
        finally:
            await store.close()

    return lambda scenario: asyncio.run(run(scenario))


async def _committed(
    store: Store, *writes: Put | Delete, conditions: tuple[Condition, ...] = ()
) -> int:
    revision = await store.commit(writes, conditions)
    assert revision is not None
    return revision


async def _keys(store: Store, prefix: str) -> list[str]:
    return [entry.key for entry in (await store.list(prefix)).entries]


def test_a_prefix_lists_its_entries_sorted_and_nothing_else(check: Check) -> None:
    async def scenario(store: Store, prefix: str) -> None:
        before = await store.list(prefix)
        assert before.entries == ()
        keys = (f"{prefix}b", f"{prefix}a", f"{prefix[:-1]}0", f"{prefix}ä\U0010ffff")
        revision = await _committed(store, *(Put(key=key, value=b"\0\xff") for key in keys))
        listing = await store.list(prefix)
        assert listing.revision == revision == before.revision + 1
        assert [entry.key for entry in listing.entries] == [keys[1], keys[0], keys[3]]
        assert {(e.value, e.mod_revision, e.lease) for e in listing.entries} == {
            (b"\0\xff", revision, 0)
        }

    check(scenario)


def test_what_was_written_after_a_revision_is_listed_alone(check: Check) -> None:
    async def scenario(store: Store, prefix: str) -> None:
        first = await _committed(store, Put(key=f"{prefix}b", value=b"1"))
        await _committed(store, Put(key=f"{prefix}c", value=b"2"))
        last = await _committed(store, Put(key=f"{prefix}a", value=b"3"))
        listing = await store.list(prefix, first)
        assert listing.revision == last
        assert [entry.key for entry in listing.entries] == [f"{prefix}a", f"{prefix}c"]
        assert (await store.list(prefix, last)).entries == ()

    check(scenario)


def test_how_many_keys_there_are_is_said_whatever_is_listed(check: Check) -> None:
    async def scenario(store: Store, prefix: str) -> None:
        first = await _committed(store, *(Put(key=f"{prefix}{n}", value=b"") for n in range(5)))
        await _committed(store, Put(key=f"{prefix}1", value=b"new"))
        assert (await store.list(prefix)).total == 5
        newer = await store.list(prefix, first)
        assert (len(newer.entries), newer.total) == (1, 5)
        await _committed(store, Delete(key=f"{prefix}2"))
        assert (await store.list(prefix, newer.revision)).total == 4

    check(scenario)


@pytest.mark.parametrize("count", [1, 5, 6, 14])
def test_a_long_list_is_read_in_pages_of_one_revision(
    check: Check, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_module, "PAGE_KEYS", 5)

    async def scenario(store: Store, prefix: str) -> None:
        keys = [f"{prefix}{number:02d}" for number in range(count)]
        revision = await _committed(store, *(Put(key=key, value=b"") for key in keys))
        listing = await store.list(prefix)
        assert [entry.key for entry in listing.entries] == keys
        assert (listing.revision, listing.total) == (revision, count)

    check(scenario)


@pytest.mark.parametrize("count", [5, 6, 14])
def test_a_long_list_of_news_is_read_in_pages_of_one_revision(
    check: Check, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_module, "PAGE_KEYS", 5)
    pages: list[int] = []
    listing_of = etcd_module._listing

    def counted(answer: Mapping[str, Any]) -> Listing:
        pages.append(1)
        return listing_of(answer)

    monkeypatch.setattr(etcd_module, "_listing", counted)

    async def scenario(store: Store, prefix: str) -> None:
        old = await _committed(store, Put(key=f"{prefix}00-old", value=b""))
        keys = [f"{prefix}{number:02d}" for number in range(count)]
        revision = await _committed(store, *(Put(key=key, value=b"") for key in keys))
        pages.clear()
        listing = await store.list(prefix, old)
        assert [entry.key for entry in listing.entries] == keys
        assert (listing.revision, listing.total) == (revision, count + 1)
        assert len(pages) in {0, -(-count // 5)}

    check(scenario)


def test_the_empty_prefix_is_everything(check: Check) -> None:
    async def scenario(store: Store, prefix: str) -> None:
        await _committed(store, Put(key=f"{prefix}a", value=b""))
        assert f"{prefix}a" in await _keys(store, "")

    check(scenario)


def test_a_commit_does_all_or_nothing(check: Check) -> None:
    async def scenario(store: Store, prefix: str) -> None:
        a, b = f"{prefix}a", f"{prefix}b"
        absent = Condition(key=a, mod_revision=0)
        first = await _committed(store, Put(key=a, value=b"1"), conditions=(absent,))
        assert await store.commit([Put(key=b, value=b"2"), Delete(key=a)], [absent]) is None
        assert await _keys(store, prefix) == [a]
        present = Condition(key=a, mod_revision=first)
        second = await _committed(
            store, Put(key=b, value=b"2"), Delete(key=a), conditions=(present,)
        )
        assert second == first + 1
        assert await _keys(store, prefix) == [b]
        assert await store.commit([], [present]) is None

    check(scenario)


def test_of_many_guarded_writers_one_wins(check: Check) -> None:
    async def scenario(store: Store, prefix: str) -> None:
        key = f"{prefix}counter"
        condition = Condition(key=key, mod_revision=0)
        writes = [store.commit([Put(key=key, value=b"%d" % n)], [condition]) for n in range(8)]
        won = [revision for revision in await asyncio.gather(*writes) if revision]
        assert len(won) == 1

    check(scenario)


def test_writes_that_change_nothing_make_no_revision(check: Check) -> None:
    async def scenario(store: Store, prefix: str) -> None:
        revision = await _committed(store, Put(key=f"{prefix}a", value=b""))
        assert await store.commit([Delete(key=f"{prefix}absent")]) == revision
        assert await store.commit([]) == revision

    check(scenario)


def test_senseless_transactions_are_refused(check: Check) -> None:
    async def scenario(store: Store, prefix: str) -> None:
        senseless: list[list[Put | Delete]] = [
            [Put(key=f"{prefix}{n}", value=b"") for n in range(101)],
            [Put(key=f"{prefix}a", value=b""), Delete(key=f"{prefix}a")],
            [Delete(key="")],
        ]
        for writes in senseless:
            with pytest.raises(InvariantError):
                await store.commit(writes)
        with pytest.raises(UsageError, match="at most 1000000 bytes at once"):
            await store.commit([Put(key=f"{prefix}a", value=b"x" * 1_000_001)])
        assert await _keys(store, prefix) == []
        big = [Put(key=f"{prefix}{n}", value=b"x" * 9_000) for n in range(100)]
        assert await store.commit(big)

    check(scenario)


def test_a_lease_takes_its_keys_with_it(check: Check) -> None:
    async def scenario(store: Store, prefix: str) -> None:
        lease = await store.grant(60)
        attached, detached = f"{prefix}a", f"{prefix}b"
        await _committed(
            store,
            Put(key=attached, value=b"", lease=lease),
            Put(key=detached, value=b"", lease=lease),
        )
        await _committed(store, Put(key=detached, value=b""))
        assert [e.lease for e in (await store.list(prefix)).entries] == [lease, 0]
        assert await store.keep_alive(lease)
        await store.revoke(lease)
        assert await _keys(store, prefix) == [detached]
        assert not await store.keep_alive(lease)
        await store.revoke(lease)
        with pytest.raises(NotFoundError):
            await store.commit([Put(key=attached, value=b"", lease=lease)])
        assert await _keys(store, prefix) == [detached]

    check(scenario)


def test_a_lease_ends_by_time_unless_kept_alive_and_watchers_hear_of_it(check: Check) -> None:
    async def scenario(store: Store, prefix: str) -> None:
        kept, left = await store.grant(1), await store.grant(1)
        revision = await _committed(
            store,
            Put(key=f"{prefix}kept", value=b"", lease=kept),
            Put(key=f"{prefix}left", value=b"", lease=left),
        )

        async def keep() -> None:
            while True:
                assert await store.keep_alive(kept)
                await asyncio.sleep(0.3)

        keeping = asyncio.create_task(keep())
        try:
            began = time.monotonic()
            async with _following(store, prefix, revision) as seen:
                assert await seen.get() > revision
            assert time.monotonic() - began > 0.8
        finally:
            keeping.cancel()
        assert await _keys(store, prefix) == [f"{prefix}kept"]

    check(scenario)


def test_a_lease_says_how_long_it_still_has(check: Check) -> None:
    async def scenario(store: Store, prefix: str) -> None:
        del prefix
        lease = await store.grant(9)
        fresh = await store.lease_time(lease)
        assert fresh
        assert (fresh.remaining_seconds, fresh.granted_seconds) in {(8, 9), (9, 9)}
        await asyncio.sleep(1.1)
        older = await store.lease_time(lease)
        assert older
        assert older.remaining_seconds == 7
        assert await store.keep_alive(lease)
        again = await store.lease_time(lease)
        assert again
        assert again.remaining_seconds >= 8
        await store.revoke(lease)
        assert await store.lease_time(lease) is None

    check(scenario)


def test_a_watch_tells_of_old_and_new_changes_under_its_prefix_only(check: Check) -> None:
    async def scenario(store: Store, prefix: str) -> None:
        start = (await store.list(prefix)).revision
        first = await _committed(store, Put(key=f"{prefix}a", value=b"1"))
        await _committed(store, Put(key=f"/other{prefix}", value=b""))
        async with _following(store, prefix, start) as seen:
            assert await seen.get() == first
            await _committed(store, Put(key=f"/other{prefix}", value=b"2"))
            last = await _committed(store, Delete(key=f"{prefix}a"))
            assert await seen.get() == last
            assert seen.empty()

    check(scenario)


@asynccontextmanager
async def _following(
    store: Store, prefix: str, after: int
) -> AsyncIterator[asyncio.Queue[int]]:
    """Collect what a watch says."""
    seen: asyncio.Queue[int] = asyncio.Queue()

    async def follow() -> None:
        async for revision in store.changes(prefix, after):
            seen.put_nowait(revision)

    task = asyncio.create_task(follow())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
