"""A store that was recovered from one member's data sets no machine back without a word."""

from dataclasses import replace

import pytest

from pltfrms.codec import encode
from pltfrms.controller.keeping.recovering import Referee, ask, go_on, hold
from pltfrms.controller.records.state import heard_key, volume_key
from pltfrms.drivers.store.memory import MemoryStore
from pltfrms.drivers.store.ports import Delete, Put, Store
from pltfrms.errors import ConflictError, UnavailableError
from pltfrms.model.messages.api import Change
from pltfrms.model.running.volumes import Volume
from tests.controller.cluster import Cluster
from tests.controller.test_backup import serve, serving
from tests.controller.test_cluster import simulate
from tests.strategies import make_spec

KEPT = Volume(
    id="db.fra.1@7", service="db", datacenter="fra", replica=1, generation=7, node="fra-n1"
)


async def lose_what_came_after(cluster: Cluster, *later: str) -> Store:
    """Recover the store as it was before some services came; controllers begin anew."""
    await serve(cluster, "web")
    backup = cluster.state.backup()
    if later:
        for _ in range(1000):
            await cluster.operations.controller.store.commit([Put(key="/x", value=b"")])
        await serve(cluster, *later)
    await cluster.clock.sleep(5)
    for seat in cluster.seats.values():
        await seat.crash()
    cluster.state.restore(backup)
    store = MemoryStore(cluster.clock, cluster.state)
    await hold(store, 0)
    for seat in cluster.seats.values():
        seat.start()
    return store


async def heard(store: Store, cluster: Cluster) -> Referee:
    """Return what machines say when all have reported."""
    for _ in range(60):
        await cluster.clock.sleep(1)
        referee = await ask(store)
        if referee and not referee.silent:
            return referee
    pytest.fail("some machine stays silent")


def test_nothing_is_decided_and_all_serves_on_until_somebody_says_so() -> None:
    async def story(cluster: Cluster) -> None:
        store = await lose_what_came_after(cluster, "shop")
        running = serving(cluster)
        commits = cluster.stored().commit
        for _ in range(60):
            await cluster.clock.sleep(1)
            assert serving(cluster) == running
        assert cluster.stored().commit == commits
        (problem,) = cluster.stored().problems
        assert "pltfrms recover" in problem
        with pytest.raises(UnavailableError, match="pltfrms recover"):
            await cluster.operations.apply(Change(services=(make_spec("more"),)))
        assert await ask(store)

    simulate(story)


def test_who_has_heard_of_what_is_lost_is_named_with_what_runs_there() -> None:
    async def story(cluster: Cluster) -> None:
        store = await lose_what_came_after(cluster, "shop")
        referee = await heard(store, cluster)
        newest = max(agent.heard for agent in cluster.agents.values())
        assert referee.newest == newest > referee.commit
        assert set(referee.ahead) == {
            name for name, agent in cluster.agents.items() if agent.heard > referee.commit
        }
        assert set(referee.unknown) == {n for n in serving(cluster) if n.startswith("shop.")}
        await store.commit([Put(key=volume_key(KEPT.id), value=encode(KEPT))])
        assert await go_on(store, referee, 1, "one") > newest
        assert cluster.stored().numbers[KEPT.about].number > 1000
        given = [each.number for each in cluster.stored().numbers.values()]
        assert min(given) > 1000, "what is silent may have had any number of these"
        assert await ask(store) is None
        await serve(cluster, "shop")
        assert set(referee.unknown).isdisjoint(serving(cluster)), "no name comes back"
        await cluster.until(lambda: cluster.settled("web"), 60)

    simulate(story)


def test_if_nothing_is_lost_all_goes_on_as_it_was() -> None:
    async def story(cluster: Cluster) -> None:
        store = await lose_what_came_after(cluster)
        running = serving(cluster)
        referee = await heard(store, cluster)
        assert (referee.ahead, referee.unknown) == ((), ())
        await go_on(store, referee, 1, "one")
        for _ in range(60):
            await cluster.clock.sleep(1)
            assert serving(cluster) == running
        await serve(cluster, "shop")

    simulate(story)


def test_what_a_machine_heard_of_counts_although_it_follows_an_older_one() -> None:
    """A later commit that wants nothing else of it is only heard of; it takes no older one."""

    async def story(cluster: Cluster) -> None:
        store = await lose_what_came_after(cluster)
        agent = cluster.agents["fra-n1"]
        agent.heard = agent.generation + 5000
        referee = await heard(store, cluster)
        assert referee.newest == agent.heard > referee.commit
        assert referee.ahead == ("fra-n1",)
        assert await go_on(store, referee, 1, "one") > agent.heard
        await serve(cluster, "shop")
        await cluster.until(lambda: agent.generation > agent.heard - 1, 60)
        keys = [each.key for each in (await store.list("/pltfrms/machines/")).entries]
        assert not [key for key in keys if key.endswith("/heard")]

    simulate(story)


def test_machines_that_are_silent_are_named() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.agents["fra-n1"].cut = True
        store = await lose_what_came_after(cluster)
        await cluster.clock.sleep(20)
        referee = await ask(store)
        assert referee
        assert referee.silent == ("fra-n1",)

    simulate(story)


def test_who_reports_without_saying_what_it_heard_counts_as_silent() -> None:
    """An agent of an older release, or a controller of one, does not know of it."""

    async def story(cluster: Cluster) -> None:
        store = await lose_what_came_after(cluster, "shop")
        await heard(store, cluster)
        await store.commit([Delete(key=heard_key("fra-n1"))])
        await store.commit([Put(key=heard_key("fra-n2"), value=b"0")])
        referee = await ask(store)
        assert referee
        assert referee.silent == referee.mute == ("fra-n1", "fra-n2")
        assert referee.heard["fra-n1"] == cluster.agents["fra-n1"].generation

    simulate(story)


def follow(cluster: Cluster, *words: str) -> bool:
    return {agent.lineage for agent in cluster.agents.values()} == {words}


def test_two_recoveries_of_one_store_are_told_apart_and_machines_follow_one() -> None:
    async def story(cluster: Cluster) -> None:
        store = await lose_what_came_after(cluster)
        survivor = cluster.state.backup()
        await go_on(store, await heard(store, cluster), 1, "one")
        await cluster.until(lambda: follow(cluster, "one"), 60)
        running = serving(cluster)
        for seat in cluster.seats.values():
            await seat.crash()
        cluster.state.restore(survivor)  # as another member has it, that is recovered as well
        other = MemoryStore(cluster.clock, cluster.state)
        for seat in cluster.seats.values():
            seat.start()
        referee = await heard(other, cluster)
        assert set(referee.strays) == cluster.agents.keys()
        await go_on(other, replace(referee, followed={}), 2, "two")  # had nobody said so yet
        await serve_elsewhere(cluster)
        assert follow(cluster, "one")
        assert serving(cluster) == running
        await hold(other, 3)
        referee = await heard(other, cluster)
        assert referee.lineage == ("two",)
        assert set(referee.strays) == cluster.agents.keys()
        await go_on(other, referee, 4, "three")  # the first one is gone for good
        await cluster.until(lambda: follow(cluster, "two", "one", "three"), 60)

    simulate(story)


async def serve_elsewhere(cluster: Cluster) -> None:
    """Have a store decide much that machines hear of, and do not follow."""
    await cluster.clock.sleep(10)
    for name in ("more", "most"):
        await cluster.operations.apply(Change(services=(make_spec(name),)))
        await cluster.clock.sleep(10)


def test_who_looks_meanwhile_is_told_to_go_on_and_not_to_look_for_a_newer_version() -> None:
    async def story(cluster: Cluster) -> None:
        await heard(await lose_what_came_after(cluster), cluster)
        with pytest.raises(UnavailableError) as refused:
            cluster.operations.snapshot()
        assert "run `pltfrms recover` again" in str(refused.value)
        assert "newer version" not in str(refused.value)

    simulate(story)


def test_who_asked_before_it_was_held_again_does_not_let_it_go_on() -> None:
    async def story(cluster: Cluster) -> None:
        store = await lose_what_came_after(cluster)
        referee = await heard(store, cluster)
        await hold(store, 2)
        again = await ask(store)
        assert again
        same = replace(referee, mark=again.mark, heard={}, followed={}, silent=again.silent)
        assert again == same, "what it had is known from the first time"
        with pytest.raises(ConflictError):
            await go_on(store, referee, 3, "two")
        assert await ask(store)

    simulate(story)
