"""Snapshot -> plan: what to start and stop now, each with its reason."""

from dataclasses import replace

from pltfrms.model.running.plan import Place, Plan
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.drafting.loss import note_mass_loss, note_panic, note_unheard
from pltfrms.planner.placement.drafting.pace import Pace
from pltfrms.planner.placement.rollouts.rollout import roll_out
from pltfrms.planner.placement.rollouts.stages import decide_rollouts
from pltfrms.planner.placement.steps.draining import empty_nodes
from pltfrms.planner.placement.steps.filling import fill_replicas
from pltfrms.planner.placement.steps.leaving import stop_unwanted
from pltfrms.planner.placement.steps.scaling import decide_scaling, note_most
from pltfrms.planner.placement.steps.settling import stop_superseded
from pltfrms.planner.placement.steps.spreading import spread_out


def make_plan(snapshot: Snapshot) -> Plan:
    """Return the steps that bring what is recorded closer to what is wanted.

    The same snapshot always gives the same plan. First comes what frees room, then what
    repairs, then what improves. Every prefix of the steps is safe: no step takes away a copy
    that serves, unless the spec does not want it or another copy of the replica serves.

    Where something is to be repaired, that is all for now. What becomes of rollouts comes next,
    and alone: what improves follows from it. So it is with what the load changes.
    """
    draft = Draft(snapshot)
    rollouts = decide_rollouts(draft) or decide_scaling(draft)
    stop_unwanted(draft)
    stop_superseded(draft)
    note_mass_loss(draft)
    note_unheard(draft)
    note_panic(draft)
    note_most(draft)
    fill_replicas(draft)
    repairs = tuple(draft.steps) if any(isinstance(s, Place) for s in draft.steps) else ()
    pace = Pace(draft)
    empty_nodes(draft, pace)
    roll_out(draft, pace)
    spread_out(draft, pace)
    plan = draft.plan()
    if not rollouts:
        return plan
    return replace(plan, steps=repairs, rollouts=() if repairs else rollouts)
