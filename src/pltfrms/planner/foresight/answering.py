"""Whether the replicas that are left after a loss can answer what they are to answer. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping

from pltfrms.model.running.foresight import CountForesight, Gap
from pltfrms.model.services.service import Service
from pltfrms.planner.placement.draft import Draft


def too_few_answer(draft: Draft) -> Iterator[Gap]:
    """Yield the services that cannot answer their load without one node or datacenter.

    Of a lost node until its replicas run elsewhere; what a lost datacenter had is placed
    nowhere else. A replica counts if it is placed and wanted: whether it is ready now is no
    matter of what is wanted.
    """
    for name, service in sorted(draft.snapshot.services.items()):
        if service.spec.capacity is not None:
            yield from _without_one(service, *_placed(draft, service), name)


def _placed(draft: Draft, service: Service) -> tuple[Counter[str], Counter[str]]:
    """Count replicas by datacenter, and those that one node alone has by node."""
    sites, nodes = Counter[str](), Counter[str]()
    for site in draft.wanted(service):
        for allocations in draft.kept(service, site).values():
            holders = {each.node for each in allocations if not draft.trouble(each)}
            sites[site] += bool(holders)
            nodes.update(holders if len(holders) == 1 else ())
    return sites, nodes


def _without_one(
    service: Service, sites: Counter[str], nodes: Counter[str], name: str
) -> Iterator[Gap]:
    losses = {f"node/{node}": count for node, count in sorted(nodes.items())}
    losses |= {f"datacenter/{site}": count for site, count in sites.items()}
    for lost, count in losses.items():
        left = sites.total() - count
        said, missing = shortfall(service, left), _missing(service, left)
        if said and left:
            about = f"service/{name}"
            yield Gap(lost=lost, about=about, why=said, answered=True, missing=missing)


def _missing(service: Service, left: int) -> int:
    capacity = service.spec.capacity
    return max(0, capacity.load - left * capacity.requests) if capacity else 0


def shortfall(service: Service, left: int) -> str:
    """Say how much so many replicas of a service cannot answer; empty: all, or not known."""
    capacity = service.spec.capacity
    if capacity is None or not _missing(service, left):
        return ""
    can = left * capacity.requests
    return f"the {left} replicas left answer {can} of {capacity.load} requests/s"


def too_few_then(
    services: Mapping[str, Service], counts: tuple[CountForesight, ...]
) -> Iterator[str]:
    """Yield the services that cannot answer their load with what is ready in the end."""
    ready = Counter[str]()
    for each in counts:
        ready[each.service] += each.settled
    for name, service in sorted(services.items()):
        if said := shortfall(service, ready[name]):
            yield f"service/{name}: {said}"
