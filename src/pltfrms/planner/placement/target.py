"""Snapshot -> target: what one machine is to be made."""

from dataclasses import replace
from ipaddress import IPv6Address

from pltfrms.errors import NotFoundError
from pltfrms.model.balancer import BalancedService
from pltfrms.model.peering import Peer
from pltfrms.model.plan import Placed, Target
from pltfrms.model.state import Snapshot
from pltfrms.model.topology import Machine, NodePrefixes, Platform, Role


def make_target(snapshot: Snapshot, machine: str) -> Target:
    """Return the target of a machine; its generation is the snapshot's revision.

    Of the passwords of sessions it has only the machine's own: who gets into one machine shall
    not have those of all.

    Raises:
        NotFoundError: the platform has no such machine, or others manage it.
    """
    me = managed_machine(snapshot.platform, machine)
    allocations = tuple(
        allocation
        for _, allocation in sorted(snapshot.allocations.items())
        if allocation.node == machine
    )
    here = {allocation.service for allocation in allocations}
    services = tuple(
        service
        for name, service in sorted(snapshot.services.items())
        if me.role is Role.EDGE or name in here
    )
    return Target(
        machine=machine,
        generation=snapshot.revision,
        platform=_with_own_passwords(snapshot.platform, machine),
        interventions=snapshot.interventions,
        services=services,
        allocations=allocations,
        balanced=tuple(
            BalancedService(
                id=service.id, name=name, prefix4=service.prefix4, prefix6=service.prefix6
            )
            for name, service in sorted(snapshot.services.items())
            if me.role is not Role.CONTROLLER
        ),
        placed=_placed(snapshot, me),
        guests=_guests(snapshot, me),
    )


def managed_machine(platform: Platform, machine: str) -> Machine:
    """Return a machine that has a target; NotFoundError if it has none."""
    try:
        me = platform.machine(machine)
    except KeyError:
        raise NotFoundError(f"the platform has no machine {machine!r}") from None
    if me.external:
        raise NotFoundError(f"others manage {machine}: it has no target")
    return me


def _guests(snapshot: Snapshot, me: Machine) -> tuple[IPv6Address, ...]:
    """Return the instances of other datacenters, while a drain moves clients or is about to."""
    moving = snapshot.interventions.moves_clients(snapshot.now_ms)
    if me.role is not Role.NODE or not moving:
        return ()
    platform, services = snapshot.platform, snapshot.services
    nodes = {node.name: node for node in platform.machines_of(Role.NODE)}
    return tuple(
        sorted(
            platform.instance6(nodes[each.node], services[each.service].id, each.slot)
            for each in snapshot.allocations.values()
            if each.datacenter != me.datacenter
            and each.node in nodes
            and each.service in services
        )
    )


def _with_own_passwords(platform: Platform, machine: str) -> Platform:
    return replace(platform, peers=tuple(_seen_by(peer, machine) for peer in platform.peers))


def _seen_by(peer: Peer, machine: str) -> Peer:
    sessions = tuple(
        session if session.edge == machine else replace(session, password="")
        for session in peer.sessions
    )
    return replace(peer, sessions=sessions)


def _placed(snapshot: Snapshot, me: Machine) -> tuple[Placed, ...]:
    """Return what is placed on each node of an edge's datacenter, if the edge is to know it."""
    guard = snapshot.platform.guards.node_prefixes
    if me.role is not Role.EDGE or guard is not NodePrefixes.PLACED:
        return ()
    found: dict[str, set[int]] = {
        node.name: set() for node in snapshot.platform.machines_of(Role.NODE, me.datacenter)
    }
    for allocation in snapshot.allocations.values():
        service = snapshot.services.get(allocation.service)
        if service is not None and allocation.node in found:
            found[allocation.node].add(service.id)
    return tuple(Placed(node=node, services=tuple(sorted(ids))) for node, ids in found.items())
