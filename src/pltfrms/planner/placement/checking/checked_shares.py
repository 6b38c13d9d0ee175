"""How a `total` of replicas is shared by datacenters, written a second time for `checks`."""

from pltfrms.model.network.topology import Machine, Role
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.service import Service


def checked_shares(snapshot: Snapshot, service: Service) -> dict[str, int]:
    """Give one replica after the other to the datacenter with fewest of those with room."""
    spec, platform = service.spec, snapshot.platform
    rooms: dict[str, int] = {}
    for dc in sorted(platform.datacenters, key=lambda each: each.id):
        nodes = platform.machines_of(Role.NODE, dc.name)
        if nodes and (not spec.datacenters or dc.name in spec.datacenters):
            rooms[dc.name] = sum(_fitting(snapshot, service, node) for node in nodes)
    shares = dict.fromkeys(rooms, 0)
    for number in range(spec.total if rooms else 0):
        full = number >= sum(rooms.values())
        beyond = {dc: max(0, shares[dc] - rooms[dc]) for dc in rooms}
        open_ = [dc for dc in rooms if full or shares[dc] < rooms[dc]]
        shares[min(open_, key=(beyond if full else shares).__getitem__)] += 1
    return shares


def _fitting(snapshot: Snapshot, service: Service, node: Machine) -> int:
    under_way = service.rollout and service.rollout.before
    run = under_way.run if under_way else service.spec.run
    fit = min(service.spec.max_per_node, snapshot.platform.numbering.instances)
    while fit and (
        fit * round(run.cpu * 1000) > round(node.cpu * 1000)
        or fit * run.memory_bytes > node.memory_bytes
    ):
        fit -= 1
    return fit
