"""What planning looks at, and nothing else: while it is the same, so is the plan."""

from collections.abc import Mapping
from dataclasses import replace

from pltfrms.model.running.state import InstanceStatus, MachineStatus, Snapshot
from pltfrms.model.services.rollouts import baked_at_ms
from pltfrms.planner.placement.stages import RESTARTS_MAX


def planned_by(snapshot: Snapshot, bare: Mapping[str, MachineStatus]) -> Snapshot:
    """Return a snapshot that has of another one only what a plan is made of.

    `bare` has the `bare_status` of each of its statuses. `make_plan` and `check_plan` say the
    same of both snapshots. Time is in it only by what it decides: whether a machine is stable,
    which drain began or ended last, and which stage of a rollout is baked. So two of them are
    equal until there is something new to plan, whatever it comes from.
    """
    stable_seconds = float(snapshot.platform.timers.stable_after_seconds)
    return replace(
        snapshot,
        statuses=bare,
        machines={
            name: replace(
                view, since_seconds=stable_seconds * (view.since_seconds >= stable_seconds)
            )
            for name, view in snapshot.machines.items()
        },
        now_ms=_last_instant_ms(snapshot),
    )


def bare_status(status: MachineStatus) -> MachineStatus:
    """Return of a status what planning looks at: instances, their phases, slots, restarts."""
    return MachineStatus(
        machine=status.machine,
        instances=tuple(
            InstanceStatus(
                allocation=each.allocation,
                phase=each.phase,
                slot=each.slot,
                restarts=min(each.restarts, RESTARTS_MAX + 1),
            )
            for each in status.instances
        ),
    )


def _last_instant_ms(snapshot: Snapshot) -> int:
    """Return the last Unix time until now at which a drain changed, or a stage was baked.

    0: there was none.
    """
    drains = (each for drain in snapshot.interventions.drains for each in drain.instants_ms)
    baked = map(baked_at_ms, snapshot.services.values())
    instants = (*drains, *(each for each in baked if each is not None))
    return max((each for each in instants if each <= snapshot.now_ms), default=0)
