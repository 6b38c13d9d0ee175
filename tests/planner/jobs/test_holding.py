"""What a node does about a run, in each case by itself."""

from dataclasses import replace

import pytest

from pltfrms.model.services.jobs import JobRun, JobSpec, RunOrder, RunState
from pltfrms.model.services.service import Run
from pltfrms.planner.jobs.holding import RunAction, RunClaim, action_for
from pltfrms.planner.jobs.leases import CLAIM_MS, INIT_MS

GRACE_MS = 700
RUN = Run(process=("true",), stop_grace_ms=GRACE_MS)
SPEC = JobSpec(name="backup", run=RUN, timeout_ms=5000)
GIVEN = JobRun(job="backup", number=1, spec=SPEC, state=RunState.GIVEN, node="fra-n1")
ALLOWED = replace(GIVEN, state=RunState.RUNNING, claim="w1")
CLAIM = RunClaim(word="w1", asked_ms=1000)


@pytest.mark.parametrize(
    ("run", "claim", "now_ms", "stop", "action"),
    [
        (GIVEN, None, 1000, False, RunAction.ASK),
        (GIVEN, None, 1000, True, RunAction.NOTHING),
        (GIVEN, CLAIM, 1000 + CLAIM_MS, False, RunAction.NOTHING),
        (GIVEN, CLAIM, 1001 + CLAIM_MS, False, RunAction.ASK),
        (ALLOWED, CLAIM, 1000 + CLAIM_MS, False, RunAction.BEGIN),
        (ALLOWED, CLAIM, 1001 + CLAIM_MS, False, RunAction.REFUSE),
        (ALLOWED, CLAIM, 999, False, RunAction.REFUSE),
        (ALLOWED, CLAIM, 1000, True, RunAction.REFUSE),
        (ALLOWED, None, 1000, False, RunAction.REFUSE),
        # Another life of this agent asked, and how long ago is not known.
        (ALLOWED, RunClaim(word="w2", asked_ms=1000), 1000, False, RunAction.REFUSE),
        (replace(ALLOWED, state=RunState.UNKNOWN), CLAIM, 1000, False, RunAction.BEGIN),
        (replace(ALLOWED, state=RunState.FAILED), CLAIM, 1000, False, RunAction.NOTHING),
    ],
)
def test_a_run_begins_by_a_word_of_ones_own_that_is_fresh(
    run: JobRun, claim: RunClaim | None, now_ms: int, *, stop: bool, action: RunAction
) -> None:
    order = RunOrder(run=run, stop=stop)
    assert action_for(order, claim, now_ms, recorded=False, alive_ms=None) is action


@pytest.mark.parametrize(
    ("alive_ms", "stop", "action"),
    [
        (None, False, RunAction.NOTHING),
        (None, True, RunAction.NOTHING),
        (5000 + GRACE_MS + INIT_MS - 1, False, RunAction.NOTHING),
        (5000 + GRACE_MS + INIT_MS, False, RunAction.END),
        (0, True, RunAction.END),
    ],
)
@pytest.mark.parametrize("run", [GIVEN, ALLOWED])
def test_what_is_recorded_never_begins_again(
    run: JobRun, alive_ms: int | None, *, stop: bool, action: RunAction
) -> None:
    order = RunOrder(run=run, stop=stop)
    assert action_for(order, CLAIM, 1000, recorded=True, alive_ms=alive_ms) is action
