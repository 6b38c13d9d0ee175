"""Who has which role of a service, as nodes report it. Pure."""

from collections.abc import Iterator, Mapping

from pltfrms.model.running.plan import Allocation
from pltfrms.model.running.state import Contact, RoleState, RoleStatus, Snapshot


def roles_of(snapshot: Snapshot, service: str) -> Iterator[tuple[Allocation, RoleStatus]]:
    """Yield what each allocation of a service is to each of its roles, as far as known."""
    for name, allocation in _allocations(snapshot, service):
        if instance := snapshot.instance(name):
            yield from ((allocation, status) for status in instance.roles)


def is_held(pair: tuple[Allocation, RoleStatus]) -> bool:
    """Return whether an allocation has a role, as it said last."""
    return pair[1].state is RoleState.HELD


def last_of(snapshot: Snapshot) -> frozenset[str]:
    """Return the allocations with a volume that have a role which one alone may have.

    What is planned comes to them after all others of their service.
    """
    return frozenset(
        each.allocation
        for status in snapshot.statuses.values()
        for each in status.instances
        if any(role.is_alone for role in each.roles)
        and (one := snapshot.allocations.get(each.allocation))
        and one.volume
    )


def sites_of_holders(snapshot: Snapshot, service: str) -> frozenset[str]:
    """Return the datacenters of those of a service."""
    every = (snapshot.allocations[each] for each in last_of(snapshot))
    return frozenset(each.datacenter for each in every if each.service == service)


def held_up_of(snapshot: Snapshot) -> Mapping[str, Mapping[str, str]]:
    """Return who holds up what is planned, and why, by service; also who is to end."""
    found: dict[str, dict[str, str]] = {}
    for machine, status in sorted(snapshot.statuses.items()):
        for each in status.instances if snapshot.contact(machine) is Contact.PRESENT else ():
            if each.held_up:
                service = each.allocation.partition(".")[0]
                found.setdefault(service, {})[each.allocation] = each.held_up
    return found


def holders(
    snapshot: Snapshot, service: str, role: str
) -> tuple[tuple[Allocation, RoleStatus], ...]:
    """Return who has a role and is heard of; nobody: see `unheard`."""
    return tuple(
        pair
        for pair in roles_of(snapshot, service)
        if pair[1].role == role
        and is_held(pair)
        and snapshot.contact(pair[0].node) is not Contact.LOST
    )


def unheard(snapshot: Snapshot, service: str, role: str) -> tuple[str, ...]:
    """Return the allocations of which it is not known whether they have a role now."""
    known = {
        allocation.id
        for allocation, status in roles_of(snapshot, service)
        if status.role == role and snapshot.contact(allocation.node) is Contact.PRESENT
    }
    return tuple(name for name, _ in _allocations(snapshot, service) if name not in known)


def _allocations(snapshot: Snapshot, service: str) -> list[tuple[str, Allocation]]:
    """Return the allocations of a service, by name."""
    found = (item for item in snapshot.allocations.items() if item[1].service == service)
    return sorted(found, key=lambda item: item[0])
