"""What steps of a plan write into the store."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pltfrms.codec import encode
from pltfrms.controller.records.state import allocation_key, number_key, volume_key
from pltfrms.drivers.store.ports import Delete, Put
from pltfrms.model.running.plan import LastNumber, Place, Step


def writes_of(step: Step, now_ms: int) -> list[Put | Delete]:
    """Return what a step changes: at most three things."""
    key = allocation_key(step.allocation.id)
    if not isinstance(step, Place):
        return [Delete(key=key)]
    gone = replace(step.gives_up, since_ms=now_ms) if step.gives_up else None
    new = replace(step.volume, begun_ms=now_ms) if step.volume else None
    volumes = (each for each in (new, gone) if each)
    puts = (Put(key=volume_key(each.id), value=encode(each)) for each in volumes)
    return [Put(key=key, value=encode(step.allocation)), *puts]


def remember(replica: str, number: int) -> Put:
    """Return the write that keeps the last number of a replica."""
    return Put(
        key=number_key(replica), value=encode(LastNumber(replica=replica, number=number))
    )


def in_batches(steps: Sequence[Step], most: int) -> Iterator[tuple[Step, ...]]:
    """Yield steps in their order, so many at once; one that changes volumes counts twice."""
    batch: tuple[Step, ...] = ()
    size = 0
    for step in steps:
        weight = 2 if isinstance(step, Place) and (step.volume or step.gives_up) else 1
        if batch and size + weight > most:
            yield batch
            batch, size = (), 0
        batch, size = (*batch, step), size + weight
    if batch:
        yield batch
