"""Whether the replicas that are left after a loss can do what they are to do. Pure."""

from collections import Counter
from collections.abc import Iterator

from pltfrms.model.running.foresight import CountForesight, Gap
from pltfrms.model.services.service import Service
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.redundancy.loads import Loads


def too_few_answer(draft: Draft, loads: Loads) -> Iterator[Gap]:
    """Yield the services that cannot do what they have to without one node or datacenter.

    Of a lost node until its replicas run elsewhere; what a lost datacenter had is placed
    nowhere else. A replica counts if it is placed and wanted: whether it is ready now is no
    matter of what is wanted.
    """
    for name, service in sorted(draft.snapshot.services.items()):
        if any(load.used for load in loads.get(name, ())):
            yield from _without_one(name, *_placed(draft, service), loads)


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
    name: str, sites: Counter[str], nodes: Counter[str], loads: Loads
) -> Iterator[Gap]:
    losses = {f"node/{node}": count for node, count in sorted(nodes.items())}
    losses |= {f"datacenter/{site}": count for site, count in sites.items()}
    every = sites.total()
    for load in loads[name]:
        for lost, count in losses.items():
            left = every - count
            missing = load.missing(left)
            if missing and left:
                yield Gap(
                    lost=lost,
                    about=f"service/{name}",
                    why=load.shortfall(left),
                    kind=load.kind,
                    missing=missing,
                )


def too_few_then(loads: Loads, counts: tuple[CountForesight, ...]) -> Iterator[str]:
    """Yield the services that cannot do what they have to with what is ready in the end."""
    ready = _ready(counts)
    for name, some in sorted(loads.items()):
        for load in some:
            if said := load.shortfall(ready[name]):
                yield f"service/{name}: {said}"


def not_known_then(loads: Loads, counts: tuple[CountForesight, ...]) -> Iterator[str]:
    """Yield of what services have to do, nobody knows how much that is."""
    ready = _ready(counts)
    for name, some in sorted(loads.items()):
        for load in some:
            if load.used is None and ready[name] and not load.batch:
                left = f"whether the {ready[name]} replicas left are enough"
                yield f"service/{name}: {left}: {load.words}"


def _ready(counts: tuple[CountForesight, ...]) -> Counter[str]:
    ready = Counter[str]()
    for each in counts:
        ready[each.service] += each.settled
    return ready
