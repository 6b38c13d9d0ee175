"""What becomes of rollouts, as it is written down."""

from collections.abc import Sequence
from typing import Final

from pltfrms.codec import encode
from pltfrms.controller.records.history import History
from pltfrms.controller.records.journal import EventLog
from pltfrms.controller.records.state import service_key
from pltfrms.drivers.store.ports import Condition, Put, Store
from pltfrms.drivers.store.transaction import MAX_BYTES
from pltfrms.model.messages.api import Event
from pltfrms.model.running.plan import Reason, RolloutStep
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.service import RolloutState, Service
from pltfrms.planner.placement.steps.scaling import REASONS, done

STEPS_MAX: Final = 20
"""Steps of one transaction."""
_BACK: Final = "rollout failed, and goes back"
_TOLD: Final = {
    Reason.STAGE_COMPLETE: "rollout bakes",
    Reason.STAGE_BROKEN: "rollout waits",
    Reason.BAKED: "rollout goes on",
    Reason.VERSION_FAILED: _BACK,
    Reason.VERSION_WORSE: _BACK,
    Reason.PROBE_TRIED: "rollout begins",
    Reason.PROBE_REFUSED: _BACK,
    Reason.LIVENESS_NEXT: "rollout tries liveness",
    Reason.LIVENESS_REFUSED: _BACK,
    Reason.LOAD_HIGH: "scaled up",
    Reason.LOAD_LOW: "scaled down",
}


async def commit_rollouts(
    store: Store,
    journal: EventLog,
    snapshot: Snapshot,
    steps: Sequence[RolloutStep],
    mark: Put,
    conditions: Sequence[Condition],
) -> tuple[int, tuple[Reason, ...]] | None:
    """Commit as many of the steps as one transaction takes; None if that was refused.

    Return the revision, and the reasons of the steps that were taken.

    `snapshot` has what agents say in full. `mark` says who commits, and the time is that of the
    snapshot. The rest is decided anew.

    Raises:
        UnavailableError: the store does not answer.
    """
    writes, services, taken, size = [mark], list[Service](), list[Reason](), 0
    for step in steps[:STEPS_MAX]:
        service = done(step, snapshot.now_ms, cause_of(snapshot, step))
        put = Put(key=service_key(service.name), value=encode(service))
        size += len(put.value)
        if services and size > MAX_BYTES // 2:
            break
        services.append(service)
        taken.append(step.reason)
        writes += (put, journal.put(_event(journal, step, service)))
    await History(store).keep(snapshot.services, services, conditions)
    committed = await store.commit(writes, conditions)
    return (committed, tuple(taken)) if committed else None


def cause_of(snapshot: Snapshot, step: RolloutStep) -> str:
    """Return in one sentence what was not good enough, and why; empty: nothing."""
    rollout = step.service.rollout
    if not step.culprit:
        return step.words if rollout and rollout.state is RolloutState.FAILED else ""
    culprit = snapshot.allocations.get(step.culprit)
    instance = snapshot.instance(step.culprit)
    if culprit is None or instance is None:
        return step.culprit
    restarts = f", restarted {instance.restarts} times" if instance.restarts else ""
    why = instance.failure or instance.detail
    return f"{culprit.id} on {culprit.node}{restarts}{f': {why}' if why else ''}"


def _event(journal: EventLog, step: RolloutStep, service: Service) -> Event:
    rollout, about = service.rollout, f"service/{service.name}"
    if step.reason in REASONS:
        return journal.tell(about, _TOLD[step.reason], reason=step.reason, detail=step.words)
    is_over = rollout is not None and rollout.state is RolloutState.DONE
    what = "rollout done" if is_over else _TOLD[step.reason]
    said = "" if rollout and rollout.cause else step.words
    detail = "; ".join(filter(None, (_detail(service), said)))
    return journal.tell(about, what, reason=step.reason, detail=detail)


def _detail(service: Service) -> str:
    rollout = service.rollout
    if rollout is None:
        return ""
    way = f"version {rollout.from_version} -> {rollout.version}"
    if rollout.cause:
        return f"{way}: {rollout.cause}"
    stage = rollout.stages[rollout.stage]
    return f"{way}, stage {rollout.stage + 1} of {len(rollout.stages)}: {stage.words}"
