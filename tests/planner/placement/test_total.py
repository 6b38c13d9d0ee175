"""A total moves between datacenters only when the spec or the platform says so."""

from dataclasses import replace

import pytest

from pltfrms.model.messages.api import Change
from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.network.topology import Role
from pltfrms.model.running.plan import Place, Reason, Stop
from pltfrms.model.running.state import Contact, MachineStatus, Phase, Snapshot
from pltfrms.model.services.service import ServiceSpec
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.foresight.settling import executed
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.explain import explain_service
from pltfrms.planner.placement.plan import make_plan
from tests.planner.world import advance, heal, settle
from tests.strategies import make_platform, make_snapshot, make_spec, with_all_ready

TWO = make_platform({"fra": 3, "ams": 3})
_LON = make_platform({"fra": 3, "ams": 3, "lon": 3})
THREE = replace(_LON, machines=tuple(m for m in _LON.machines if m.name != "lon-c1"))


def wanting(total: int) -> ServiceSpec:
    return replace(make_spec(max_per_node=2), per_datacenter=0, total=total)


def running(total: int) -> Snapshot:
    change = Change(services=(wanting(total),))
    return settle(apply_change(make_snapshot(TWO), change).snapshot)


def where(snapshot: Snapshot) -> dict[str, int]:
    sites = [each.datacenter for each in snapshot.allocations.values()]
    return {site: sites.count(site) for site in sorted(set(sites))}


@pytest.mark.parametrize("contact", [Contact.LOST, Contact.UNKNOWN])
def test_no_failure_moves_a_replica_to_another_datacenter(contact: Contact) -> None:
    before = running(5)
    assert where(before) == {"ams": 2, "fra": 3}
    for count in (1, 2, 3):
        views = {
            f"fra-n{n}": replace(before.machines[f"fra-n{n}"], contact=contact)
            for n in range(1, count + 1)
        }
        broken = replace(before, machines={**before.machines, **views})
        placed = [s.allocation for s in make_plan(broken).steps if isinstance(s, Place)]
        assert {each.datacenter for each in placed} <= {"fra"}


def test_a_drain_of_a_datacenter_moves_its_traffic_and_not_its_replicas() -> None:
    before = running(5)
    drain = Drain(datacenter="fra", since_ms=0, wait_ms=0)
    drained = replace(before, interventions=Interventions(drains=(drain,)))
    assert make_plan(drained).steps == ()


def test_a_new_datacenter_gets_its_share_and_the_others_serve_until_it_does() -> None:
    before = running(6)
    moving = heal(apply_change(before, Change(platform=THREE)).snapshot)
    plan = make_plan(moving)
    assert {(type(s), s.allocation.datacenter) for s in plan.steps} == {(Place, "lon")}
    moving = executed(moving, plan.steps)
    assert make_plan(moving).steps == (), "nothing stops before the new ones serve"
    said = "\n".join(explain_service(moving, "web"))
    assert "6 replicas wanted, 2 in fra, 2 in ams, 2 in lon" in said
    assert "web.ams.3-1: not wanted in ams, serves until all 6 serve elsewhere" in said
    after = settle(moving)
    assert where(after) == {"ams": 2, "fra": 2, "lon": 2}


@pytest.mark.parametrize("unheard", [{"fra"}, {"fra", "ams"}])
@pytest.mark.parametrize("silent", [False, True])
def test_what_stands_in_is_not_stopped_while_it_is_not_known_whether_it_serves(
    unheard: set[str], *, silent: bool
) -> None:
    """The nodes are out of contact, or present and their controllers cannot read them."""
    only_fra = replace(wanting(6), datacenters=("fra",))
    before = settle(apply_change(make_snapshot(TWO), Change(services=(only_fra,))).snapshot)
    only_ams = replace(wanting(6), datacenters=("ams",))
    moving = apply_change(before, Change(services=(only_ams,))).snapshot
    for name, view in moving.machines.items():
        if name.partition("-")[0] not in unheard:
            continue
        if silent:
            statuses = {**moving.statuses}
            statuses.pop(name, None)
            moving = replace(moving, statuses=statuses)
        else:
            lost = replace(view, contact=Contact.UNKNOWN)
            moving = replace(moving, machines={**moving.machines, name: lost})
    plan = make_plan(moving)
    assert not [step for step in plan.steps if isinstance(step, Stop)]
    stops = tuple(
        Stop(allocation=one, reason=Reason.DATACENTER_LEFT)
        for one in moving.allocations.values()
    )
    assert "0 others serve" in " ".join(check_plan(moving, replace(plan, steps=stops)))


def test_one_stops_for_each_that_serves_elsewhere() -> None:
    before = running(6)
    moving = heal(apply_change(before, Change(platform=THREE)).snapshot)
    moving = with_all_ready(executed(moving, make_plan(moving).steps))
    status = moving.statuses["lon-n1"]
    starting = tuple(replace(each, phase=Phase.STARTING) for each in status.instances)
    half = replace(
        moving, statuses={**moving.statuses, "lon-n1": replace(status, instances=starting)}
    )
    steps = make_plan(half).steps
    assert [(type(s), s.reason) for s in steps] == [(Stop, Reason.SCALED_DOWN)]
    # The rules are written a second time: who stops one too many is found.
    stopped = {step.allocation.id for step in steps}
    other = next(
        each
        for each in half.allocations.values()
        if each.replica == 3 and each.id not in stopped
    )
    both = (*steps, Stop(allocation=other, reason=Reason.SCALED_DOWN))
    found = check_plan(half, replace(make_plan(half), steps=both))
    assert found == (f"{other.id}: stopped, but only 5 others serve",)


def all_ill(snapshot: Snapshot) -> Snapshot:
    """Have all that is reported say that it is ill."""
    statuses = {
        node: replace(
            status,
            instances=tuple(
                replace(each, phase=Phase.UNHEALTHY, unwell=True) for each in status.instances
            ),
        )
        for node, status in snapshot.statuses.items()
    }
    return replace(snapshot, statuses=statuses)


def test_what_is_ill_and_carries_the_traffic_stays_until_others_are_no_worse() -> None:
    moving = all_ill(heal(apply_change(running(6), Change(platform=THREE)).snapshot))
    moving = executed(moving, make_plan(moving).steps)
    assert where(moving) == {"ams": 3, "fra": 3, "lon": 2}
    assert make_plan(moving).steps == ()
    moved = all_ill(with_all_ready(moving))
    plan = make_plan(moved)
    assert {(type(s), s.allocation.datacenter) for s in plan.steps} == {
        (Stop, "fra"), (Stop, "ams"),
    }  # fmt: skip
    assert check_plan(moved, plan) == ()
    early = replace(plan, revision=moving.revision)
    assert any("only 5 others serve" in each for each in check_plan(moving, early))


def test_fewer_in_all_stop_at_once_also_where_all_are_ill() -> None:
    fewer = all_ill(apply_change(running(6), Change(services=(wanting(3),))).snapshot)
    plan = make_plan(fewer)
    assert [type(step) for step in plan.steps] == [Stop] * 3
    assert check_plan(fewer, plan) == ()


def test_nodes_that_the_platform_loses_take_their_share_elsewhere() -> None:
    before = running(6)
    gone = {"fra-n2", "fra-n3"}
    smaller = replace(TWO, machines=tuple(m for m in TWO.machines if m.name not in gone))
    after = settle(heal(apply_change(before, Change(platform=smaller)).snapshot))
    assert where(after) == {"ams": 4, "fra": 2}


def test_what_a_machine_runs_that_is_a_node_no_more_does_not_count() -> None:
    """It is stopped as that of one that is gone, though the machine says that it is ready."""
    before = running(6)
    silent = {node: MachineStatus(machine=node) for node in ("ams-n1", "ams-n2")}
    before = replace(before, statuses={**before.statuses, **silent})
    machines = tuple(
        replace(each, role=Role.EDGE) if each.name == "fra-n3" else each
        for each in before.platform.machines
    )
    narrow = replace(before, platform=replace(before.platform, machines=machines))
    fewer = apply_change(narrow, Change(services=(wanting(4),))).snapshot
    plan = make_plan(fewer)
    assert [step.allocation.node for step in plan.steps if isinstance(step, Stop)] == ["fra-n3"]
    assert check_plan(fewer, plan) == ()


def test_fewer_in_all_stop_at_once() -> None:
    before = running(6)
    fewer = apply_change(before, Change(services=(wanting(3),))).snapshot
    steps = make_plan(fewer).steps
    assert [(type(s), s.reason) for s in steps] == [(Stop, Reason.SCALED_DOWN)] * 3
    assert where(executed(fewer, steps)) == {"ams": 1, "fra": 2}


def standing_in() -> Snapshot:
    """Return a platform whose new datacenter has its share, and none of it is ready."""
    moving = heal(apply_change(running(6), Change(platform=THREE)).snapshot)
    return executed(moving, make_plan(moving).steps)


def test_what_stands_in_gets_no_new_version() -> None:
    moving = standing_in()
    spec = moving.services["web"].spec
    newer = replace(spec, run=replace(spec.run, process=("serve", "better")))
    changed = apply_change(moving, Change(services=(newer,))).snapshot
    for _ in range(40):
        plan = make_plan(changed)
        assert check_plan(changed, plan) == ()
        placed = {s.allocation.replica for s in plan.steps if isinstance(s, Place)}
        assert placed <= {1, 2}
        changed = with_all_ready(advance(changed))
    assert {each.version for each in changed.allocations.values()} == {2}
    assert where(changed) == {"ams": 2, "fra": 2, "lon": 2}


def test_what_stands_in_leaves_a_drained_node_as_others_do() -> None:
    moving = standing_in()
    (node,) = (a.node for a in moving.allocations.values() if a.id == "web.ams.3-1")
    drain = Drain(node=node, since_ms=0, wait_ms=0)
    drained = replace(moving, interventions=Interventions(drains=(drain,)))
    plan = make_plan(drained)
    assert check_plan(drained, plan) == ()
    moved = [s.allocation.id for s in plan.steps if s.reason is Reason.NODE_DRAINED]
    assert len(moved) == 1, "one at a time"
    after = settle(drained)
    assert where(after) == {"ams": 2, "fra": 2, "lon": 2}
    assert node not in {each.node for each in after.allocations.values()}


def test_two_totals_that_change_places_in_full_datacenters_are_said_to_wait() -> None:
    cores = TWO.machine("fra-n1").cpu

    def spec(name: str, site: str) -> ServiceSpec:
        one = replace(make_spec(name, max_per_node=1), per_datacenter=0, total=3)
        return replace(one, datacenters=(site,), run=replace(one.run, cpu=cores))

    first = Change(services=(spec("api", "fra"), spec("web", "ams")))
    before = settle(apply_change(make_snapshot(TWO), first).snapshot)
    swapped = Change(services=(spec("api", "ams"), spec("web", "fra")))
    after = settle(apply_change(before, swapped).snapshot)
    assert where(after) == where(before), "nobody stops what serves"
    notes = {note.about: note.detail for note in make_plan(after).notes}
    held = "web.ams.1, web.ams.2, web.ams.3 are to leave, and serve there until their total"
    assert held in notes["api.ams.1"]
    assert "api.fra.1, api.fra.2, api.fra.3 are to leave" in notes["web.fra.1"]
