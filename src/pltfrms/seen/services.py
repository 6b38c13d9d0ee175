"""Services as a page shows them: replicas by place, roles, load and volumes. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from pltfrms.model.messages.picture import (
    Concern,
    Counts,
    RoleElement,
    Seen,
    ServiceElement,
    VolumeElement,
)
from pltfrms.model.running.state import (
    InstanceStatus,
    MachineStatus,
    Phase,
    Snapshot,
)
from pltfrms.model.running.volumes import Volume, VolumeState, VolumeStatus
from pltfrms.model.services.replicas import sizes_of, wanted_of
from pltfrms.model.services.service import Run, Service
from pltfrms.planner.routing.visibility import present_statuses
from pltfrms.seen.roles import RoleRow, role_rows
from pltfrms.seen.rollouts import rollout_sentence, rollouts

Places = Mapping[str, Mapping[str, Counts]]
"""Replicas by service and datacenter."""
VOLUMES_SHOWN: Final = 8
"""Of a service; the others are a number."""
NEARLY_FULL: Final = 0.95
"""From so large a part on a volume is told as a problem; what is told of it is rounded."""
WORST: Final = (Seen.BAD, Seen.UNKNOWN, Seen.PLANNED, Seen.GOOD)
"""States in the order in which they are shown."""
_MIB: Final = 2**20


def service_elements(
    snapshot: Snapshot, places: Places, loads: Mapping[str, Sequence[str]], now_ms: int
) -> Iterator[ServiceElement]:
    """Yield the services by name; `loads` says what each has to do."""
    wanted = {name: sum(c.wanted for c in of.values()) for name, of in places.items()}
    rolling = {
        each.service: rollout_sentence(replace(each, since_ms=0), now_ms)
        for each in rollouts(snapshot, wanted)
    }
    busiest, volumes = _busiest(snapshot), volume_elements(snapshot)
    for name, counts in places.items():
        service = snapshot.services[name]
        ready = sum(each.ready for each in counts.values())
        unknown = sum(each.unknown for each in counts.values())
        roles = tuple(role_elements(snapshot, service))
        replicas = _replica_state(wanted[name], ready, unknown)
        kept = volumes.get(name, ())
        yield ServiceElement(
            id=name,
            state=_worst((replicas, *(each.state for each in roles))),
            why="; ".join(each.why for each in roles if each.state is not Seen.GOOD),
            version=service.version,
            prefixes=tuple(map(str, service.prefixes)),
            ports=service.spec.ports,
            wanted=wanted[name],
            ready=ready,
            unknown=unknown,
            places=counts,
            rollout=rolling.get(name, ""),
            load="; ".join(loads.get(name, ())),
            busiest=busiest.get(name, ""),
            promised=_promised(service.spec.run),
            roles=roles,
            volumes=tuple(kept[:VOLUMES_SHOWN]),
            volumes_more=max(0, len(kept) - VOLUMES_SHOWN),
        )


def _replica_state(wanted: int, ready: int, unknown: int) -> Seen:
    if ready >= wanted:
        return Seen.GOOD
    return Seen.UNKNOWN if ready + unknown >= wanted else Seen.BAD


def _worst(states: Iterable[Seen]) -> Seen:
    return min(states, key=WORST.index)


# ---- roles ---------------------------------------------------------------------------------


def role_elements(snapshot: Snapshot, service: Service) -> Iterator[RoleElement]:
    """Yield the roles of a service: not known is neither nobody nor somebody."""
    shared = {role.name for role in service.spec.roles if role.shared}
    for row in role_rows(snapshot, service):
        state, why = _role_state(row)
        yield RoleElement(
            id=row.name,
            state=state,
            why=why,
            last=Seen.GOOD if state is Seen.UNKNOWN and row.holders else None,
            prefixes=row.prefixes,
            holders={name: snapshot.allocations[name].node for name in row.holders},
            epoch=row.epoch,
            unheard=row.unheard,
            shared=row.name in shared,
        )


def _role_state(row: RoleRow) -> tuple[Seen, str]:
    if not row.trouble:
        return Seen.GOOD, ""
    return (Seen.UNKNOWN if row.unheard else Seen.BAD), row.trouble


# ---- what instances do, and keep -----------------------------------------------------------


def _busiest(snapshot: Snapshot) -> dict[str, str]:
    """Return of each service, as far as it is measured, who had most to do and how much."""
    found: dict[str, tuple[InstanceStatus, str]] = {}
    for status in present_statuses(snapshot).values():
        for each in status.instances:
            allocation = snapshot.allocations.get(each.allocation)
            if allocation is None or each.peak is None:
                continue
            known = found.get(allocation.service)
            if known is None or _busy(each) > _busy(known[0]):
                found[allocation.service] = (each, allocation.node)
    return {name: _busy_words(each, f" on {node}") for name, (each, node) in found.items()}


def busiest_of(instances: Iterable[InstanceStatus]) -> str:
    """Return who of a node's instances had most to do; empty: none is measured."""
    measured = [each for each in instances if each.peak is not None]
    return _busy_words(max(measured, key=_busy)) if measured else ""


def _busy(instance: InstanceStatus) -> tuple[int, int, str]:
    peak = instance.peak
    cpu, connections = (peak.cpu_percent, peak.connections) if peak else (None, None)
    return (cpu or 0, connections or 0, instance.allocation)


def _busy_words(instance: InstanceStatus, where: str = "") -> str:
    peak = instance.peak
    if peak is None:
        return ""
    cpu, connections = peak.cpu_percent, peak.connections
    parts = [
        "cpu not known" if cpu is None else f"{cpu} % of its cpu",
        "connections not known" if connections is None else f"{connections} connections/s",
    ]
    return f"{instance.allocation}{where}: at most {', '.join(parts)} (in {peak.hours} h)"


def _promised(run: Run) -> str:
    """Return what each instance has for itself; of who is adopted, nothing is promised."""
    if run.adopted is not None:
        return ""
    return f"{run.cpu:g} cores and {run.memory_bytes // _MIB} MiB of memory each"


def volume_elements(snapshot: Snapshot) -> dict[str, list[VolumeElement]]:
    """Return the volumes of each service, the worst and fullest first."""
    present = present_statuses(snapshot)
    said = {
        (name, each.volume): each
        for name, status in snapshot.statuses.items()
        for each in status.volumes or ()
    }
    found: defaultdict[str, list[VolumeElement]] = defaultdict(list)
    for name, volume in sorted(snapshot.volumes.items()):
        service = snapshot.services.get(volume.service)
        storage = service.spec.storage if service else None
        size = sum(each.size_bytes for each in storage.volumes) if storage else 0
        found[volume.service].append(
            _volume(volume, said.get((volume.node, name)), size, present.get(volume.node))
        )
    for each in found.values():
        each.sort(key=lambda one: (WORST.index(one.state), -_share(one.bytes, one.size_bytes)))
    return found


def _volume(
    volume: Volume, said: VolumeStatus | None, size: int, status: MachineStatus | None
) -> VolumeElement:
    used = said.bytes if said else None
    asked = status is not None and status.volumes is not None
    state, why = Seen.GOOD, volume.why
    if volume.state is not VolumeState.HELD:
        why = f"{volume.state.value}: {volume.why}"
    elif not asked:
        state, why = Seen.UNKNOWN, f"{volume.node} does not say now how it is"
    elif used is None and volume.made:
        state, why = Seen.BAD, f"it is not on the disk of {volume.node}"
    elif _share(used, size) >= NEARLY_FULL:
        state, why = Seen.BAD, f"{100 * _share(used, size):.0f} % full"
    return VolumeElement(
        id=volume.id,
        state=state,
        why=why,
        last=Seen.GOOD if state is Seen.UNKNOWN and used is not None else None,
        node=volume.node,
        bytes=used,
        size_bytes=size,
        limited=said.limited if said else False,
    )


def _share(used: int | None, size: int) -> float:
    return (used or 0) / size if size else 0.0


def volume_concerns(services: Iterable[ServiceElement]) -> Iterator[Concern]:
    """Yield the volumes that are nearly full, or not where they are recorded."""
    for service in services:
        for each in service.volumes:
            if each.state is Seen.BAD:
                yield Concern(
                    id=f"volume/{each.id}",
                    about=service.id,
                    sentence=f"volume {each.id} on {each.node}: {each.why}",
                    command=f"pltfrms volume list {service.id}",
                )


# ---- replicas ------------------------------------------------------------------------------


def replica_counts(snapshot: Snapshot) -> dict[str, dict[str, Counts]]:
    """Return the replicas of each service by datacenter, services by name."""
    ready = _ready(present_statuses(snapshot).values())
    last = _ready(snapshot.statuses.values())
    found: dict[str, dict[str, Counts]] = {}
    known: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    lasting: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for each in snapshot.allocations.values():
        if each.id in last:
            (known if each.id in ready else lasting)[each.service, each.datacenter].add(
                each.replica
            )
    sizes = sizes_of(snapshot.platform)
    for name, service in sorted(snapshot.services.items()):
        found[name] = {
            place: _counted(count, known[name, place], lasting[name, place])
            for place, count in wanted_of(snapshot.platform, service, sizes).items()
            if count
        }
    return found


def _counted(wanted: int, ready: set[int], last: set[int]) -> Counts:
    here = {replica for replica in ready if replica <= wanted}
    lost = {replica for replica in last - ready if replica <= wanted}
    return Counts(wanted=wanted, ready=len(here), unknown=len(lost))


def _ready(statuses: Iterable[MachineStatus]) -> set[str]:
    return {
        instance.allocation
        for status in statuses
        for instance in status.instances
        if instance.phase is Phase.READY
    }
