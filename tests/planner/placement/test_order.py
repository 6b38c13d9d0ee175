"""Who has a role that one alone may have comes last, and a hook that failed stops all of it."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.messages.api import Change
from pltfrms.model.running.plan import Reason, Stop
from pltfrms.model.running.state import InstanceStatus, RoleState, RoleStatus, Snapshot
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.foresight.settling import executed
from pltfrms.planner.placement.inputs import bare_status, planned_by
from pltfrms.planner.placement.plan import make_plan
from tests.planner.placement.test_volumes import kept_spec, settle_once
from tests.planner.world import heal, settle
from tests.strategies import make_platform

HELD = RoleStatus(role="writer", state=RoleState.HELD, reason=Reason.ROLE_SAID)
SITES = st.sampled_from(["db.fra.1", "db.fra.2", "db.ams.1", "db.ams.2"])


def seen(
    snapshot: Snapshot, holder: str, *, shared: bool = False, held_up: str = ""
) -> Snapshot:
    """Return it as agents tell it, while this replica has the role, and perhaps holds up."""

    def of(each: InstanceStatus) -> InstanceStatus:
        its = each.allocation.startswith(f"{holder}-")
        roles = (replace(HELD, shared=shared),) if its else ()
        return replace(each, roles=roles, held_up=held_up if its else "")

    statuses = {
        name: replace(status, instances=tuple(map(of, status.instances)))
        for name, status in snapshot.statuses.items()
    }
    return replace(snapshot, statuses=statuses)


def running() -> Snapshot:
    platform = make_platform({"fra": 3, "ams": 3}, others=False)
    empty = heal(Snapshot(revision=1, platform=platform))
    return settle(apply_change(empty, Change(services=(kept_spec(2),))).snapshot)


def rolled(holder: str, *, shared: bool = False) -> list[str]:
    """Return the order in which replicas are replaced by a new version."""
    spec = kept_spec(2)
    newer = replace(spec, run=replace(spec.run, process=("serve", "again")))
    before = seen(running(), holder, shared=shared)
    snapshot = apply_change(before, Change(services=(newer,))).snapshot
    order: list[str] = []
    for _ in range(80):
        told = seen(snapshot, holder, shared=shared)
        stops = [step for step in make_plan(told).steps if isinstance(step, Stop)]
        order += [each.allocation.id.rpartition("-")[0] for each in stops]
        snapshot = settle_once(executed(told, make_plan(told).steps))
    return order


@given(SITES)
def test_who_has_the_role_is_replaced_after_all_others_of_all_datacenters(holder: str) -> None:
    order = rolled(holder)
    assert sorted(order) == ["db.ams.1", "db.ams.2", "db.fra.1", "db.fra.2"]
    assert order[-1] == holder


def test_a_role_that_is_shared_changes_nothing() -> None:
    assert rolled("db.fra.1", shared=True)[0] == "db.fra.1"


def test_while_a_hook_runs_or_has_failed_nothing_is_replaced_and_that_is_said() -> None:
    spec = kept_spec(2)
    newer = replace(spec, run=replace(spec.run, process=("serve", "again")))
    snapshot = apply_change(running(), Change(services=(newer,))).snapshot
    snapshot = replace(snapshot, services={"db": snapshot.services["db"]})
    waits = make_plan(seen(snapshot, "db.ams.2", held_up="join failed: no quorum"))
    assert waits.steps == ()
    (note,) = [each for each in waits.notes if each.reason is Reason.HOOK_WAITED_FOR]
    assert (note.about, note.detail) == ("db.ams.2-1", "join failed: no quorum")
    assert make_plan(seen(snapshot, "db.ams.2")).steps


def test_planning_looks_at_who_has_the_role_and_at_who_holds_up() -> None:
    spec = kept_spec(2)
    newer = replace(spec, run=replace(spec.run, process=("serve", "again")))
    snapshot = apply_change(running(), Change(services=(newer,))).snapshot
    for held_up in ("", "join failed: no quorum"):
        told = seen(snapshot, "db.fra.1", held_up=held_up)
        bare = {name: bare_status(status) for name, status in told.statuses.items()}
        assert make_plan(planned_by(told, bare)) == make_plan(told)
        assert planned_by(told, bare) != planned_by(snapshot, snapshot.statuses)
