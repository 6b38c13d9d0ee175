"""Which part of a plan has nothing to do with a change. Pure."""

from collections.abc import Hashable

from pltfrms.model.running.plan import Place, Plan, Step


def under_way(without: Plan, changed: Plan) -> Plan:
    """Return what of the plan `changed` would be done without the change as well.

    `without` is the plan for the state as it is. A step counts as the same if it does the
    same to the same replica for the same reason, though perhaps on another node.
    """
    steps = {_essence(step) for step in without.steps}
    notes = set(without.notes)
    return Plan(
        revision=changed.revision,
        steps=tuple(step for step in changed.steps if _essence(step) in steps),
        notes=tuple(note for note in changed.notes if note in notes),
    )


def _essence(step: Step) -> Hashable:
    it = step.allocation
    if isinstance(step, Place):
        return (it.service, it.datacenter, it.replica, it.version, it.replaces, step.reason)
    return (it.id, step.reason)
