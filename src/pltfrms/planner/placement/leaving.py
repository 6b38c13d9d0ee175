"""Stop what the spec does not want any more."""

from collections.abc import Iterator

from pltfrms.model.running.plan import Allocation, Reason
from pltfrms.model.services.service import Service
from pltfrms.planner.placement.draft import Draft


def stop_unwanted(draft: Draft) -> None:
    """Stop allocations of deleted services, left datacenters and surplus replicas."""
    for name, datacenter in sorted(draft.unsettled):
        service = draft.snapshot.services.get(name)
        if service is None or not service.spec.total:
            for _, allocations, reason in tuple(_unwanted(draft, service, name, datacenter)):
                for allocation in tuple(allocations):
                    draft.stop(allocation, reason)
    for name in sorted({name for name, _ in draft.unsettled}):
        service = draft.snapshot.services.get(name)
        if service is not None and service.spec.total:
            _shift(draft, service)


def _unwanted(
    draft: Draft, service: Service | None, name: str, datacenter: str
) -> Iterator[tuple[int, list[Allocation], Reason]]:
    """Yield the replicas of a datacenter that are not wanted, and why."""
    wanted = draft.wanted(service) if service else {}
    for replica, allocations in sorted(draft.replicas(name, datacenter).items()):
        if service is None:
            yield replica, allocations, Reason.SERVICE_DELETED
        elif datacenter not in wanted:
            yield replica, allocations, Reason.DATACENTER_LEFT
        elif replica > wanted[datacenter]:
            yield replica, allocations, Reason.SCALED_DOWN


def _shift(draft: Draft, service: Service) -> None:
    """Stop what a total does not want where it is, as long as so many serve elsewhere.

    When shares change, as with a new datacenter, the others serve until the new ones do.
    """
    here = [site for site in tuple(draft.sites()) if site[0] == service.name]
    serving = {
        (datacenter, replica)
        for _, datacenter in here
        for replica, allocations in draft.replicas(service.name, datacenter).items()
        if any(map(draft.ready, allocations))
    }
    for _, datacenter in here:
        surplus = tuple(_unwanted(draft, service, service.name, datacenter))
        for replica, allocations, reason in reversed(surplus):
            if (datacenter, replica) in serving:
                if len(serving) <= service.spec.total:
                    continue
                serving.remove((datacenter, replica))
            for allocation in tuple(allocations):
                draft.stop(allocation, reason)
