"""Numbers of replicas in the store: no name of an allocation comes back. In virtual time."""

from dataclasses import replace

import pytest

from pltfrms.codec import encode
from pltfrms.controller.planning import deciding
from pltfrms.controller.planning.loop import BATCH_STEPS, PRUNE_SECONDS
from pltfrms.controller.records.state import allocation_key, commit_mark
from pltfrms.drivers.store.ports import Put
from pltfrms.model.messages.api import Change
from pltfrms.model.running.plan import Plan
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.placement.plan import make_plan
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import WEB, simulate
from tests.strategies import make_spec


def last_first(snapshot: Snapshot) -> Plan:
    """Return a plan whose steps come in another order than ours."""
    plan = make_plan(snapshot)
    return replace(plan, steps=plan.steps[::-1])


def test_copies_that_stop_in_two_batches_leave_the_highest_number_in_any_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(cluster: Cluster) -> None:
        monkeypatch.setattr(deciding, "make_plan", last_first)
        one, *_ = cluster.stored().allocations.values()
        replica = f"api.{one.datacenter}.1"
        copies = [
            replace(one, id=f"{replica}-{n}", service="api", replica=1, number=n, slot=100 + n)
            for n in range(9, 10 + BATCH_STEPS)
        ]
        writes = [Put(key=allocation_key(copy.id), value=encode(copy)) for copy in copies]
        cluster.state.commit((*writes, commit_mark("test", 0)), ())
        await cluster.until(lambda: len(cluster.stored().allocations) == 6, 10)
        assert cluster.stored().numbers[replica].number == copies[-1].number

    simulate(story)


def test_numbers_of_a_deleted_service_are_forgotten_when_no_node_can_run_it() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.operations.apply(Change(services=(make_spec("api"),)))
        await cluster.until(lambda: cluster.settled("api"), 10)
        away = next(a.node for a in cluster.stored().allocations.values() if a.service == "api")
        cluster.agents[away].cut = True
        await cluster.clock.sleep(1)
        await cluster.operations.delete("api")
        await cluster.clock.sleep(3 * PRUNE_SECONDS)
        kept = set(cluster.stored().numbers)
        assert {f"api.{name}.{n}" for name in ("ams", "fra", "lon") for n in (1, 2)} <= kept
        cluster.agents[away].cut = False
        await cluster.clock.sleep(2 * PRUNE_SECONDS)
        assert not any(name.startswith("api.") for name in cluster.stored().numbers)
        assert cluster.settled("web")

    simulate(story)


def test_numbers_of_a_service_that_is_wanted_are_kept() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.operations.apply(Change(services=(replace(WEB, per_datacenter=1),)))
        await cluster.clock.sleep(3 * PRUNE_SECONDS)
        assert set(cluster.stored().numbers) == {"web.ams.2", "web.fra.2", "web.lon.2"}
        revision = cluster.stored().commit
        await cluster.clock.sleep(3 * PRUNE_SECONDS)
        assert cluster.stored().commit == revision

    simulate(story)
