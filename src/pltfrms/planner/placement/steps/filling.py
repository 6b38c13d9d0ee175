"""Give a node to every wanted replica that nothing runs."""

from pltfrms.model.running.plan import Allocation, Reason
from pltfrms.model.services.service import Service
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.drafting.keeping import place_by_volume
from pltfrms.planner.placement.drafting.loss import is_braked, may_be_moved
from pltfrms.planner.placement.drafting.placement import Wish, place


def fill_replicas(draft: Draft) -> None:
    """Place new replicas, and replacements for those whose node is lost or removed."""
    for _, service in sorted(draft.snapshot.services.items()):
        for datacenter, count in draft.wanted(service).items():
            if (service.name, datacenter) in draft.unsettled:
                _fill(draft, service, datacenter, count)


def _fill(draft: Draft, service: Service, datacenter: str, count: int) -> None:
    braked = is_braked(draft, datacenter)
    for replica in range(1, count + 1):
        allocations = draft.replicas(service.name, datacenter).get(replica, [])
        reason = _why(draft, allocations)
        held = braked and not may_be_moved(draft, allocations)
        if reason is None or (reason is Reason.NODE_LOST and held):
            continue
        wish = Wish(
            service=service,
            version=service.version_for(datacenter, replica),
            datacenter=datacenter,
            replica=replica,
            reason=reason,
            replaces=allocations[-1] if allocations else None,
        )
        if draft.held(wish.about) and wish.keeps:
            place_by_volume(draft, wish, allocations)
        else:
            place(draft, wish)


def _why(draft: Draft, allocations: list[Allocation]) -> Reason | None:
    """Return why a replica needs an allocation; None while one may still be alive."""
    troubles = [draft.trouble(allocation) for allocation in allocations]
    if None in troubles:
        return None
    return troubles[-1] if troubles else Reason.NEW_REPLICA
