"""Volumes with three controllers, one store and agents that obey, in virtual time."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from pltfrms.controller.planning.loop import PRUNE_SECONDS
from pltfrms.controller.records.auditing import Asked
from pltfrms.controller.records.state import commit_mark, volume_key
from pltfrms.drivers.store.memory import MemoryStore
from pltfrms.drivers.store.ports import Condition, Delete, Put
from pltfrms.errors import ConflictError, UnavailableError
from pltfrms.model.messages.api import Change
from pltfrms.model.running.volumes import VolumeState
from pltfrms.model.services.storage import Storage, VolumeSpec
from tests.controller.cluster import Cluster
from tests.controller.test_network import simulate, told
from tests.strategies import make_spec

DATA = VolumeSpec(name="data", path="/srv/db", size_bytes=2**30, lost_after_ms=60_000)
DB = replace(make_spec("db", 1), storage=Storage(volumes=(DATA,)))
ADA = Asked(by="ada@ops", why="burnt")


def node_of(cluster: Cluster, volume: str) -> str:
    found = cluster.stored().allocations.values()
    return next((each.node for each in found if each.volume == volume), "")


async def begun(cluster: Cluster) -> str:
    await cluster.operations.apply(Change(services=(DB,)))
    await cluster.until(lambda: len(cluster.stored().volumes) == 3, 10)
    return node_of(cluster, "db.fra.1@1")


def test_a_lost_node_is_waited_for_then_given_up_and_released_by_an_operator_alone() -> None:
    async def story(cluster: Cluster) -> None:
        node = await begun(cluster)
        await cluster.until(lambda: cluster.stored().volumes["db.fra.1@1"].made, 20)
        cluster.agents[node].dead = True
        await cluster.clock.sleep(50)
        assert node_of(cluster, "db.fra.1@1") == node
        notes = cluster.seats["fra-c1"].controller.notes
        assert [each.about for each in notes] == ["db.fra.1"]
        await cluster.until(lambda: bool(node_of(cluster, "db.fra.1@2")), 60)
        given_up = cluster.stored().volumes["db.fra.1@1"]
        assert (given_up.node, given_up.state) == (node, VolumeState.GIVEN_UP)
        assert given_up.since_ms > 0
        cluster.agents[node].dead = False
        await cluster.clock.sleep(2 * PRUNE_SECONDS)
        assert cluster.stored().volumes["db.fra.1@1"] == given_up
        assert "db.fra.1@1" in cluster.agents[node].disk
        done = await cluster.operations.release_volume("db.fra.1@1", ADA, give_up=False)
        assert (done.state, done.why) == (VolumeState.RELEASED, "burnt; by ada@ops")
        assert done.since_ms > given_up.since_ms
        again = await cluster.operations.release_volume("db.fra.1@1", ADA, give_up=False)
        assert again == done
        # Long before the next time that all is looked through for what nobody needs.
        await cluster.until(
            lambda: "db.fra.1@1" not in cluster.stored().volumes, PRUNE_SECONDS / 4
        )
        assert cluster.agents[node].disk <= {"db.fra.1@2"}
        assert len(await told(cluster, "volume released")) == 1
        records = (await cluster.operations.audit(0, 100)).records
        assert "volume released" in {each.what for each in records}

    simulate(story)


def test_what_is_in_use_is_neither_released_nor_given_up() -> None:
    async def story(cluster: Cluster) -> None:
        await begun(cluster)
        for give_up, why in ((False, "is in use by db.fra.1-1"), (True, "is not lost")):
            with pytest.raises(ConflictError, match=why):
                await cluster.operations.release_volume("db.fra.1@1", ADA, give_up=give_up)
        await cluster.operations.delete("db")
        await cluster.until(lambda: not cluster.stored().allocations, 10)
        assert len(cluster.stored().volumes) == 3
        await cluster.operations.release_volume("db.fra.1@1", ADA, give_up=False)
        await cluster.until(lambda: len(cluster.stored().volumes) == 2, 180)

    simulate(story)


def test_a_volume_that_was_made_is_begun_anew_only_when_an_operator_says_so() -> None:
    async def story(cluster: Cluster) -> None:
        node = await begun(cluster)
        await cluster.until(lambda: cluster.stored().volumes["db.fra.1@1"].made, 20)
        with pytest.raises(ConflictError, match="is not lost"):
            await cluster.operations.release_volume("db.fra.1@1", ADA, give_up=True)
        cluster.agents[node].disk.clear()  # another disk, under the same name
        await cluster.clock.sleep(10)
        assert cluster.stored().volumes["db.fra.1@1"].made
        assert "db.fra.1@1" not in cluster.agents[node].disk
        done = await cluster.operations.release_volume("db.fra.1@1", ADA, give_up=True)
        assert (done.state, done.made, done.since_ms) == (VolumeState.HELD, False, 0)
        await cluster.until(lambda: "db.fra.1@1" in cluster.agents[node].disk, 20)
        await cluster.until(lambda: cluster.stored().volumes["db.fra.1@1"].made, 20)
        assert len(await told(cluster, "volume begun anew")) == 1

    simulate(story)


def test_what_was_given_up_is_taken_back_when_its_node_is_there_after_all() -> None:
    async def story(cluster: Cluster) -> None:
        node = await begun(cluster)
        others = [name for name in cluster.agents if name.startswith("fra-n") and name != node]
        for name in (node, *others):  # so many that nothing is moved
            cluster.agents[name].dead = True
        await cluster.clock.sleep(30)
        await cluster.operations.release_volume("db.fra.1@1", ADA, give_up=True)
        await cluster.clock.sleep(10)
        assert cluster.stored().volumes["db.fra.1@1"].state is VolumeState.GIVEN_UP
        for name in (node, *others):
            cluster.agents[name].dead = False
        await cluster.clock.sleep(30)
        volume = cluster.stored().volumes["db.fra.1@1"]
        assert (volume.state, volume.since_ms, volume.why) == (VolumeState.HELD, 0, "")
        assert node_of(cluster, "db.fra.1@1") == node
        assert len(await told(cluster, "volume taken back")) == 1

    simulate(story)


def test_who_loses_against_other_commits_looks_before_it_forgets_a_volume_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it knows is older than the last commit all the time here."""
    tries, plain = 0, MemoryStore.commit

    async def counted(
        store: MemoryStore, writes: Sequence[Put | Delete], conditions: Sequence[Condition] = ()
    ) -> int | None:
        nonlocal tries
        if Delete(key=volume_key("db.fra.1@1")) in writes:
            tries += 1
            if tries > 200:
                raise UnavailableError("in virtual time that would have no end")
        return await plain(store, writes, conditions)

    async def story(cluster: Cluster) -> None:
        await begun(cluster)
        await cluster.until(lambda: cluster.stored().volumes["db.fra.1@1"].made, 20)
        await cluster.operations.delete("db")
        await cluster.until(lambda: not cluster.stored().allocations, 10)
        for seat in cluster.seats.values():
            seat.store.list_seconds = lambda: 0.2
        monkeypatch.setattr(MemoryStore, "commit", counted)
        await cluster.operations.release_volume("db.fra.1@1", ADA, give_up=False)
        for number in range(200):
            cluster.state.commit((commit_mark("somebody", number),), ())
            await cluster.clock.sleep(0.05)
        assert 1 <= tries <= 50
        await cluster.until(lambda: "db.fra.1@1" not in cluster.stored().volumes, 20)

    simulate(story)
