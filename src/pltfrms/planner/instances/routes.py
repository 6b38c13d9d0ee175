"""Decide which routes to instances a node has in its service table."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from ipaddress import ip_network
from typing import Final

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.topology import Role
from pltfrms.model.running.machine import (
    PROTO_ACTIVE,
    PROTO_BACKUP,
    PROTO_DRAINING,
    PROTO_REACHABLE,
    SERVICE_TABLE,
    Nexthop,
    Route,
)
from pltfrms.model.running.plan import Allocation, Target
from pltfrms.model.running.volumes import generation_of
from pltfrms.model.services.egress import sources
from pltfrms.model.services.roles import claim_of
from pltfrms.model.services.service import Service
from pltfrms.planner.instances.instances import (
    INSTANCE_LINK_LOCAL,
    instance_device,
    member_at,
)

MAX_METRIC: Final = 256
"""BIRD takes the metric as the node's ECMP weight, which ends here."""
_BEST_FIRST: Final = (PROTO_ACTIVE, PROTO_BACKUP, PROTO_DRAINING)


def service_routes(
    target: Target,
    ready: AbstractSet[str],
    attached: AbstractSet[str],
    draining: AbstractSet[str] = frozenset(),
    balanced: AbstractSet[str] | None = None,
    standing_by: AbstractSet[str] = frozenset(),
) -> tuple[Route, ...]:
    """Return the routes of table 100, sorted.

    Per service prefix one route over its instances in `ready`, whose metric is the node's
    weight: the sum of theirs, at most 256. Where none is ready, one over those that are
    `standing_by`, and without those over those in `draining`, which says so. Per instance in
    `attached` (it runs and has its network) one route to each of its unicast addresses; the
    protocol number of the IPv6 one says whether it is ready, standing by, draining or only
    reachable, and nothing else of it changes with that, so that the kernel replaces it in
    place. All of them are sets of allocation ids; those that the target does not know are left
    out, and who is ready is nothing else.

    `balanced` are the devices of instances that can take off an outer header: to all others
    no director may send, so they are only reachable. None: all can.
    """
    services = {service.name: service for service in target.services}
    states = zip(reversed(_BEST_FIRST), (draining, standing_by, ready), strict=True)
    protos = {name: proto for proto, some in states for name in some}
    routes: list[Route] = []
    for name, service in sorted(services.items()):
        mine = [each for each in target.allocations if each.service == name]
        routes += _prefix_routes(service, mine, protos)
        for allocation in mine:
            if allocation.id in attached:
                proto = protos.get(allocation.id, PROTO_REACHABLE)
                if balanced is not None and instance_device(allocation.slot) not in balanced:
                    proto = PROTO_REACHABLE
                routes += _unicast_routes(target, service, allocation, proto)
    return tuple(sorted(routes, key=lambda route: (route.prefix.version, route.prefix)))


def role_routes(
    target: Target, attached: AbstractSet[str], held: Mapping[tuple[str, str], int]
) -> tuple[Route, ...]:
    """Return the routes of table 100 to roles, sorted.

    `held` has the claim of each allocation that has a role of a name, 0 if the role is shared.
    Nobody drains or stands by: a role is there or it is not.
    """
    routes: list[Route] = []
    for service in target.services:
        for role in service.roles:
            mine = [
                each
                for each in target.allocations
                if each.service == service.name
                and each.id in attached
                and (each.id, role.name) in held
            ]
            claim = max((held[each.id, role.name] for each in mine), default=0)
            protos = {each.id: PROTO_ACTIVE for each in mine}
            found = (_prefix_route(service, each, mine, protos) for each in role.prefixes)
            routes += (replace(each, metric=claim or each.metric) for each in found if each)
    return tuple(sorted(routes, key=lambda route: (route.prefix.version, route.prefix)))


def member_routes(
    target: Target, attached: AbstractSet[str], heard: Mapping[str, int]
) -> tuple[Route, ...]:
    """Return the routes of table 100 to members of services, sorted.

    An instance in `attached` has the addresses of its replica for as long as it is there, ready
    or not, and its service is known. Its claim is the generation of its volume: of two nodes
    with one replica the newer one wins everywhere, and the older one gives way when it hears of
    that. `heard` are the highest claims of others, by prefix.
    """
    found: dict[Prefix, Route] = {}
    for allocation, prefix, claim in _claims(target):
        before = found[prefix].metric if prefix in found else heard.get(str(prefix), 0)
        if allocation.id in attached and claim > before:
            hops = (_nexthop(allocation, 1),)
            found[prefix] = _route(prefix, PROTO_ACTIVE, claim, hops)
    return tuple(sorted(found.values(), key=lambda route: (route.prefix.version, route.prefix)))


def member_claims(target: Target) -> Iterator[tuple[str, tuple[str, int]]]:
    """Yield each address that a replica here has for life, with its allocation and claim."""
    for allocation, prefix, claim in _claims(target):
        yield str(prefix), (allocation.id, claim)


def _claims(target: Target) -> Iterator[tuple[Allocation, Prefix, int]]:
    platform = target.platform
    services = {service.name: service for service in target.services}
    known = {service.id for service in target.balanced}
    node = platform.machine(target.machine)
    place = (platform.datacenter(node.datacenter).id, node.id_as(Role.NODE))
    for allocation in target.allocations:
        service = services.get(allocation.service)
        if service is None or service.id not in known:
            continue
        member = member_at(platform, service, allocation)
        for prefix in member.prefixes if member else ():
            yield allocation, prefix, claim_of(generation_of(allocation.volume), *place)


def _prefix_routes(
    service: Service, mine: list[Allocation], protos: Mapping[str, int]
) -> Iterator[Route]:
    """Yield the routes to the service over the best of its instances that may serve.

    An instance from before the service got a prefix has it not, and is no way to it.
    """
    for prefix in service.prefixes:
        have = [each for each in mine if prefix in service.prefixes_at(each.version)]
        route = _prefix_route(service, prefix, have, protos)
        if route:
            yield route


def _prefix_route(
    service: Service, prefix: Prefix, mine: list[Allocation], protos: Mapping[str, int]
) -> Route | None:
    known = {protos[allocation.id] for allocation in mine if allocation.id in protos}
    if not known:
        return None
    best = min(known, key=_BEST_FIRST.index)
    serving = [allocation for allocation in mine if protos.get(allocation.id) == best]
    weight = service.spec.weight
    # One nexthop alone has no weight in the kernel; saying 1 makes ours equal to its answer.
    share = weight if len(serving) > 1 else 1
    nexthops = tuple(sorted(_nexthop(allocation, share) for allocation in serving))
    metric = min(MAX_METRIC, weight * len(serving))
    return _route(prefix, best, metric, nexthops)


def _unicast_routes(
    target: Target, service: Service, allocation: Allocation, proto: int
) -> Iterator[Route]:
    """Return the routes to one instance; only the IPv6 one travels, IPv4 has no director.

    To its addresses towards the internet the unicast prefix of the node leads. What others
    start has none but the one by which directors find it.
    """
    node = target.platform.machine(allocation.node)
    address4 = target.platform.instance4(node, allocation.slot)
    address6 = target.platform.instance6(node, service.id, allocation.slot)
    weight, nexthops = service.spec.weight, (_nexthop(allocation, 1),)
    if address4 and service.spec.run.adopted is None:
        yield _route(ip_network(address4), PROTO_REACHABLE, weight, nexthops)
    yield _route(ip_network(address6), proto, weight, nexthops)
    for address in sources(target.platform, service.spec, node, allocation.slot).own:
        yield _route(ip_network(address), PROTO_REACHABLE, weight, nexthops)


def _nexthop(allocation: Allocation, weight: int) -> Nexthop:
    device = instance_device(allocation.slot)
    return Nexthop(device=device, via=INSTANCE_LINK_LOCAL, weight=weight)


def _route(prefix: Prefix, proto: int, metric: int, nexthops: tuple[Nexthop, ...]) -> Route:
    return Route(
        prefix=prefix,
        table=SERVICE_TABLE,
        proto=proto,
        metric=metric,
        nexthops=nexthops,
    )
