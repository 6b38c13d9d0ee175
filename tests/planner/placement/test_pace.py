"""What is planned begins a few at a time; what is lost waits for nothing."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.messages.api import Change
from pltfrms.model.network.interventions import Drain
from pltfrms.model.running.plan import Place, Plan, Reason
from pltfrms.model.running.state import Contact, InstanceStatus, MachineView, Phase, Snapshot
from pltfrms.model.services.service import RolloutSpec, Stage
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.foresight.settling import executed
from pltfrms.planner.placement.drafting.pace import AT_ONCE, PLANNED, most_at_once
from pltfrms.planner.placement.plan import make_plan
from tests.planner.world import settle
from tests.strategies import make_platform, make_service, make_snapshot, make_spec

AT_ONCE_ALL = RolloutSpec(stages=(Stage(datacenters=("fra",)),), bake_ms=0, parallel=50)


def running(services: int = 24, replicas: int = 2) -> Snapshot:
    """Return as many services in a datacenter of three nodes."""
    platform = make_platform({"fra": 3}, cpu=64.0)
    specs = (make_spec(f"s{number:02}", replicas=replicas) for number in range(services))
    some = tuple(
        make_service(replace(spec, rollout=AT_ONCE_ALL), number)
        for number, spec in enumerate(specs, 1)
    )
    return settle(make_snapshot(platform, some))


def drained(snapshot: Snapshot, node: str) -> Snapshot:
    drain = Drain(node=node, since_ms=0, wait_ms=0)
    return replace(snapshot, interventions=replace(snapshot.interventions, drains=(drain,)))


def begun(plan: Plan, reason: Reason) -> int:
    return sum(isinstance(s, Place) and s.reason is reason for s in plan.steps)


def told(snapshot: Snapshot, names: Iterable[str], **words: object) -> Snapshot:
    """Return it with what nodes say of new copies."""
    statuses = dict(snapshot.statuses)
    for name in names:
        node = snapshot.allocations[name].node
        said = InstanceStatus(allocation=name, **{"phase": Phase.STARTING, **words})  # type: ignore[arg-type]
        status = statuses[node]
        statuses[node] = replace(status, instances=(*status.instances, said))
    return replace(snapshot, statuses=statuses)


def test_a_drained_node_is_emptied_a_few_at_a_time() -> None:
    snapshot = drained(running(), "fra-n1")
    plan = make_plan(snapshot)
    assert begun(plan, Reason.NODE_DRAINED) == AT_ONCE
    (note,) = (each for each in plan.notes if each.reason is Reason.PACED)
    assert (note.about, note.detail) == ("fra", "8 begin, 8 may at once")
    after = executed(snapshot, plan.steps)
    new = [name for name in after.allocations if name not in snapshot.allocations]
    assert make_plan(after).steps == (), "none of them has told anything yet"
    starting = told(after, new)
    assert make_plan(starting).steps == ()
    some = told(told(after, new[:3], phase=Phase.READY), new[3:])
    assert begun(make_plan(some), Reason.NODE_DRAINED) == 3


def test_what_does_not_come_up_holds_nothing_up() -> None:
    snapshot = drained(running(), "fra-n1")
    after = executed(snapshot, make_plan(snapshot).steps)
    new = [name for name in after.allocations if name not in snapshot.allocations]
    failing = told(after, new[:2], phase=Phase.BACKOFF, restarts=1)
    failing = told(failing, new[2:4], restarts=1)
    assert begun(make_plan(told(failing, new[4:])), Reason.NODE_DRAINED) == 4


@pytest.mark.parametrize("contact", [Contact.UNKNOWN, Contact.LOST])
def test_who_can_tell_nothing_any_more_holds_nothing_up(contact: Contact) -> None:
    """An agent that died with copies before it told of them says nothing, perhaps for ever."""
    snapshot = drained(running(services=48, replicas=1), "fra-n1")
    after = executed(snapshot, make_plan(snapshot).steps)
    new = [each for each in after.allocations.values() if each.id not in snapshot.allocations]
    silent = [each.id for each in new if each.node == "fra-n2"]
    assert 0 < len(silent) < AT_ONCE
    after = told(after, (each.id for each in new if each.id not in silent))
    assert begun(make_plan(after), Reason.NODE_DRAINED) == 0
    gone = MachineView(contact=contact, since_seconds=99.0)
    after = replace(after, machines={**after.machines, "fra-n2": gone})
    assert begun(make_plan(after), Reason.NODE_DRAINED) == len(silent)


def test_many_services_get_another_version_a_few_at_a_time() -> None:
    snapshot = running()
    specs = tuple(
        replace(each.spec, run=replace(each.spec.run, process=("new",)))
        for each in snapshot.services.values()
    )
    after = apply_change(snapshot, Change(services=specs)).snapshot
    assert begun(make_plan(after), Reason.NEW_VERSION) == AT_ONCE
    assert {each.version for each in settle(after).allocations.values()} == {2}


def test_what_is_lost_is_replaced_at_once() -> None:
    snapshot = running()
    gone = MachineView(contact=Contact.LOST, since_seconds=99.0)
    lost = replace(snapshot, machines={**snapshot.machines, "fra-n1": gone})
    count = sum(each.node == "fra-n1" for each in snapshot.allocations.values())
    assert count >= AT_ONCE
    assert begun(make_plan(lost), Reason.NODE_LOST) == count


@pytest.mark.parametrize(("replicas", "most"), [(0, 8), (89, 8), (90, 9), (2000, 200)])
def test_a_large_datacenter_moves_a_tenth_at_once(replicas: int, most: int) -> None:
    assert most_at_once(replicas) == most


@given(st.integers(1, 30), st.integers(1, 2), st.integers(0, 8))
def test_never_do_more_begin_than_may_and_in_the_end_all_have(
    services: int, replicas: int, ready: int
) -> None:
    snapshot = drained(running(services, replicas), "fra-n2")
    for _ in range(200):
        plan = make_plan(snapshot)
        snapshot = executed(snapshot, plan.steps)
        said = {i.allocation for s in snapshot.statuses.values() for i in s.instances}
        coming = sorted(set(snapshot.allocations) - said)
        planned = [each for each in coming if snapshot.allocations[each].reason in PLANNED]
        assert len(planned) <= max(AT_ONCE, len(snapshot.allocations) // 10)
        snapshot = told(snapshot, coming[: ready + 1], phase=Phase.READY)
        if not plan.steps and not coming:
            break
    assert "fra-n2" not in {each.node for each in snapshot.allocations.values()}
