"""Bring replicas to the newest version: the new one first, one at a time."""

from collections.abc import Iterable

from pltfrms.model.running.plan import Allocation, Reason
from pltfrms.model.running.state import Contact
from pltfrms.model.services.service import Service
from pltfrms.planner.placement.draft import Draft
from pltfrms.planner.placement.placement import Wish, place


def roll_out(draft: Draft) -> None:
    """Replace at most one outdated allocation per service and datacenter."""
    for _, service in sorted(draft.snapshot.services.items()):
        for datacenter in draft.wanted(service):
            if (service.name, datacenter) not in draft.unsettled:
                continue
            old = _next(draft, service, datacenter)
            if old:
                wish = Wish(
                    service=service,
                    datacenter=datacenter,
                    replica=old.replica,
                    reason=Reason.NEW_VERSION,
                    replaces=old,
                )
                place(draft, wish)


def _next(draft: Draft, service: Service, datacenter: str) -> Allocation | None:
    """Return what to replace now.

    What is on a drained node gets the newest version when it moves. Of the others, what does
    not serve anyway comes first. What serves is touched only while all others
    serve; what may be lost is left to rescheduling. A replica that has no node (any more) is
    no reason to wait: perhaps only the new version fits.
    """
    replicas = draft.kept(service, datacenter)
    newest = [
        allocations[-1]
        for _, allocations in sorted(replicas.items())
        if allocations[-1].node in draft.nodes
    ]
    outdated = [
        allocation
        for allocation in newest
        if allocation.version < service.version
        and draft.contact(allocation.node) is Contact.PRESENT
        and allocation.node not in draft.drained_nodes
    ]
    if not outdated or is_replacing(replicas.values(), service):
        return None
    broken = [allocation for allocation in outdated if not draft.ready(allocation)]
    if broken:
        return broken[0]
    return outdated[0] if all(map(draft.ready, newest)) else None


def is_replacing(replicas: Iterable[list[Allocation]], service: Service) -> bool:
    """Return whether a replica of the newest version is about to replace another."""
    return any(
        len(allocations) > 1 and allocations[-1].version == service.version
        for allocations in replicas
    )
