"""What planning looks at, and nothing else: while it is the same, so is the plan."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import chain

from pltfrms.model.running.state import (
    Contact,
    InstanceStatus,
    MachineStatus,
    MachineView,
    Phase,
    RoleStatus,
    Snapshot,
)
from pltfrms.model.running.volumes import VolumeStatus
from pltfrms.model.services.jobs import OVER
from pltfrms.model.services.rollouts import bake_left_ms, bake_ms
from pltfrms.planner.placement.drafting.draft import LATELY_SECONDS
from pltfrms.planner.placement.drafting.keeping import patiences
from pltfrms.planner.placement.rollouts.stages import RESTARTS_MAX
from pltfrms.planner.placement.steps.scaling import HEARD_MS, calm_at_ms


def planned_by(snapshot: Snapshot, bare: Mapping[str, MachineStatus]) -> Snapshot:
    """Return a snapshot that has of another one only what a plan is made of.

    `bare` has the `bare_status` of each of its statuses. `make_plan` and `check_plan` say the
    same of both snapshots. Time is in it only by what it decides: whether a machine is stable,
    or was lost lately, which drain or release began or ended last, and which stage of a
    rollout is baked. So two of them are equal until there is something new to plan, whatever it
    comes from.
    """
    stable_seconds = float(snapshot.platform.timers.stable_after_seconds)
    patience = patiences(snapshot)
    return replace(
        snapshot,
        statuses=bare,
        machines={
            name: MachineView(
                contact=view.contact,
                since_seconds=_passed(view, stable_seconds, patience),
                why=view.why,
            )
            for name, view in snapshot.machines.items()
        },
        now_ms=_last_instant_ms(snapshot),
        bakes_ms=_baked(snapshot),
        jobs={},
        runs={name: run for name, run in snapshot.runs.items() if run.state not in OVER},
        runs_seen_ms={},
    )


def bare_status(status: MachineStatus) -> MachineStatus:
    """Return of a status what planning looks at: how instances are, slots, restarts, load.

    And which volumes are on the disk, not how full they are; and who comes last, or holds up.
    """
    return MachineStatus(
        machine=status.machine,
        volumes=tuple(
            VolumeStatus(volume=each.volume, bytes=None if each.bytes is None else 0)
            for each in status.volumes or ()
        ),
        instances=tuple(
            InstanceStatus(
                allocation=each.allocation,
                phase=each.phase,
                slot=each.slot,
                unwell=each.unwell,
                restarts=_judged(each),
                tally=each.tally,
                cpu_percent=each.cpu_percent,
                connections=each.connections,
                roles=tuple(_alone(role) for role in each.roles if role.is_alone),
                held_up=each.held_up,
            )
            for each in status.instances
        ),
    )


def _alone(role: RoleStatus) -> RoleStatus:
    """Return of a role that is held just that: epochs and words decide nothing."""
    return RoleStatus(role=role.role, state=role.state, reason=role.reason)


def _judged(instance: InstanceStatus) -> int:
    """Return how many restarts count: one that is ready is judged only by too many of them."""
    if instance.phase is Phase.READY and instance.restarts <= RESTARTS_MAX:
        return 0
    return min(instance.restarts, RESTARTS_MAX + 1)


def _passed(view: MachineView, stable_seconds: float, patience: Collection[float]) -> float:
    """Return the longest time that decides something about a machine and has passed, or 0."""
    if view.contact is not Contact.LOST:
        return stable_seconds if view.since_seconds >= stable_seconds else 0.0
    decisive = (LATELY_SECONDS, *patience)
    return max((each for each in decisive if view.since_seconds >= each), default=0.0)


def _last_instant_ms(snapshot: Snapshot) -> int:
    """Return the last Unix time until now from which on something may be decided; 0: none.

    At which a drain began or ended, a release ended, or the load may add replicas or take them
    away.
    """
    done = snapshot.interventions
    drains = (each for drain in done.drains for each in drain.instants_ms)
    ends = (release.until_ms for release in done.releases)
    scaled = [each for each in snapshot.services.values() if each.spec.scale]
    calm = (at for each in scaled if (at := calm_at_ms(each)) is not None)
    over = (each.rollout.since_ms for each in scaled if each.rollout)
    heard = (at for since in over for at in (since, since + HEARD_MS))
    instants = (each for each in chain(drains, ends, calm, heard) if each <= snapshot.now_ms)
    return max(instants, default=0)


def _baked(snapshot: Snapshot) -> dict[str, int]:
    """Return of each stage that bakes either all of the time that it takes, or less than none.

    Less, for a stage that takes no time may have begun by a clock that is ahead of ours.
    """
    left = {
        name: bake_left_ms(service, snapshot.now_ms, snapshot.bakes_ms.get(name))
        for name, service in snapshot.services.items()
        if service.rolling
    }
    return {
        name: bake_ms(snapshot.services[name]) if each <= 0 else -1
        for name, each in left.items()
        if each is not None
    }
