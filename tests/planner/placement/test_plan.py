"""Cases to check by eye, one per rule."""

from dataclasses import replace

import pytest

from pltfrms.model.messages.api import Change
from pltfrms.model.running.plan import Place, Plan, Reason, Stop
from pltfrms.model.running.state import (
    Contact,
    InstanceStatus,
    MachineStatus,
    MachineView,
    Phase,
    Snapshot,
)
from pltfrms.model.services.service import ServiceSpec
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.foresight.settling import executed
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.plan import make_plan
from tests.planner.world import advance, settle
from tests.strategies import (
    make_allocation,
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
    renamed_datacenter,
    with_all_ready,
)

WEB = make_service(make_spec())


def told(plan: Plan) -> list[str]:
    """Return the steps as short sentences."""
    return [
        f"{'start' if isinstance(step, Place) else 'stop'} {step.allocation.id} "
        f"{step.allocation.node} {step.reason}"
        for step in plan.steps
    ]


def two_on_three(**contacts: Contact) -> Snapshot:
    """Return two replicas on fra-n1 and fra-n2; contacts by `n1=…`."""
    return make_snapshot(
        make_platform({"fra": 3}),
        (WEB,),
        (make_allocation("web.fra.1-1", "fra-n1"), make_allocation("web.fra.2-1", "fra-n2")),
        {f"fra-{name}": contact for name, contact in contacts.items()},
    )


def silent(snapshot: Snapshot, node: str) -> Snapshot:
    """Return the snapshot with nothing reported by a node."""
    statuses = {name: status for name, status in snapshot.statuses.items() if name != node}
    return replace(snapshot, statuses=statuses)


def test_exact_counts_in_every_datacenter_spread_over_nodes() -> None:
    snapshot = make_snapshot(make_platform({"fra": 3, "ams": 2}), (WEB,))
    assert told(make_plan(snapshot)) == [
        "start web.fra.1-1 fra-n1 new-replica",
        "start web.fra.2-1 fra-n2 new-replica",
        "start web.ams.1-1 ams-n1 new-replica",
        "start web.ams.2-1 ams-n2 new-replica",
    ]
    assert {step.allocation.slot for step in make_plan(snapshot).steps} == {1}


def test_racks_come_before_nodes() -> None:
    snapshot = make_snapshot(make_platform({"fra": 4}, racks=2), (WEB,))
    nodes = {step.allocation.node for step in make_plan(snapshot).steps}
    assert nodes in ({"fra-n1", "fra-n2"}, {"fra-n2", "fra-n3"}, {"fra-n1", "fra-n4"})


def test_what_runs_as_wanted_is_left_alone() -> None:
    assert make_plan(two_on_three()) == Plan(revision=7)


def test_two_that_were_placed_on_one_node_part_when_only_one_may_be_there() -> None:
    placed = tuple(make_allocation(f"web.fra.{replica}-1", "fra-n1") for replica in (1, 2))
    snapshot = make_snapshot(make_platform({"fra": 2}), (WEB,), placed)
    assert WEB.spec.max_per_node == 1
    assert told(make_plan(snapshot)) == ["start web.fra.2-2 fra-n2 spread"]


def test_replica_of_a_lost_node_is_replaced_but_stays_recorded() -> None:
    snapshot = two_on_three(n1=Contact.LOST)
    plan = make_plan(snapshot)
    assert told(plan) == ["start web.fra.1-2 fra-n3 node-lost"]
    assert plan.steps[0].allocation.replaces == "web.fra.1-1"
    after = with_all_ready(executed(snapshot, plan.steps))
    assert told(make_plan(after)) == ["stop web.fra.1-1 fra-n1 replacement-ready"]


def test_replacement_is_ended_when_the_old_one_serves_first() -> None:
    lost = two_on_three(n1=Contact.LOST)
    started = executed(lost, make_plan(lost).steps)
    back = silent(make_snapshot_like(started), "fra-n3")
    assert told(make_plan(back)) == ["stop web.fra.1-2 fra-n3 not-needed-any-more"]


def make_snapshot_like(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with every node in contact and ready."""
    return make_snapshot(
        snapshot.platform,
        tuple(snapshot.services.values()),
        tuple(snapshot.allocations.values()),
    )


def test_a_replacement_lost_in_turn_is_replaced_and_all_end_well() -> None:
    lost = two_on_three(n1=Contact.LOST)
    started = executed(lost, make_plan(lost).steps)
    view = MachineView(contact=Contact.LOST, since_seconds=9.0)
    machines = {**started.machines, "fra-n3": view}
    both = replace(started, machines=machines)
    assert [note.reason for note in make_plan(both).notes] == [Reason.MASS_LOSS]
    end = settle(make_snapshot_like(both))
    assert len(end.allocations) == 2


def test_unknown_contact_decides_nothing() -> None:
    assert make_plan(two_on_three(n1=Contact.UNKNOWN)).steps == ()


def test_mass_loss_brakes_rescheduling() -> None:
    plan = make_plan(two_on_three(n1=Contact.LOST, n2=Contact.LOST))
    assert plan.steps == ()
    (note,) = plan.notes
    assert (note.about, note.reason) == ("fra", Reason.MASS_LOSS)
    assert note.detail.startswith("2 of 3 nodes")


def test_removed_node_is_replaced_first_and_left_then() -> None:
    snapshot = two_on_three()
    kept = tuple(m for m in snapshot.platform.machines if m.name != "fra-n1")
    snapshot = replace(snapshot, platform=replace(snapshot.platform, machines=kept))
    plan = make_plan(snapshot)
    assert told(plan) == ["start web.fra.1-2 fra-n3 node-removed"]
    after = with_all_ready(executed(snapshot, plan.steps))
    assert told(make_plan(after)) == ["stop web.fra.1-1 fra-n1 replacement-ready"]


def newer(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot after the service got a new version."""
    run = replace(WEB.spec.run, process=("serve", "better"))
    change = Change(services=(replace(WEB.spec, run=run),))
    return apply_change(snapshot, change).snapshot


def test_rollout_goes_one_by_one_the_new_one_first() -> None:
    snapshot = newer(two_on_three())
    transcript = []
    for _ in range(12):
        plan = make_plan(snapshot)
        transcript += [line.rsplit(" ", 2)[0] + " " + line.split()[-1] for line in told(plan)]
        snapshot = with_all_ready(advance(snapshot))
    assert transcript == [
        "start web.fra.1-2 new-version",
        "stop web.fra.1-1 replacement-ready",
        "start web.fra.2-2 new-version",
        "stop web.fra.2-1 replacement-ready",
    ]


def test_rollout_waits_while_a_replica_does_not_serve() -> None:
    snapshot = newer(two_on_three(n2=Contact.UNKNOWN))
    assert make_plan(snapshot).steps == ()


def test_rollout_goes_on_while_a_replica_has_no_node() -> None:
    """Perhaps only the new version fits."""
    snapshot = two_on_three()
    run = replace(WEB.spec.run, process=("serve", "better"))
    spec = replace(WEB.spec, run=run, per_datacenter=4)
    plan = make_plan(apply_change(snapshot, Change(services=(spec,))).snapshot)
    assert [note.about for note in plan.notes] == ["web.fra.4"]
    assert [step.allocation.id for step in plan.steps] == ["web.fra.3-1"]
    snapshot = with_all_ready(executed(snapshot, plan.steps))
    end = settle(apply_change(snapshot, Change(services=(spec,))).snapshot)
    assert {allocation.version for allocation in end.allocations.values()} == {2}


def test_a_broken_version_is_superseded_by_the_next() -> None:
    snapshot = newer(two_on_three())
    broken = executed(snapshot, make_plan(snapshot).steps)
    run = replace(WEB.spec.run, process=("serve", "best"))
    change = Change(services=(replace(WEB.spec, run=run),))
    fixed = apply_change(broken, change).snapshot
    assert [step.reason for step in make_plan(fixed).steps] == [Reason.NEW_VERSION] * 2
    end = settle(fixed)
    assert {allocation.version for allocation in end.allocations.values()} == {3}


def test_rebalance_after_recovery_waits_until_the_node_is_stable() -> None:
    web = make_service(make_spec(replicas=3, max_per_node=2))
    allocations = (
        make_allocation("web.fra.1-1", "fra-n1", slot=1),
        make_allocation("web.fra.2-1", "fra-n2"),
        make_allocation("web.fra.3-1", "fra-n1", slot=2),
    )
    snapshot = make_snapshot(make_platform({"fra": 3}), (web,), allocations)
    fresh = MachineView(contact=Contact.PRESENT, since_seconds=3.0)
    back = replace(snapshot, machines={**snapshot.machines, "fra-n3": fresh})
    assert make_plan(back).steps == ()
    assert told(make_plan(snapshot)) == ["start web.fra.3-2 fra-n3 spread"]
    end = settle(snapshot)
    nodes = sorted(allocation.node for allocation in end.allocations.values())
    assert nodes == ["fra-n1", "fra-n2", "fra-n3"]


def test_a_node_that_came_back_gets_replacements_and_not_who_was_never_moved() -> None:
    web = make_service(make_spec(replicas=4, max_per_node=4))
    allocations = (
        make_allocation("web.fra.1-1", "fra-n1", slot=1),
        make_allocation("web.fra.2-2", "fra-n1", slot=2),
        make_allocation("web.fra.3-1", "fra-n1", slot=3),
        make_allocation("web.fra.4-2", "fra-n1", slot=4),
    )
    end = settle(make_snapshot(make_platform({"fra": 2}), (web,), allocations))
    assert {one.id for one in end.allocations.values() if one.node == "fra-n1"} == {
        "web.fra.1-1",
        "web.fra.3-1",
    }


def test_surplus_is_stopped_by_the_word_of_the_spec() -> None:
    snapshot = two_on_three()
    fewer = apply_change(snapshot, Change(services=(make_spec(replicas=1),))).snapshot
    assert told(make_plan(fewer)) == ["stop web.fra.2-1 fra-n2 scaled-down"]
    gone = replace(snapshot, services={})
    assert {step.reason for step in make_plan(gone).steps} == {Reason.SERVICE_DELETED}
    elsewhere = replace(WEB.spec, datacenters=("ams",))
    left = apply_change(snapshot, Change(services=(elsewhere,))).snapshot
    assert {step.reason for step in make_plan(left).steps} == {Reason.DATACENTER_LEFT}


def test_of_two_unrelated_copies_the_lowest_number_stays() -> None:
    snapshot = make_snapshot(
        make_platform({"fra": 3}),
        (make_service(make_spec(replicas=1)),),
        (make_allocation("web.fra.1-4", "fra-n1"), make_allocation("web.fra.1-3", "fra-n2")),
    )
    assert told(make_plan(snapshot)) == ["stop web.fra.1-4 fra-n1 not-needed-any-more"]


def test_an_id_does_not_come_back_while_its_namesake_runs() -> None:
    status = MachineStatus(
        machine="fra-n1",
        instances=(InstanceStatus(allocation="web.fra.1-6", phase=Phase.STOPPING),),
    )
    snapshot = make_snapshot(make_platform({"fra": 3}), (WEB,))
    snapshot = replace(snapshot, statuses={"fra-n1": status})
    assert make_plan(snapshot).steps[0].allocation.id == "web.fra.1-7"


@pytest.mark.parametrize(
    ("spec", "contact", "reason", "words"),
    [
        (make_spec(replicas=3), Contact.PRESENT, Reason.NO_NODE_WITHIN_SPREAD, "2 of 2 nodes"),
        (make_spec(cpu=5.0), Contact.PRESENT, Reason.NO_CAPACITY, "needs 5 cpu"),
        (make_spec(), Contact.UNKNOWN, Reason.NO_NODE_IN_CONTACT, "0 of 2 nodes"),
    ],
)
def test_what_cannot_be_done_is_said_with_numbers(
    spec: ServiceSpec, contact: Contact, reason: Reason, words: str
) -> None:
    service = replace(WEB, spec=spec)
    platform = make_platform({"fra": 2})
    contacts = dict.fromkeys(("fra-n1", "fra-n2"), contact)
    notes = make_plan(make_snapshot(platform, (service,), (), contacts)).notes
    assert notes[-1].reason is reason
    assert notes[-1].about.startswith("web.fra.")
    assert words in notes[-1].detail


def test_every_stop_knows_what_it_stops() -> None:
    plan = make_plan(replace(two_on_three(), services={}))
    assert all(isinstance(step, Stop) for step in plan.steps)
    assert {step.allocation.node for step in plan.steps} == {"fra-n1", "fra-n2"}


def test_a_slot_is_not_taken_while_its_instance_still_runs() -> None:
    draining = InstanceStatus(allocation="web.fra.1-6", phase=Phase.DRAINING, slot=1)
    snapshot = make_snapshot(make_platform({"fra": 1}), (WEB,))
    for instances, slot in (((draining,), 2), ((), 1)):
        status = MachineStatus(machine="fra-n1", instances=instances)
        told_of = replace(snapshot, statuses={"fra-n1": status})
        assert make_plan(told_of).steps[0].allocation.slot == slot


def test_a_slot_that_a_plan_frees_is_not_taken_by_the_same_plan() -> None:
    snapshot = two_on_three()
    old, _ = snapshot.allocations.values()
    new = replace(old, id="web.fra.1-2", number=2, node="fra-n3", replaces=old.id)
    snapshot = with_all_ready(executed(snapshot, (Place(allocation=new, reason=new.reason),)))
    newer = replace(WEB, version=2)
    stop, place = make_plan(replace(snapshot, services={"web": newer})).steps
    assert isinstance(stop, Stop)
    assert stop.allocation == old
    assert (place.allocation.node, place.allocation.slot) == (old.node, old.slot + 1)


@pytest.mark.parametrize(("each", "total"), [(2, 0), (0, 4)])
def test_a_datacenter_with_another_name_has_its_replicas_anew_and_no_other_is_touched(
    each: int, total: int
) -> None:
    spec = replace(make_spec(), per_datacenter=each, total=total)
    platform = make_platform({"fra": 3, "ams": 3})
    before = settle(apply_change(make_snapshot(platform), Change(services=(spec,))).snapshot)
    renamed = renamed_datacenter(platform, "fra", "xyz")
    snapshot = apply_change(before, Change(platform=renamed)).snapshot
    while (plan := make_plan(snapshot)).steps:
        assert check_plan(snapshot, plan) == ()
        assert "ams" not in {step.allocation.datacenter for step in plan.steps}
        snapshot = with_all_ready(executed(snapshot, plan.steps))
    kept = {name for name in before.allocations if ".ams." in name}
    assert kept == {name for name in snapshot.allocations if ".ams." in name}
    assert {name for name in snapshot.allocations if name not in kept} == {
        "web.xyz.1-1",
        "web.xyz.2-1",
    }
