"""How much nodes promise, have to do, and keep on their disks. Pure.

What a node promises is recorded. What its instances use their agent measures, one by one: the
sum of their peaks is the most that they can have used together. Nobody measures a machine as a
whole, so nothing of that is said.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from pltfrms.model.messages.picture import NodeFigures, VolumeElement
from pltfrms.model.network.topology import Machine, Role
from pltfrms.model.running.state import InstanceStatus, MachineStatus, Snapshot
from pltfrms.model.services.jobs import OVER
from pltfrms.model.services.service import Run
from pltfrms.planner.routing.visibility import present_statuses
from pltfrms.seen.services import VOLUMES_SHOWN, WORST, busiest_of, volume_elements


def node_loads(snapshot: Snapshot) -> dict[str, NodeFigures]:
    """Return of each node, by name, how much is asked of it."""
    promised: defaultdict[str, list[Run]] = defaultdict(list)
    for node, run in _promises(snapshot):
        promised[node].append(run)
    kept: defaultdict[str, list[VolumeElement]] = defaultdict(list)
    for volumes in volume_elements(snapshot).values():
        for each in volumes:
            kept[each.node].append(each)
    present = present_statuses(snapshot)
    return {
        node.name: _load(
            snapshot, node, promised[node.name], present.get(node.name), kept[node.name]
        )
        for node in snapshot.platform.machines_of(Role.NODE)
    }


def _promises(snapshot: Snapshot) -> Iterator[tuple[str, Run]]:
    """Yield what is placed, and runs that have not ended: the node, and what is promised."""
    for allocation in snapshot.allocations.values():
        service = snapshot.services.get(allocation.service)
        if service is not None:
            yield allocation.node, service.run_of(allocation.version)
    for job_run in snapshot.runs.values():
        if job_run.node and job_run.state not in OVER:
            yield job_run.node, job_run.spec.run


def _load(
    snapshot: Snapshot,
    node: Machine,
    promised: Iterable[Run],
    status: MachineStatus | None,
    kept: list[VolumeElement],
) -> NodeFigures:
    runs = [run for run in promised if run.adopted is None]
    instances = status.instances if status else ()
    used = list(_used_milli(snapshot, instances))
    worst = sorted(kept, key=lambda one: (WORST.index(one.state), -(one.bytes or 0)))
    return NodeFigures(
        heard=status is not None,
        cpu_milli=round(node.cpu * 1000),
        memory_bytes=node.memory_bytes,
        promised_milli=sum(round(run.cpu * 1000) for run in runs),
        promised_bytes=sum(run.memory_bytes for run in runs),
        measured=len(used),
        used_milli=sum(used),
        busiest=busiest_of(instances),
        volumes=tuple(worst[:VOLUMES_SHOWN]),
        volumes_more=max(0, len(worst) - VOLUMES_SHOWN),
    )


def _used_milli(snapshot: Snapshot, instances: Iterable[InstanceStatus]) -> Iterator[int]:
    """Yield the peaks of the instances that were measured, in thousandths of a core."""
    for each in instances:
        percent = each.peak.cpu_percent if each.peak else None
        allocation = snapshot.allocations.get(each.allocation)
        service = snapshot.services.get(allocation.service) if allocation else None
        if percent is not None and allocation and service:
            yield round(service.run_of(allocation.version).cpu * 10 * percent)
