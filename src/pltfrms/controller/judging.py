"""What a change does to routing, what guards say of it, and who overrode them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pltfrms.controller.journal import Journal
from pltfrms.errors import ConflictError
from pltfrms.model.api import Event
from pltfrms.model.guards import Doubt, Guard, RoutingChange, Verdict
from pltfrms.model.state import Snapshot
from pltfrms.planner.guards import doubts_of, make_proposal, verdicts_of
from pltfrms.planner.maintenance import judge_maintenance
from pltfrms.planner.origins import Answers, Claim, claims, judge_claims
from pltfrms.planner.routing_diff import routing_changes
from pltfrms.planner.ways import measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What neighbours will see of a change, and what speaks against it."""

    routing: tuple[RoutingChange, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    """What guards cannot judge."""
    claims: tuple[Claim, ...] = ()
    """What is announced for the first time, of which RPKI has not been asked yet."""


def judge(before: Snapshot, after: Snapshot, now_ms: int) -> Judgement:
    """Return what going from one snapshot to another does to routing.

    Only a change of intent counts, of the platform or of the interventions: if neither
    differs, nothing does.
    """
    if (before.platform, before.interventions) == (after.platform, after.interventions):
        return Judgement()
    platforms = (before.platform, after.platform)
    interventions = (before.interventions, after.interventions)
    proposal = make_proposal(*platforms, *interventions, now_ms, measured(before))
    return Judgement(
        routing=routing_changes(*platforms, *interventions, now_ms),
        verdicts=(*verdicts_of(proposal), *judge_maintenance(before, after, now_ms)),
        doubts=doubts_of(proposal),
        claims=claims(proposal),
    )


def with_origins(judgement: Judgement, answers: Answers, silence: str) -> Judgement:
    """Return a judgement of which RPKI has been asked; see `judge_claims`."""
    verdicts, doubts = judge_claims(judgement.claims, answers, silence)
    return replace(
        judgement,
        verdicts=(*judgement.verdicts, *verdicts),
        doubts=(*judgement.doubts, *doubts),
        claims=(),
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
