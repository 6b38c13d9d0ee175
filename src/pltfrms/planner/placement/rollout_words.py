"""Say in words how far a rollout is, what it waits for, or why it went back. Pure."""

from itertools import islice

from pltfrms.model.durations import short_duration
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.rollouts import baked_at_ms
from pltfrms.model.services.service import Rollout, Service
from pltfrms.planner.placement.draft import Draft
from pltfrms.planner.placement.stages import missing

_SHOWN = 3


def rollout_words(snapshot: Snapshot, service: Service) -> str:
    """Return one sentence, such as `version 1 -> 2, stage 2 of 4 (fra): bakes for 4 s more`.

    Empty if there was no rollout.
    """
    rollout = service.rollout
    if rollout is None:
        return ""
    way = f"version {rollout.from_version} -> {rollout.version}"
    if not rollout.under_way:
        cause = f": {rollout.cause}" if rollout.cause else ""
        back = f", version {service.version} is back" if rollout.cause else ""
        return f"{way} {rollout.state.value}{back}{cause}"
    return f"{way}, {stage_words(rollout)}: {_waits(snapshot, service)}{_asked(rollout)}"


def stage_words(rollout: Rollout) -> str:
    """Say at which stage a rollout is, such as `stage 2 of 4 (fra)`."""
    stage = rollout.stages[rollout.stage]
    return f"stage {rollout.stage + 1} of {len(rollout.stages)} ({stage.words})"


def _waits(snapshot: Snapshot, service: Service) -> str:
    """Say what has to happen before it goes on."""
    if service.rollout and service.rollout.paused:
        return "paused"
    due = baked_at_ms(service)
    if due is not None:
        return f"bakes for {short_duration(max(0, due - snapshot.now_ms) / 1000)} more"
    waits = tuple(islice(missing(Draft(snapshot), service), _SHOWN))
    return "; ".join(waits) or "complete"


def _asked(rollout: Rollout) -> str:
    by = f"by {rollout.by}" if rollout.by else ""
    said = ": ".join(filter(None, (by, rollout.why)))
    return f" ({said})" if said else ""
