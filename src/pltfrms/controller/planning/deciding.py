"""What a controller decides now: what the planner says, or nothing while all is frozen.

Planning costs as much as the platform is large, so it is done only when there is something new
to plan. That nothing was missed is audited now and then.
"""

from dataclasses import dataclass, replace

from pltfrms.controller.counters import Counters
from pltfrms.controller.planning.judging import signed
from pltfrms.drivers.ports import Aside
from pltfrms.model.running.plan import Note, Plan, Reason
from pltfrms.model.running.state import MachineStatus, Snapshot
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.inputs import bare_status, planned_by
from pltfrms.planner.placement.plan import make_plan

STEPS_MAX = 1000
"""Steps that are done before the next plan is made; every prefix of a plan is safe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do, and whether it may be done."""

    plan: Plan
    broken: tuple[str, ...] = ()
    """The rules that the plan breaks, one sentence each: a bug of ours."""


def decide(snapshot: Snapshot) -> Plan:
    """Return the plan for a snapshot; while the network is frozen, one note and no step."""
    freeze = snapshot.interventions.freeze
    if freeze is None:
        return make_plan(snapshot)
    detail = signed(freeze.why, freeze.by)
    note = Note(about="network", reason=Reason.FROZEN, detail=detail)
    return Plan(revision=snapshot.revision, notes=(note,))


def decide_soundly(snapshot: Snapshot) -> Decision:
    """Return the beginning of the plan for a snapshot, and which rules the plan breaks."""
    plan = decide(snapshot)
    first = replace(plan, steps=plan.steps[:STEPS_MAX])
    return Decision(plan=first, broken=check_plan(snapshot, plan))


def work_of(snapshot: Snapshot) -> int:
    """Return how much there is to look at: replicas that run or are to run, and machines."""
    everywhere = snapshot.platform.datacenters
    specs = [service.spec for service in snapshot.services.values()]
    wanted = sum(
        spec.total
        + sum(count for _, count in spec.counts)
        + spec.per_datacenter * len(spec.datacenters or everywhere)
        for spec in specs
    )
    return max(len(snapshot.allocations), wanted) + len(snapshot.statuses)


class Deciding:
    """Plans when there is something new to plan, beside everything else that goes on."""

    def __init__(self, aside: Aside, counters: Counters) -> None:
        """Plan in `aside`, and count it."""
        self._aside = aside
        self._counters = counters
        self._inputs: Snapshot | None = None
        self._decision: Decision | None = None
        self._bare: dict[str, tuple[MachineStatus, MachineStatus]] = {}

    async def decide(self, snapshot: Snapshot) -> Decision:
        """Return what to do by a snapshot."""
        inputs = self._inputs_of(snapshot)
        if self._decision is None or inputs != self._inputs:
            decision = await self._made(inputs)
            # What breaks a rule is a bug, of which nobody knows when it is over.
            self._inputs, self._decision = inputs, None if decision.broken else decision
            return decision
        return self._decision

    async def audit(self, snapshot: Snapshot) -> str:
        """Plan although nothing new is known; return what was missed, in one sentence."""
        known = self._decision
        if known is None or self._inputs_of(snapshot) != self._inputs:
            return ""
        self._counters.audits += 1
        found = await self._aside.run(work_of(snapshot), lambda: decide_soundly(snapshot))
        if found == known or known is not self._decision:
            return ""
        self._inputs = self._decision = None
        return (
            f"a change was missed that needs {len(found.plan.steps)} steps and "
            f"{len(found.plan.notes)} notes, where {len(known.plan.steps)} and "
            f"{len(known.plan.notes)} were planned"
        )

    async def _made(self, inputs: Snapshot) -> Decision:
        self._counters.plans += 1
        return await self._aside.run(work_of(inputs), lambda: decide_soundly(inputs))

    def _inputs_of(self, snapshot: Snapshot) -> Snapshot:
        """Return what planning looks at; what a machine said before is not read again."""
        known, self._bare = self._bare, {}
        for name, status in snapshot.statuses.items():
            pair = known.get(name)
            fresh = pair is None or pair[0] is not status
            self._bare[name] = (status, bare_status(status)) if fresh or not pair else pair
        return planned_by(snapshot, {name: bare for name, (_, bare) in self._bare.items()})
