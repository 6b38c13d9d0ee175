"""What follows when the store is away for long: nothing meanwhile, and what is due after it."""

import pytest

from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import Change
from tests.controller.cluster import Cluster
from tests.controller.test_backup import serving
from tests.controller.test_cluster import simulate
from tests.strategies import make_spec

AWAY_SECONDS = 600


def away(cluster: Cluster, *, gone: bool) -> None:
    for seat in cluster.seats.values():
        seat.store.unavailable = gone


def test_ten_minutes_without_a_quorum_end_no_instance_and_move_none() -> None:
    async def story(cluster: Cluster) -> None:
        before, running = cluster.stored().allocations, serving(cluster)
        away(cluster, gone=True)
        for _ in range(AWAY_SECONDS):
            await cluster.clock.sleep(1)
            assert serving(cluster) == running
        with pytest.raises(UnavailableError):
            await cluster.operations.apply(Change(services=(make_spec("shop"),)))
        away(cluster, gone=False)
        for _ in range(60):
            await cluster.clock.sleep(1)
            assert serving(cluster) == running
        assert cluster.stored().allocations == before
        await cluster.operations.apply(Change(services=(make_spec("shop"),)))
        await cluster.until(lambda: cluster.settled("shop"), 10)

    simulate(story)


def test_a_node_that_dies_meanwhile_is_replaced_when_the_store_is_back() -> None:
    async def story(cluster: Cluster) -> None:
        node = next(iter(cluster.stored().allocations.values())).node
        away(cluster, gone=True)
        await cluster.clock.sleep(60)
        cluster.agents[node].dead = True
        await cluster.clock.sleep(1)
        left = serving(cluster)
        for _ in range(AWAY_SECONDS - 60):
            await cluster.clock.sleep(1)
            assert serving(cluster) == left
        away(cluster, gone=False)
        seconds = await cluster.until(lambda: cluster.settled("web"), 60)
        assert seconds < 20
        assert node not in {each.node for each in cluster.stored().allocations.values()}

    simulate(story)
