"""A node is lost when neither controllers nor edges hear it, and then soon. In virtual time."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from pltfrms.model.network.topology import Machine, Role
from pltfrms.model.running.state import Contact
from pltfrms.planner.placement.explain import explain_service
from tests.controller.cluster import Agent, Cluster
from tests.controller.test_cluster import PLATFORM, simulate
from tests.controller.test_fair_contact import told_lost

TWO_EDGES = replace(
    PLATFORM,
    machines=(
        *PLATFORM.machines,
        *(
            Machine(name=f"{dc.name}-e2", datacenter=dc.name, role=Role.EDGE, id=2)
            for dc in PLATFORM.datacenters
        ),
    ),
)


def long_watched(
    story: Callable[[Cluster, str], Awaitable[None]], *, seed: int = 1, edges: int = 1
) -> None:
    """Tell a story of a node of fra that runs a replica, in a cluster that runs for a while."""

    async def run(cluster: Cluster) -> None:
        await cluster.clock.sleep(20)
        node = next(
            a.node for a in cluster.stored().allocations.values() if a.datacenter == "fra"
        )
        await story(cluster, node)

    simulate(run, seed, platform=TWO_EDGES if edges > 1 else PLATFORM)


def kill(agent: Agent) -> None:
    agent.dead = True
    agent.ready_at.clear()


async def nothing_moves(cluster: Cluster, seconds: float) -> None:
    before = cluster.stored().allocations
    waited = 0.0
    while waited < seconds:
        await cluster.clock.sleep(1)
        waited += 1
        assert cluster.stored().allocations == before


def replaced(cluster: Cluster, node: str) -> bool:
    allocations = cluster.stored().allocations
    gone = {a.id for a in allocations.values() if a.node == node}
    return gone <= {a.replaces for a in allocations.values()}


def sentence(cluster: Cluster) -> str:
    return "; ".join(note.detail for note in cluster.operations.snapshot().notes)


def test_of_a_node_that_an_edge_hears_nothing_is_moved_however_long_it_says_nothing() -> None:
    async def story(cluster: Cluster, node: str) -> None:
        cluster.agents[node].cut = True
        await nothing_moves(cluster, 600)
        snapshot = cluster.operations.snapshot().snapshot
        assert snapshot.contact(node) is Contact.UNKNOWN
        said = sentence(cluster)
        assert "edges fra-e1, fra-e2 still have a session with it" in said
        assert f"{node}: no heartbeat for " in said
        assert any(
            f"on {node}" in each and "fra-e2 still have a session" in each
            for each in explain_service(snapshot, "web")
        )
        events = await cluster.operations.events(0, 0, 1000)
        assert [e.about for e in events if e.reason == "node-unheard"] == ["fra"]
        assert await told_lost(cluster) == []
        cluster.agents[node].cut = False
        await cluster.clock.sleep(5)
        assert cluster.operations.snapshot().notes == ()

    long_watched(story, edges=2)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("edges", [1, 2])
def test_the_replacement_of_a_dead_node_begins_within_two_seconds(
    seed: int, edges: int
) -> None:
    async def story(cluster: Cluster, node: str) -> None:
        await cluster.clock.sleep(cluster.random.random())
        kill(cluster.agents[node])
        assert await cluster.until(lambda: replaced(cluster, node), 2.0) > 0.5
        await cluster.clock.sleep(10)
        assert await told_lost(cluster) == [f"machine/{node}"]
        cluster.agents[node].dead = False
        await cluster.until(lambda: cluster.settled("web"), 40)

    long_watched(story, seed=seed, edges=edges)


def test_one_edge_that_hears_it_is_enough() -> None:
    async def story(cluster: Cluster, node: str) -> None:
        cluster.agents[node].cut = True
        other = cluster.agents["fra-e2"].edge
        assert other
        other.deaf_to = node
        await nothing_moves(cluster, 60)
        assert "edge fra-e1 still has" in sentence(cluster)

    long_watched(story, edges=2)


def test_a_routing_daemon_that_restarts_on_a_node_loses_nobody() -> None:
    async def story(cluster: Cluster, node: str) -> None:
        for seconds in (1.0, 3.0, 60.0):
            cluster.agents[node].bird = False
            await nothing_moves(cluster, seconds)
            cluster.agents[node].bird = True
            await nothing_moves(cluster, 10)
        assert await told_lost(cluster) == []

    long_watched(story)


def test_what_an_edge_said_before_the_last_heartbeat_hastens_nothing() -> None:
    async def story(cluster: Cluster, node: str) -> None:
        edge = cluster.agents["fra-e1"].edge
        assert edge
        edge.deaf_to = node
        await nothing_moves(cluster, 60)
        cluster.agents[node].cut = True
        assert await cluster.until(lambda: replaced(cluster, node), 5.0) > 2.2

    long_watched(story)


def test_an_edge_that_restarts_says_nothing_of_nodes_that_it_has_not_heard_yet() -> None:
    async def story(cluster: Cluster, node: str) -> None:
        edge = cluster.agents["fra-e1"].edge
        assert edge
        cluster.agents[node].cut = True
        await cluster.clock.sleep(10)
        edge.deaf_to = "fra-n1", "fra-n2", "fra-n3"
        edge.restart()
        await nothing_moves(cluster, 8)
        assert "edge fra-e1 cannot say (yet) if it lives" in sentence(cluster)
        edge.deaf_to = ()
        await nothing_moves(cluster, 60)
        assert await told_lost(cluster) == []

    long_watched(story)


def test_without_an_edge_in_contact_nothing_is_decided() -> None:
    async def story(cluster: Cluster, node: str) -> None:
        for name in ("fra-e1", "fra-e2", node):
            cluster.agents[name].cut = True
        cluster.agents[node].dead = True
        await nothing_moves(cluster, 120)
        assert "no edge of fra is in contact" in sentence(cluster)
        for name in ("fra-e1", "fra-e2"):
            cluster.agents[name].cut = False
        await cluster.until(lambda: replaced(cluster, node), 5.0)

    long_watched(story, edges=2)


def test_edges_of_a_release_that_does_not_say_what_they_miss_leave_it_to_heartbeats() -> None:
    async def story(cluster: Cluster, node: str) -> None:
        for agent in cluster.agents.values():
            agent.says_missed = False
        await cluster.clock.sleep(5)
        kill(cluster.agents[node])
        assert await cluster.until(lambda: replaced(cluster, node), 5.0) > 2.0

    long_watched(story)


def test_a_store_that_is_away_while_a_node_is_silent_moves_nothing_of_it() -> None:
    async def story(cluster: Cluster, node: str) -> None:
        cluster.agents[node].cut = True
        await cluster.clock.sleep(1)
        for seat in cluster.seats.values():
            seat.store.unavailable = True
        await nothing_moves(cluster, 20)
        for seat in cluster.seats.values():
            seat.store.unavailable = False
        await nothing_moves(cluster, 60)
        assert await told_lost(cluster) == []

    long_watched(story)


def test_a_node_that_was_lost_and_is_heard_by_an_edge_again_lives() -> None:
    async def story(cluster: Cluster, node: str) -> None:
        kill(cluster.agents[node])
        await cluster.until(lambda: replaced(cluster, node), 2.0)
        cluster.agents[node].cut = True
        cluster.agents[node].dead = False
        await cluster.clock.sleep(10)
        assert cluster.operations.snapshot().snapshot.contact(node) is Contact.UNKNOWN
        cluster.agents[node].cut = False
        await cluster.until(lambda: cluster.settled("web"), 40)

    long_watched(story)
