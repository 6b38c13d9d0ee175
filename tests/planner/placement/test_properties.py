"""What holds for every snapshot that any history may lead to."""

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms.model.messages.api import Change
from pltfrms.model.running.plan import Place, Reason, Stop
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.planner.changes.change import apply_change, delete_service
from pltfrms.planner.foresight.settling import executed
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.plan import make_plan
from pltfrms.planner.placement.rollouts.stages import decide_rollouts
from pltfrms.planner.placement.steps.scaling import decide_scaling
from tests.planner.world import describe, heal, histories, settle, walk

deep = settings(max_examples=250)


@deep
@given(histories())
def test_no_plan_breaks_a_rule(snapshot: Snapshot) -> None:
    assert check_plan(snapshot, make_plan(snapshot)) == ()


@deep
@given(histories())
def test_a_plan_interrupted_anywhere_is_continued_the_same_way(snapshot: Snapshot) -> None:
    """While something is to become of a rollout, or of numbers, only repairs come before."""
    plan = make_plan(snapshot)
    decided = _decided(snapshot)
    for done in range(len(plan.steps) + 1):
        after = executed(snapshot, plan.steps[:done])
        left, rest = describe(plan)[done:], describe(make_plan(after))
        if decided or _decided(after):
            both = min(len(left), len(rest))
            assert left[:both] == rest[:both]
        else:
            assert left == rest


def _decided(snapshot: Snapshot) -> bool:
    draft = Draft(snapshot)
    return bool(decide_rollouts(draft) or decide_scaling(draft))


@deep
@given(st.integers(0, 2**32), st.integers(0, 60))
def test_a_name_means_one_allocation_for_ever(seed: int, length: int) -> None:
    known: dict[str, tuple[str, int, int]] = {}

    def see(snapshot: Snapshot) -> None:
        for each in snapshot.allocations.values():
            bound = (each.node, each.slot, each.version)
            assert known.setdefault(each.id, bound) == bound

    walk(seed, length, see)


@deep
@given(histories())
def test_no_name_comes_back_with_a_service_that_was_gone(snapshot: Snapshot) -> None:
    before = settle(heal(snapshot))
    gone = before
    for name in before.services:
        gone = delete_service(gone, name).snapshot
    gone = replace(settle(gone), statuses={})  # nobody knows of it any more
    specs = tuple(each.spec for each in before.services.values())
    after = settle(apply_change(gone, Change(services=specs)).snapshot)
    assert not before.allocations.keys() & after.allocations.keys()


@deep
@given(histories())
def test_serving_copies_never_fall_below_the_wanted(snapshot: Snapshot) -> None:
    """At no step does a replica that is wanted lose its last copy that serves."""
    draft = Draft(snapshot)
    served = {
        (a.service, a.datacenter, a.replica)
        for a in snapshot.allocations.values()
        if draft.ready(a)
    }
    by_spec = {Reason.SERVICE_DELETED, Reason.SCALED_DOWN, Reason.DATACENTER_LEFT}
    plan = make_plan(snapshot)
    gone = {
        (s.allocation.service, s.allocation.datacenter, s.allocation.replica)
        for s in plan.steps
        if s.reason in by_spec
    }
    for done in range(len(plan.steps) + 1):
        left = executed(snapshot, plan.steps[:done]).allocations.values()
        still = {(a.service, a.datacenter, a.replica) for a in left if draft.ready(a)}
        assert served - gone <= still


@deep
@given(histories())
def test_nothing_is_placed_on_a_drained_node(snapshot: Snapshot) -> None:
    drained = snapshot.interventions.drained_nodes(snapshot.now_ms)
    placed = {s.allocation.node for s in make_plan(snapshot).steps if isinstance(s, Place)}
    assert not placed & drained


@deep
@given(histories())
def test_a_drained_node_is_emptied_wherever_there_is_room(snapshot: Snapshot) -> None:
    end = settle(heal(snapshot))
    drained = end.interventions.drained_nodes(end.now_ms)
    noted = {note.about for note in make_plan(end).notes}
    left = {a.id.rsplit("-", 1)[0] for a in end.allocations.values() if a.node in drained}
    assert left <= noted


@deep
@given(histories())
def test_nothing_is_decided_because_of_an_unknown_node(snapshot: Snapshot) -> None:
    by_spec = {Reason.SERVICE_DELETED, Reason.SCALED_DOWN, Reason.DATACENTER_LEFT}
    nodes = {machine.name for machine in snapshot.platform.machines}
    for step in make_plan(snapshot).steps:
        node = step.allocation.node
        if node in nodes and snapshot.contact(node) is Contact.UNKNOWN:
            assert isinstance(step, Stop)
            assert step.reason in by_spec
        if isinstance(step, Place) and step.allocation.replaces:
            old = snapshot.allocations.get(step.allocation.replaces)
            assert old is None or (
                old.node not in nodes or snapshot.contact(old.node) is not Contact.UNKNOWN
            )


@deep
@given(histories())
def test_after_healing_it_ends_with_exactly_what_is_wanted(snapshot: Snapshot) -> None:
    end = settle(heal(snapshot))
    plan = make_plan(end)
    assert plan.steps == ()
    draft = Draft(end)
    wanted = {
        f"{service.name}.{datacenter}.{replica}"
        for service in end.services.values()
        for datacenter, count in draft.wanted(service).items()
        for replica in range(1, count + 1)
    }
    placed = Counter(a.id.rsplit("-", 1)[0] for a in end.allocations.values())
    noted = {note.about for note in plan.notes}
    assert all(count == 1 for replica, count in placed.items() if replica not in noted)
    # Of a total, one that serves stays in the place of one that finds none.
    instead = set(placed) - wanted
    assert all(end.services[name.partition(".")[0]].spec.total for name in instead)
    assert len(instead) <= len(noted & wanted)
    assert wanted <= set(placed) | noted
    if not noted:
        versions = {
            (a.version, end.services[a.service].version) for a in end.allocations.values()
        }
        assert all(have == want for have, want in versions)


@deep
@given(histories())
def test_after_healing_the_nodes_are_even(snapshot: Snapshot) -> None:
    end = settle(heal(snapshot))
    racks = any(machine.rack for machine in end.platform.machines)
    if racks or make_plan(end).notes:
        return
    for service in end.services:
        for datacenter in end.platform.datacenters:
            counts = [
                sum(
                    a.node == node.name and a.service == service
                    for a in end.allocations.values()
                )
                for node in Draft(end).open(datacenter.name)
            ]
            assert not counts or max(counts) - min(counts) < 2
