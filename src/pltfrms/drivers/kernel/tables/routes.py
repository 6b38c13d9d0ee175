"""What is to be changed to make a kernel's routes the wanted ones. Pure.

Shared by the kernel's driver and its twin in memory, so that both decide and speak alike.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from pltfrms.model.running.machine import PROTO_ACTIVE, PROTO_REACHABLE, Route

OUR_PROTOS: Final = range(PROTO_ACTIVE, PROTO_REACHABLE + 1)
_IPV6 = 6
_IPV6_DEFAULT_METRIC = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteChanges:
    """First put (add or replace), then delete: traffic always has a route."""

    put: tuple[Route, ...]
    delete: tuple[Route, ...]
    """In the opposite order: of what an instance had, its unique local address (RFC 4193) goes
    first, which is what directors follow."""
    missing: tuple[str, ...]
    """A sentence per nexthop that was left out because its device cannot be used."""


def compare(
    have: Iterable[Route], wanted: Iterable[Route], why_unusable: Callable[[str], str]
) -> RouteChanges:
    """Return what turns the routes `have` (all of our protocol numbers) into `wanted`.

    `why_unusable(device)` returns `` if the device can carry traffic, else the reason in
    words. A nexthop through such a device is left out, and a route without any other nexthop
    is not wanted: the kernel would keep it as `linkdown`, and BIRD would announce it.
    """
    missing: list[str] = []
    usable = {normal(route) for route in _usable(wanted, why_unusable, missing)}
    present = {normal(route) for route in have}
    put = usable - present
    replaced = {_key(route) for route in put}
    return RouteChanges(
        put=tuple(sorted(put, key=describe)),
        delete=tuple(
            sorted(
                (route for route in present - usable if _key(route) not in replaced),
                key=describe,
                reverse=True,
            )
        ),
        missing=tuple(missing),
    )


def normal(route: Route) -> Route:
    """Return the route as the kernel would show it.

    A single nexthop has no weight, nexthops have no order, and for IPv6 metric 0 is 1024.
    """
    nexthops = tuple(sorted(route.nexthops, key=str))
    if len(nexthops) == 1:
        nexthops = (replace(nexthops[0], weight=1),)
    metric = route.metric
    if route.prefix.version == _IPV6 and not metric:
        metric = _IPV6_DEFAULT_METRIC
    return replace(route, nexthops=nexthops, metric=metric)


def describe(route: Route) -> str:
    """Return the route in the words of `ip route`."""
    kind = "" if route.nexthops else "unreachable "
    where = "".join(
        (f" via {hop.via}" if hop.via else "")
        + f" dev {hop.device}"
        + (f" weight {hop.weight}" if len(route.nexthops) > 1 else "")
        for hop in route.nexthops
    )
    return (
        f"{kind}{route.prefix} table {route.table} proto {route.proto}"
        f" metric {route.metric}{where}"
    )


def _key(route: Route) -> tuple[int, str, int]:
    return (route.table, str(route.prefix), route.metric)


def _usable(
    wanted: Iterable[Route], why_unusable: Callable[[str], str], missing: list[str]
) -> Iterable[Route]:
    for route in wanted:
        reasons = {hop.device: why_unusable(hop.device) for hop in route.nexthops}
        missing += [
            f"missing {device} ({reason}) for {route.prefix} table {route.table}"
            for device, reason in sorted(reasons.items())
            if reason
        ]
        nexthops = tuple(hop for hop in route.nexthops if not reasons[hop.device])
        if nexthops or not route.nexthops:
            yield replace(route, nexthops=nexthops)
