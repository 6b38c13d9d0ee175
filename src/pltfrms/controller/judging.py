"""What a change does to routing, what guards say of it, and who overrode them."""

from collections.abc import Iterable
from dataclasses import dataclass

from pltfrms.controller.journal import Journal
from pltfrms.errors import ConflictError
from pltfrms.model.api import Event
from pltfrms.model.guards import Guard, RoutingChange, Verdict
from pltfrms.model.state import Snapshot
from pltfrms.planner.guards import judge_change
from pltfrms.planner.routing_diff import routing_changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What neighbours will see of a change, and what speaks against it."""

    routing: tuple[RoutingChange, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


def judge(before: Snapshot, after: Snapshot, now_ms: int) -> Judgement:
    """Return what going from one snapshot to another does to routing.

    Only intent counts: the platform and the interventions. If neither differs, nothing does.
    """
    if (before.platform, before.interventions) == (after.platform, after.interventions):
        return Judgement()
    platforms = (before.platform, after.platform)
    interventions = (before.interventions, after.interventions)
    return Judgement(
        routing=routing_changes(*platforms, *interventions, now_ms),
        verdicts=judge_change(*platforms, *interventions, now_ms),
    )


def require_allowed(verdicts: Iterable[Verdict], despite: Iterable[Guard]) -> None:
    """Refuse a change that a guard forbids, unless the operator named that guard.

    Raises:
        ConflictError: says every guard, its numbers, and how to override it.
    """
    overridden = set(despite)
    left = [verdict for verdict in verdicts if verdict.guard not in overridden]
    if not left:
        return
    lines = [f"  {v.guard.value}: {v.about}: {v.sentence}" for v in left]
    guards = dict.fromkeys(verdict.guard.value for verdict in left)
    flags = " ".join(f"--yes-i-mean {guard}" for guard in guards)
    raise ConflictError(
        "\n".join(
            ["guards forbid it, and nothing was changed:", *lines, f"to do it anyway: {flags}"]
        )
    )


def override_events(
    journal: Journal, verdicts: Iterable[Verdict], despite: Iterable[Guard], by: str
) -> list[Event]:
    """Return one event per guard that spoke against a change and was overridden."""
    overridden = set(despite)
    said: dict[Guard, list[str]] = {}
    for verdict in verdicts:
        if verdict.guard in overridden:
            said.setdefault(verdict.guard, []).append(f"{verdict.about}: {verdict.sentence}")
    return [
        journal.tell(
            f"guard/{guard.value}", "guard overridden", detail=signed("; ".join(sentences), by)
        )
        for guard, sentences in said.items()
    ]


def signed(text: str, by: str) -> str:
    """Return a sentence for the audit with who did it, if that is known."""
    return "; ".join(part for part in (text, f"by {by}" if by else "") if part)
