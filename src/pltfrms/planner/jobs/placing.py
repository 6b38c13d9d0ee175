"""On which node a run begins."""

from pltfrms.model.network.topology import Machine
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import JobRun
from pltfrms.planner.placement.drafting.draft import Draft, cpu_milli


class Rooms:
    """What nodes have left, with what was given in this plan."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Begin with what is recorded."""
        self._draft = Draft(snapshot)
        self._names = tuple(each.name for each in snapshot.platform.datacenters)

    def take(self, run: JobRun) -> tuple[Machine, int] | str:
        """Return the node with the most room, and a free slot there; or why there is none.

        The room is that of the first datacenter that has any, and is taken by then.
        """
        names = run.spec.datacenters or self._names
        for name in names:
            fitting = [node for node in self._draft.open(name) if self._fits(node, run)]
            if fitting:
                node = min(fitting, key=lambda each: (-self._share(each), each.name))
                return node, self._taken(node, run)
        if not any(self._draft.open(name) for name in names):
            return "no node where it may run is in contact and not drained"
        return "no node where it may run has enough room for it"

    def is_open(self, node: str) -> bool:
        """Return whether a node may be given anything: it is ours, and not drained."""
        return node in self._draft.nodes and node not in self._draft.drained_nodes

    def _fits(self, node: Machine, run: JobRun) -> bool:
        load, wanted = self._draft.loads[node.name], run.spec.run
        return (
            load.cpu_milli + cpu_milli(wanted.cpu) <= cpu_milli(node.cpu)
            and load.memory_bytes + wanted.memory_bytes <= node.memory_bytes
            and len(load.slots) < self._draft.slots
        )

    def _share(self, node: Machine) -> float:
        load = self._draft.loads[node.name]
        cpu = 1 - load.cpu_milli / max(1, cpu_milli(node.cpu))
        return min(cpu, 1 - load.memory_bytes / max(1, node.memory_bytes))

    def _taken(self, node: Machine, run: JobRun) -> int:
        load, slots = self._draft.loads[node.name], range(self._draft.slots, 0, -1)
        slot = next(each for each in slots if each not in load.slots)
        load.slots.add(slot)
        load.cpu_milli += cpu_milli(run.spec.run.cpu)
        load.memory_bytes += run.spec.run.memory_bytes
        return slot
