"""Targets, explanations, and the lint of plans."""

from dataclasses import replace

import pytest

from pltfrms.errors import NotFoundError
from pltfrms.model.running.plan import Place, Plan, Reason, Stop
from pltfrms.model.running.state import AggregateStatus, Contact, MachineStatus, Snapshot
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.explain import explain_service
from tests.planner.targets import make_target
from tests.strategies import (
    make_allocation,
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
)

WEB = make_service(make_spec())
FIRST = make_allocation("web.fra.1-1", "fra-n1")


def one_of_two(**contacts: Contact) -> Snapshot:
    """Return a snapshot with one of two wanted replicas on two nodes."""
    by_name = {f"fra-{name}": contact for name, contact in contacts.items()}
    return make_snapshot(make_platform({"fra": 2}), (WEB,), (FIRST,), by_name)


def test_a_node_gets_its_own_and_an_edge_all_services() -> None:
    snapshot = one_of_two()
    node = make_target(snapshot, "fra-n1")
    assert (node.generation, node.allocations, node.services) == (7, (FIRST,), (WEB,))
    assert make_target(snapshot, "fra-n2").services == ()
    edge = make_target(snapshot, "fra-e1")
    assert (edge.allocations, [each.name for each in edge.services]) == ((), ["web"])
    with pytest.raises(NotFoundError, match="no machine 'fra-n9'"):
        make_target(snapshot, "fra-n9")


def test_explanation_says_where_why_and_what_is_missing() -> None:
    snapshot = one_of_two(n2=Contact.UNKNOWN)
    announced = AggregateStatus(
        prefix="198.51.100.0/24", announced=True, reason=Reason.LOCAL_SERVICE
    )
    edge = MachineStatus(machine="fra-e1", aggregates=(announced,))
    snapshot = replace(snapshot, statuses={**snapshot.statuses, "fra-e1": edge})
    text = "\n".join(explain_service(snapshot, "web"))
    assert "2 replicas wanted in each of fra" in text
    assert "web.fra.1-1: on fra-n1 because the spec wants this replica" in text
    assert "version 1; ready" in text
    assert "web.fra.2: cannot be placed: every node in contact already runs as many" in text
    assert "fra-e1: announces 198.51.100.0/24: services are healthy in this" in text
    with pytest.raises(NotFoundError, match="there are: web"):
        explain_service(snapshot, "wbe")


def test_explanation_names_the_brake_and_lost_contact() -> None:
    text = "\n".join(explain_service(one_of_two(n1=Contact.LOST, n2=Contact.LOST), "web"))
    assert "fra: so many nodes are out of contact at once" in text
    assert "the node is out of contact, so this is the last that is known" in text


SECOND = make_allocation("web.fra.2-1", "fra-n2")


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Place(allocation=replace(SECOND, node="fra-n1", slot=2), reason=SECOND.reason),
         "fra-n1 already has 1"),
        (Place(allocation=replace(SECOND, node="fra-n1"), reason=SECOND.reason),
         "slot 1 of fra-n1 is not free"),
        (Place(allocation=replace(SECOND, node="ams-n1"), reason=SECOND.reason),
         "is not a node of fra"),
        (Place(allocation=replace(SECOND, replica=3, id="web.fra.3-1"), reason=SECOND.reason),
         "replica 3 of 2"),
        (Place(allocation=replace(SECOND, version=2), reason=SECOND.reason), "version 2"),
        (Place(allocation=FIRST, reason=FIRST.reason), "the id is in use"),
        (Stop(allocation=FIRST, reason=Reason.REPLACEMENT_READY), "no other copy"),
        (Stop(allocation=FIRST, reason=Reason.SCALED_DOWN), "the spec wants the replica"),
        (Stop(allocation=FIRST, reason=Reason.SERVICE_DELETED), "which is not so"),
        (Stop(allocation=FIRST, reason=Reason.DATACENTER_LEFT), "names its datacenter"),
        (Stop(allocation=SECOND, reason=Reason.SCALED_DOWN), "not recorded"),
    ],
)  # fmt: skip
def test_the_lint_sees_a_bad_step(step: Place | Stop, words: str) -> None:
    problems = check_plan(one_of_two(), Plan(revision=7, steps=(step,)))
    assert any(words in problem for problem in problems), problems


def test_the_lint_sees_a_number_that_was_given_before() -> None:
    step = Place(allocation=SECOND, reason=SECOND.reason)
    snapshot = replace(one_of_two(), numbers={"web.fra.2": 1})
    problems = check_plan(snapshot, Plan(revision=7, steps=(step,)))
    assert problems == ("web.fra.2-1: the number does not rise",)


def test_the_lint_accepts_a_good_step_and_sees_a_stale_plan() -> None:
    step = Place(allocation=SECOND, reason=SECOND.reason)
    assert check_plan(one_of_two(), Plan(revision=7, steps=(step,))) == ()
    assert check_plan(one_of_two(), Plan(revision=6)) == ("plan is for revision 6, not 7",)
