"""What edges accept from nodes: what is placed there, and for a while what was. Pure.

It grows at once. It shrinks slowly: an instance whose allocation is gone may still drain, and
its node may hear of it later than we do.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.topology import NodePrefixes, Platform
from pltfrms.model.running.balancer import BalancedService
from pltfrms.model.running.plan import Permit, Target
from pltfrms.model.services.members import members_of
from pltfrms.model.services.service import Service

STAY_SECONDS: Final = 600.0
"""What was placed on a node stays permitted at least so long."""
STOP_SECONDS: Final = 60.0
"""After a drain, for the node to hear of it and to withdraw."""


def permits_of(target: Target) -> tuple[Permit, ...] | None:
    """Return what is placed now on the nodes that an edge hears.

    None: a node may announce any service, or nobody has said yet what is placed.
    """
    if target.platform.guards.node_prefixes is NodePrefixes.ANY or not target.placed:
        return None
    services = {service.id: service for service in target.services}
    balanced = {service.id: service for service in target.balanced}
    return tuple(
        Permit(
            node=placed.node,
            id=number,
            prefix4=services[number].prefix4,
            prefix6=services[number].prefix6,
            more=(
                *services[number].more,
                *_of_roles(services[number]),
                *_of_members(target.platform, balanced.get(number), placed.node),
            ),
            drain_ms=services[number].spec.drain_ms,
        )
        for placed in target.placed
        for number in placed.services
        if number in services
    )


def _of_roles(service: Service) -> tuple[Prefix, ...]:
    return tuple(prefix for role in service.roles for prefix in role.prefixes)


def _of_members(
    platform: Platform, service: BalancedService | None, node: str
) -> tuple[Prefix, ...]:
    """Return the addresses of all members of the node's datacenter.

    Also of who had a number: one that is wanted no more may run for long, until it has left.
    """
    if service is None or service.members is None:
        return ()
    here, known = platform.machine(node).datacenter, service.members
    count = max(dict(known.counts).get(here, 0), len(known.numbers4))
    every = members_of(platform, service.id, replace(known, counts=((here, count),)))
    return tuple(prefix for each in every for prefix in each.prefixes)


def renewed(
    before: Collection[Permit], placed: Collection[Permit], now: float
) -> tuple[Permit, ...]:
    """Return all permits of this moment (monotonic seconds), sorted.

    A permit whose time began in what is now the future is from before a reboot: its time begins
    now.
    """
    here = {_key(permit) for permit in placed}
    gone = (_leaving(permit, now) for permit in before if _key(permit) not in here)
    return tuple(sorted((*placed, *(permit for permit in gone if permit)), key=_key))


def _leaving(permit: Permit, now: float) -> Permit | None:
    """Return the permit of what is not placed any more; None when its time is over."""
    left_at = now if permit.left_at is None else min(permit.left_at, now)
    if now - left_at >= max(STAY_SECONDS, permit.drain_ms / 1000 + STOP_SECONDS):
        return None
    return replace(permit, left_at=left_at)


def _key(permit: Permit) -> tuple[str, int, tuple[tuple[int, Prefix], ...]]:
    """Return what makes it another permit: an id may come back with another service."""
    return permit.node, permit.id, tuple((each.version, each) for each in permit.prefixes)
