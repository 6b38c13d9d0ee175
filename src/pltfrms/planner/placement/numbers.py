"""Numbers of allocations: none comes back, on whatever node, or its name would mean two things.

What is recorded or still runs has its number; of what is neither, the store remembers the
highest one of each replica.
"""

from collections.abc import Iterable, Mapping

from pltfrms.model.plan import Step, Stop
from pltfrms.model.state import Snapshot


def replica_of(allocation: str) -> tuple[str, int]:
    """Split an allocation id into its replica and its number (0 if it has none)."""
    replica, _, number = allocation.rpartition("-")
    return (replica, int(number)) if number.isdecimal() else (allocation, 0)


def highest_numbers(snapshot: Snapshot) -> dict[str, int]:
    """Return the highest number that was ever given, by replica (`web.fra.1`)."""
    highest = dict(snapshot.numbers)
    reported = (
        instance.allocation
        for status in snapshot.statuses.values()
        for instance in status.instances
    )
    for allocation in (*snapshot.allocations, *reported):
        _raise_to(highest, allocation)
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


def _raise_to(highest: dict[str, int], allocation: str) -> None:
    replica, number = replica_of(allocation)
    highest[replica] = max(number, highest.get(replica, 0))
