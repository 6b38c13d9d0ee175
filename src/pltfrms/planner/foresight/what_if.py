"""What would be if something failed, and what would be short then. Pure."""

from collections.abc import Iterator, Sequence

from pltfrms.model.network.topology import Role
from pltfrms.model.running.foresight import CountForesight, Foresight, RoomForesight
from pltfrms.model.running.state import Contact, Phase, Snapshot
from pltfrms.model.services.replicas import wanted_of
from pltfrms.planner.changes.headroom import Shortage, shortages
from pltfrms.planner.changes.ways import Intent, measured
from pltfrms.planner.foresight.answering import not_known_then, too_few_then
from pltfrms.planner.foresight.losing import Lost, lost_of, without, without_ports
from pltfrms.planner.foresight.settling import settle
from pltfrms.planner.redundancy.loads import Loads, service_loads
from pltfrms.planner.redundancy.verdict import redundancy

_Counts = dict[tuple[str, str], int]


def what_if(
    snapshot: Snapshot, losses: Sequence[str], loads: Loads | None = None
) -> tuple[Foresight, Snapshot]:
    """Return what would be if something failed now, and the snapshot when all is settled.

    `losses` are words such as `datacenter/fra` (`losing.lost_of`). Of each service in each of
    its datacenters it is said how many replicas are ready. `loads` as `n_minus_one` has it.

    Raises:
        UsageError: there is nothing of such a name.
    """
    lost = lost_of(snapshot.platform, losses)
    at_once = without(snapshot, lost)
    undecided = _undecided(at_once)
    after, steps, notes = (at_once, (), ()) if undecided else settle(at_once)
    loads = service_loads(snapshot) if loads is None else loads
    found = tuple(_shortages(snapshot, lost))
    counts = tuple(_counts(snapshot, at_once, after))
    rooms = tuple(_rooms(after))
    foresight = Foresight(
        lost=(*sorted(lost.machines), *sorted(lost.links)),
        counts=counts,
        rooms=rooms,
        steps=steps,
        notes=notes,
        short=tuple(_short(counts, rooms)),
        undecided=undecided,
        shortages=(
            *(_sentence(each) for each in found if each.sure),
            *too_few_then(loads, counts),
        ),
        doubts=(
            *(_sentence(each) for each in found if not each.sure),
            *not_known_then(loads, counts),
        ),
        redundancy=redundancy(after, snapshot.now_ms, loads),
        loads=tuple(load for _, some in sorted(loads.items()) for load in some),
    )
    return foresight, after


def _undecided(snapshot: Snapshot) -> str:
    controllers = snapshot.platform.machines_of(Role.CONTROLLER)
    living = [each for each in controllers if snapshot.contact(each.name) is Contact.PRESENT]
    if not controllers or len(living) > len(controllers) // 2:
        return ""
    return (
        f"{len(living)} of {len(controllers)} controllers are left, which is no majority: "
        "nothing is rescheduled, and what runs goes on"
    )


def _counts(now: Snapshot, at_once: Snapshot, after: Snapshot) -> Iterator[CountForesight]:
    counted = [_ready(each) for each in (now, at_once, after)]
    for _, service in sorted(now.services.items()):
        for datacenter, wanted in wanted_of(now.platform, service).items():
            key = (service.name, datacenter)
            if wanted or any(key in each for each in counted):
                yield CountForesight(
                    service=service.name,
                    datacenter=datacenter,
                    wanted=wanted,
                    now=counted[0].get(key, 0),
                    at_once=counted[1].get(key, 0),
                    settled=counted[2].get(key, 0),
                )


def _ready(snapshot: Snapshot) -> _Counts:
    """Count the replicas that have a ready instance on a machine in contact."""
    replicas = {
        (allocation.service, allocation.datacenter, allocation.replica)
        for name, status in snapshot.statuses.items()
        if snapshot.contact(name) is Contact.PRESENT
        for instance in status.instances
        if instance.phase is Phase.READY
        and (allocation := snapshot.allocations.get(instance.allocation))
        and allocation.node == name
    }
    counts: _Counts = {}
    for service, datacenter, _ in replicas:
        counts[service, datacenter] = counts.get((service, datacenter), 0) + 1
    return counts


def _rooms(snapshot: Snapshot) -> Iterator[RoomForesight]:
    platform = snapshot.platform
    for datacenter in platform.datacenters:
        nodes = {
            node.name: node
            for node in platform.machines_of(Role.NODE, datacenter.name)
            if snapshot.contact(node.name) is Contact.PRESENT
        }
        if not nodes:
            continue
        runs = [
            snapshot.services[each.service].spec.run
            for each in snapshot.allocations.values()
            if each.node in nodes and each.service in snapshot.services
        ]
        yield RoomForesight(
            datacenter=datacenter.name,
            cpu=sum(node.cpu for node in nodes.values()),
            cpu_promised=round(sum(run.cpu for run in runs), 3),
            memory_bytes=sum(node.memory_bytes for node in nodes.values()),
            memory_promised=sum(run.memory_bytes for run in runs),
        )


def _short(counts: Sequence[CountForesight], rooms: Sequence[RoomForesight]) -> Iterator[str]:
    left = {room.datacenter for room in rooms}
    for service in dict.fromkeys(each.service for each in counts):
        lines = [each for each in counts if each.service == service]
        if not any(each.settled for each in lines) and any(each.now for each in lines):
            yield f"{service} is ready nowhere"
            continue
        for each in lines:
            if each.datacenter in left and each.settled < min(each.wanted, each.now):
                yield f"{service} has {each.settled} of {each.wanted} in {each.datacenter}"


def _shortages(snapshot: Snapshot, lost: Lost) -> Iterator[Shortage]:
    before = Intent(
        platform=snapshot.platform,
        interventions=snapshot.interventions,
        at_ms=snapshot.now_ms,
    )
    after = Intent(
        platform=without_ports(snapshot.platform, lost),
        interventions=snapshot.interventions,
        at_ms=snapshot.now_ms,
    )
    machines = snapshot.platform.managed
    living = {each.datacenter for each in machines if each.name not in lost.machines}
    gone = frozenset(each.name for each in snapshot.platform.datacenters) - living
    return shortages(before, after, measured(snapshot), gone)


def _sentence(shortage: Shortage) -> str:
    return f"{shortage.about}: {shortage.sentence}"
