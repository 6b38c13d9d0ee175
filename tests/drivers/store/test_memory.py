"""Memory store: faults on demand, and a comparison with the simplest model."""

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms.drivers.store.memory import MemoryStore, WatchFault
from pltfrms.drivers.store.ports import Condition, Delete, Put
from pltfrms.errors import UnavailableError, UnclearError
from tests.simulation.virtual import VirtualClock, run_virtual


def test_handles_share_the_data_and_have_faults_of_their_own() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        cut_off = MemoryStore(clock)
        fine = MemoryStore(clock, cut_off.state)
        cut_off.unavailable = True
        with pytest.raises(UnavailableError):
            await cut_off.commit([Put(key="/a", value=b"")])
        assert (await fine.list("/")).entries == ()
        await fine.commit([Put(key="/b", value=b"")])
        cut_off.unavailable = False
        assert [entry.key for entry in (await cut_off.list("/")).entries] == ["/b"]

    run_virtual(scenario())


def test_an_unknown_outcome_is_done_but_says_unavailable() -> None:
    async def scenario() -> None:
        store = MemoryStore(VirtualClock())
        store.unknown_outcome = lambda: True
        with pytest.raises(UnclearError, match="may or may not"):
            await store.commit([Put(key="/a", value=b"")])
        assert len((await store.list("/")).entries) == 1

    run_virtual(scenario())


def test_losing_the_store_ends_a_watch() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        store = MemoryStore(clock)

        async def cut() -> None:
            await clock.sleep(5)
            store.unavailable = True

        cutting = asyncio.create_task(cut())
        with pytest.raises(UnavailableError):
            await _collect(store, after=1)
        await cutting
        assert clock.monotonic() == pytest.approx(5)

    run_virtual(scenario())


async def _collect(store: MemoryStore, after: int) -> list[int]:
    return [revision async for revision in store.changes("/", after)]


def test_watch_faults_do_what_they_are_called() -> None:
    async def scenario() -> None:
        store = MemoryStore(VirtualClock())
        faults = [
            WatchFault.NONE,
            WatchFault.SKIP,
            WatchFault.REPEAT,
            WatchFault.BACK,
            WatchFault.END,
        ]
        for _ in range(12):
            await store.commit([Put(key="/a", value=b"")])
        store.watch_fault = lambda: faults.pop(0)
        assert await _collect(store, after=8) == [9, 11, 11, 12, 2]

    # The watch would wait for ever after revision 13; END comes with it.
    run_virtual(scenario())


def test_a_watch_from_before_the_log_ends() -> None:
    async def scenario() -> None:
        store = MemoryStore(VirtualClock())
        for _ in range(20_001):
            store.state.commit([Put(key="/a", value=b"")], ())
        assert await _collect(store, after=1) == []

    run_virtual(scenario())


def test_a_lease_expires_by_the_clock_to_the_moment() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        store = MemoryStore(clock)
        lease = await store.grant(4)
        await store.commit([Put(key="/a", value=b"", lease=lease)])
        await clock.sleep(3.9)
        assert await store.keep_alive(lease)
        changes = store.changes("/", 2)
        assert await anext(changes) == 3
        assert clock.monotonic() == pytest.approx(7.9, abs=0.01)
        assert not await store.keep_alive(lease)

    run_virtual(scenario())


@settings(max_examples=60)
@given(random=st.randoms(use_true_random=True))
def test_it_agrees_with_the_simplest_model(random: Random) -> None:
    """Random guarded transactions against a dict of key -> (value, revision)."""

    async def scenario() -> None:
        store = MemoryStore(VirtualClock())
        model: dict[str, tuple[bytes, int]] = {}
        revision = 1
        for step in range(60):
            keys = random.sample("abcd", k=random.randint(0, 4))
            writes: list[Put | Delete] = [
                Put(key=key, value=b"%d" % step) if random.random() < 0.6 else Delete(key=key)
                for key in keys
            ]
            known = random.choice("abcd")
            seen = max(model.get(known, (b"", 0))[1] + random.choice([0, 0, 0, 1, -1]), 0)
            got = await store.commit(writes, [Condition(key=known, mod_revision=seen)])
            if seen != model.get(known, (b"", 0))[1]:
                assert got is None
                continue
            revision += any(isinstance(w, Put) or w.key in model for w in writes)
            for write in writes:
                model.pop(write.key, None)
                if isinstance(write, Put):
                    model[write.key] = (write.value, revision)
            assert got == revision
            listing = await store.list("")
            assert {e.key: (e.value, e.mod_revision) for e in listing.entries} == model

    run_virtual(scenario())
