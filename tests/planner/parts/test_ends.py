"""Whose leases end before their time."""

from dataclasses import replace

import pytest

from pltfrms.model.running.plan import Allocation
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.model.services.parts import StoreUse
from pltfrms.model.services.service import Service
from pltfrms.planner.parts.ends import dead_holders, holder_of
from tests.strategies import (
    make_allocation,
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
)

PLATFORM = make_platform({"fra": 2, "ams": 2})
ONE = replace(make_allocation("db.fra.1-3", "fra-n1", slot=4), volume="db.fra.1@3")
OTHER = make_allocation("db.ams.1-1", "ams-n1")


def having(*, end: bool = True) -> Service:
    spec = make_spec("db")
    store = StoreUse(secret="db", end_leases=end)  # noqa: S106 (a name)
    return make_service(replace(spec, run=replace(spec.run, store=store)), 7)


def seen(
    contacts: dict[str, Contact], *more: Allocation, service: Service | None = None
) -> Snapshot:
    return make_snapshot(PLATFORM, (service or having(),), (ONE, OTHER, *more), contacts)


def test_those_on_a_lost_machine_have_theirs_ended_wherever_they_asked_from() -> None:
    (holder,) = dead_holders(seen({"fra-n1": Contact.LOST}))
    assert (holder.service, holder.allocation) == ("db", ONE.id)
    assert own(ONE) < set(holder.addresses)
    assert [each for each in holder.addresses if each.endswith(":0:7:0:1")]  # that for life


@pytest.mark.parametrize("contact", [Contact.UNKNOWN, Contact.PRESENT])
def test_silence_alone_ends_nothing(contact: Contact) -> None:
    assert not list(dead_holders(seen({"fra-n1": contact})))


def test_who_did_not_ask_for_it_keeps_them() -> None:
    quiet = having(end=False)
    assert not list(dead_holders(seen({"fra-n1": Contact.LOST}, service=quiet)))
    assert holder_of(seen({}, service=quiet), "fra-n1", ONE.id) is None
    web = make_service(make_spec("db"), 7)
    assert not list(dead_holders(seen({"fra-n1": Contact.LOST}, service=web)))


BEGUN = replace(ONE, id="db.fra.1-4", number=4, node="fra-n2", volume="db.fra.1@4")


def own(allocation: Allocation) -> set[str]:
    node = PLATFORM.machine(allocation.node)
    slot = allocation.slot
    return {str(PLATFORM.instance6(node, 7, slot)), str(PLATFORM.instance4(node, slot))}


def test_who_began_anew_elsewhere_has_the_same_address_and_keeps_what_it_has() -> None:
    (holder,) = dead_holders(seen({"fra-n1": Contact.LOST}, BEGUN))
    assert (holder.allocation, set(holder.addresses)) == (ONE.id, own(ONE))


def test_an_agent_that_has_not_heard_of_it_speaks_for_what_is_its_own_alone() -> None:
    holder = holder_of(seen({}, BEGUN), "fra-n1", ONE.id)
    assert holder
    assert set(holder.addresses) == own(ONE)


def test_who_is_replaced_already_has_its_leases_ended_all_the_same() -> None:
    plain = replace(ONE, volume="")
    begun = replace(BEGUN, volume="", replaces=plain.id)
    snapshot = make_snapshot(PLATFORM, (having(),), (plain, begun), {"fra-n1": Contact.LOST})
    (holder,) = dead_holders(snapshot)
    assert (holder.allocation, set(holder.addresses)) == (plain.id, own(plain))


def test_a_machine_speaks_for_its_own_instances_alone() -> None:
    now = seen({})
    assert holder_of(now, "fra-n1", ONE.id)
    assert holder_of(now, "fra-n2", ONE.id) is None
    assert holder_of(now, "fra-n1", "db.fra.9-9") is None
