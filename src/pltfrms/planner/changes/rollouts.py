"""What an operator does to a rollout. Pure."""

from dataclasses import replace

from pltfrms.errors import ConflictError
from pltfrms.model.messages.api import ChangeLine, RolloutChange, RolloutVerb
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.rollouts import gone_back, stage_begun
from pltfrms.model.services.service import Rollout, RolloutState, Service
from pltfrms.planner.changes.change import Outcome
from pltfrms.planner.placement.rollout_words import stage_words


def change_rollout(snapshot: Snapshot, change: RolloutChange) -> Outcome:
    """Return what becomes of a rollout that an operator pauses, resumes, promotes or aborts.

    Raises:
        NotFoundError: there is no such service.
        ConflictError: nothing of it is under way, or it is so already.
    """
    service = snapshot.service(change.service)
    rollout = service.rolling
    if rollout is None:
        raise ConflictError(f"no rollout of {service.name} is under way")
    after = _changed(service, rollout, change, snapshot.now_ms)
    line = ChangeLine(
        about=f"service/{service.name}",
        action=change.verb.value,
        detail=f"rollout of version {rollout.version}, {stage_words(rollout)}",
    )
    services = {**snapshot.services, service.name: after}
    return Outcome(
        lines=(line,), snapshot=replace(snapshot, services=services), services=(after,)
    )


def _changed(service: Service, rollout: Rollout, change: RolloutChange, now_ms: int) -> Service:
    if change.verb is RolloutVerb.ABORT:
        cause = "; ".join(filter(None, ("an operator aborted it", change.why)))
        return gone_back(service, RolloutState.ABORTED, cause, now_ms)
    if change.verb is RolloutVerb.PROMOTE:
        going = replace(rollout, paused=False, since_ms=now_ms)
        return stage_begun(replace(service, rollout=going))
    paused = change.verb is RolloutVerb.PAUSE
    if rollout.paused == paused:
        isnt = "" if paused else "not "
        raise ConflictError(f"the rollout of {service.name} is {isnt}paused")
    # What it has waited for begins anew when it goes on.
    going = replace(rollout, paused=paused, state=RolloutState.ROLLING, since_ms=now_ms)
    return replace(service, rollout=going)
