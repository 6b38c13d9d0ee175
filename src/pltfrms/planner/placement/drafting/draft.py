"""The plan while it is made: what is recorded, plus the steps taken so far.

Each module of the planner looks at a `Draft`, and adds steps and notes to it; what one module
decided, the next one sees. Sums are kept up to date, so that one placement costs the same
however many allocations there are.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import Final, TypeVar

from pltfrms.model.network.topology import Machine, Role
from pltfrms.model.running.plan import Allocation, Note, Place, Plan, Reason, Step, Stop
from pltfrms.model.running.state import Contact, Phase, Snapshot
from pltfrms.model.running.volumes import Volume, VolumeState
from pltfrms.model.services.egress import slots_to_spare, slots_with_own
from pltfrms.model.services.jobs import OVER, JobRun
from pltfrms.model.services.replicas import sizes_of, wanted_of
from pltfrms.model.services.service import Service
from pltfrms.planner.placement.drafting.numbers import highest_numbers
from pltfrms.planner.placement.roles import held_up_of, last_of

_K = TypeVar("_K")
_V = TypeVar("_V")

LATELY_SECONDS: Final = 300.0
"""Nodes that are lost one after the other within so long are one event, as if at once."""


@dataclass(slots=True)
class NodeLoad:
    """What is promised on one node. Whole thousandths of a core: sums must be exact."""

    cpu_milli: int = 0
    memory_bytes: int = 0
    slots: set[int] = field(default_factory=set)
    """Of recorded allocations, and of instances that still drain or stop: a successor in such
    a slot would have to wait for them."""
    services: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Number of recorded allocations by service."""
    count: int = 0


def cpu_milli(cores: float) -> int:
    """Return cores as whole thousandths."""
    return round(cores * 1000)


class OnDemand(dict[_K, _V]):
    """What is counted of each when somebody first asks for it, and kept up to date then."""

    def __init__(self, count: Callable[[_K], _V]) -> None:
        """Count nothing yet."""
        super().__init__()
        self._count = count

    def __missing__(self, key: _K) -> _V:
        """Count something."""
        found = self[key] = self._count(key)
        return found


def _told_versions(service: Service) -> tuple[int, ...]:
    rolling = service.rolling
    return (0, rolling.from_version) if rolling else (0,)


def _fresh(snapshot: Snapshot, lost: Iterable[Machine]) -> Iterator[str]:
    """Yield the datacenter of each lost node that was not dealt with, or only just."""
    carrying = {each.node for each in snapshot.allocations.values()}
    for node in lost:
        lately = snapshot.machines[node.name].since_seconds < LATELY_SECONDS
        if lately or node.name in carrying:
            yield node.datacenter


class Draft:
    """Snapshot + steps so far."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Start with what the snapshot records."""
        self.snapshot = snapshot
        self.steps: list[Step] = []
        self.notes: list[Note] = []
        self.nodes: Mapping[str, Machine] = {
            node.name: node for node in snapshot.platform.machines_of(Role.NODE)
        }
        self.cpu_milli_of = {name: cpu_milli(node.cpu) for name, node in self.nodes.items()}
        """What each node has, by name."""
        self._replicas: defaultdict[tuple[str, str], dict[int, list[Allocation]]] = defaultdict(
            dict
        )
        self._promised = {
            (name, version): (cpu_milli(run.cpu), run.memory_bytes)
            for name, service in snapshot.services.items()
            for version in _told_versions(service)
            for run in (service.run_of(version),)
        }
        """By service and version; 0: of any other one."""
        self._nodes_of: defaultdict[str, list[Machine]] = defaultdict(list)
        for node in self.nodes.values():
            self._nodes_of[node.datacenter].append(node)
        self._present = {
            datacenter: tuple(n for n in nodes if self.contact(n.name) is Contact.PRESENT)
            for datacenter, nodes in self._nodes_of.items()
        }
        self.slots = snapshot.platform.numbering.instances
        """Instances that the addresses of one node suffice for."""
        self._own_slots: dict[tuple[str, str], int | None] = {}
        self._sizes = sizes_of(snapshot.platform)
        self._wanted: dict[str, Mapping[str, int]] = {}
        self.drained_nodes = snapshot.interventions.drained_nodes(snapshot.now_ms)
        """Names of the nodes that an operator drains."""
        self._open = {
            datacenter: tuple(node for node in nodes if node.name not in self.drained_nodes)
            for datacenter, nodes in self._present.items()
        }
        away = [node for node in self.nodes.values() if self.contact(node.name) is Contact.LOST]
        done, now_ms = snapshot.interventions, snapshot.now_ms
        self.dead = frozenset(node.name for node in away if done.is_dead(node, now_ms))
        """Lost nodes that are dead, as an operator says."""
        self._lost = tuple(node for node in away if node.name not in self.dead)
        for allocation in sorted(snapshot.allocations.values(), key=attrgetter("number")):
            self._record(allocation)
        self.unsettled = frozenset(self._find_unsettled())

    # ---- what is lost ----------------------------------------------------------------------

    @cached_property
    def _dead_counts(self) -> Mapping[str, int]:
        return Counter(self.nodes[name].datacenter for name in self.dead)

    @cached_property
    def _lost_counts(self) -> Mapping[str, int]:
        return Counter(node.datacenter for node in self._lost)

    @cached_property
    def fresh_counts(self) -> Mapping[str, int]:
        """How many nodes were lost lately, or still have replicas recorded, by datacenter.

        The others were dealt with, and the dead do not count.
        """
        return Counter(_fresh(self.snapshot, self._lost))

    # ---- what a plan without steps does not need -------------------------------------------

    @cached_property
    def loads(self) -> Mapping[str, NodeLoad]:
        """What is promised, by node."""
        on: defaultdict[str, list[Allocation]] = defaultdict(list)
        for allocation in self._recorded():
            on[allocation.node].append(allocation)
        runs: defaultdict[str, list[JobRun]] = defaultdict(list)
        for run in self.snapshot.runs.values():
            if run.slot and run.state not in OVER:
                runs[run.node].append(run)

        def load_of(node: str) -> NodeLoad:
            status, load = self.snapshot.statuses.get(node), NodeLoad()
            load.slots |= {each.slot for each in status.instances} - {0} if status else set()
            for allocation in on[node]:
                self._count(load, allocation, +1)
                load.slots.add(allocation.slot)
            for run in runs[node]:
                load.cpu_milli += cpu_milli(run.spec.run.cpu)
                load.memory_bytes += run.spec.run.memory_bytes
                load.slots.add(run.slot)
            return load

        return OnDemand(load_of)

    @cached_property
    def _racks(self) -> Mapping[str, Counter[tuple[str, str]]]:
        """Number of recorded allocations by service; then by datacenter and rack."""
        sites: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for site in self._replicas:
            sites[site[0]].append(site)

        def racks_of(service: str) -> Counter[tuple[str, str]]:
            racks = (
                self.nodes.get(each.node)
                for site in sites[service]
                for each in chain.from_iterable(self._replicas[site].values())
            )
            return Counter((node.datacenter, node.rack) for node in racks if node)

        return OnDemand(racks_of)

    @cached_property
    def _left_numbers(self) -> dict[str, int]:
        """The highest number that was ever given, by replica, beside what is recorded."""
        return highest_numbers(self.snapshot, recorded=False)

    @cached_property
    def given_up(self) -> list[Volume]:
        """What steps so far give up."""
        return []

    @cached_property
    def _held(self) -> dict[str, Volume]:
        """The volumes that replicas have, by the replica's name."""
        volumes = self.snapshot.volumes.values()
        return {each.about: each for each in volumes if each.state is VolumeState.HELD}

    @cached_property
    def _phases(self) -> Mapping[str, Mapping[str, Phase]]:
        """What is reported, by machine; then by allocation."""

        def phases_of(machine: str) -> Mapping[str, Phase]:
            status = self.snapshot.statuses.get(machine)
            return {each.allocation: each.phase for each in status.instances} if status else {}

        return OnDemand(phases_of)

    @cached_property
    def _unwell(self) -> frozenset[tuple[str, str]]:
        """Who says of itself that it is ill, by machine and allocation."""
        return frozenset(
            (machine, instance.allocation)
            for machine, status in self.snapshot.statuses.items()
            for instance in status.instances
            if instance.unwell
        )

    @cached_property
    def last(self) -> frozenset[str]:
        """The allocations that come after all others of their service."""
        return last_of(self.snapshot)

    @cached_property
    def held_up(self) -> Mapping[str, Mapping[str, str]]:
        """Who holds up what is planned for a service, and why, by service."""
        return held_up_of(self.snapshot)

    # ---- looking ---------------------------------------------------------------------------

    def nodes_of(self, datacenter: str) -> list[Machine]:
        """Return all nodes of a datacenter, in spec order."""
        return self._nodes_of.get(datacenter, [])

    def present(self, datacenter: str) -> tuple[Machine, ...]:
        """Return the nodes of a datacenter that are in contact, in spec order."""
        return self._present.get(datacenter, ())

    def open(self, datacenter: str) -> tuple[Machine, ...]:
        """Return the nodes of a datacenter that may be given replicas, in spec order.

        They are in contact, and not drained.
        """
        return self._open.get(datacenter, ())

    def lost_count(self, datacenter: str) -> int:
        """Return how many nodes of a datacenter are out of contact; the dead do not count."""
        return self._lost_counts.get(datacenter, 0)

    def living_count(self, datacenter: str) -> int:
        """Return how many nodes a datacenter has beside those that are dead."""
        return len(self.nodes_of(datacenter)) - self._dead_counts.get(datacenter, 0)

    def wanted(self, service: Service) -> Mapping[str, int]:
        """Return how many replicas a service wants by datacenter, in the platform's order."""
        found = self._wanted.get(service.name)
        if found is None:
            found = wanted_of(self.snapshot.platform, service, self._sizes)
            self._wanted[service.name] = found
        return found

    def contact(self, node: str) -> Contact:
        """Return the contact state of a node."""
        return self.snapshot.contact(node)

    def replicas(self, service: str, datacenter: str) -> Mapping[int, list[Allocation]]:
        """Return the allocations by replica, each list by rising number, none empty."""
        return self._replicas.get((service, datacenter), {})

    def kept(self, service: Service, datacenter: str) -> Mapping[int, list[Allocation]]:
        """Return the allocations of the replicas that are wanted there, as `replicas`.

        What only stands in for others elsewhere is not improved any more.
        """
        count = self.wanted(service).get(datacenter, 0)
        found = self.replicas(service.name, datacenter)
        return {replica: each for replica, each in found.items() if replica <= count}

    def sites(self) -> Iterator[tuple[str, str]]:
        """Yield (service, datacenter) of everything recorded, sorted."""
        yield from sorted(key for key, replicas in self._replicas.items() if replicas)

    def in_rack(self, service: str, node: Machine) -> int:
        """Return how many allocations of a service the node's rack has."""
        return self._racks[service][node.datacenter, node.rack]

    def is_present(self, allocation: Allocation) -> bool:
        """Return whether the node of an allocation is ours and in contact."""
        return (
            allocation.node in self.nodes and self.contact(allocation.node) is Contact.PRESENT
        )

    def ready(self, allocation: Allocation) -> bool:
        """Return whether it serves for sure: node in contact, and says that it is ready."""
        phase = self._phases[allocation.node].get(allocation.id)
        return self.is_present(allocation) and phase is Phase.READY

    def may_serve(self, allocation: Allocation) -> bool:
        """Return whether it serves for all we know: its node is ours, and says nothing else."""
        if self.contact(allocation.node) is Contact.UNKNOWN:
            return allocation.node in self.nodes
        reported = self._phases[allocation.node].get(allocation.id, Phase.READY)
        return self.is_present(allocation) and reported is Phase.READY

    def unwell(self, allocation: Allocation) -> bool:
        """Return whether it says that it is ill, and so serves where nobody better does."""
        return self.is_present(allocation) and (allocation.node, allocation.id) in self._unwell

    def trouble(self, allocation: Allocation) -> Reason | None:
        """Return why the node of an allocation cannot be counted on, or None.

        A node of unknown contact gives None: nothing is decided because of it.
        """
        if allocation.node not in self.nodes:
            return Reason.NODE_REMOVED
        if self.contact(allocation.node) is Contact.LOST:
            return Reason.NODE_LOST
        return None

    def free_slot(self, node: Machine, service: Service) -> int:
        """Return the lowest free slot of a node that suits a service, or 0.

        Slots with an address of their own are for who asks for one; others take them last.
        """
        platform, taken = self.snapshot.platform, self.loads[node.name].slots
        most = self.own_slots(service, node.datacenter)
        spare = slots_to_spare(platform, node.datacenter) if most is None else 0
        last = self.slots if most is None else min(most, self.slots)
        suiting = chain(range(spare + 1, last + 1), range(1, min(spare, last) + 1))
        return next((slot for slot in suiting if slot not in taken), 0)

    def has_slot(self, node: Machine, service: Service) -> bool:
        """Return whether there is one."""
        if self.own_slots(service, node.datacenter) is None:
            return len(self.loads[node.name].slots) < self.slots  # quicker
        return self.free_slot(node, service) > 0

    def own_slots(self, service: Service, datacenter: str) -> int | None:
        """Return the highest slot whose instance has what a service asks for; None: any."""
        site = service.name, datacenter
        if site not in self._own_slots:
            found = slots_with_own(self.snapshot.platform, service.spec, datacenter)
            self._own_slots[site] = found
        return self._own_slots[site]

    def next_number(self, service: str, datacenter: str, replica: int) -> int:
        """Return a number that no allocation of the replica ever had."""
        recorded = self.replicas(service, datacenter).get(replica, ())
        left = self._left_numbers.get(f"{service}.{datacenter}.{replica}", 0)
        return max(left, 0, *(each.number for each in recorded)) + 1

    def held(self, replica: str) -> Volume | None:
        """Return the volume of a replica, such as of `db.fra.1`, that it has not given up."""
        return self._held.get(replica)

    def plan(self) -> Plan:
        """Return what was decided."""
        return Plan(
            revision=self.snapshot.revision, steps=tuple(self.steps), notes=tuple(self.notes)
        )

    # ---- deciding --------------------------------------------------------------------------

    def place(
        self,
        allocation: Allocation,
        volume: Volume | None = None,
        gives_up: Volume | None = None,
    ) -> None:
        """Take the step of starting an allocation; `volume` is new, and for it."""
        # As they are before.
        load, racks = self.loads[allocation.node], self._racks[allocation.service]
        self.steps.append(
            Place(
                allocation=allocation,
                reason=allocation.reason,
                volume=volume,
                gives_up=gives_up,
            )
        )
        if volume is not None:
            self._held[volume.about] = volume
        if gives_up is not None:
            self.given_up.append(gives_up)
        self._record(allocation)
        self._count(load, allocation, +1)
        load.slots.add(allocation.slot)
        node = self.nodes[allocation.node]
        racks[node.datacenter, node.rack] += 1

    def stop(self, allocation: Allocation, reason: Reason) -> None:
        """Take the step of stopping an allocation."""
        # As they are before.
        load, racks = self.loads[allocation.node], self._racks[allocation.service]
        self.steps.append(Stop(allocation=allocation, reason=reason))
        replicas = self._replicas[allocation.service, allocation.datacenter]
        replicas[allocation.replica].remove(allocation)
        if not replicas[allocation.replica]:
            del replicas[allocation.replica]
        left = self._left_numbers
        name = f"{allocation.service}.{allocation.datacenter}.{allocation.replica}"
        left[name] = max(left.get(name, 0), allocation.number)
        self._count(load, allocation, -1)
        node = self.nodes.get(allocation.node)
        if node:
            racks[node.datacenter, node.rack] -= 1
        if allocation.id not in self._phases[allocation.node]:
            load.slots.discard(allocation.slot)

    def note(self, about: str, reason: Reason, detail: str) -> None:
        """Say that something cannot be done now."""
        self.notes.append(Note(about=about, reason=reason, detail=detail))

    # ---- inside ----------------------------------------------------------------------------

    def _record(self, allocation: Allocation) -> None:
        replicas = self._replicas[allocation.service, allocation.datacenter]
        replicas.setdefault(allocation.replica, []).append(allocation)

    def _recorded(self) -> Iterator[Allocation]:
        for replicas in self._replicas.values():
            for allocations in replicas.values():
                yield from allocations

    def _count(self, load: NodeLoad, allocation: Allocation, sign: int) -> None:
        name, version = allocation.service, allocation.version
        known = self._promised.get((name, version)) or self._promised.get((name, 0))
        cpu, memory_bytes = known or (0, 0)
        load.cpu_milli += sign * cpu
        load.memory_bytes += sign * memory_bytes
        load.services[allocation.service] += sign
        load.count += sign

    def _find_unsettled(self) -> Iterator[tuple[str, str]]:
        """Return (service, datacenter) of what is not as it is to be, at the start.

        Elsewhere each wanted replica has one allocation of the newest version on a node in
        contact, and there is nothing else: nothing to look at but how even it is.
        """
        present = {node.name for nodes in self._present.values() for node in nodes}
        left = {site for site, replicas in self._replicas.items() if replicas}
        for name, service in self.snapshot.services.items():
            for datacenter, count in self.wanted(service).items():
                site = name, datacenter
                replicas = self._replicas.get(site, {})
                left.discard(site)
                settled = len(replicas) == count and all(
                    replica <= count
                    and len(some) == 1
                    and not service.is_outdated(datacenter, replica, some[0].version)
                    and some[0].node in present
                    for replica, some in replicas.items()
                )
                if not settled:
                    yield site
        yield from left
