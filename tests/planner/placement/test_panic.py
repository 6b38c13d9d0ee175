"""What is said where all instances that answer say that they are ill."""

from dataclasses import replace

import pytest

from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import (
    Contact,
    InstanceStatus,
    MachineStatus,
    MachineView,
    Phase,
    Snapshot,
)
from pltfrms.planner.placement.explain import explain_service
from pltfrms.planner.placement.inputs import bare_status, planned_by
from pltfrms.planner.placement.plan import make_plan
from tests.strategies import make_allocation, make_platform, make_service, make_snapshot
from tests.strategies import make_spec as spec

PLATFORM = make_platform({"fra": 3})
WEB = make_service(spec(replicas=3))
UNWELL, READY, DEAD = "unwell", "ready", "dead"


def snapshot(*states: str) -> Snapshot:
    """Return one replica on each node, in these states."""
    nodes = [f"fra-n{number}" for number in range(1, len(states) + 1)]
    phases = {UNWELL: Phase.UNHEALTHY, READY: Phase.READY, DEAD: Phase.BACKOFF}
    names = [f"web.fra.{number}-1" for number in range(1, len(states) + 1)]
    return replace(
        make_snapshot(PLATFORM),
        services={"web": WEB},
        allocations={
            name: make_allocation(name, node) for name, node in zip(names, nodes, strict=True)
        },
        statuses={
            node: MachineStatus(
                machine=node,
                instances=(
                    InstanceStatus(
                        allocation=name, phase=phases[state], unwell=state == UNWELL
                    ),
                ),
            )
            for name, node, state in zip(names, nodes, states, strict=True)
        },
    )


@pytest.mark.parametrize(
    ("states", "detail"),
    [
        ((UNWELL, UNWELL, UNWELL), "3 of 3 say so; see what the probe asks"),
        ((UNWELL, UNWELL, READY), ""),
        ((UNWELL, DEAD, DEAD), "1 of 1 say so; see what the probe asks"),
        ((UNWELL, READY, READY), ""),
        ((UNWELL, READY, DEAD), ""),
        ((DEAD, DEAD, DEAD), ""),
    ],
)
def test_all_of_those_that_answer_make_a_panic(states: tuple[str, ...], detail: str) -> None:
    before = snapshot(*states)
    plan = make_plan(before)
    assert not plan.steps, "nothing is moved because of it"
    notes = [each for each in plan.notes if each.reason is Reason.PANIC]
    assert [(each.about, each.detail) for each in notes] == [("web.fra", detail)] * bool(detail)
    bare = {name: bare_status(status) for name, status in before.statuses.items()}
    assert make_plan(planned_by(before, bare)) == plan
    told = "\n".join(explain_service(before, "web"))
    assert (f"web.fra: {Reason.PANIC.sentence}; {detail}." in told) is bool(detail)


def test_what_a_machine_out_of_contact_said_counts_for_nothing() -> None:
    before = snapshot(UNWELL, UNWELL, UNWELL)
    view = MachineView(contact=Contact.UNKNOWN, since_seconds=9.0)
    gone = replace(before, machines=dict.fromkeys(before.machines, view))
    assert Reason.PANIC not in {each.reason for each in make_plan(gone).notes}
