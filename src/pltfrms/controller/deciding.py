"""What a controller decides now: what the planner says, or nothing while all is frozen."""

from pltfrms.controller.judging import signed
from pltfrms.model.plan import Note, Plan, Reason
from pltfrms.model.state import Snapshot
from pltfrms.planner.placement.plan import make_plan


def decide(snapshot: Snapshot) -> Plan:
    """Return the plan for a snapshot; while the network is frozen, one note and no step."""
    freeze = snapshot.interventions.freeze
    if freeze is None:
        return make_plan(snapshot)
    detail = signed(freeze.why, freeze.by)
    note = Note(about="network", reason=Reason.FROZEN, detail=detail)
    return Plan(revision=snapshot.revision, notes=(note,))
