"""Many who wait for events, and what they may cost. In virtual time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from pltfrms.controller.planning import deciding
from pltfrms.controller.planning.loop import PRUNE_SECONDS
from pltfrms.controller.records.documents import read_documents
from pltfrms.controller.records.journal import (
    FOLLOWERS_MAX,
    KEPT_COUNT,
    READERS_MAX,
    SURPLUS_COUNT,
)
from pltfrms.controller.records.state import EVENTS, commit_mark, service_key
from pltfrms.drivers.store.memory import MemoryStore
from pltfrms.drivers.store.ports import Condition, Delete, Listing, Put
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import Change, Event
from pltfrms.model.running.plan import Plan, Reason, Stop
from pltfrms.model.running.state import Snapshot
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import simulate
from tests.strategies import make_spec


class _Counted(MemoryStore):
    """Counts lists of events, and watches of events that are open."""

    counts: Counter[str]

    async def list(self, prefix: str, after: int = 0) -> Listing:
        self.counts["lists"] += prefix == EVENTS
        return await super().list(prefix, after)

    async def changes(self, prefix: str, after: int) -> AsyncIterator[int]:
        self.counts["watches"] += prefix == EVENTS
        try:
            async for revision in super().changes(prefix, after):
                yield revision
        finally:
            self.counts["watches"] -= prefix == EVENTS


async def _counted(cluster: Cluster) -> Counter[str]:
    """Restart a controller with a store that counts; return the counts."""
    seat = cluster.seats["ams-c1"]
    await seat.crash()
    store = _Counted(cluster.clock, cluster.state)
    store.counts = Counter()
    seat.store = store
    seat.start()
    await cluster.clock.sleep(1)
    return store.counts


async def _last(cluster: Cluster) -> int:
    """Return the sequence of the last event, once nothing happens any more."""
    await cluster.clock.sleep(3)
    return (await cluster.operations.events(0, 0, KEPT_COUNT))[-1].sequence


async def _tell(cluster: Cluster, what: str) -> None:
    journal = cluster.seats["fra-c1"].controller.journal
    await journal.write([journal.tell("test", what)])


def test_all_who_wait_for_events_share_one_watch() -> None:
    async def story(cluster: Cluster) -> None:
        counts = await _counted(cluster)
        last = await _last(cluster)
        waiting = [
            asyncio.create_task(cluster.operations.events(last, 60_000, 10)) for _ in range(150)
        ]
        await cluster.clock.sleep(0.5)
        counts["lists"] = 0
        await _tell(cluster, "something")
        async with asyncio.timeout(0.1):
            answers = await asyncio.gather(*waiting)
        assert {tuple(event.what for event in events) for events in answers} == {("something",)}
        assert counts == {"watches": 1, "lists": 1}

    simulate(story)


def test_nobody_who_waits_misses_an_event() -> None:
    async def story(cluster: Cluster) -> None:
        operations = cluster.operations
        last = await _last(cluster)
        seen: list[Event] = []

        async def follow() -> None:
            while len(seen) < 100:
                after = seen[-1].sequence if seen else last
                seen.extend(await operations.events(after, 10_000, 7))

        following = asyncio.create_task(follow())
        for number in range(100):
            await _tell(cluster, str(number))
            await cluster.clock.sleep(0.01 * (number % 5))
        async with asyncio.timeout(1):
            await following
        assert [event.what for event in seen] == [str(number) for number in range(100)]

    simulate(story)


def test_who_waits_from_long_ago_gets_what_only_the_store_still_has() -> None:
    async def story(cluster: Cluster) -> None:
        journal = cluster.seats["fra-c1"].controller.journal
        last = await _last(cluster)
        await journal.write(journal.tell("test", str(n)) for n in range(KEPT_COUNT + 50))
        await cluster.clock.sleep(0.5)
        events = await cluster.operations.events(last, 10_000, 10)
        assert events[0].what == "0"

    simulate(story)


def test_one_follower_too_many_is_told_so_and_harms_nobody() -> None:
    async def story(cluster: Cluster) -> None:
        operations, last = cluster.operations, await _last(cluster)
        waiting = [
            asyncio.create_task(operations.events(last, 5_000, 10))
            for _ in range(FOLLOWERS_MAX)
        ]
        await cluster.clock.sleep(0.1)
        with pytest.raises(UnavailableError, match="200 others wait for events"):
            await operations.events(last, 5_000, 10)
        assert await operations.events(0, 0, 10)
        await asyncio.gather(*waiting)
        assert await operations.events(last, 1_000, 10) == ()

    simulate(story)


def test_readers_of_events_never_take_the_whole_store() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.seats["ams-c1"].store.delay_seconds = lambda: 0.2
        reads = [cluster.operations.events(0, 0, 10) for _ in range(READERS_MAX + 5)]
        outcomes = await asyncio.gather(*reads, return_exceptions=True)
        refused = [
            str(outcome) for outcome in outcomes if isinstance(outcome, UnavailableError)
        ]
        assert len(refused) == 5
        assert refused[0].startswith("20 others read the events of this controller")

    simulate(story)


def test_without_the_store_who_waits_is_told_so_and_what_is_known_can_be_asked_for() -> None:
    async def story(cluster: Cluster) -> None:
        known = await cluster.operations.events(0, 0, KEPT_COUNT)
        waiting = asyncio.create_task(cluster.operations.events(known[-1].sequence, 60_000, 10))
        await cluster.clock.sleep(0.1)
        for seat in cluster.seats.values():
            seat.store.unavailable = True
        began = cluster.clock.monotonic()
        with pytest.raises(UnavailableError, match="store does not answer"):
            await waiting
        assert cluster.clock.monotonic() - began < 8
        began = cluster.clock.monotonic()
        with pytest.raises(UnavailableError, match="store does not answer"):
            await cluster.operations.events(0, 0, 10)
        stale = await cluster.operations.events(0, 60_000, KEPT_COUNT, stale=True)
        assert stale == known
        assert cluster.clock.monotonic() == began

    simulate(story)


def _events_of(cluster: Cluster, what: str) -> list[str]:
    words = read_documents(Event, cluster.state.list(EVENTS).entries).words.values()
    return [event.about for event in words if event.what == what]


def test_without_the_first_controller_another_one_tells_and_prunes() -> None:
    """Its machine's agent goes on: what counts is the controller itself."""

    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(PRUNE_SECONDS)
        await cluster.seats["ams-c1"].crash()
        await cluster.clock.sleep(5)
        journal = cluster.seats["fra-c1"].controller.journal
        await journal.write(journal.tell("test", str(n)) for n in range(1500))
        cluster.agents["lon-n1"].dead = True
        await cluster.clock.sleep(PRUNE_SECONDS + 5)
        assert "ams-c1" in cluster.stored().leases
        assert cluster.operations.snapshot().controllers == ("fra-c1", "lon-c1")
        assert len(cluster.state.list(EVENTS).entries) <= KEPT_COUNT + SURPLUS_COUNT
        assert _events_of(cluster, "machine lost") == ["machine/lon-n1"]

    simulate(story)


def test_each_loss_is_told_once_whoever_is_first() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(5)
        for number, name in enumerate(("ams-c1", "fra-c1"), start=1):
            await cluster.seats[name].crash()
            await cluster.clock.sleep(5)
            cluster.agents[f"lon-n{number}"].dead = True
            await cluster.clock.sleep(10)
        cluster.seats["ams-c1"].start()
        cluster.seats["fra-c1"].start()
        await cluster.clock.sleep(20)
        cluster.agents["lon-n3"].dead = True
        await cluster.clock.sleep(10)
        lost = _events_of(cluster, "machine lost")
        assert sorted(lost) == ["machine/lon-n1", "machine/lon-n2", "machine/lon-n3"]

    simulate(story)


def test_a_loss_is_told_once_however_many_events_came_since() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.agents["lon-n1"].dead = True
        await cluster.until(lambda: _events_of(cluster, "machine lost") != [], 10)
        journal = cluster.seats["fra-c1"].controller.journal
        await journal.write(journal.tell("test", str(n)) for n in range(1500))
        await cluster.clock.sleep(PRUNE_SECONDS + 5)
        assert _events_of(cluster, "machine lost") == []
        for seat in cluster.seats.values():
            await seat.crash()
        for seat in cluster.seats.values():
            seat.start()
        await cluster.clock.sleep(30)
        assert _events_of(cluster, "machine lost") == []
        for dead in (False, True):
            cluster.agents["lon-n1"].dead = dead
            await cluster.clock.sleep(20)
        assert _events_of(cluster, "machine lost") == ["machine/lon-n1"]

    simulate(story)


class _Forgetful(MemoryStore):
    """Fails the first commit that tells of something, before it is done."""

    what = b""
    failed = False

    async def commit(
        self, writes: Sequence[Put | Delete], conditions: Sequence[Condition] = ()
    ) -> int | None:
        told = any(self.what in write.value for write in writes if isinstance(write, Put))
        if told and not self.failed:
            self.failed = True
            raise UnavailableError("not now")
        return await super().commit(writes, conditions)


async def _kill(cluster: Cluster) -> None:
    cluster.agents["lon-n1"].dead = True


async def _want_too_much(cluster: Cluster) -> None:
    await cluster.operations.apply(Change(services=(make_spec("api", cpu=3.9),)))


async def _store_poison(cluster: Cluster) -> None:
    cluster.state.commit((Put(key=service_key("bad"), value=b"{"),), ())


async def _store_poison_for_a_while(cluster: Cluster) -> None:
    await _store_poison(cluster)
    await cluster.clock.sleep(5)
    cluster.state.commit((Delete(key=service_key("bad")),), ())


def _stop_all(snapshot: Snapshot) -> Plan:
    steps = [Stop(allocation=a, reason=Reason.SPREAD) for a in snapshot.allocations.values()]
    return Plan(revision=snapshot.revision, steps=tuple(steps))


@pytest.mark.parametrize(
    ("what", "happens", "tellers", "count"),
    [
        ("machine lost", _kill, 1, 1),
        ("cannot be done now", _want_too_much, 1, 3),
        ("document cannot be read", _store_poison, 3, 3),
        ("all documents can be read again", _store_poison_for_a_while, 3, 3),
        ("plan breaks a rule", None, 3, 3),
    ],
)
def test_what_the_store_did_not_take_is_told_again(
    what: str,
    happens: Callable[[Cluster], Awaitable[None]] | None,
    tellers: int,
    count: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(cluster: Cluster) -> None:
        stores = []
        for seat in cluster.seats.values():
            await seat.crash()
            seat.store = store = _Forgetful(cluster.clock, cluster.state)
            store.what = what.encode()
            stores.append(store)
            seat.start()
        await cluster.clock.sleep(20)
        if happens:
            await happens(cluster)
        else:
            monkeypatch.setattr(deciding, "make_plan", _stop_all)
            cluster.state.commit((commit_mark("test", 0),), ())  # something new to plan
        await cluster.clock.sleep(20)
        assert sum(store.failed for store in stores) == tellers
        assert len(_events_of(cluster, what)) == count

    simulate(story)


@pytest.mark.parametrize("milliseconds", range(0, 1000, 125))
def test_the_loss_of_the_first_controllers_datacenter_is_told(milliseconds: int) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(20 + milliseconds / 1000)
        await cluster.seats["ams-c1"].crash()
        machines = [name for name in cluster.agents if name.startswith("ams-")]
        for name in machines:
            cluster.agents[name].dead = True
        await cluster.clock.sleep(20)
        # Of its nodes nobody is left who could say whether they live.
        assert sorted(_events_of(cluster, "machine lost")) == [
            "machine/ams-c1",
            "machine/ams-e1",
        ]
        notes = [event for event in await cluster.operations.events(0, 0, 1000) if event.reason]
        assert ("ams", "node-unheard") in {(note.about, note.reason) for note in notes}

    simulate(story)


def test_a_loss_is_told_although_the_first_controller_ends_at_that_moment() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(20)
        cluster.agents["lon-n1"].dead = True
        await cluster.clock.sleep(1.0)
        await cluster.seats["ams-c1"].crash()
        await cluster.clock.sleep(20)
        assert _events_of(cluster, "machine lost") == ["machine/lon-n1"]

    simulate(story)


def test_a_machine_that_was_never_heard_of_is_not_told_as_lost() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.agents["lon-n1"].cut = True
        await cluster.clock.sleep(30)
        assert _events_of(cluster, "machine in contact")
        assert _events_of(cluster, "machine lost") == []

    simulate(story, apply=False)


def test_a_clock_that_is_a_day_ahead_costs_nobody_his_events() -> None:
    async def story(cluster: Cluster) -> None:
        journal = cluster.seats["fra-c1"].controller.journal
        wrong = journal.tell("test", "of a wrong clock")
        wrong = replace(wrong, source="lon-n1", at_ms=wrong.at_ms + 86_400_000)
        await journal.write([wrong] * (KEPT_COUNT + SURPLUS_COUNT))
        await journal.write(journal.tell("test", str(number)) for number in range(100))
        await cluster.clock.sleep(PRUNE_SECONDS + 5)
        kept = await cluster.operations.events(0, 0, 2 * KEPT_COUNT)
        assert len(kept) <= KEPT_COUNT + SURPLUS_COUNT
        assert {str(number) for number in range(100)} <= {event.what for event in kept}
        assert list(kept) == sorted(kept, key=lambda event: event.sequence)

    simulate(story)
