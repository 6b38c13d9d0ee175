"""A plan that breaks a rule is not done, whatever mistake made it."""

from dataclasses import replace

import pytest

from pltfrms.api.metrics import Metrics
from pltfrms.controller.planning import deciding
from pltfrms.controller.records.state import service_key
from pltfrms.drivers.store.ports import Delete, Put
from pltfrms.model.messages.api import Change
from pltfrms.model.running.plan import Plan, Reason, Stop
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.placement.plan import make_plan
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import WEB, simulate


def stop_everything(snapshot: Snapshot) -> Plan:
    """Return what a bug of the planner might: the end of every copy that serves."""
    steps = tuple(
        Stop(allocation=allocation, reason=Reason.REPLACEMENT_READY)
        for allocation in snapshot.allocations.values()
    )
    return Plan(revision=snapshot.revision, steps=steps)


def test_a_plan_that_breaks_a_rule_is_not_done_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(cluster: Cluster) -> None:
        before = cluster.stored().allocations
        monkeypatch.setattr(deciding, "make_plan", stop_everything)
        await cluster.clock.sleep(60)
        assert cluster.stored().allocations == before
        assert cluster.stored().leases.keys() == cluster.agents.keys()
        (problem,) = cluster.operations.snapshot().problems
        assert "no other copy of the replica serves" in problem
        assert "and 3 more" in problem
        controller = cluster.operations.controller
        assert "pltfrms_broken_plans_total" in Metrics(controller).text().decode()
        assert controller.counters.broken_plans > 10
        events = await cluster.operations.events(0, 0, 1000)
        said = [event.source for event in events if event.what == "plan breaks a rule"]
        assert sorted(said) == [f"controller/{name}" for name in sorted(cluster.seats)]
        monkeypatch.setattr(deciding, "make_plan", make_plan)
        await cluster.operations.apply(Change(services=(replace(WEB, per_datacenter=3),)))
        await cluster.until(lambda: cluster.settled("web"), 10)
        assert cluster.operations.snapshot().problems == ()

    simulate(story)


def test_while_nothing_can_be_planned_no_broken_plan_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(cluster: Cluster) -> None:
        monkeypatch.setattr(deciding, "make_plan", stop_everything)
        await cluster.clock.sleep(5)
        poison = service_key("bad")
        cluster.state.commit((Put(key=poison, value=b"{"),), ())
        await cluster.clock.sleep(5)
        (problem,) = cluster.operations.controller.problems
        assert poison in problem
        cluster.state.commit((Delete(key=poison),), ())
        await cluster.clock.sleep(5)
        (problem,) = cluster.operations.controller.problems
        assert "breaks rules" in problem
        events = await cluster.operations.events(0, 0, 1000)
        assert sum(event.what == "plan breaks a rule" for event in events) == 6

    simulate(story)
