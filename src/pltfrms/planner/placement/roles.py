"""Who has which role of a service, as nodes report it. Pure."""

from collections.abc import Iterator

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
