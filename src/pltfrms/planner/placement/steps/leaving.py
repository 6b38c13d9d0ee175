"""Stop what the spec does not want any more."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from pltfrms.model.running.plan import Allocation, Reason
from pltfrms.model.services.service import Service
from pltfrms.planner.placement.drafting.draft import Draft


def stop_unwanted(draft: Draft) -> None:
    """Stop allocations of deleted services, left datacenters and surplus replicas."""
    unsettled: defaultdict[str, set[str]] = defaultdict(set)
    for name, datacenter in draft.unsettled:
        unsettled[name].add(datacenter)
    for name, datacenters in sorted(unsettled.items()):
        service = draft.snapshot.services.get(name)
        if service is not None and service.spec.total:
            _shift(draft, service, sorted({*draft.wanted(service), *datacenters}))
            continue
        for datacenter in sorted(datacenters):
            for _, allocations, reason in tuple(_unwanted(draft, service, name, datacenter)):
                for allocation in tuple(allocations):
                    draft.stop(allocation, reason)


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


def _shift(draft: Draft, service: Service, datacenters: Iterable[str]) -> None:
    """Stop what a total does not want where it is, as long as so many serve elsewhere.

    When shares change, as with a new datacenter, the others serve until the new ones do. So
    does what may serve for all we know; and what is ill, until so many others are no worse.
    """
    sites = {
        (datacenter, replica): allocations
        for datacenter in datacenters
        for replica, allocations in draft.replicas(service.name, datacenter).items()
    }
    serving = {site for site, copies in sites.items() if any(map(draft.ready, copies))}
    ill = {site for site, copies in sites.items() if any(map(draft.unwell, copies))}
    for datacenter in datacenters:
        surplus = tuple(_unwanted(draft, service, service.name, datacenter))
        for replica, allocations, reason in reversed(surplus):
            site = datacenter, replica
            may_serve = any(map(draft.may_serve, allocations))
            others = (serving if may_serve else serving | ill) - {site}
            if (may_serve or site in ill) and len(others) < service.spec.total:
                continue
            serving.discard(site)
            ill.discard(site)
            for allocation in tuple(allocations):
                draft.stop(allocation, reason)
