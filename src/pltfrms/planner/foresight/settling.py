"""The planner until it has nothing left to do. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from pltfrms.model.running.inquiries import COUNTED_MAX, Inquiry, Tally
from pltfrms.model.running.plan import Note, Place, Plan, RolloutStep, Step, Stop
from pltfrms.model.running.state import InstanceStatus, MachineStatus, Phase, Snapshot
from pltfrms.model.services.rollouts import baked_at_ms
from pltfrms.model.services.service import RolloutState
from pltfrms.planner.placement.drafting.numbers import numbers_left
from pltfrms.planner.placement.plan import make_plan
from pltfrms.planner.placement.rollouts.inquiries import inquiry_of
from pltfrms.planner.placement.steps.scaling import done

_ROUNDS: Final = 500
"""A change that settles takes a few; what is left after so many is not foreseen."""


def settle(snapshot: Snapshot) -> tuple[Snapshot, tuple[Step, ...], tuple[Note, ...]]:
    """Return how it is when nothing is left to do, what was done, and what cannot be.

    What is started becomes ready; all that runs already stays as it is. Stages of rollouts
    bake in no time, and what is asked for them is answered well.
    """
    done: list[Step] = []
    for _ in range(_ROUNDS):
        plan = make_plan(snapshot)
        after = advanced(snapshot, plan)
        if after == snapshot:
            return snapshot, tuple(done), plan.notes
        done += plan.steps
        snapshot = _obeyed(after, plan.steps)
    return snapshot, tuple(done), make_plan(snapshot).notes


def advanced(snapshot: Snapshot, plan: Plan) -> Snapshot:
    """Return the snapshot after its plan is committed; without one, when a bake is over.

    It is the same one if nothing is left to do, or to wait for.
    """
    if plan.rollouts:
        return rolled(snapshot, plan.rollouts)
    if plan.steps:
        return executed(snapshot, plan.steps)
    snapshot = _answered(snapshot)
    ends = [at for at in map(baked_at_ms, snapshot.services.values()) if at is not None]
    now_ms = max(snapshot.now_ms, *ends) if ends else snapshot.now_ms
    return replace(snapshot, now_ms=now_ms, bakes_ms={}) if ends else snapshot


def _answered(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot after all instances have answered well what rollouts ask them."""
    found = filter(None, map(inquiry_of, snapshot.services.values()))
    asked = {(each.service, version): each for each in found for version in each.versions}
    if not asked:
        return snapshot
    statuses = {
        name: replace(
            status,
            instances=tuple(_with_answers(snapshot, each, asked) for each in status.instances),
        )
        for name, status in snapshot.statuses.items()
    }
    return replace(snapshot, statuses=statuses)


def _with_answers(
    snapshot: Snapshot, said: InstanceStatus, asked: Mapping[tuple[str, int], Inquiry]
) -> InstanceStatus:
    known = snapshot.allocations.get(said.allocation)
    inquiry = asked.get((known.service, known.version)) if known else None
    if inquiry is None:
        return said
    return replace(said, tally=Tally(inquiry=inquiry.id, buckets=(COUNTED_MAX,)))


def rolled(snapshot: Snapshot, steps: Sequence[RolloutStep]) -> Snapshot:
    """Return the snapshot after the steps of rollouts are committed."""
    changed = {step.service.name: done(step, snapshot.now_ms, _cause(step)) for step in steps}
    services = {**snapshot.services, **changed}
    return replace(snapshot, services=services, revision=snapshot.revision + 1, bakes_ms={})


def _cause(step: RolloutStep) -> str:
    rollout = step.service.rollout
    failed = rollout is not None and rollout.state is RolloutState.FAILED
    return (step.culprit or step.words) if failed else ""


def executed(snapshot: Snapshot, steps: Sequence[Step]) -> Snapshot:
    """Return the snapshot after the steps are committed."""
    allocations, volumes = dict(snapshot.allocations), dict(snapshot.volumes)
    for step in steps:
        if isinstance(step, Place):
            allocations[step.allocation.id] = step.allocation
            volumes |= {each.id: each for each in (step.volume, step.gives_up) if each}
        else:
            del allocations[step.allocation.id]
    numbers = {**snapshot.numbers, **numbers_left(snapshot.numbers, steps)}
    revision = snapshot.revision + 1
    changed = replace(snapshot, allocations=allocations, volumes=volumes)
    return replace(changed, numbers=numbers, revision=revision)


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
