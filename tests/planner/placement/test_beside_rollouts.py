"""What happens beside a rollout: nodes are drained, and what all copies ask for is gone."""

from dataclasses import replace

from pltfrms.model.messages.api import Change
from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import Phase, Snapshot
from pltfrms.model.services.service import RolloutSpec, RolloutState, Stage
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.foresight.settling import executed, rolled
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.plan import make_plan
from tests.planner.placement.test_stages import NEW, OLD, rollout_of, running, said, until
from tests.planner.world import heal, settle
from tests.strategies import make_platform


def test_a_drain_beside_a_rollout_of_several_at_once_breaks_no_plan() -> None:
    """The drained node's replica moves first; then so many as are left of `parallel`."""
    stages = (Stage(datacenters=("fra",)), Stage(datacenters=("ams", "lon")))
    snapshot = running(3, RolloutSpec(stages=stages, parallel=2), max_per_node=2)
    node = snapshot.allocations["web.fra.3-1"].node
    drain = Drain(node=node, since_ms=0, wait_ms=0, until_ms=0)
    snapshot = replace(snapshot, interventions=Interventions(drains=(drain,)))
    plan = make_plan(snapshot)
    assert [(step.allocation.id, step.reason) for step in plan.steps] == [
        ("web.fra.3-2", Reason.NODE_DRAINED),
        ("web.fra.1-2", Reason.NEW_VERSION),
    ]
    assert check_plan(snapshot, plan) == ()


def test_a_rollout_that_fails_beside_a_drain_holds_up_no_plan() -> None:
    """What went to and fro before is over: of each replica, its newest copy is what moves."""
    platform = make_platform({"fra": 4}, others=False)
    old, new = (replace(each, per_datacenter=1) for each in (OLD, NEW))
    empty = heal(Snapshot(revision=1, platform=platform, now_ms=1000))
    snapshot = settle(apply_change(empty, Change(services=(old,))).snapshot)
    snapshot = said(snapshot, "web.fra.1-1", Phase.BACKOFF, 5)
    drain = Drain(node=snapshot.allocations["web.fra.1-1"].node, since_ms=0, wait_ms=0)
    snapshot = replace(snapshot, interventions=Interventions(drains=(drain,)))
    snapshot = executed(snapshot, make_plan(snapshot).steps)
    assert snapshot.allocations["web.fra.1-2"].reason is Reason.NODE_DRAINED
    snapshot = apply_change(snapshot, Change(services=(new,))).snapshot
    snapshot = executed(snapshot, make_plan(snapshot).steps)
    snapshot = said(snapshot, "web.fra.1-3", Phase.UNHEALTHY)
    snapshot = rolled(snapshot, make_plan(snapshot).rollouts)
    plan = make_plan(snapshot)
    assert [(step.allocation.id, step.reason) for step in plan.steps] == [
        ("web.fra.1-4", Reason.WENT_BACK)
    ]
    assert check_plan(snapshot, plan) == ()


def test_a_version_is_not_to_blame_where_the_older_one_is_as_ill() -> None:
    """What all of them ask is gone: to go back would mend nothing. Nor does it go on."""
    snapshot = until(running(3), RolloutState.BAKING)
    ill = said(snapshot, "web.fra.1-2", Phase.UNHEALTHY, unwell=True)
    one_old = said(ill, "web.fra.2-1", Phase.UNHEALTHY, unwell=True)
    for better in (ill, one_old):
        assert [step.reason for step in make_plan(better).rollouts] == [Reason.VERSION_FAILED]
    all_old = said(one_old, "web.fra.3-1", Phase.UNHEALTHY, unwell=True)
    all_old = replace(all_old, now_ms=all_old.now_ms + 60_000)
    (step,) = make_plan(all_old).rollouts
    assert step.reason is Reason.STAGE_BROKEN
    waiting = rolled(all_old, (step,))
    assert make_plan(waiting).rollouts == ()
    crashed = said(waiting, "web.fra.1-2", Phase.BACKOFF, 5)
    assert [step.reason for step in make_plan(crashed).rollouts] == [Reason.VERSION_FAILED]
    assert rollout_of(settle(waiting)).state is RolloutState.DONE
