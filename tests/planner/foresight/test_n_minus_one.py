"""Which losses leave no room, against the planner on the whole platform, loss by loss."""

from dataclasses import replace

from hypothesis import given

from pltfrms.model.messages.api import Change
from pltfrms.model.network.topology import Role
from pltfrms.model.running.foresight import Gap
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.foresight.losing import lost_of, without
from pltfrms.planner.foresight.n_minus_one import n_minus_one
from pltfrms.planner.placement.drafting.numbers import replica_of
from pltfrms.planner.placement.plan import make_plan
from tests.planner.foresight.test_what_if import settled
from tests.planner.world import histories, settle
from tests.strategies import make_platform, make_service, make_snapshot, make_spec

_NO_PLACE = {
    Reason.NO_CAPACITY,
    Reason.NO_NODE_WITHIN_SPREAD,
    Reason.NO_NODE_IN_CONTACT,
    Reason.ALL_DRAINED,
}


def test_room_for_each_node_is_no_gap() -> None:
    assert n_minus_one(settled({"fra": 3, "ams": 3})) == ()


def test_a_replica_without_another_node_is_a_gap_for_each_node_that_has_one() -> None:
    gaps = n_minus_one(settled({"fra": 2, "ams": 3}))
    assert [(gap.lost, gap.about) for gap in gaps] == [
        ("node/fra-n1", "web.fra.1"),
        ("node/fra-n2", "web.fra.2"),
    ]
    assert "each already has 1 (max_per_node)" in gaps[0].why


def test_cores_are_counted() -> None:
    full = settled({"fra": 3, "ams": 3}, replicas=2, cpu=0.6)
    other = make_service(make_spec("api", replicas=1, cpu=0.6), 2)
    both = settle(replace(full, services={**full.services, "api": other}))
    assert {gap.lost for gap in n_minus_one(both)} >= {"node/fra-n1", "node/ams-n3"}


def test_a_service_of_one_datacenter_is_a_gap_of_it() -> None:
    spec = replace(make_spec(replicas=2), datacenters=("fra",))
    platform = make_platform({"fra": 3, "ams": 3})
    snapshot = settle(make_snapshot(platform, (make_service(spec),)))
    assert n_minus_one(snapshot) == (
        Gap(
            lost="datacenter/fra",
            about="service/web",
            why="no other datacenter is to run it",
        ),
    )


def test_a_replica_of_a_later_stage_needs_what_its_version_does() -> None:
    """The new version fits nowhere: only the replica of its first stage finds no place."""
    before = settled({"fra": 3}, replicas=2)
    spec = before.services["web"].spec
    large = replace(spec, run=replace(spec.run, cpu=99.0))
    rolling = settle(apply_change(before, Change(services=(large,))).snapshot)
    assert rolling.services["web"].rolling
    found = {gap.about for gap in n_minus_one(rolling) if gap.lost.startswith("node/")}
    assert found == {"web.fra.1"}


def test_one_node_alone_is_its_datacenter() -> None:
    assert n_minus_one(settled({"fra": 1, "ams": 1}, replicas=1)) == ()


def gaps_of(snapshot: Snapshot, node: str) -> set[tuple[str, str]]:
    """Return what the planner has no place for of what a lost node had."""
    lost = without(snapshot, lost_of(snapshot.platform, [f"node/{node}"]))
    here = {
        replica_of(each.id)[0] for each in snapshot.allocations.values() if each.node == node
    }
    return {
        (f"node/{node}", note.about)
        for note in make_plan(lost).notes
        if note.reason in _NO_PLACE and note.about in here
    }


@given(histories())
def test_the_gaps_are_those_that_the_planner_finds(snapshot: Snapshot) -> None:
    snapshot = settle(snapshot)
    platform = snapshot.platform
    nodes = [
        each.name
        for each in platform.machines_of(Role.NODE)
        if snapshot.contact(each.name) is Contact.PRESENT
        and sum(
            snapshot.contact(other.name) is Contact.PRESENT
            for other in platform.machines_of(Role.NODE, each.datacenter)
        )
        > 1
    ]
    found = {(gap.lost, gap.about) for gap in n_minus_one(snapshot)}
    expected = {gap for node in nodes for gap in gaps_of(snapshot, node)}
    assert {gap for gap in found if gap[0].startswith("node/")} == expected
