"""The brake on mass changes over time, and what releases it."""

from dataclasses import replace

import pytest

from pltfrms.model.network.interventions import Interventions, Release
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import Contact, MachineView, Snapshot
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.drafting.draft import LATELY_SECONDS
from pltfrms.planner.placement.drafting.loss import releasable
from pltfrms.planner.placement.plan import make_plan
from pltfrms.planner.placement.target import Makings
from tests.planner.world import heal, settle
from tests.strategies import make_platform, make_service, make_snapshot, make_spec


def lose(snapshot: Snapshot, *nodes: str, seconds: float = 9.0) -> Snapshot:
    view = MachineView(contact=Contact.LOST, since_seconds=seconds)
    return replace(snapshot, machines={**snapshot.machines, **dict.fromkeys(nodes, view)})


def test_mass_change_brake_of_nodes_that_are_lost_one_after_the_other() -> None:
    """Whatever kills them goes with the replicas from one to the next."""
    world = settle(
        make_snapshot(
            make_platform(dict.fromkeys(("fra", "ams", "lon"), 2)),
            (make_service(make_spec(replicas=1)),),
        )
    )
    lost = []
    for datacenter in ("fra", "ams", "lon"):
        (serving,) = (a for a in world.allocations.values() if a.datacenter == datacenter)
        lost.append(serving.node)
        world = settle(lose(world, serving.node))
    plan = make_plan(world)
    notes = {each.about: each.detail for each in plan.notes if each.reason is Reason.MASS_LOSS}
    assert [*notes] == ["fra", "ams", "lon"]
    assert "3 of 6 in all datacenters together" in notes["lon"]
    assert notes["lon"].endswith("if they are dead: `pltfrms brake release lon`")
    assert not plan.steps, "the replica of the third one waits"
    assert not check_plan(world, plan)
    over = lose(world, lost[0], seconds=LATELY_SECONDS)
    (step, *_) = make_plan(over).steps
    assert step.allocation.datacenter == "lon"
    assert not check_plan(over, make_plan(over))


def test_mass_change_brake_is_released_by_an_operator_for_a_while() -> None:
    nodes = ("fra-n1", "fra-n2", "fra-n3")
    platform = make_platform(dict.fromkeys(("fra", "ams"), 4))
    service = make_service(make_spec(replicas=4, max_per_node=2))
    held = lose(settle(make_snapshot(platform, (service,))), "fra-n1", "fra-n2", "fra-n3")
    held = lose(held, "ams-n1", "ams-n2", "ams-n3")
    assert not make_plan(held).steps
    release = Release(datacenter="fra", nodes=nodes, until_ms=held.now_ms + 1)
    released = replace(held, interventions=Interventions(releases=(release,)))
    plan = make_plan(released)
    of_none = Interventions(releases=(replace(release, nodes=()),))
    assert not make_plan(replace(held, interventions=of_none)).steps
    assert {each.allocation.node for each in plan.steps} == {"fra-n4"}
    notes = {each.about for each in plan.notes if each.reason is Reason.MASS_LOSS}
    assert notes == {"ams"}
    assert not check_plan(released, plan)
    unsound = check_plan(held, replace(plan, revision=held.revision))
    assert any("this is a mass loss" in each for each in unsound)
    over = replace(released, now_ms=held.now_ms + 1)
    assert make_plan(over) == make_plan(held)


def test_mass_change_brake_holds_again_for_nodes_that_are_lost_after_a_release() -> None:
    platform = make_platform({"fra": 9})
    service = make_service(make_spec(replicas=9, max_per_node=9))
    first, later = [[f"fra-n{number}" for number in some] for some in (range(1, 6), (6, 7, 8))]
    held = lose(settle(make_snapshot(platform, (service,))), *first)
    assert releasable(held, "fra") == tuple(first)
    release = Release(datacenter="fra", nodes=tuple(first), until_ms=held.now_ms + 1)
    moved = settle(replace(held, interventions=Interventions(releases=(release,))))
    serving = {each.node for each in moved.allocations.values()}
    assert serving.isdisjoint(first), "who is dead counts for no brake"
    one_more = lose(moved, "fra-n6")
    assert make_plan(one_more).steps, "one more is one event"
    assert releasable(one_more, "fra") == tuple(first), "its replicas are not held"
    braked = lose(moved, *later)
    plan = make_plan(braked)
    (note,) = plan.notes
    assert note.reason is Reason.MASS_LOSS
    assert note.detail.startswith("3 of 4 nodes are out of contact, beside 5 that are released")
    assert not plan.steps
    assert releasable(braked, "fra") == (*first, *later)
    unsound = replace(make_plan(one_more), revision=braked.revision)
    assert any("this is a mass loss" in each for each in check_plan(braked, unsound))


def test_what_was_on_a_dead_node_is_moved_while_others_are_braked() -> None:
    """Nothing was moved yet when more were lost: each is judged by its own node."""
    platform = make_platform({"fra": 9})
    service = make_service(make_spec(replicas=9, max_per_node=9))
    dead = tuple(f"fra-n{number}" for number in range(1, 6))
    world = lose(
        settle(make_snapshot(platform, (service,))), *dead, "fra-n6", "fra-n7", "fra-n8"
    )
    release = Release(datacenter="fra", nodes=dead, until_ms=world.now_ms + 1)
    braked = replace(world, interventions=Interventions(releases=(release,)))
    plan = make_plan(braked)
    assert not check_plan(braked, plan)
    was = {each.node for each in world.allocations.values()} & {*dead}
    old = [world.allocations[step.allocation.replaces].node for step in plan.steps]
    assert {*old} == was
    back = replace(
        braked, machines={**braked.machines, "fra-n1": heal(world).machines["fra-n1"]}
    )
    assert releasable(back, "fra") == (*dead[1:], "fra-n6", "fra-n7", "fra-n8")


@pytest.mark.parametrize("lost", [(), ("fra-n1",)])
def test_nothing_is_to_be_released_where_nothing_is_held(lost: tuple[str, ...]) -> None:
    world = settle(make_snapshot(make_platform({"fra": 4}), (make_service(make_spec()),)))
    assert releasable(lose(world, *lost), "fra") == ()
    assert releasable(world, "par") == ()


def test_machines_are_not_told_of_a_release_which_older_ones_would_not_understand() -> None:
    world = settle(make_snapshot(make_platform({"fra": 2}), (make_service(make_spec()),)))
    release = Interventions(releases=(Release(datacenter="fra", until_ms=world.now_ms + 1),))
    plain, told = (
        Makings(replace(world, interventions=i), 1) for i in (world.interventions, release)
    )
    for machine in world.platform.machines:
        assert told.target(machine.name, 0) == plain.target(machine.name, 0)
