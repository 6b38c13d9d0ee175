"""A snapshot as a person wants to see it. Pure: from one `SnapshotView` to rows.

A replica counts as ready only while its node is in contact; what a lost node last said is
counted as `unknown`, neither ready nor failed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pltfrms.model.addresses import contains
from pltfrms.model.durations import short_duration
from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.network.topology import AnnouncePolicy, Datacenter, Machine, Role
from pltfrms.model.running.plan import Allocation
from pltfrms.model.running.redundancy import Redundancy
from pltfrms.model.running.state import Contact, MachineStatus, Phase, Snapshot
from pltfrms.model.services.replicas import wanted_of
from pltfrms.model.services.service import Service
from pltfrms.planner.routing.visibility import present_statuses, visibility
from pltfrms.seen.announced import AggregateRow, aggregate_rows
from pltfrms.seen.failing import failing_lines, job_lines, with_failure
from pltfrms.seen.network import network_detail, network_lines
from pltfrms.seen.roles import RoleRow, role_lines, role_rows
from pltfrms.seen.rollouts import RolloutProgress, reverted, rollout_sentence, rollouts
from pltfrms.seen.words import freeze_sentence

_NO_CONTROLLER = "its controller does not run, or does not reach the store"
_NOT_PRESENT = {
    Contact.LOST: "its node is out of contact",
    Contact.UNKNOWN: "contact with its node is not known",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaRow:
    """One allocation of a service, or a wanted replica without any (then `node` is empty)."""

    service: str
    datacenter: str
    replica: int
    allocation: str = ""
    node: str = ""
    version: int = 0
    state: str
    """Phase of the instance; `unknown` if its node is not in contact; `waiting` if its agent
    has not started it yet; `missing` if it has no allocation."""
    restarts: int = 0
    address4: str = ""
    address6: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    """A service and how many of its wanted replicas can serve."""

    name: str
    id: int
    version: int
    prefixes: tuple[str, ...]
    ports: tuple[str, ...]
    wanted: int
    ready: int
    unknown: int
    """Replicas that were ready when their node was last heard of."""
    datacenters: tuple[str, ...]
    roles: tuple[RoleRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDetail:
    """A service with its replicas."""

    service: ServiceRow
    replicas: tuple[ReplicaRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRow:
    """A machine, as controllers know it."""

    name: str
    datacenter: str
    role: Role
    """The main one."""
    roles: tuple[Role, ...]
    contact: Contact
    since_seconds: float | None
    """How long the contact has been so; None if no controller ever heard of it."""
    generation: int
    sessions_up: int
    sessions: int
    instances_ready: int
    instances: int
    problems: tuple[str, ...]
    heard: bool = True
    """Whether its agent has ever told how it is."""
    last_seconds: float | None = None
    """While the store does not answer: how old all this is."""
    drain: str = "-"
    """How far the drain of a node is, in lists of nodes."""
    external: bool = False
    """Others manage it: nothing of it is known, and nothing is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatacenterRow:
    """A datacenter: its machines with our agent in numbers."""

    name: str
    city: str
    machines: int
    in_contact: int
    unknown: int
    """Machines whose contact is not known."""
    sessions_up: int
    sessions: int
    instances_ready: int
    instances: int
    aggregates: tuple[AggregateRow, ...]
    drain: str = "-"
    """How far its drain is, in lists of datacenters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All of it, with one sentence first."""

    redundancy: Redundancy | None
    """Whether one more failure is survived; None: nobody says."""
    verdict: str
    fine: bool
    """Every machine in contact, every session up, every replica ready, no problem, no note."""
    datacenters: tuple[DatacenterRow, ...]
    machines: tuple[MachineRow, ...]
    services: tuple[ServiceRow, ...]
    rollouts: tuple[str, ...]
    """Rollouts under way: since when, how far, and why they fail if they do; and which ones
    went back, and why."""
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    frozen: str
    """Since when nothing changes a route, and why; empty if it is not so."""
    network: tuple[str, ...]
    """What is done to the network for a while, edges whose routing is not confirmed, and
    overrides that end soon."""


def summarize(view: SnapshotView, now_ms: int) -> Summary:
    """Return the whole platform in rows; `now_ms` is Unix time.

    While the store does not answer, they are what was known last.
    """
    snapshot = view.last_known
    network = network_detail(snapshot, now_ms)
    freeze = snapshot.interventions.freeze
    age = view.stale_seconds or None
    machines = tuple(
        replace(machine_row(snapshot, each), last_seconds=age)
        for each in snapshot.platform.machines
    )
    managed = tuple(row for row in machines if not row.external)
    services = tuple(service_row(snapshot, s) for s in ordered_services(snapshot))
    rolling = rollouts(snapshot, {service.name: service.wanted for service in services})
    back = reverted(snapshot)
    failing = back or any(each.failures for each in rolling)
    problems = tuple(problem_lines(view, snapshot, now_ms))
    notes = tuple(note_lines(view))
    return Summary(
        redundancy=view.redundancy,
        verdict=_verdict(view, managed, services, rolling),
        fine=_fine(managed, services)
        and not (problems or notes or freeze or network.unsettled or failing),
        datacenters=tuple(datacenter_row(snapshot, d) for d in snapshot.platform.datacenters),
        machines=machines,
        services=services,
        rollouts=(*(rollout_sentence(each, now_ms) for each in rolling), *back),
        problems=problems,
        notes=notes,
        frozen=freeze_sentence(freeze, now_ms) if freeze else "",
        network=network_lines(network, now_ms),
    )


def _silent_controllers(view: SnapshotView) -> Iterator[str]:
    """Yield the controller machines that are in contact while their controller is not."""
    if view.controllers is None:
        return
    for machine in view.snapshot.platform.machines_of(Role.CONTROLLER):
        present = view.snapshot.contact(machine.name) is Contact.PRESENT
        if present and machine.name not in view.controllers:
            yield machine.name


def note_lines(view: SnapshotView) -> Iterator[str]:
    """Yield a line for each thing that is wanted and cannot be done now, as `problem_lines`."""
    for note in view.notes:
        detail = f" ({note.detail})" if note.detail else ""
        yield f"{note.about}: {note.reason.sentence}{detail}"


def problem_lines(view: SnapshotView, snapshot: Snapshot, now_ms: int) -> Iterator[str]:
    """Yield a line for each thing that is broken; each begins with what it is about."""
    if view.stale_seconds:
        yield (
            f"the store does not answer for {short_duration(view.stale_seconds)}: this is what "
            "was known last; nothing is decided, and what runs goes on"
        )
    if view.store:
        yield from (f"store: {problem}" for problem in view.store.problems)
    yield from (f"{view.controller}: {problem}" for problem in view.problems)
    yield from (
        f"{name}: {problem}"
        for name, problem in sorted(view.controller_problems.items())
        if name != view.controller
    )
    yield from (f"{name}: {_NO_CONTROLLER}" for name in _silent_controllers(view))
    for machine in snapshot.platform.managed:
        status = snapshot.statuses.get(machine.name)
        yield from (f"{machine.name}: {each}" for each in machine_problems(status))
    yield from failing_lines(snapshot)
    yield from role_lines(snapshot)
    yield from job_lines(snapshot)
    yield from _unheard(snapshot, now_ms)


def _verdict(
    view: SnapshotView,
    machines: tuple[MachineRow, ...],
    services: tuple[ServiceRow, ...],
    rolling: tuple[RolloutProgress, ...],
) -> str:
    platform = view.snapshot.platform
    parts = [
        f"{len(platform.datacenters)} datacenters",
        _contact_verdict(machines),
        _session_verdict(machines),
        *(_service_verdict(service) for service in services),
        *(_rollout_verdict(each) for each in rolling),
    ]
    age = short_duration(view.stale_seconds)
    last = f"known last, {age} ago: " if view.stale_seconds else ""
    return f"{platform.name}: {last}{', '.join(parts if services else [*parts, 'no service'])}"


def _contact_verdict(machines: tuple[MachineRow, ...]) -> str:
    present = sum(m.contact is Contact.PRESENT for m in machines)
    unknown = sum(m.contact is Contact.UNKNOWN for m in machines)
    count = str(present) if present == len(machines) else f"{present}/{len(machines)}"
    return f"{count} machines in contact{f' ({unknown} not known)' if unknown else ''}"


def _session_verdict(machines: tuple[MachineRow, ...]) -> str:
    """Count as up only what a machine in contact says: others may have lost theirs since."""
    present = [m for m in machines if m.contact is Contact.PRESENT]
    up, all_of_them = sum(m.sessions_up for m in present), sum(m.sessions for m in machines)
    unknown = all_of_them - sum(m.sessions for m in present)
    return f"{up}/{all_of_them} sessions up{f' ({unknown} unknown)' if unknown else ''}"


def _rollout_verdict(rollout: RolloutProgress) -> str:
    fails = " fails" if rollout.failures else ""
    far = f"{rollout.done}/{rollout.wanted}"
    return f"rollout of {rollout.service} version {rollout.version}{fails} ({far})"


def _service_verdict(service: ServiceRow) -> str:
    unknown = f" ({service.unknown} unknown)" if service.unknown else ""
    return f"{service.name} {service.ready}/{service.wanted} ready{unknown}"


def _unheard(snapshot: Snapshot, now_ms: int) -> Iterator[str]:
    """Yield the aggregates that the outside hears too little of.

    One that no service needs yet may be silent.
    """
    platform, statuses = snapshot.platform, present_statuses(snapshot)
    always = {
        each.prefix
        for each in platform.aggregates
        if each.unicast or each.announce is AnnouncePolicy.ALWAYS
    }
    for each in visibility(platform, snapshot.interventions, statuses, now_ms):
        needed = each.prefix in always or any(
            contains(each.prefix, prefix)
            for service in snapshot.services.values()
            for prefix in service.prefixes
        )
        if needed:
            yield from (f"{each.prefix}: {sentence}" for sentence in each.shortfalls(platform))


def _fine(machines: tuple[MachineRow, ...], services: tuple[ServiceRow, ...]) -> bool:
    return all(
        m.contact is Contact.PRESENT and m.sessions and m.sessions_up == m.sessions
        for m in machines
    ) and all(service.ready == service.wanted for service in services)


# ---- machines ------------------------------------------------------------------------------


def machine_row(snapshot: Snapshot, machine: Machine) -> MachineRow:
    """Return what is known of a machine."""
    if machine.external:
        return _external_row(machine)
    status, view = snapshot.statuses.get(machine.name), snapshot.machines.get(machine.name)
    sessions = status.sessions if status else ()
    instances = status.instances if status else ()
    return MachineRow(
        name=machine.name,
        datacenter=machine.datacenter,
        role=machine.role,
        roles=machine.roles,
        contact=snapshot.contact(machine.name),
        since_seconds=view.since_seconds if view else None,
        generation=status.generation if status else 0,
        sessions_up=sum(session.up for session in sessions),
        sessions=len(sessions),
        instances_ready=sum(instance.phase is Phase.READY for instance in instances),
        instances=len(instances),
        problems=machine_problems(status),
        heard=status is not None,
    )


def machine_problems(status: MachineStatus | None) -> tuple[str, ...]:
    """Return what a machine says that it cannot do; nothing if it has said nothing."""
    if status is None or not status.balancer:
        return status.problems if status else ()
    return (f"the director does not run: {status.balancer}", *status.problems)


def _external_row(machine: Machine) -> MachineRow:
    return MachineRow(
        name=machine.name,
        datacenter=machine.datacenter,
        role=machine.role,
        roles=machine.roles,
        contact=Contact.UNKNOWN,
        since_seconds=None,
        generation=0,
        sessions_up=0,
        sessions=0,
        instances_ready=0,
        instances=0,
        problems=(),
        external=True,
    )


def datacenter_row(snapshot: Snapshot, datacenter: Datacenter) -> DatacenterRow:
    """Return a datacenter in numbers."""
    rows = [
        machine_row(snapshot, machine)
        for machine in snapshot.platform.managed
        if machine.datacenter == datacenter.name
    ]
    return DatacenterRow(
        name=datacenter.name,
        city=datacenter.city,
        machines=len(rows),
        in_contact=sum(row.contact is Contact.PRESENT for row in rows),
        unknown=sum(row.contact is Contact.UNKNOWN for row in rows),
        sessions_up=sum(row.sessions_up for row in rows),
        sessions=sum(row.sessions for row in rows),
        instances_ready=sum(row.instances_ready for row in rows),
        instances=sum(row.instances for row in rows),
        aggregates=aggregate_rows(snapshot, datacenter),
    )


# ---- services ------------------------------------------------------------------------------


def ordered_services(snapshot: Snapshot) -> tuple[Service, ...]:
    """Return the services by name."""
    return tuple(snapshot.services[name] for name in sorted(snapshot.services))


def service_row(snapshot: Snapshot, service: Service) -> ServiceRow:
    """Return a service with its counts of replicas."""
    replicas = _states_by_replica(replica_rows(snapshot, service))
    wanted = wanted_of(snapshot.platform, service)
    return ServiceRow(
        name=service.name,
        id=service.id,
        version=service.version,
        prefixes=tuple(map(str, service.prefixes)),
        ports=service.spec.ports,
        wanted=sum(wanted.values()),
        ready=sum(Phase.READY in states for states in replicas),
        unknown=sum("unknown" in s and Phase.READY not in s for s in replicas),
        datacenters=tuple(name for name, count in wanted.items() if count),
        roles=tuple(role_rows(snapshot, service)),
    )


def _states_by_replica(rows: Iterable[ReplicaRow]) -> list[set[str]]:
    states: dict[tuple[str, int], set[str]] = {}
    for row in rows:
        states.setdefault((row.datacenter, row.replica), set()).add(row.state)
    return list(states.values())


def replica_rows(snapshot: Snapshot, service: Service) -> tuple[ReplicaRow, ...]:
    """Return a row per allocation of a wanted replica, and one per replica without any."""
    rows: list[ReplicaRow] = []
    for datacenter, count in wanted_of(snapshot.platform, service).items():
        for replica in range(1, count + 1):
            allocations = _allocations(snapshot, service, datacenter, replica)
            rows += [_replica_row(snapshot, service, a) for a in allocations]
            if not allocations:
                rows.append(
                    ReplicaRow(
                        service=service.name,
                        datacenter=datacenter,
                        replica=replica,
                        state="missing",
                        detail="no node was given it yet",
                    )
                )
    return tuple(rows)


def _allocations(
    snapshot: Snapshot, service: Service, datacenter: str, replica: int
) -> list[Allocation]:
    found = [
        allocation
        for allocation in snapshot.allocations.values()
        if allocation.service == service.name
        and allocation.datacenter == datacenter
        and allocation.replica == replica
    ]
    return sorted(found, key=lambda allocation: allocation.number)


def _replica_row(snapshot: Snapshot, service: Service, allocation: Allocation) -> ReplicaRow:
    instance = snapshot.instance(allocation.id)
    present = snapshot.contact(allocation.node) is Contact.PRESENT
    state = instance.phase.value if instance else "waiting"
    node = next((m for m in snapshot.platform.machines if m.name == allocation.node), None)
    platform = snapshot.platform
    four = platform.instance4(node, allocation.slot) if node else None
    six = platform.instance6(node, service.id, allocation.slot) if node else None
    return ReplicaRow(
        service=service.name,
        datacenter=allocation.datacenter,
        replica=allocation.replica,
        allocation=allocation.id,
        node=allocation.node,
        version=allocation.version,
        state=state if present else "unknown",
        restarts=instance.restarts if instance else 0,
        address4=str(four or ""),
        address6=str(six or ""),
        detail=with_failure(instance) if present else _why_not_known(snapshot, allocation.node),
    )


def _why_not_known(snapshot: Snapshot, node: str) -> str:
    view = snapshot.machines.get(node)
    return (view.why if view else "") or _NOT_PRESENT[snapshot.contact(node)]


def missing_replicas(snapshot: Snapshot, names: Iterable[str]) -> tuple[ReplicaRow, ...]:
    """Return the replicas of the services `names` that are not ready in the wanted version.

    A service that is not there (any more) has none.
    """
    missing: list[ReplicaRow] = []
    for name in names:
        service = snapshot.services.get(name)
        if service is None:
            continue
        rows = replica_rows(snapshot, service)
        ready = {
            (row.datacenter, row.replica)
            for row in rows
            if row.state == Phase.READY and row.version == service.version
        }
        newest = {(row.datacenter, row.replica): row for row in rows}
        missing += [row for key, row in newest.items() if key not in ready]
    return tuple(missing)
