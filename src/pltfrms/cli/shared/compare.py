"""From spec files to a change, and what it would do, from the files alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pltfrms.cli.shared.output import unix_ms
from pltfrms.cli.shared.specs import change_for, read_change
from pltfrms.errors import UsageError
from pltfrms.model.messages.api import Change, PlanPreview
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.peering import Roa
from pltfrms.model.running.plan import Plan
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.secrets import SecretNote
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.changes.guards import doubts_of, make_proposal, verdicts_of
from pltfrms.planner.changes.origins import claims, file_answers, judge_claims
from pltfrms.planner.changes.routing_diff import routing_changes


def compare(new: Path, old: Path, roas: Sequence[Roa] | None = None) -> PlanPreview:
    """Return what going from old spec files to new ones would do; asks nobody.

    Nothing is known of machines, so that no replica is planned, and nothing is drained. What
    is announced for the first time is judged by `roas`.

    Raises:
        SpecError: every problem of the files.
        UsageError: the old files have no platform, or the change alters what must stay.
    """
    before = _snapshot(old)
    change = read_change(new, ask_tags=False)
    if change.platform is None:
        change = change_for(new, change, before.platform, ask_tags=False)
    outcome = apply_change(_with_secrets(before, change), change)
    now_ms = unix_ms()
    none = Interventions()
    platforms = (before.platform, outcome.snapshot.platform)
    proposal = make_proposal(*platforms, none, none, now_ms)
    wanted = claims(proposal)
    answers = {} if roas is None else file_answers(wanted, roas)
    verdicts, doubts = judge_claims(wanted, answers, "give --roas FILE")
    return PlanPreview(
        revision=0,
        changes=outcome.lines,
        plan=Plan(revision=0),
        routing=routing_changes(*platforms, none, none, now_ms),
        verdicts=(*verdicts_of(proposal), *verdicts),
        doubts=(*doubts_of(proposal), *doubts),
    )


def _snapshot(path: Path) -> Snapshot:
    change = read_change(path, ask_tags=False)
    if change.platform is None:
        raise UsageError(f"{path} has no platform to compare with; name its platform.yaml")
    empty = Snapshot(revision=0, platform=change.platform)
    return apply_change(_with_secrets(empty, change), change).snapshot


def _with_secrets(snapshot: Snapshot, change: Change) -> Snapshot:
    """Return a snapshot that has every secret that is named: files say no values."""
    runs = [spec.run for spec in change.services] + [spec.run for spec in change.jobs]
    names = {use.name for run in runs for use in run.secrets}
    known = {name: SecretNote(name=name, version=1) for name in sorted(names)}
    return replace(snapshot, secrets={**known, **snapshot.secrets})
