"""Decide which routes to instances a node has in its service table."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from ipaddress import ip_network
from typing import Final

from pltfrms.model.addresses import Prefix
from pltfrms.model.machine import PROTO_ACTIVE, SERVICE_TABLE, Nexthop, Route
from pltfrms.model.plan import Allocation, Target
from pltfrms.model.service import Service
from pltfrms.planner.instances import INSTANCE_LINK_LOCAL, instance_device

MAX_METRIC: Final = 256
"""BIRD takes the metric as the node's ECMP weight, which ends here."""


def service_routes(
    target: Target, ready: AbstractSet[str], attached: AbstractSet[str]
) -> tuple[Route, ...]:
    """Return the routes of table 100, sorted.

    Per service prefix one route over its instances in `ready`, whose metric is the node's
    weight: the sum of theirs, at most 256. Per instance in `attached` (it runs and has its
    network) one route to each of its unicast addresses. Both are sets of allocation ids;
    those that the target does not know are left out.
    """
    services = {service.name: service for service in target.services}
    routes: list[Route] = []
    for name, service in sorted(services.items()):
        mine = [each for each in target.allocations if each.service == name]
        routes += _prefix_routes(service, [each for each in mine if each.id in ready])
        for allocation in mine:
            if allocation.id in attached:
                routes += _unicast_routes(target, service, allocation)
    return tuple(sorted(routes, key=lambda route: (route.prefix.version, route.prefix)))


def _prefix_routes(service: Service, ready: list[Allocation]) -> Iterator[Route]:
    if not ready:
        return
    weight = service.spec.weight
    # One nexthop alone has no weight in the kernel; saying 1 makes ours equal to its answer.
    share = weight if len(ready) > 1 else 1
    nexthops = tuple(sorted(_nexthop(allocation, share) for allocation in ready))
    for prefix in service.prefixes:
        yield _route(prefix, min(MAX_METRIC, weight * len(ready)), nexthops)


def _unicast_routes(
    target: Target, service: Service, allocation: Allocation
) -> Iterator[Route]:
    node = target.platform.machine(allocation.node)
    for address in (
        target.platform.instance4(node, allocation.slot),
        target.platform.instance6(node, service.id, allocation.slot),
    ):
        yield _route(ip_network(address), 1, (_nexthop(allocation, 1),))


def _nexthop(allocation: Allocation, weight: int) -> Nexthop:
    device = instance_device(allocation.slot)
    return Nexthop(device=device, via=INSTANCE_LINK_LOCAL, weight=weight)


def _route(prefix: Prefix, metric: int, nexthops: tuple[Nexthop, ...]) -> Route:
    return Route(
        prefix=prefix,
        table=SERVICE_TABLE,
        proto=PROTO_ACTIVE,
        metric=metric,
        nexthops=nexthops,
    )
