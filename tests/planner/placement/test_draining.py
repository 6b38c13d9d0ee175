"""How a drained node is emptied, step by step."""

from dataclasses import replace

import pytest

from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.running.plan import Note, Reason
from pltfrms.model.running.state import Contact, InstanceStatus, MachineStatus, Phase, Snapshot
from pltfrms.planner.foresight.settling import executed
from pltfrms.planner.placement.plan import make_plan
from tests.planner.placement.test_plan import told
from tests.planner.world import settle
from tests.strategies import (
    make_allocation,
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
    with_all_ready,
)

WEB = make_service(make_spec())


def drained(snapshot: Snapshot, *nodes: str, until_ms: int = 0) -> Snapshot:
    drains = tuple(Drain(node=n, since_ms=5, wait_ms=0, until_ms=until_ms) for n in nodes)
    return replace(snapshot, interventions=Interventions(drains=drains), now_ms=5)


def on_three(**contacts: Contact) -> Snapshot:
    """Return two replicas on fra-n1 and fra-n2 of three nodes."""
    return make_snapshot(
        make_platform({"fra": 3}),
        (WEB,),
        (make_allocation("web.fra.1-1", "fra-n1"), make_allocation("web.fra.2-1", "fra-n2")),
        {f"fra-{name}": contact for name, contact in contacts.items()},
    )


def test_the_new_copy_serves_before_the_old_one_stops() -> None:
    snapshot = drained(on_three(), "fra-n1")
    plan = make_plan(snapshot)
    assert told(plan) == ["start web.fra.1-2 fra-n3 node-drained"]
    waiting = executed(snapshot, plan.steps)
    assert make_plan(waiting).steps == (), "it is not ready yet"
    ready = with_all_ready(waiting)
    assert told(make_plan(ready)) == ["stop web.fra.1-1 fra-n1 replacement-ready"]
    end = settle(snapshot)
    assert {a.node for a in end.allocations.values()} == {"fra-n2", "fra-n3"}


def test_nothing_comes_back_before_the_drain_ends_by_itself() -> None:
    end = settle(drained(on_three(n3=Contact.LOST), "fra-n1", until_ms=100))
    assert {a.node for a in end.allocations.values()} == {"fra-n1", "fra-n2"}
    (note,) = make_plan(end).notes
    assert note == Note(
        about="web.fra.1",
        reason=Reason.NO_NODE_WITHIN_SPREAD,
        detail="2 of 3 nodes are in contact, 1 of them drained, each other already has 1 "
        "(max_per_node)",
    )
    over = replace(end, now_ms=100)
    assert make_plan(over).notes == ()


def test_with_every_node_drained_all_stay_and_serve() -> None:
    snapshot = drained(on_three(), "fra-n1", "fra-n2", "fra-n3")
    plan = make_plan(snapshot)
    assert plan.steps == ()
    assert {(note.about, note.reason) for note in plan.notes} == {
        ("web.fra.1", Reason.ALL_DRAINED),
        ("web.fra.2", Reason.ALL_DRAINED),
    }


def test_one_replica_of_a_service_after_the_other() -> None:
    two = make_service(make_spec(replicas=2, max_per_node=2))
    snapshot = make_snapshot(
        make_platform({"fra": 2}),
        (two,),
        (
            make_allocation("web.fra.1-1", "fra-n1"),
            make_allocation("web.fra.2-1", "fra-n1", slot=2),
        ),
    )
    snapshot = drained(snapshot, "fra-n1")
    assert told(make_plan(snapshot)) == ["start web.fra.1-2 fra-n2 node-drained"]
    end = settle(snapshot)
    assert {a.node for a in end.allocations.values()} == {"fra-n2"}


@pytest.mark.parametrize("contact", [Contact.LOST, Contact.UNKNOWN])
def test_a_node_out_of_contact_is_not_emptied_as_drained(contact: Contact) -> None:
    plan = make_plan(drained(on_three(n1=contact), "fra-n1"))
    assert Reason.NODE_DRAINED not in {step.reason for step in plan.steps}


def test_a_drain_that_ends_takes_back_what_it_began() -> None:
    snapshot = drained(on_three(), "fra-n1")
    begun = executed(snapshot, make_plan(snapshot).steps)
    back = replace(begun, interventions=Interventions())
    assert told(make_plan(back)) == ["stop web.fra.1-2 fra-n3 not-needed-any-more"]


def test_a_move_towards_a_node_that_is_drained_is_given_up() -> None:
    moving = executed(
        snapshot := drained(on_three(), "fra-n1"),
        make_plan(drained(on_three(), "fra-n1")).steps,
    )
    assert len(moving.allocations) == len(snapshot.allocations) + 1
    elsewhere = drained(moving, "fra-n3")
    assert told(make_plan(elsewhere)) == ["stop web.fra.1-2 fra-n3 not-needed-any-more"]


def test_a_new_version_waits_for_a_drain_and_comes_with_it() -> None:
    newer = make_service(WEB.spec, version=2)
    snapshot = drained(replace(on_three(), services={"web": newer}), "fra-n1")
    plan = make_plan(snapshot)
    assert told(plan) == ["start web.fra.1-2 fra-n3 node-drained"]
    assert plan.steps[0].allocation.version == 2
    end = settle(snapshot)
    assert {a.version for a in end.allocations.values()} == {2}


def test_a_broken_copy_moves_too() -> None:
    snapshot = drained(on_three(), "fra-n1")
    broken = MachineStatus(
        machine="fra-n1",
        instances=(InstanceStatus(allocation="web.fra.1-1", phase=Phase.BACKOFF),),
    )
    snapshot = replace(snapshot, statuses={**snapshot.statuses, "fra-n1": broken})
    assert told(make_plan(snapshot)) == ["start web.fra.1-2 fra-n3 node-drained"]
