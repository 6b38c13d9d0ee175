"""What of the store may be forgotten: machines that left, deleted volumes, parts of nobody."""

from collections.abc import Iterable, Mapping
from typing import Final

from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.model.running.volumes import VolumeState
from pltfrms.model.services.parts import PARTS, part_of
from pltfrms.model.services.service import Service

KEPT_MACHINES: Final = 100
"""Machines that left the platform with instances, and of which it is still known how they were:
the names of their instances do not come back meanwhile."""


def unneeded_machines(snapshot: Snapshot, written_at: Mapping[str, int]) -> tuple[str, ...]:
    """Return of which machines, sorted, it may be forgotten how they were.

    They are not in the platform, so that nobody hears them any more, and nothing is recorded
    there. `written_at` is the revision of what they said last, by name.
    """
    known = {machine.name for machine in snapshot.platform.managed}
    used = {allocation.node for allocation in snapshot.allocations.values()}
    left = snapshot.statuses.keys() - known - used
    busy = [name for name in left if snapshot.statuses[name].instances]
    newest = sorted(busy, key=lambda name: (-written_at.get(name, 0), name))[:KEPT_MACHINES]
    return tuple(sorted(left - set(newest)))


def unneeded_keys(services: Mapping[str, Service], keys: Iterable[str]) -> tuple[str, ...]:
    """Return those keys that are in the part of no service, as it is or may go back to."""
    specs = [each.spec for each in services.values()]
    specs += [each.before.spec for each in services.values() if each.before]
    kept = {part_of(spec.name) for spec in specs if spec.run.store is not None}
    return tuple(key for key in keys if part_of(_owner(key)) not in kept)


def _owner(key: str) -> str:
    return key.removeprefix(PARTS).partition("/")[0]


def deleted_volumes(snapshot: Snapshot, *, made: bool = False) -> tuple[str, ...]:
    """Return the released volumes, sorted, that are on no node of ours any more.

    With `made` only those that their nodes once said they have: of another one, a node that
    does not say so may be about to make it, as it was told before.
    """
    released = [
        volume
        for _, volume in sorted(snapshot.volumes.items())
        if volume.state is VolumeState.RELEASED and (volume.made or not made)
    ]
    if not released:
        return ()
    nodes = {node.name for node in snapshot.platform.machines_of(Role.NODE)}
    return tuple(
        volume.id
        for volume in released
        if volume.node not in nodes or _is_gone(snapshot, volume.node, volume.id)
    )


def _is_gone(snapshot: Snapshot, node: str, volume: str) -> bool:
    """Return whether its node says so now: one that is away may have made it since it spoke."""
    status = snapshot.statuses.get(node)
    present = snapshot.contact(node) is Contact.PRESENT
    if status is None or status.volumes is None or not present:
        return False
    return volume not in {each.volume for each in status.volumes}
