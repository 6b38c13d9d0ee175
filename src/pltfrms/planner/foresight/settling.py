"""The planner until it has nothing left to do. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from pltfrms.model.running.plan import Note, Place, Step, Stop
from pltfrms.model.running.state import InstanceStatus, MachineStatus, Phase, Snapshot
from pltfrms.planner.placement.numbers import numbers_left
from pltfrms.planner.placement.plan import make_plan

_ROUNDS: Final = 100
"""A change that settles takes a few; what is left after so many is not foreseen."""


def settle(snapshot: Snapshot) -> tuple[Snapshot, tuple[Step, ...], tuple[Note, ...]]:
    """Return how it is when nothing is left to do, what was done, and what cannot be.

    What is started becomes ready; all that runs already stays as it is.
    """
    done: list[Step] = []
    for _ in range(_ROUNDS):
        plan = make_plan(snapshot)
        if not plan.steps:
            return snapshot, tuple(done), plan.notes
        done += plan.steps
        snapshot = _obeyed(executed(snapshot, plan.steps), plan.steps)
    return snapshot, tuple(done), make_plan(snapshot).notes


def executed(snapshot: Snapshot, steps: Sequence[Step]) -> Snapshot:
    """Return the snapshot after the steps are committed."""
    allocations = dict(snapshot.allocations)
    for step in steps:
        if isinstance(step, Place):
            allocations[step.allocation.id] = step.allocation
        else:
            del allocations[step.allocation.id]
    numbers = {**snapshot.numbers, **numbers_left(snapshot.numbers, steps)}
    revision = snapshot.revision + 1
    return replace(snapshot, allocations=allocations, numbers=numbers, revision=revision)


def _obeyed(snapshot: Snapshot, steps: Sequence[Step]) -> Snapshot:
    """Return the snapshot after agents have done what the steps say."""
    started: dict[str, list[InstanceStatus]] = {}
    stopped: set[str] = set()
    for step in steps:
        if isinstance(step, Stop):
            stopped.add(step.allocation.id)
            started.setdefault(step.allocation.node, [])
        else:
            ready = InstanceStatus(
                allocation=step.allocation.id, phase=Phase.READY, slot=step.allocation.slot
            )
            started.setdefault(step.allocation.node, []).append(ready)
    changed = {
        name: _with(snapshot.statuses.get(name) or MachineStatus(machine=name), new, stopped)
        for name, new in started.items()
    }
    return replace(snapshot, statuses={**snapshot.statuses, **changed})


def _with(
    status: MachineStatus, new: Sequence[InstanceStatus], stopped: Collection[str]
) -> MachineStatus:
    kept = (each for each in status.instances if each.allocation not in stopped)
    return replace(status, instances=(*kept, *new))
