"""Whose leases are to end before their time: of instances that are known to be dead. Pure."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from pltfrms.model.running.plan import Allocation
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.model.services.members import member_of
from pltfrms.model.services.service import Service

_Replica = tuple[str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """An instance that may have leases in its service's part of the store."""

    service: str
    allocation: str
    node: str
    addresses: tuple[str, ...]
    """From which it asks, as text."""


def holder_of(snapshot: Snapshot, machine: str, allocation: str) -> Holder | None:
    """Return who that is, if it is one of this machine whose leases are to end with it."""
    found = snapshot.allocations.get(allocation)
    if found is None or found.node != machine:
        return None
    others = (each for each in snapshot.allocations.values() if each.id != allocation)
    return _holder(snapshot, found, frozenset(map(_replica, others)))


def dead_holders(snapshot: Snapshot) -> Iterator[Holder]:
    """Yield those on machines that are lost: not on those of which nothing is known.

    Some machines are lost by their heartbeats alone (`evidence`): who is there may live.
    """
    lost = {name for name, view in snapshot.machines.items() if view.contact is Contact.LOST}
    if not lost:
        return
    ending = {name for name, each in snapshot.services.items() if ends_leases(each)}
    allocations = [a for a in snapshot.allocations.values() if a.service in ending]
    elsewhere = frozenset(_replica(each) for each in allocations if each.node not in lost)
    for each in allocations:
        if each.node in lost:
            holder = _holder(snapshot, each, elsewhere)
            if holder:
                yield holder


def _holder(
    snapshot: Snapshot, allocation: Allocation, elsewhere: AbstractSet[_Replica]
) -> Holder | None:
    """Return one with the addresses that are its own: not who is `elsewhere`, too, has them."""
    service = snapshot.services.get(allocation.service)
    platform = snapshot.platform
    node = next((each for each in platform.machines if each.name == allocation.node), None)
    if service is None or node is None or not ends_leases(service):
        return None
    addresses = [
        platform.instance6(node, service.id, allocation.slot),
        platform.instance4(node, allocation.slot),
    ]
    if allocation.volume and _replica(allocation) not in elsewhere:  # it speaks from them
        place = (allocation.datacenter, allocation.replica)
        member = member_of(platform, service.id, service.numbers4, place)
        addresses += (member.address6, member.address4)
    return Holder(
        service=service.name,
        allocation=allocation.id,
        node=allocation.node,
        addresses=tuple(str(each) for each in addresses if each),
    )


def ends_leases(service: Service) -> bool:
    """Return whether leases of its instances are to end with them."""
    store = service.spec.run.store
    return store is not None and store.end_leases


def _replica(allocation: Allocation) -> _Replica:
    return allocation.service, allocation.datacenter, allocation.replica
