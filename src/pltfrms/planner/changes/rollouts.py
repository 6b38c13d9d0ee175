"""What an operator does to a rollout. Pure."""

from dataclasses import replace

from pltfrms.errors import ConflictError
from pltfrms.model.messages.api import ChangeLine, RolloutChange, RolloutVerb
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.rollouts import gone_back, stage_begun, where_of
from pltfrms.model.services.service import Rollout, RolloutState, Service
from pltfrms.planner.changes.change import Outcome
from pltfrms.planner.changes.rolling import begin
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.rollout_words import stage_words
from pltfrms.planner.placement.rollouts.stages import missing


def change_rollout(snapshot: Snapshot, change: RolloutChange) -> Outcome:
    """Return what becomes of a rollout that an operator changes, or begins to restart all.

    Raises:
        NotFoundError: there is no such service.
        ConflictError: nothing of it is under way (of a restart: something is), it is so already
            or not as it was seen, or its last stage is to be promoted that is not complete.
    """
    service = snapshot.service(change.service)
    require_as_seen(service, change)
    rollout = service.rolling
    if change.verb is RolloutVerb.RESTART:
        after = _restarted(snapshot, service, change)
        detail = f"version {service.version} again, as version {after.version}"
    elif rollout is None:
        raise ConflictError(f"no rollout of {service.name} is under way")
    else:
        after = _changed(snapshot, service, rollout, change)
        going = "; it is not paused any more" if change.verb is RolloutVerb.PROMOTE else ""
        detail = f"rollout of version {rollout.version}, {stage_words(rollout)}"
        detail += going if rollout.paused else ""
    line = ChangeLine(about=f"service/{service.name}", action=change.verb.value, detail=detail)
    services = {**snapshot.services, service.name: after}
    return Outcome(
        lines=(line,), snapshot=replace(snapshot, services=services), services=(after,)
    )


def require_as_seen(service: Service, change: RolloutChange) -> None:
    """Refuse what was wanted of a service that has gone on since, or that another one changed.

    Raises:
        ConflictError: says where it is.
    """
    where = where_of(service)
    if change.seen not in {"", where}:
        raise ConflictError(
            f"{service.name} is at {where} by now, not at {change.seen}: look, and say it again"
        )


def _restarted(snapshot: Snapshot, service: Service, change: RolloutChange) -> Service:
    """Return a service with the same once more: by stages, each new instance first."""
    if service.rolling is not None:
        raise ConflictError(
            f"version {service.version} of {service.name} is on its way, and starts each "
            "instance anew; wait for it, or: pltfrms rollout abort"
        )
    version = max(service.version, service.last_version) + 1
    after = replace(
        service, version=version, last_version=0, changed_ms=snapshot.now_ms, rollout=None
    )
    return begin(snapshot, service, after, change.by, change.why or "restart")


def _changed(
    snapshot: Snapshot, service: Service, rollout: Rollout, change: RolloutChange
) -> Service:
    now_ms = snapshot.now_ms
    if change.verb is RolloutVerb.ABORT:
        cause = "; ".join(filter(None, ("an operator aborted it", change.why)))
        return gone_back(service, RolloutState.ABORTED, cause, now_ms)
    if change.verb is RolloutVerb.PROMOTE:
        _require_complete(snapshot, service, rollout)
        going = replace(rollout, paused=False, since_ms=now_ms)
        return stage_begun(replace(service, rollout=going))
    paused = change.verb is RolloutVerb.PAUSE
    if rollout.paused == paused:
        isnt = "" if paused else "not "
        raise ConflictError(f"the rollout of {service.name} is {isnt}paused")
    # What it has waited for begins anew when it goes on.
    trial = rollout.state is RolloutState.TRIAL
    state = RolloutState.TRIAL if trial else RolloutState.ROLLING
    going = replace(rollout, paused=paused, state=state, since_ms=now_ms)
    return replace(service, rollout=going)


def _require_complete(snapshot: Snapshot, service: Service, rollout: Rollout) -> None:
    """Refuse to end a rollout while replicas lack the version: nobody would take it back."""
    if rollout.stage < len(rollout.stages) - 1 or rollout.state is RolloutState.TRIAL:
        return
    for about, state in missing(Draft(snapshot), service):
        raise ConflictError(
            f"{stage_words(rollout)} is the last one, and ends when it is complete: "
            f"{about} {state}"
        )
