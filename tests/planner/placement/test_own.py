"""Instances with an address of their own have slots that have one."""

from dataclasses import replace
from ipaddress import ip_network

from pltfrms.model.messages.api import Change
from pltfrms.model.network.numbering import Numbering
from pltfrms.model.network.topology import Aggregate, Platform
from pltfrms.model.running.plan import Plan, Reason
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.egress import sources
from pltfrms.model.services.outgoing import Egress, EgressMode
from pltfrms.model.services.service import ServiceSpec
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.plan import make_plan
from tests.planner.world import settle
from tests.strategies import (
    make_allocation,
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
)

FEW = Aggregate(prefix=ip_network("192.0.2.0/24"), unicast="fra", per_node=4)


def platform(*more: Aggregate) -> Platform:
    made = make_platform({"fra": 1}, cpu=200.0)
    return replace(made, aggregates=(*made.aggregates, FEW, *more))


def asks(mode: EgressMode | None, name: str = "web", replicas: int = 2) -> ServiceSpec:
    spec = make_spec(name, replicas, max_per_node=100)
    return replace(spec, egress=Egress(mode=mode))


def slots(plan: Plan) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for step in plan.steps:
        found.setdefault(step.allocation.service, []).append(step.allocation.slot)
    return found


def accepted(snapshot: Snapshot, *specs: ServiceSpec) -> Snapshot:
    return apply_change(snapshot, Change(services=specs)).snapshot


def test_who_asks_for_an_own_address_gets_a_slot_that_has_one_and_others_leave_them() -> None:
    start = make_snapshot(platform())
    found = accepted(start, asks(None, "a", 4), asks(EgressMode.OWN, "b", 3))
    plan = make_plan(found)
    assert slots(plan) == {"a": [4, 5, 6, 7], "b": [1, 2, 3]}
    assert not check_plan(found, plan)


def test_others_take_them_when_nothing_else_is_left() -> None:
    small = replace(platform(), numbering4=Numbering(nodes=10, instances=6))
    found = accepted(make_snapshot(small), asks(None, "a", 7))
    plan = make_plan(found)
    assert slots(plan) == {"a": [4, 5, 6, 1, 2, 3]}
    assert plan.notes[0].detail.endswith("and 0 slots free")


def test_where_there_is_none_left_it_is_said() -> None:
    plan = make_plan(accepted(make_snapshot(platform()), asks(EgressMode.OWN, replicas=4)))
    assert slots(plan) == {"web": [1, 2, 3]}
    (note,) = plan.notes
    assert note.reason is Reason.NO_CAPACITY
    assert "an address of its own; fra-n1 has" in note.detail
    assert note.detail.endswith("slots free, 0 with an own one")


def test_a_plan_that_gives_a_slot_without_one_is_unsound() -> None:
    found = accepted(make_snapshot(platform()), asks(EgressMode.OWN, replicas=1))
    plan = make_plan(found)
    step = plan.steps[0]
    wrong = replace(step, allocation=replace(step.allocation, slot=4))
    (said,) = check_plan(found, replace(plan, steps=(wrong,)))
    assert said == "web.fra.1-1: slot 4 of fra-n1 has no address of its own"


def test_a_running_service_that_asks_for_own_addresses_moves_to_slots_that_have_them() -> None:
    found = settle(accepted(make_snapshot(platform()), asks(None)))
    assert {each.slot for each in found.allocations.values()} == {4, 5}
    own = settle(accepted(found, asks(EgressMode.OWN)))
    assert {each.slot for each in own.allocations.values()} <= {1, 2, 3}
    for each in own.allocations.values():
        node = own.platform.machine(each.node)
        assert sources(own.platform, asks(EgressMode.OWN), node, each.slot).own4
    assert accepted(own, asks(EgressMode.OWN)) == own
    assert accepted(own, asks(None)).services["web"].version == own.services["web"].version


def test_with_ipv6_alone_every_slot_has_an_own_address() -> None:
    made = make_platform({"fra": 1}, cpu=200.0)
    six = Aggregate(prefix=ip_network("2001:db8:a::/48"), unicast="fra")
    found = make_snapshot(replace(made, aggregates=(*made.aggregates, six)))
    plan = make_plan(accepted(found, asks(EgressMode.OWN, replicas=5)))
    assert slots(plan) == {"web": [1, 2, 3, 4, 5]}


def test_an_allocation_from_before_may_stay_where_it_is() -> None:
    service = make_service(asks(EgressMode.OWN, replicas=1))
    old = make_allocation("web.fra.1-1", "fra-n1", slot=200)
    assert not make_plan(make_snapshot(platform(), (service,), (old,))).steps
