"""What operators do with volumes: give one up whose node is dead, release one for deletion.

And what becomes of the first where the node is not dead after all.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from pltfrms.errors import ConflictError, NotFoundError
from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.model.running.volumes import Volume, VolumeState
from pltfrms.model.services.replicas import wanted_of


def user_of(snapshot: Snapshot, volume: Volume) -> str:
    """Return who uses a volume, or waits for it, in words; empty: nobody."""
    had = (each.id for each in snapshot.allocations.values() if each.volume == volume.id)
    allocation = next(had, "")
    if allocation:
        return allocation
    service = snapshot.services.get(volume.service)
    if service is None or volume.state is not VolumeState.HELD:
        return ""
    keeps = service.keeps(service.version) or service.rolling is not None
    wanted = wanted_of(snapshot.platform, service).get(volume.datacenter, 0)
    return volume.about if keeps and volume.replica <= wanted else ""


def release_volume(snapshot: Snapshot, name: str, why: str) -> Volume:
    """Return a volume as it is once its node is to delete it.

    Raises:
        NotFoundError: there is none of that name.
        ConflictError: it is in use.
    """
    volume = _volume(snapshot, name)
    user = user_of(snapshot, volume)
    if user:
        raise ConflictError(
            f"{name} is in use by {user}: scale down or delete its service first; if"
            f" {volume.node} is dead: pltfrms volume release {name} --give-up"
        )
    if volume.state is VolumeState.RELEASED:
        return volume
    return replace(volume, state=VolumeState.RELEASED, why=why)


def give_up_volume(snapshot: Snapshot, name: str, why: str) -> Volume:
    """Return a volume as it is once its replica waits for it no more; it is not deleted.

    Where its node is there and has it no more, it becomes one that was never made: its replica
    begins there with nothing.

    Raises:
        NotFoundError: there is none of that name.
        ConflictError: its node is not lost, or the replica has given one up already.
    """
    volume = _volume(snapshot, name)
    if volume.state is not VolumeState.HELD:
        return volume
    if volume.made and is_on_disk(snapshot, volume) is False:
        return replace(volume, made=False)
    nodes = {node.name for node in snapshot.platform.machines_of(Role.NODE)}
    if volume.node in nodes and snapshot.contact(volume.node) is not Contact.LOST:
        raise ConflictError(f"{volume.node} is not lost: {name} is where it can be used")
    for each in snapshot.volumes.values():
        if each.about == volume.about and each.state is VolumeState.GIVEN_UP:
            raise ConflictError(f"{each.id} was given up already: release that first")
    return replace(volume, state=VolumeState.GIVEN_UP, why=why)


def is_on_disk(snapshot: Snapshot, volume: Volume) -> bool | None:
    """Return whether a volume is where it is recorded; None: nobody can be asked."""
    status = snapshot.statuses.get(volume.node)
    if status is None or status.volumes is None or not _is_there(snapshot, volume.node):
        return None
    told = (each.bytes is not None for each in status.volumes if each.volume == volume.id)
    return next(told, None)


def made_now(snapshot: Snapshot) -> Iterator[Volume]:
    """Yield volumes as they are to be recorded, whose nodes have them on the disk by now."""
    for each in snapshot.volumes.values():
        held = each.state is VolumeState.HELD
        if held and not each.made and is_on_disk(snapshot, each):
            yield replace(each, made=True)


def taken_back(snapshot: Snapshot) -> Iterator[Volume]:
    """Yield volumes as they are to be, where a replica runs on the one that was given up.

    Its node came back before the replica had begun elsewhere. Given up, that volume would be
    left behind by the next version. What was begun elsewhere, and ended, is given up instead.
    """
    given_up = {
        name: each
        for name, each in snapshot.volumes.items()
        if each.state is VolumeState.GIVEN_UP
    }
    found = snapshot.allocations.values() if given_up else ()
    copies = Counter((each.service, each.datacenter, each.replica) for each in found)
    for one in found:
        mine = given_up.get(one.volume)
        alone = copies[one.service, one.datacenter, one.replica] == 1
        if mine is None or not alone or not _is_there(snapshot, mine.node):
            continue
        yield replace(mine, state=VolumeState.HELD, since_ms=0, why="")
        for each in snapshot.volumes.values():
            if each.about == mine.about and each.state is VolumeState.HELD:
                why = f"{mine.node} is back with {mine.id}"
                yield replace(each, state=VolumeState.GIVEN_UP, why=why)


def _is_there(snapshot: Snapshot, name: str) -> bool:
    nodes = {node.name for node in snapshot.platform.machines_of(Role.NODE)}
    return name in nodes and snapshot.contact(name) is Contact.PRESENT


def _volume(snapshot: Snapshot, name: str) -> Volume:
    found = snapshot.volumes.get(name)
    if found is None:
        known = ", ".join(sorted(snapshot.volumes)) or "none"
        raise NotFoundError(f"there is no volume {name!r}; there are: {known}")
    return found
