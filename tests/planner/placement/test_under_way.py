"""What a change does, apart from what goes on anyway."""

from dataclasses import replace

from pltfrms.model.messages.api import Change
from pltfrms.model.running.plan import Place
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.service import Service
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.placement.plan import make_plan
from pltfrms.planner.placement.under_way import under_way
from tests.strategies import (
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
    with_all_ready,
)

PLATFORM = make_platform({"fra": 4})


def ready(*services: Service) -> Snapshot:
    empty = make_snapshot(PLATFORM, services)
    placed = [step.allocation for step in make_plan(empty).steps if isinstance(step, Place)]
    return with_all_ready(replace(empty, allocations={each.id: each for each in placed}))


def changed(snapshot: Snapshot, change: Change) -> tuple[set[str], set[str]]:
    """Return the services of steps that go on anyway, and of those of the change."""
    after = make_plan(apply_change(snapshot, change).snapshot)
    anyway = under_way(make_plan(snapshot), after)
    own = [step for step in after.steps if step not in anyway.steps]
    return (
        {step.allocation.service for step in anyway.steps},
        {step.allocation.service for step in own},
    )


def test_steps_that_go_on_anyway_are_told_from_those_of_the_change() -> None:
    one, two = make_service(make_spec("one"), 1), make_service(make_spec("two"), 2)
    at_rest = ready(one, two)
    rolling = replace(at_rest, services={**at_rest.services, "one": replace(one, version=2)})
    change = Change(services=(make_spec("new"),))
    assert changed(at_rest, change) == (set(), {"new"})
    assert changed(rolling, change) == ({"one"}, {"new"})


def test_a_change_of_what_is_under_way_is_the_change() -> None:
    one = make_service(make_spec("one"), 1)
    at_rest = ready(one)
    rolling = replace(at_rest, services={"one": replace(one, version=2)})
    newest = Change(services=(replace(one.spec, run=replace(one.spec.run, cpu=0.3)),))
    assert changed(rolling, newest) == (set(), {"one"})


def test_notes_that_were_there_before_are_not_of_the_change() -> None:
    crowded = make_service(make_spec("crowded", 9), 1)
    snapshot = make_snapshot(PLATFORM, (crowded,))
    without = make_plan(snapshot)
    after = make_plan(apply_change(snapshot, Change(services=(make_spec("new"),))).snapshot)
    assert without.notes
    assert under_way(without, after).notes == without.notes
