"""Say in words how far a rollout is, what it waits for, or why it went back. Pure."""

from collections.abc import Mapping
from functools import cached_property
from itertools import islice

from pltfrms.model.durations import short_duration
from pltfrms.model.running.plan import Note
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.rollouts import bake_left_ms, trial_words
from pltfrms.model.services.service import Rollout, RolloutState, Service
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.plan import make_plan
from pltfrms.planner.placement.rollouts.inquiries import (
    compare_versions,
    comparison_of,
    try_probe,
)
from pltfrms.planner.placement.rollouts.stages import missing

_SHOWN = 3


class RolloutWords:
    """What is said of rollouts by one snapshot, which is planned once for all of them."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Plan nothing yet."""
        self._snapshot = snapshot

    def of(self, service: Service) -> str:
        """Return one sentence, such as `version 1 -> 2, stage 1 of 2 (fra): paused`.

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
        return f"{way}, {stage_words(rollout)}: {self._waits(service)}{_asked(rollout)}"

    def _waits(self, service: Service) -> str:
        """Say what has to happen before it goes on."""
        if service.rollout and service.rollout.paused:
            return "paused"
        if service.rollout and service.rollout.state is RolloutState.TRIAL:
            return try_probe(self._draft, service).words
        seen_ms = self._snapshot.bakes_ms.get(service.name)
        left_ms = bake_left_ms(service, self._snapshot.now_ms, seen_ms)
        if left_ms is not None:
            return self._bakes(service, left_ms)
        return self._lacks(service)

    def _bakes(self, service: Service, left_ms: int) -> str:
        """Say how long it bakes yet, and how it answers meanwhile, if that is asked."""
        compares = comparison_of(service) is not None
        said = compare_versions(self._draft, service).words if compares else ""
        left = f"bakes for {short_duration(left_ms / 1000)} more" if left_ms > 0 else ""
        lacks = "" if left or said else self._lacks(service)
        return "; ".join(filter(None, (left, said, lacks)))

    def _lacks(self, service: Service) -> str:
        """Say which replicas are waited for."""
        waits = tuple(islice(missing(self._draft, service), _SHOWN))
        return "; ".join(map(self._said, waits)) or "complete"

    def _said(self, waiting: tuple[str, str]) -> str:
        """Say which replica is waited for, and why it has no node if that is the reason."""
        about, state = waiting
        note = self._notes.get(about)
        why = f": {note.reason.sentence}; {note.detail}" if note else ""
        return f"{about} {state}{why}"

    @cached_property
    def _draft(self) -> Draft:
        return Draft(self._snapshot)

    @cached_property
    def _notes(self) -> Mapping[str, Note]:
        return {note.about: note for note in reversed(make_plan(self._snapshot).notes)}


def rollout_words(snapshot: Snapshot, service: Service) -> str:
    """Return what `RolloutWords` says of one service alone."""
    return RolloutWords(snapshot).of(service)


def stage_words(rollout: Rollout) -> str:
    """Say at which stage a rollout is, such as `stage 2 of 4 (fra)`."""
    if rollout.state is RolloutState.TRIAL:
        return trial_words(rollout)
    stage = rollout.stages[rollout.stage]
    return f"stage {rollout.stage + 1} of {len(rollout.stages)} ({stage.words})"


def _asked(rollout: Rollout) -> str:
    by = f"by {rollout.by}" if rollout.by else ""
    said = ": ".join(filter(None, (by, rollout.why)))
    return f" ({said})" if said else ""
