"""What a page shows of jobs: how they ended last, and when they are due next."""

import datetime as dt
from dataclasses import replace

import pytest

from pltfrms.model.messages.picture import JobElement, Picture, Seen
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import Job, JobRun, JobSpec, RunReason, RunState
from pltfrms.model.services.service import Run
from pltfrms.seen import jobs as seen_jobs
from pltfrms.seen.jobs import RUNS_SHOWN
from tests.cli.world import NOW_MS
from tests.seen.test_picture import WHOLE, seen

SPEC = JobSpec(
    name="backup",
    run=Run(process=("true",)),
    datacenters=("ams",),
    schedule="0 3 * * *",
    timezone="Europe/Berlin",
)
DAY_MS = 86_400_000


def ended(number: int, state: RunState = RunState.SUCCEEDED) -> JobRun:
    failed = state is RunState.FAILED
    return JobRun(
        job="backup",
        number=number,
        spec=SPEC,
        state=state,
        reason=RunReason.ENDED_BADLY if failed else RunReason.ENDED_WELL,
        node="ams-n1",
        began_ms=NOW_MS - 60_000,
        ended_ms=NOW_MS - 30_000,
        exit_code=3 if failed else 0,
        detail="no space left" if failed else "",
    )


def having(*runs: JobRun, spec: JobSpec = SPEC, deleted: bool = False) -> Snapshot:
    job = Job(spec=spec, version=1, decided_ms=NOW_MS - DAY_MS, deleted=deleted)
    return replace(WHOLE, jobs={"backup": job}, runs={run.id: run for run in runs})


def backup(picture: Picture) -> JobElement:
    (found,) = picture.jobs
    return found


def test_a_failed_job_is_a_problem_since_it_ended_with_what_shows_more() -> None:
    picture = seen(having(ended(1), ended(2, RunState.FAILED)))
    job = backup(picture)
    assert (job.id, job.state) == ("job/backup", Seen.BAD)
    assert job.why == "it ended with another exit code than 0; exit code 3; no space left"
    assert [(run.id, run.state, run.word) for run in job.runs] == [
        ("backup@2", Seen.BAD, "failed"),
        ("backup@1", Seen.GOOD, "succeeded"),
    ]
    (problem,) = picture.problems
    assert (problem.about, problem.since_ms) == ("job/backup", NOW_MS - 30_000)
    assert problem.command == "pltfrms job show backup"
    assert problem.sentence.startswith("backup@2 on ams-n1 failed: ")


def test_a_run_of_which_nobody_hears_is_not_known_and_a_new_one_is_what_counts() -> None:
    lost = replace(ended(2), state=RunState.UNKNOWN, reason=RunReason.NODE_UNHEARD)
    job = backup(seen(having(lost)))
    assert (job.state, job.runs[0].ended_ms) == (Seen.UNKNOWN, 0)
    again = replace(ended(3), state=RunState.RUNNING, reason=RunReason.ALLOWED)
    picture = seen(having(ended(2, RunState.FAILED), again))
    assert (backup(picture).state, picture.problems) == (Seen.GOOD, ())


def test_when_it_is_due_next_is_told_by_its_clock_and_only_until_then() -> None:
    first = seen(having(ended(1)))
    due = dt.datetime.fromtimestamp(backup(first).next_ms / 1000, dt.UTC)
    assert NOW_MS < backup(first).next_ms <= NOW_MS + DAY_MS
    assert (due.hour, due.minute) == (2, 0), "in winter"
    assert backup(first).schedule == "0 3 * * * (Europe/Berlin)"
    assert backup(first).datacenters == ("ams",)
    assert seen(having(ended(1)), first, NOW_MS + 60_000).jobs == first.jobs
    later = seen(having(ended(1)), first, NOW_MS + DAY_MS)
    assert backup(later).next_ms == backup(first).next_ms + DAY_MS


def test_the_next_time_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = seen(having(ended(1)))
    monkeypatch.setattr(seen_jobs, "next_due_ms", lambda *_: 1 // 0)
    assert backup(seen(having(ended(2)), first)).next_ms == backup(first).next_ms


@pytest.mark.parametrize(
    "spec", [replace(SPEC, schedule=""), replace(SPEC, timezone="No/Where")]
)
def test_without_a_schedule_that_is_known_here_nobody_says_when(spec: JobSpec) -> None:
    assert backup(seen(having(spec=spec))).next_ms == 0


def test_one_that_has_not_run_is_good_and_one_that_is_deleted_is_gone() -> None:
    job = backup(seen(having()))
    assert (job.state, job.why, job.runs) == (Seen.GOOD, "it has not run yet", ())
    assert seen(having(ended(1, RunState.FAILED), deleted=True)).jobs == ()


def test_of_many_runs_the_last_are_shown() -> None:
    job = backup(seen(having(*map(ended, range(1, 21)))))
    assert [run.id for run in job.runs] == [
        f"backup@{n}" for n in range(20, 20 - RUNS_SHOWN, -1)
    ]
