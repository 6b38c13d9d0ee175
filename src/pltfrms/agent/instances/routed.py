"""What the routes of a node to its instances are made of, and they themselves."""

from dataclasses import replace

from pltfrms.model.running.machine import PROTO_BACKUP, Route
from pltfrms.model.running.plan import Allocation, Target
from pltfrms.model.services.service import Service
from pltfrms.planner.instances.routes import member_routes, role_routes, service_routes

Driven = tuple[str, Allocation | None, Service | None]
Others = tuple[
    frozenset[int], frozenset[tuple[tuple[str, str], int]], frozenset[tuple[str, int]]
]
"""Services that are left to other datacenters, roles that nobody has there, and who claims
addresses of replicas here elsewhere."""
MadeOf = tuple[
    Target,
    frozenset[str],
    tuple[Driven, ...],
    frozenset[str],
    tuple[frozenset[str], ...],
    Others,
]


def routes_of(
    target: Target,
    balanced: frozenset[str],
    driven: tuple[Driven, ...],
    attached: frozenset[str],
    told: tuple[frozenset[str], ...],
    others: Others,
) -> tuple[Route, ...]:
    """Return the routes of table 100.

    `told` are the allocations that are ready, stand by, and drain; `attached` have a network.
    """
    known = {service.name: service for _, _, service in driven if service is not None}
    # An edge is told of services that do not run here, too, and not how they do.
    here = {allocation.service for allocation in target.allocations}
    known |= {service.name: service for service in target.services if service.name in here}
    allocations = tuple(allocation for _, allocation, _ in driven if allocation is not None)
    seen = replace(target, allocations=allocations, services=tuple(known.values()))
    (ready, standing_by, draining), (elsewhere, held, heard) = told, others
    better = {
        prefix for each in known.values() if each.id in elsewhere for prefix in each.prefixes
    }
    return tuple(
        route
        for route in (
            *service_routes(seen, ready, attached, draining, balanced, standing_by),
            *role_routes(seen, attached, dict(held)),
            *member_routes(seen, attached, dict(heard)),
        )
        if route.proto != PROTO_BACKUP or route.prefix not in better
    )
