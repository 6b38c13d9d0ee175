"""What becomes of rollouts: stage after stage, or back, decided from the snapshot alone."""

from collections import Counter
from dataclasses import replace

import pytest

from pltfrms.errors import ConflictError
from pltfrms.model.messages.api import Change, RolloutChange, RolloutVerb
from pltfrms.model.running.plan import Allocation, Place, Plan, Reason
from pltfrms.model.running.state import (
    Contact,
    InstanceStatus,
    MachineStatus,
    MachineView,
    Phase,
    Snapshot,
)
from pltfrms.model.services.rollouts import baked_at_ms
from pltfrms.model.services.service import Rollout, RolloutSpec, RolloutState, Stage
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.changes.rollouts import change_rollout
from pltfrms.planner.foresight.settling import executed, rolled
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.explain import explain_service
from pltfrms.planner.placement.plan import make_plan
from pltfrms.planner.placement.rollout_words import rollout_words
from pltfrms.planner.placement.target import Makings
from tests.planner.targets import make_target
from tests.planner.world import advance, heal, settle
from tests.strategies import make_platform, make_spec, with_all_ready

OLD = make_spec()
NEW = replace(OLD, run=replace(OLD.run, process=("serve", "better")))


def running(
    replicas: int = 2, rollout: RolloutSpec | None = None, max_per_node: int = 1
) -> Snapshot:
    """Return three datacenters in which the old version runs, and the new one is applied."""
    platform = make_platform({"fra": 3, "ams": 3, "lon": 3}, others=False)
    empty = heal(Snapshot(revision=1, platform=platform, now_ms=1000))
    old, new = (
        replace(each, per_datacenter=replicas, rollout=rollout, max_per_node=max_per_node)
        for each in (OLD, NEW)
    )
    before = settle(apply_change(empty, Change(services=(old,))).snapshot)
    return apply_change(before, Change(services=(new,))).snapshot


def rollout_of(snapshot: Snapshot) -> Rollout:
    found = snapshot.services["web"].rollout
    assert found is not None
    return found


def until(snapshot: Snapshot, state: RolloutState, stage: int = 0) -> Snapshot:
    for _ in range(100):
        rollout = rollout_of(snapshot)
        reached = (rollout.state, rollout.stage) == (state, stage)
        if reached and not make_plan(snapshot).steps:
            return snapshot
        snapshot = with_all_ready(advance(snapshot))
    raise AssertionError(rollout_of(snapshot))


def said(
    snapshot: Snapshot, name: str, phase: Phase, restarts: int = 0, *, unwell: bool = False
) -> Snapshot:
    """Return the snapshot in which the agent of an allocation says this of it."""
    node = snapshot.allocations[name].node
    others = tuple(
        each for each in snapshot.statuses[node].instances if each.allocation != name
    )
    mine = InstanceStatus(allocation=name, phase=phase, restarts=restarts, unwell=unwell)
    status = MachineStatus(machine=node, instances=(*others, mine))
    return replace(snapshot, statuses={**snapshot.statuses, node: status})


def new_places(snapshot: Snapshot) -> set[str]:
    service = snapshot.services["web"]
    return {
        f"{each.datacenter}.{each.replica}"
        for each in snapshot.allocations.values()
        if each.version == service.version
    }


def test_by_default_one_replica_then_its_datacenter_then_the_others() -> None:
    snapshot = running()
    assert [stage.words for stage in rollout_of(snapshot).stages] == [
        "1 of fra", "fra", "ams", "lon",
    ]  # fmt: skip
    for stage, places in enumerate((["fra.1"], ["fra.2"], ["ams.1", "ams.2"])):
        before = new_places(snapshot)
        snapshot = until(snapshot, RolloutState.BAKING, stage)
        assert sorted(new_places(snapshot) - before) == places
    assert rollout_of(settle(snapshot)).state is RolloutState.DONE


def test_a_datacenter_with_one_replica_needs_no_canary() -> None:
    snapshot = running(1)
    assert [stage.words for stage in rollout_of(snapshot).stages] == ["fra", "ams", "lon"]


def test_stages_of_the_spec_take_the_place_of_the_usual_ones() -> None:
    stages = (Stage(datacenters=("lon",), replicas=1), Stage(datacenters=("lon", "ams")))
    snapshot = running(3, RolloutSpec(stages=stages, bake_ms=5000, parallel=2))
    snapshot = until(snapshot, RolloutState.BAKING)
    assert new_places(snapshot) == {"lon.1"}
    assert baked_at_ms(snapshot.services["web"]) == snapshot.now_ms + 5000
    snapshot = advance(replace(snapshot, now_ms=snapshot.now_ms + 5000))
    assert rollout_of(snapshot).stage == len(stages) - 1  # and with it what none names
    placed = Counter(step.allocation.datacenter for step in make_plan(snapshot).steps)
    assert placed == {"fra": 2, "ams": 2, "lon": 2}
    assert check_plan(snapshot, make_plan(snapshot)) == ()


def test_a_failing_copy_that_is_not_wanted_any_more_holds_up_nothing() -> None:
    snapshot = until(running(), RolloutState.BAKING, 1)
    one = replace(NEW, per_datacenter=1)
    snapshot = apply_change(snapshot, Change(services=(one,))).snapshot
    snapshot = said(snapshot, "web.fra.2-2", Phase.BACKOFF, 5)
    snapshot = replace(snapshot, now_ms=snapshot.now_ms + 10_000)
    plan = make_plan(snapshot)
    assert [step.reason for step in plan.rollouts] == [Reason.BAKED]
    assert check_plan(snapshot, plan) == ()
    assert rollout_of(settle(snapshot)).state is RolloutState.DONE


def test_a_failing_copy_that_stands_in_for_others_elsewhere_holds_up_nothing() -> None:
    """One of a total, on its way off a drained node, in the datacenter of the stage."""
    stages = (Stage(datacenters=("ams",)), Stage(datacenters=("fra", "lon")))
    rules = RolloutSpec(stages=stages)
    old, new = (replace(e, per_datacenter=0, total=5, rollout=rules) for e in (OLD, NEW))
    platform = make_platform({"fra": 3, "ams": 3, "lon": 3}, others=False)
    empty = heal(Snapshot(revision=1, platform=platform, now_ms=1000))
    snapshot = settle(apply_change(empty, Change(services=(old,))).snapshot)
    assert Counter(a.datacenter for a in snapshot.allocations.values())["ams"] == 2
    stands_in = Allocation(
        id="web.ams.3-2", service="web", datacenter="ams", replica=3, number=2,
        node="ams-n1", slot=9, version=2, reason=Reason.NODE_DRAINED, replaces="web.ams.3-1",
    )  # fmt: skip
    first = replace(
        stands_in, id="web.ams.3-1", number=1, version=1, replaces="", node="ams-n3"
    )
    allocations = {**snapshot.allocations, first.id: first, stands_in.id: stands_in}
    snapshot = with_all_ready(replace(snapshot, allocations=allocations))
    down = snapshot.allocations["web.lon.1-1"]
    snapshot = said(said(snapshot, down.id, Phase.STARTING), stands_in.id, Phase.BACKOFF, 9)
    snapshot = apply_change(snapshot, Change(services=(replace(new, max_per_node=2),))).snapshot
    plan = make_plan(snapshot)
    assert ("web.ams.1-2", Reason.NEW_VERSION) in [
        (s.allocation.id, s.reason) for s in plan.steps
    ]
    assert check_plan(snapshot, plan) == ()


def test_what_failed_in_a_version_that_was_overtaken_is_repaired() -> None:
    """Nobody is told any more how that version runs: no stage is needed to leave it."""
    snapshot = act_on(until(running(), RolloutState.BAKING, 1), RolloutVerb.PAUSE)
    snapshot = said(snapshot, "web.fra.2-2", Phase.BACKOFF, 5)
    third = replace(NEW, run=replace(NEW.run, process=("serve", "best")))
    snapshot = apply_change(snapshot, Change(services=(third,))).snapshot
    plan = make_plan(snapshot)
    assert [(s.allocation.id, s.allocation.version, s.reason) for s in plan.steps] == [
        ("web.fra.2-3", 1, Reason.WENT_BACK)
    ]
    assert check_plan(snapshot, plan) == ()
    end = settle(snapshot)
    assert {each.version for each in end.allocations.values()} == {3}


def test_other_stages_hold_from_the_next_version_on_and_the_plan_says_so() -> None:
    snapshot = until(running(), RolloutState.BAKING)
    stages = (Stage(datacenters=("lon",)),)
    other = replace(NEW, rollout=RolloutSpec(stages=stages, bake_ms=1))
    outcome = apply_change(snapshot, Change(services=(other,)))
    assert outcome.lines[0].detail == (
        "rollout; version 2, which is on its way, keeps the stages 1 of fra, then fra, then "
        "ams, then lon"
    )
    assert rollout_of(outcome.snapshot).stages == rollout_of(snapshot).stages
    bake_alone = replace(NEW, rollout=RolloutSpec(bake_ms=1))
    assert apply_change(snapshot, Change(services=(bake_alone,))).lines[0].detail == "rollout"


def words_of(snapshot: Snapshot) -> str:
    return rollout_words(snapshot, snapshot.services["web"])


def larger(snapshot: Snapshot, cpu: float) -> Snapshot:
    """Return what becomes of a snapshot in which a version with more cpu is applied."""
    spec = snapshot.services["web"].spec
    run = replace(spec.run, cpu=cpu, process=("serve", "more"))
    return apply_change(snapshot, Change(services=(replace(spec, run=run),))).snapshot


def test_without_room_for_both_versions_a_canary_says_what_is_short_and_where() -> None:
    platform = make_platform({"fra": 1, "ams": 1}, cpu=1.0, others=False)
    empty = heal(Snapshot(revision=1, platform=platform, now_ms=1000))
    old = make_spec("web", 1, cpu=0.6, max_per_node=2)
    before = settle(apply_change(empty, Change(services=(old,))).snapshot)
    snapshot = settle(larger(before, 0.7))
    assert {each.version for each in snapshot.allocations.values()} == {1}
    assert words_of(snapshot) == (
        "version 1 -> 2, stage 1 of 2 (fra): web.fra.1 is not ready in the new version: no "
        "node has enough room for it; fra is short of cpu: needs 0.7 cpu and 64 MiB, beside "
        "web.fra.1-1; fra-n1 has 0.4 cpu and 8128 MiB and 253 slots free"
    )


def test_a_replica_that_has_no_node_is_said_to_have_none_and_why() -> None:
    snapshot = until(running(), RolloutState.BAKING)
    fra = [each for each in snapshot.allocations.values() if each.datacenter == "fra"]
    kept = {e.id: e for e in snapshot.allocations.values() if e not in fra}
    views = {
        node.name: MachineView(contact=Contact.LOST, since_seconds=60)
        for node in snapshot.platform.machines
        if node.datacenter == "fra"
    }
    gone = replace(snapshot, allocations=kept, machines={**snapshot.machines, **views})
    gone = rolled(gone, make_plan(gone).rollouts)
    assert "web.fra.1 runs nowhere: no node of the datacenter is in contact" in words_of(gone)


def test_copies_of_the_version_before_count_with_what_they_need_themselves() -> None:
    """Counted as new ones, four would need 3.6 cores, and leave no room for a fifth."""
    platform = make_platform({"fra": 2}, cpu=2.0, others=False)
    empty = heal(Snapshot(revision=1, platform=platform, now_ms=1000))
    old = make_spec("web", 4, cpu=0.3, max_per_node=4)
    before = settle(apply_change(empty, Change(services=(old,))).snapshot)
    snapshot = larger(before, 0.9)
    (step,) = make_plan(snapshot).steps
    assert step.allocation.version == 2
    assert check_plan(snapshot, make_plan(snapshot)) == ()


def test_no_replica_of_a_total_changes_its_datacenter_before_the_version_came_to_all() -> None:
    """By the new version alone more would fit in ams, whose nodes are larger."""
    platform = make_platform({"fra": 2, "ams": 2}, cpu=4.0, others=False)
    small = tuple(
        replace(each, cpu=1.0) if each.datacenter == "fra" else each
        for each in platform.machines
    )
    empty = heal(Snapshot(revision=1, platform=replace(platform, machines=small), now_ms=1000))
    old = replace(OLD, per_datacenter=0, total=8, max_per_node=4)
    before = settle(apply_change(empty, Change(services=(old,))).snapshot)
    assert Counter(e.datacenter for e in before.allocations.values()) == {"fra": 4, "ams": 4}
    snapshot = larger(before, 0.5)
    while not make_plan(snapshot).rollouts:
        assert check_plan(snapshot, make_plan(snapshot)) == ()
        assert {s.reason for s in make_plan(snapshot).steps} <= {
            Reason.NEW_VERSION, Reason.REPLACEMENT_READY,
        }  # fmt: skip
        snapshot = with_all_ready(advance(snapshot))


def test_who_saw_a_stage_bake_believes_that_and_who_came_late_no_wall_clock_at_once() -> None:
    snapshot = until(running(), RolloutState.BAKING)

    def reasons(clock_ms: int, seen_ms: int) -> list[Reason]:
        now_ms = snapshot.now_ms + clock_ms
        seen = replace(snapshot, now_ms=now_ms, bakes_ms={"web": seen_ms})
        return [step.reason for step in make_plan(seen).rollouts]

    assert reasons(clock_ms=-3_600_000, seen_ms=10_000) == [Reason.BAKED]
    assert reasons(clock_ms=30_000, seen_ms=9_999) == []
    assert reasons(clock_ms=69_999, seen_ms=0) == []
    assert reasons(clock_ms=70_000, seen_ms=0) == [Reason.BAKED]


def test_a_stage_of_which_nothing_is_heard_is_neither_broken_nor_baked() -> None:
    snapshot = until(running(), RolloutState.BAKING)
    due = replace(snapshot, now_ms=snapshot.now_ms + 10_000)
    canary = due.allocations["web.fra.1-2"].node
    view = MachineView(contact=Contact.UNKNOWN, since_seconds=1)
    unheard = replace(due, machines={**due.machines, canary: view})
    assert make_plan(unheard).rollouts == ()
    assert "web.fra.1 is not ready in the new version" in words_of(unheard)
    assert [step.reason for step in make_plan(due).rollouts] == [Reason.BAKED]


def test_what_is_lost_is_replaced_before_anything_becomes_of_a_rollout() -> None:
    snapshot = until(running(), RolloutState.BAKING)
    snapshot = replace(snapshot, now_ms=snapshot.now_ms + 10_000)
    lost = snapshot.allocations["web.lon.1-1"].node
    view = replace(snapshot.machines[lost], contact=Contact.LOST)
    snapshot = replace(snapshot, machines={**snapshot.machines, lost: view})
    plan = make_plan(snapshot)
    assert [step.allocation.id for step in plan.steps] == ["web.lon.1-2"]
    assert plan.rollouts == ()
    assert check_plan(snapshot, plan) == ()
    next_one = make_plan(executed(snapshot, plan.steps))
    assert [step.reason for step in next_one.rollouts] == [Reason.BAKED]


def test_the_bake_has_to_pass_in_time_and_not_in_looks() -> None:
    snapshot = until(running(), RolloutState.BAKING)
    assert make_plan(snapshot) == Plan(revision=snapshot.revision)
    early = replace(snapshot, now_ms=snapshot.now_ms + 9_999)
    assert make_plan(early).rollouts == ()
    late = replace(snapshot, now_ms=snapshot.now_ms + 10_000)
    (step,) = make_plan(late).rollouts
    assert step.reason is Reason.BAKED


@pytest.mark.parametrize(
    ("phase", "restarts", "fails"),
    [
        (Phase.STARTING, 0, False),
        (Phase.STARTING, 1, False),
        (Phase.BACKOFF, 0, False),
        (Phase.BACKOFF, 1, True),
        (Phase.STARTING, 2, True),
        (Phase.READY, 2, True),
        (Phase.UNHEALTHY, 0, True),
    ],
)
def test_what_comes_up_may_fail_once_and_not_twice(
    phase: Phase, restarts: int, *, fails: bool
) -> None:
    snapshot = running()
    snapshot = executed(snapshot, make_plan(snapshot).steps)
    snapshot = said(snapshot, "web.fra.1-2", phase, restarts)
    reasons = [step.reason for step in make_plan(snapshot).rollouts]
    assert (reasons == [Reason.VERSION_FAILED]) is fails


@pytest.mark.parametrize(
    ("phase", "restarts", "reason"),
    [
        (Phase.UNHEALTHY, 0, Reason.VERSION_FAILED),
        (Phase.BACKOFF, 0, Reason.VERSION_FAILED),
        (Phase.STARTING, 1, Reason.VERSION_FAILED),
        (Phase.STARTING, 0, Reason.STAGE_BROKEN),
    ],
)
def test_what_bakes_may_not_fail_at_all(phase: Phase, restarts: int, reason: Reason) -> None:
    """But it may start: its node was lost, or booted."""
    snapshot = until(running(), RolloutState.BAKING)
    snapshot = said(snapshot, "web.fra.1-2", phase, restarts)
    assert [step.reason for step in make_plan(snapshot).rollouts] == [reason]
    assert check_plan(snapshot, make_plan(snapshot)) == ()


def test_the_way_back_touches_only_what_has_the_new_version() -> None:
    snapshot = until(running(), RolloutState.BAKING, 1)
    before = set(snapshot.allocations)
    broken = said(snapshot, "web.fra.2-2", Phase.UNHEALTHY)
    back = rolled(broken, make_plan(broken).rollouts)
    service = back.services["web"]
    assert (service.version, service.last_version, service.spec) == (1, 2, OLD)
    assert rollout_of(back).cause == "web.fra.2-2"
    plan = make_plan(back)
    assert [(type(s), s.allocation.id, s.reason) for s in plan.steps] == [
        (Place, "web.fra.2-3", Reason.WENT_BACK)  # what fails comes first, and alone
    ]
    assert check_plan(back, plan) == ()
    end = settle(back)
    assert before - set(end.allocations) == {"web.fra.1-2", "web.fra.2-2"}
    assert {each.version for each in end.allocations.values()} == {1}


def test_what_is_changed_meanwhile_is_not_taken_back_with_a_version() -> None:
    snapshot = until(running(), RolloutState.BAKING)
    more = replace(NEW, per_datacenter=3)
    snapshot = with_all_ready(
        advance(apply_change(snapshot, Change(services=(more,))).snapshot)
    )
    snapshot = said(snapshot, "web.fra.1-2", Phase.UNHEALTHY)
    back = settle(rolled(snapshot, make_plan(snapshot).rollouts))
    assert back.services["web"].spec == replace(OLD, per_datacenter=3)
    assert len(back.allocations) == 9


def test_no_number_of_a_version_is_given_twice() -> None:
    snapshot = running()
    snapshot = executed(snapshot, make_plan(snapshot).steps)
    snapshot = said(snapshot, "web.fra.1-2", Phase.UNHEALTHY)
    back = settle(rolled(snapshot, make_plan(snapshot).rollouts))
    again = apply_change(back, Change(services=(NEW,)))
    assert again.snapshot.services["web"].version == 3
    assert "the same was version 2, which failed" in again.lines[0].detail
    assert apply_change(again.snapshot, Change(services=(OLD,))).snapshot.services[
        "web"
    ].version == 1  # fmt: skip
    third = apply_change(settle(again.snapshot), Change(services=(OLD,))).snapshot
    assert third.services["web"].version == 4


def test_a_replica_of_a_later_stage_is_placed_as_it_was_and_its_agent_is_told_how() -> None:
    snapshot = until(running(), RolloutState.BAKING)
    lost = snapshot.allocations["web.lon.1-1"].node
    view = replace(snapshot.machines[lost], contact=Contact.LOST)
    snapshot = replace(snapshot, machines={**snapshot.machines, lost: view})
    plan = make_plan(snapshot)
    (placed,) = [step.allocation for step in plan.steps]
    assert (placed.id, placed.version) == ("web.lon.1-2", 1)
    assert check_plan(snapshot, plan) == ()
    after = executed(snapshot, plan.steps)
    target = make_target(after, placed.node)
    assert [(s.version, s.spec) for s in target.earlier] == [(1, OLD)]
    assert all(each.rollout is None for each in (*target.services, *target.earlier))
    canary = after.allocations["web.fra.1-2"].node
    assert make_target(after, canary).earlier == ()


def test_nodes_fetch_nothing_because_a_stage_bakes() -> None:
    baking = until(running(), RolloutState.BAKING)
    rolling = advance(replace(baking, now_ms=baking.now_ms + 10_000))
    assert rollout_of(rolling).stage == 1
    one, other = (Makings(each, 1).made_of("lon-n1", 0) for each in (baking, rolling))
    assert one == other


def test_a_datacenter_of_a_stage_in_which_nothing_runs_is_waited_for() -> None:
    snapshot = until(running(), RolloutState.BAKING)
    snapshot = advance(replace(snapshot, now_ms=snapshot.now_ms + 10_000))
    gone = [a for a in snapshot.allocations.values() if a.datacenter == "fra"]
    views = {
        each.node: replace(snapshot.machines[each.node], contact=Contact.UNKNOWN)
        for each in gone
    }
    snapshot = replace(snapshot, machines={**snapshot.machines, **views})
    assert make_plan(snapshot).rollouts == ()
    (words,) = [line for line in explain_service(snapshot, "web") if "rollout of" in line]
    assert "stage 2 of 4 (fra): web.fra.1 is not ready in the new version" in words


def act_on(snapshot: Snapshot, verb: RolloutVerb) -> Snapshot:
    return change_rollout(snapshot, RolloutChange(verb=verb, service="web")).snapshot


def test_a_restart_rolls_out_the_same_by_stages() -> None:
    before = settle(running())
    snapshot = act_on(before, RolloutVerb.RESTART)
    spec, again = before.services["web"].spec, snapshot.services["web"]
    assert (again.spec, again.version) == (spec, before.services["web"].version + 1)
    assert rollout_of(snapshot).stages
    with pytest.raises(ConflictError, match="is on its way"):
        act_on(snapshot, RolloutVerb.RESTART)
    end = settle(snapshot)
    assert rollout_of(end).state is RolloutState.DONE
    assert {each.version for each in end.allocations.values()} == {again.version}
    assert not set(end.allocations) & set(before.allocations)
    back = settle(act_on(snapshot, RolloutVerb.ABORT))
    assert set(back.allocations) == set(before.allocations)


def test_while_it_is_paused_a_rollout_goes_neither_on_nor_back() -> None:
    snapshot = act_on(until(running(), RolloutState.BAKING), RolloutVerb.PAUSE)
    with pytest.raises(ConflictError):
        act_on(snapshot, RolloutVerb.PAUSE)
    late = replace(snapshot, now_ms=snapshot.now_ms + 60_000)
    assert make_plan(late).rollouts == ()
    broken = said(late, "web.fra.1-2", Phase.UNHEALTHY)
    assert make_plan(broken).rollouts == ()
    assert make_plan(broken).steps == ()
    going = act_on(late, RolloutVerb.RESUME)
    assert rollout_of(going).state is RolloutState.ROLLING
    assert rollout_of(settle(going)).state is RolloutState.DONE


def test_promoting_begins_the_next_stage_and_the_last_one_ends_once_it_is_complete() -> None:
    snapshot = running()
    for stage in (1, 2, 3):
        snapshot = act_on(snapshot, RolloutVerb.PROMOTE)
        assert rollout_of(snapshot).stage == stage
    with pytest.raises(
        ConflictError, match="is the last one, and ends when it is complete: web"
    ):
        act_on(snapshot, RolloutVerb.PROMOTE)
    baking = act_on(until(snapshot, RolloutState.BAKING, 3), RolloutVerb.PAUSE)
    wish = RolloutChange(verb=RolloutVerb.PROMOTE, service="web")
    assert "not paused any more" in change_rollout(baking, wish).lines[0].detail
    end = act_on(baking, RolloutVerb.PROMOTE)
    assert rollout_of(end).state is RolloutState.DONE
    assert {each.version for each in end.allocations.values()} == {2}
    with pytest.raises(ConflictError):
        act_on(end, RolloutVerb.PROMOTE)


def test_what_is_aborted_stays_so_and_is_no_failure() -> None:
    snapshot = act_on(until(running(), RolloutState.BAKING, 2), RolloutVerb.ABORT)
    end = settle(snapshot)
    assert rollout_of(end).state is RolloutState.ABORTED
    assert end.services["web"].failed == ()
    assert {each.version for each in end.allocations.values()} == {1}
