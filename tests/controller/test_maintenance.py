"""Drains of datacenters and nodes, with three controllers and one store, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from pltfrms.errors import ConflictError, PltfrmsError
from pltfrms.model.messages.api import Change, InterventionChange, InterventionReply, Verb
from pltfrms.model.messages.guards import Guard
from pltfrms.model.running.plan import Reason
from tests.controller.cluster import Cluster
from tests.controller.test_network import WEB, simulate, told

FRA = InterventionChange(verb=Verb.DRAIN, datacenter="fra", why="power", by="ada@ops")
AMS = InterventionChange(verb=Verb.DRAIN, datacenter="ams", why="fibre", by="bob@ops")
MINUTE_MS = 60_000


def drained(cluster: Cluster) -> set[str]:
    return {drain.about for drain in cluster.stored().interventions.drains}


# ---- datacenters ---------------------------------------------------------------------------


def test_a_datacenter_is_drained_as_one_commit_that_its_edges_get() -> None:
    async def story(cluster: Cluster) -> None:
        reply = await cluster.operations.intervene(FRA)
        assert {each.session for each in reply.routing} == {
            "transit1@fra-e1",
            "transit2@fra-e1",
        }
        assert reply.verdicts == ()
        (event,) = await told(cluster, "drain begun")
        assert (event.about, event.detail) == ("drain/datacenter/fra", "power; by ada@ops")
        again = await cluster.operations.intervene(FRA)
        assert (again.changed, again.revision) == (False, reply.revision)
        end = InterventionChange(verb=Verb.UNDRAIN, datacenter="fra")
        assert (await cluster.operations.intervene(end)).changed
        assert not (await cluster.operations.intervene(end)).changed
        assert drained(cluster) == set()

    simulate(story)


def test_incident_6_two_datacenters_are_never_drained_at_once() -> None:
    """Maintenance automation took network control away in many places at the same time."""

    async def story(cluster: Cluster) -> None:
        await cluster.operations.apply(Change(services=(WEB,)))
        await cluster.operations.intervene(FRA)
        for seat in cluster.seats.values():
            assert seat.operations
            with pytest.raises(ConflictError) as refused:
                await seat.operations.intervene(AMS)
            assert (
                "maintenance_lock: datacenter/ams: datacenter/fra is to be "
                "drained by ada@ops from "
                "2026-01-01 00:00:"
            ) in str(refused.value)
            assert str(refused.value).endswith("--yes-i-mean maintenance_lock")
        assert drained(cluster) == {"datacenter/fra"}
        await cluster.until(lambda: cluster.settled("web"), 20)
        for seat in cluster.seats.values():
            await seat.crash()
        await cluster.clock.sleep(900)
        assert len(cluster.serving("web")) == 6, "without controllers all stays as it is"

    simulate(story)


def test_incident_6_of_two_at_the_same_instant_one_wins() -> None:
    async def story(cluster: Cluster) -> None:
        seats = [seat.operations for seat in cluster.seats.values()]
        answers: list[InterventionReply | BaseException] = await asyncio.gather(
            *(
                operations.intervene(change)
                for operations, change in zip(seats, (FRA, AMS), strict=False)
                if operations
            ),
            return_exceptions=True,
        )
        refused = [each for each in answers if isinstance(each, PltfrmsError)]
        assert [type(each) for each in refused] == [ConflictError]
        assert "maintenance_lock" in str(refused[0])
        assert len(drained(cluster)) == 1
        assert len(await told(cluster, "drain begun")) == 1

    simulate(story)


def test_the_lock_is_overridden_by_name_and_that_is_told() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.operations.intervene(FRA)
        meant = replace(AMS, despite=(Guard.MAINTENANCE_LOCK,))
        assert (await cluster.operations.intervene(meant)).changed
        (event,) = await told(cluster, "guard overridden")
        assert event.about == "guard/maintenance_lock"
        assert "datacenter/fra is to be drained by ada@ops" in event.detail
        assert event.detail.endswith("; by bob@ops")
        third = InterventionChange(verb=Verb.DRAIN, datacenter="lon")
        with pytest.raises(ConflictError, match="last_announcer"):
            await cluster.operations.intervene(
                replace(third, despite=(Guard.MAINTENANCE_LOCK,))
            )

    simulate(story)


def test_a_planned_drain_locks_its_own_time_alone() -> None:
    async def story(cluster: Cluster) -> None:
        now_ms = cluster.clock.unix_ms()
        night = replace(FRA, since_ms=now_ms + MINUTE_MS, until_ms=now_ms + 2 * MINUTE_MS)
        await cluster.operations.intervene(night)
        assert len(await told(cluster, "drain planned")) == 1
        with pytest.raises(ConflictError, match="is to be drained by ada@ops from"):
            await cluster.operations.intervene(AMS)
        until_then = replace(AMS, until_ms=now_ms + MINUTE_MS)
        assert (await cluster.operations.intervene(until_then)).changed
        with pytest.raises(ConflictError, match="maintenance_lock"):
            await cluster.operations.intervene(replace(AMS, until_ms=now_ms + MINUTE_MS + 1))
        await cluster.clock.sleep(120)
        assert (await cluster.operations.intervene(AMS)).changed, "both are over"
        assert drained(cluster) == {"datacenter/ams"}

    simulate(story)


# ---- nodes ---------------------------------------------------------------------------------


def watched(
    story: Callable[[Cluster], Awaitable[None]],
) -> Callable[[Cluster], Awaitable[None]]:
    """Watch all the time that no replica of `web` is missing, once all serve."""

    async def watching(cluster: Cluster) -> None:
        await cluster.operations.apply(Change(services=(WEB,)))
        await cluster.until(lambda: cluster.settled("web"), 20)

        async def watch() -> None:
            while True:
                assert len(cluster.serving("web")) == 6
                assert cluster.unsafe() == []
                await cluster.clock.sleep(0.02)

        watcher = asyncio.ensure_future(watch())
        await story(cluster)
        assert not watcher.done(), watcher
        watcher.cancel()

    return watching


def on(cluster: Cluster, node: str) -> list[str]:
    return [a.id for a in cluster.stored().allocations.values() if a.node == node]


def used_node(cluster: Cluster) -> str:
    """Return a node of fra that runs something."""
    return next(f"fra-n{number}" for number in (1, 2, 3) if on(cluster, f"fra-n{number}"))


def test_a_node_is_emptied_and_no_replica_is_ever_missing() -> None:
    async def story(cluster: Cluster) -> None:
        node = used_node(cluster)
        change = InterventionChange(verb=Verb.DRAIN, node=node, why="disk")
        await cluster.operations.intervene(change)
        await cluster.until(lambda: not on(cluster, node), 10)
        await cluster.until(lambda: cluster.settled("web"), 10)
        placed = [
            e for e in await told(cluster, "replica placed") if e.reason == "node-drained"
        ]
        assert len(placed) == 1
        await cluster.clock.sleep(30)
        assert on(cluster, node) == []
        await cluster.operations.intervene(replace(change, verb=Verb.UNDRAIN))
        await cluster.clock.sleep(30)
        assert cluster.settled("web")

    simulate(watched(story))


def test_a_planned_drain_of_a_node_begins_and_ends_by_itself() -> None:
    async def story(cluster: Cluster) -> None:
        node, now_ms = used_node(cluster), cluster.clock.unix_ms()
        await cluster.operations.intervene(
            InterventionChange(
                verb=Verb.DRAIN, node=node, since_ms=now_ms + 60_000, until_ms=now_ms + 120_000
            )
        )
        commit = cluster.stored().commit
        await cluster.clock.sleep(59)
        assert cluster.stored().commit == commit
        await cluster.until(lambda: not on(cluster, node), 10)
        other = next(f"fra-n{n}" for n in (1, 2, 3) if f"fra-n{n}" != node)
        drain = InterventionChange(verb=Verb.DRAIN, node=other)
        with pytest.raises(ConflictError, match="maintenance_lock"):
            await cluster.operations.intervene(drain)
        await cluster.clock.sleep(60)
        assert (await cluster.operations.intervene(drain)).changed
        await cluster.until(lambda: not on(cluster, other), 10)
        assert on(cluster, node)

    simulate(watched(story))


def test_a_node_whose_replicas_find_no_room_keeps_them() -> None:
    async def story(cluster: Cluster) -> None:
        spec = replace(WEB, per_datacenter=3)
        await cluster.operations.apply(Change(services=(spec,)))
        await cluster.until(lambda: cluster.settled("web"), 20)
        change = InterventionChange(verb=Verb.DRAIN, node="fra-n1")
        with pytest.raises(ConflictError, match=r"room for 2 of the 3 replicas of fra"):
            await cluster.operations.intervene(change)
        await cluster.operations.intervene(replace(change, despite=(Guard.HEADROOM,)))
        await cluster.clock.sleep(30)
        assert len(cluster.serving("web")) == 9
        notes = cluster.operations.snapshot().notes
        assert [note.reason for note in notes] == [Reason.NO_NODE_WITHIN_SPREAD]

    simulate(story)
