"""What others start is announced where it is, and nowhere else."""

from dataclasses import replace

from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.model.services.container import Adopted
from pltfrms.model.services.service import Run, ServiceSpec
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.plan import make_plan
from tests.planner.placement.test_draining import drained
from tests.planner.placement.test_plan import told
from tests.planner.world import settle
from tests.strategies import (
    make_allocation,
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
)


def adopted(replicas: int, *nodes: str) -> ServiceSpec:
    run = Run(cpu=0.0, memory_bytes=0, adopted=Adopted())
    return replace(make_spec(replicas=replicas), run=run, nodes=nodes)


def on_three(spec: ServiceSpec, *nodes: str, **contacts: Contact) -> Snapshot:
    names = enumerate(nodes, 1)
    return make_snapshot(
        make_platform({"fra": 3}),
        (make_service(spec),),
        tuple(make_allocation(f"web.fra.{number}-1", node) for number, node in names),
        {f"fra-{name}": contact for name, contact in contacts.items()},
    )


def nodes_of(snapshot: Snapshot) -> set[str]:
    return {each.node for each in snapshot.allocations.values()}


def test_only_nodes_that_are_named_have_it() -> None:
    assert nodes_of(settle(on_three(adopted(2, "fra-n3", "fra-n2")))) == {"fra-n2", "fra-n3"}
    assert nodes_of(settle(on_three(adopted(3)))) == {"fra-n1", "fra-n2", "fra-n3"}


def test_nobody_takes_the_place_of_a_node_that_is_lost() -> None:
    spec = adopted(2, "fra-n1", "fra-n2")
    snapshot = on_three(spec, "fra-n1", "fra-n2", n1=Contact.LOST)
    plan = make_plan(snapshot)
    assert plan.steps == ()
    assert [note.reason for note in plan.notes] == [Reason.NO_NODE_WITHIN_SPREAD]
    spare = on_three(replace(spec, nodes=()), "fra-n1", "fra-n2", n1=Contact.LOST)
    assert told(make_plan(spare)) == ["start web.fra.1-2 fra-n3 node-lost"]


def test_a_drained_node_is_left_and_found_again() -> None:
    snapshot = drained(on_three(adopted(2, "fra-n1", "fra-n2"), "fra-n1", "fra-n2"), "fra-n1")
    plan = make_plan(snapshot)
    assert told(plan) == ["stop web.fra.1-1 fra-n1 node-drained"]
    assert check_plan(snapshot, plan) == ()
    left = settle(snapshot)
    assert nodes_of(left) == {"fra-n2"}
    back = settle(replace(left, interventions=replace(left.interventions, drains=())))
    assert nodes_of(back) == {"fra-n1", "fra-n2"}


def test_the_last_one_that_serves_stays() -> None:
    spec = adopted(2, "fra-n1", "fra-n2")
    snapshot = drained(on_three(spec, "fra-n1", "fra-n2"), "fra-n1", "fra-n2")
    assert nodes_of(settle(snapshot)) == {"fra-n1", "fra-n2"}
    alone = drained(on_three(spec, "fra-n1", "fra-n2", n2=Contact.LOST), "fra-n1")
    assert "fra-n1" in nodes_of(settle(alone))


def test_a_lint_refuses_to_stop_the_last_one_and_to_place_it_elsewhere() -> None:
    spec = adopted(2, "fra-n1", "fra-n2")
    good = drained(on_three(spec, "fra-n1", "fra-n2"), "fra-n1")
    plan = make_plan(good)
    ours = replace(make_spec(replicas=2), nodes=())
    for wrong in (
        drained(good, "fra-n1", "fra-n2"),
        replace(good, services={"web": make_service(ours)}),
    ):
        assert any("no other copy" in each for each in check_plan(wrong, plan))
    start = make_plan(on_three(adopted(2, "fra-n1", "fra-n2")))
    elsewhere = on_three(adopted(2, "fra-n2", "fra-n3"))
    assert any("is not named" in each for each in check_plan(elsewhere, start))


def test_it_is_withdrawn_and_never_restarted_whatever_its_probe_says() -> None:
    spec = adopted(2)
    assert spec.readiness.only_announces
    assert not make_spec().readiness.only_announces
