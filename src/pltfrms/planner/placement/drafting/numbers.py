"""Numbers of allocations: none comes back, on whatever node, or its name would mean two things.

What is recorded or still runs has its number; of what is neither, the store remembers the
highest one of each replica. It may forget those of a deleted service once no node can run a
copy of it any more: else they would grow for ever where services come and go by name. A volume
has the number of the allocation that it was made for: while it is recorded, or on a disk that
we hear of, no number up to that is given again, or new data would be where the old is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pltfrms.model.network.topology import Role
from pltfrms.model.running.plan import Step, Stop
from pltfrms.model.running.state import Snapshot


def replica_of(allocation: str, mark: str = "-") -> tuple[str, int]:
    """Split an allocation id into its replica and its number (0 if it has none).

    One of a volume has another `mark` before the number: `@`.
    """
    replica, _, number = allocation.rpartition(mark)
    return (replica, int(number)) if number.isdecimal() else (allocation, 0)


def highest_numbers(snapshot: Snapshot, *, recorded: bool = True) -> dict[str, int]:
    """Return the highest number that was ever given, by replica (`web.fra.1`).

    Without `recorded`, of all but the allocations that are recorded.
    """
    highest = dict(snapshot.numbers)
    reported = (
        instance.allocation
        for status in snapshot.statuses.values()
        for instance in status.instances
        if instance.allocation not in snapshot.allocations
    )
    for allocation in (*(snapshot.allocations if recorded else ()), *reported):
        _raise_to(highest, allocation)
    on_disks = (
        each.volume for status in snapshot.statuses.values() for each in status.volumes or ()
    )
    for volume in (*snapshot.volumes, *on_disks):
        _raise_to(highest, volume, "@")
    return highest


def numbers_left(known: Mapping[str, int], steps: Iterable[Step]) -> dict[str, int]:
    """Return what is to be remembered, by replica, when these steps have been committed.

    `known` is what is remembered already; what does not change is left out.
    """
    left: dict[str, int] = {}
    for step in steps:
        if isinstance(step, Stop):
            _raise_to(left, step.allocation.id)
    return {
        replica: number for replica, number in left.items() if number > known.get(replica, 0)
    }


def unneeded_numbers(snapshot: Snapshot, written_at: Mapping[str, int]) -> tuple[str, ...]:
    """Return the replicas, sorted, whose last number may be forgotten.

    `written_at` is the revision of the commit that wrote the number, by replica. A copy that
    ended with that commit is in no later target, and agents refuse older ones: so whoever has
    followed a later one, and reports no copy, will run none. A node that was never heard of
    never got any; one that is away keeps what was written meanwhile.
    """
    platform, statuses = snapshot.platform, snapshot.statuses
    nodes = (node.name for node in platform.machines_of(Role.NODE) if not node.external)
    heard = min((statuses[n].generation for n in nodes if n in statuses), default=0)
    living = highest_numbers(replace(snapshot, numbers={}))
    return tuple(
        replica
        for replica, revision in sorted(written_at.items())
        if revision <= heard
        and replica not in living
        and replica.rsplit(".", 2)[0] not in snapshot.services
    )


def _raise_to(highest: dict[str, int], name: str, mark: str = "-") -> None:
    replica, number = replica_of(name, mark)
    highest[replica] = max(number, highest.get(replica, 0))
