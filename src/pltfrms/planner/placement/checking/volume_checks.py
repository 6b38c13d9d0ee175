"""Lint of a plan: what no plan may do to volumes, written a second time as in `checks`."""

from collections.abc import Iterator

from pltfrms.model.network.topology import Role
from pltfrms.model.running.plan import Allocation, Place, Plan, Reason, Step
from pltfrms.model.running.state import Contact, Phase, Snapshot
from pltfrms.model.running.volumes import Volume, VolumeState
from pltfrms.model.services.service import Service

OF_VOLUMES = frozenset({Reason.IN_PLACE, Reason.VOLUME_GIVEN_UP})
"""Why what nothing else serves for may be stopped; it is judged here."""


class _Disks:
    """Volumes and allocations after some steps."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.volumes = dict(snapshot.volumes)
        self.recorded = dict(snapshot.allocations)
        self.nodes = {node.name for node in snapshot.platform.machines_of(Role.NODE)}
        self.ready = {
            instance.allocation
            for name, status in snapshot.statuses.items()
            if snapshot.contact(name) is Contact.PRESENT and name in self.nodes
            for instance in status.instances
            if instance.phase is Phase.READY
        }

    def do(self, step: Step) -> None:
        if not isinstance(step, Place):
            self.recorded.pop(step.allocation.id, None)
            return
        self.recorded[step.allocation.id] = step.allocation
        self.volumes |= {each.id: each for each in (step.volume, step.gives_up) if each}


def check_volumes(snapshot: Snapshot, plan: Plan) -> Iterator[str]:
    """Yield what is wrong with what a plan does to volumes."""
    disks = _Disks(snapshot)
    for step in plan.steps:
        one = step.allocation
        if isinstance(step, Place):
            found = [*_check_place(disks, step), *_check_given_up(disks, step)]
        else:
            found = list(_check_stop(disks, one, step.reason))
        yield from (f"{one.id}: {problem}" for problem in found)
        disks.do(step)


def _check_place(disks: _Disks, step: Place) -> Iterator[str]:
    one, service = step.allocation, disks.snapshot.services.get(step.allocation.service)
    if service is None:
        return
    if bool(one.volume) != _keeps(service, one.version):
        yield "it has no volume, or one that its version does not keep"
    if not one.volume:
        if step.volume or step.gives_up:
            yield "it has no volume, and changes one"
        return
    others = (each for each in disks.recorded.values() if each.volume == one.volume)
    yield from (f"{each.id} has its volume" for each in others)
    yield from _check_volume(disks, step)


def _check_volume(disks: _Disks, step: Place) -> Iterator[str]:
    one = step.allocation
    its = step.volume or disks.volumes.get(one.volume)
    if its is None or its.id != one.volume or its.node != one.node:
        yield f"{one.volume} is not on {one.node}"
    elif its.state is not VolumeState.HELD or its.about != _about(one):
        yield f"{one.volume} is not its own"
    if step.volume and step.volume.id in disks.volumes:
        yield f"{one.volume} is not new"
    left = step.gives_up.id if step.gives_up else ""
    for each in disks.volumes.values():
        held = each.state is VolumeState.HELD and each.about == _about(one)
        if held and each.id not in {one.volume, left}:
            yield f"it has {each.id} already"


def _check_given_up(disks: _Disks, step: Place) -> Iterator[str]:
    lost = step.gives_up
    if lost is None:
        return
    known = disks.volumes.get(lost.id)
    if known is None or known.state is not VolumeState.HELD or step.volume is None:
        yield f"{lost.id} is not held, so it is not given up"
        return
    if (lost.state, lost.about) != (VolumeState.GIVEN_UP, _about(step.allocation)):
        yield f"{lost.id} is not given up by who has it"
    if known.node in disks.nodes and not _is_due(disks, known):
        yield f"{lost.id} is given up although {known.node} may come back"
    yield from _check_one_at_a_time(disks, lost)


def _check_one_at_a_time(disks: _Disks, lost: Volume) -> Iterator[str]:
    for each in disks.volumes.values():
        if each.state is not VolumeState.GIVEN_UP or each.service != lost.service:
            continue
        if each.about == lost.about:
            yield f"{each.id} was given up before, and is not released"
        elif _is_wanted(disks, each) and not _serves(disks, each.about):
            yield f"{each.about} has given up its own, and does not serve yet"


def _is_due(disks: _Disks, volume: Volume) -> bool:
    """Return whether its node is lost for longer than it may be."""
    service = disks.snapshot.services.get(volume.service)
    storage = service.spec.storage if service else None
    patience_ms = storage.lost_after_ms if storage else None
    view = disks.snapshot.machines.get(volume.node)
    if patience_ms is None or view is None or view.contact is not Contact.LOST:
        return False
    return 1000 * view.since_seconds >= patience_ms


def _check_stop(disks: _Disks, old: Allocation, reason: Reason) -> Iterator[str]:
    service = disks.snapshot.services.get(old.service)
    if reason not in OF_VOLUMES or service is None:
        return
    if reason is Reason.VOLUME_GIVEN_UP:
        if old.node in disks.nodes and disks.snapshot.contact(old.node) is not Contact.LOST:
            yield f"{old.node} is not lost"
        return
    if not old.volume:
        yield "it has no volume, so another one could serve first"
    replicas = {_about(each) for each in disks.recorded.values() if each.service == old.service}
    replicas |= {
        each.about
        for each in disks.volumes.values()
        if each.service == old.service
        and each.state is VolumeState.HELD
        and _is_wanted(disks, each)
    }
    others = sorted(replicas - {_about(old)})
    if old.id in disks.ready:
        down = [each for each in others if not _serves(disks, each)]
        yield from (f"stopped while {each} does not serve" for each in down)


def _serves(disks: _Disks, about: str) -> bool:
    return any(
        each.id in disks.ready for each in disks.recorded.values() if _about(each) == about
    )


def _is_wanted(disks: _Disks, volume: Volume) -> bool:
    service = disks.snapshot.services.get(volume.service)
    if service is None:
        return False
    spec = service.spec
    count = dict(spec.counts).get(volume.datacenter, spec.per_datacenter)
    named = not spec.datacenters or volume.datacenter in spec.datacenters
    has_nodes = any(
        node.datacenter == volume.datacenter
        for node in disks.snapshot.platform.machines_of(Role.NODE)
    )
    return named and has_nodes and volume.replica <= count


def _keeps(service: Service, version: int) -> bool:
    rollout = service.rollout
    earlier = rollout.before if rollout and rollout.from_version == version else None
    storage = (earlier or service.spec).storage
    return bool(storage and storage.volumes)


def _about(one: Allocation) -> str:
    return f"{one.service}.{one.datacenter}.{one.replica}"
