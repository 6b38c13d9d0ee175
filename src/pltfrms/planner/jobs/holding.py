"""What a node does about a run that it is told of. Pure.

A run begins at most once: its record is on the disk before, and what has a record never begins.
It begins only by a word that this very agent made, at most `CLAIM_MS` before: a target that is
old, or that comes late, has another one.
"""

from dataclasses import dataclass
from enum import StrEnum

from pltfrms.model.services.jobs import BEGUN, RunOrder, RunState
from pltfrms.planner.jobs.leases import CLAIM_MS, INIT_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class RunClaim:
    """A word by which this agent asks to begin a run. It is in no file."""

    word: str
    asked_ms: int
    """By the clock of the machine that never goes back."""


class RunAction(StrEnum):
    """What to do."""

    NOTHING = "nothing"
    ASK = "ask"
    """Make a word, and tell it."""
    BEGIN = "begin"
    """Record it, then start it."""
    REFUSE = "refuse"
    """Record that it never begins here."""
    END = "end"
    """Stop it: somebody says so, or it takes too long and its init has not ended it."""


def action_for(
    order: RunOrder,
    claim: RunClaim | None,
    now_ms: int,
    *,
    recorded: bool,
    alive_ms: int | None,
) -> RunAction:
    """Return what to do about an order.

    `alive_ms` is for how long the run is alive; None: it is not.
    """
    run = order.run
    if recorded:
        if alive_ms is None:
            return RunAction.NOTHING
        late = alive_ms >= run.spec.timeout_ms + run.spec.run.stop_grace_ms + INIT_MS
        return RunAction.END if order.stop or late else RunAction.NOTHING
    valid = claim is not None and 0 <= now_ms - claim.asked_ms <= CLAIM_MS
    if run.state is RunState.GIVEN:
        return RunAction.NOTHING if valid or order.stop else RunAction.ASK
    if run.state not in BEGUN:
        return RunAction.NOTHING
    own = valid and claim is not None and claim.word == run.claim
    return RunAction.BEGIN if own and not order.stop else RunAction.REFUSE
