"""Jobs as a page shows them: how each ended last, and when it is due next. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from pltfrms.errors import UsageError
from pltfrms.model.messages.picture import Concern, JobElement, RunElement, Seen
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import OVER, Job, JobRun, RunState
from pltfrms.model.services.schedule import next_due_ms
from pltfrms.seen.runs import run_words

RUNS_SHOWN: Final = 5
_STATES: Final = {RunState.FAILED: Seen.BAD, RunState.UNKNOWN: Seen.UNKNOWN}
"""Of runs; all others are good."""


def job_elements(
    snapshot: Snapshot, now_ms: int, before: Iterable[JobElement]
) -> Iterator[JobElement]:
    """Yield the jobs by name; `before` are those that were drawn last."""
    runs: defaultdict[str, list[JobRun]] = defaultdict(list)
    for run in snapshot.runs.values():
        runs[run.job].append(run)
    known = {each.id: each for each in before}
    for name, job in sorted(snapshot.jobs.items()):
        if not job.deleted:
            last = sorted(runs[name], key=lambda run: -run.number)[:RUNS_SHOWN]
            yield _job(job, last, now_ms, known.get(f"job/{name}"))


def _job(
    job: Job, runs: Sequence[JobRun], now_ms: int, before: JobElement | None
) -> JobElement:
    spec = job.spec
    return JobElement(
        id=f"job/{spec.name}",
        state=_STATES.get(runs[0].state, Seen.GOOD) if runs else Seen.GOOD,
        why=run_words(runs[0]) if runs else "it has not run yet",
        version=job.version,
        schedule=f"{spec.schedule} ({spec.timezone})" if spec.schedule else "",
        next_ms=_next_ms(job, now_ms, before),
        datacenters=spec.datacenters,
        runs=tuple(map(_run, runs)),
    )


def _run(run: JobRun) -> RunElement:
    return RunElement(
        id=run.id,
        state=_STATES.get(run.state, Seen.GOOD),
        why=run_words(run),
        word=run.state.value,
        node=run.node,
        began_ms=run.began_ms,
        ended_ms=run.ended_ms if run.state in OVER else 0,
    )


def _next_ms(job: Job, now_ms: int, before: JobElement | None) -> int:
    """Return when a job is due next; as was said before, as long as that is to come."""
    if before and before.version == job.version and before.next_ms > now_ms:
        return before.next_ms
    try:
        times = job.spec.times
    except UsageError:  # its time zone is not known here, which is a problem of its own
        return 0
    return (next_due_ms(times, max(now_ms, job.decided_ms)) or 0) if times else 0


def run_concerns(problems: Iterable[Concern], jobs: Iterable[JobElement]) -> Iterator[Concern]:
    """Yield the problems; those of jobs with since when, and what shows more."""
    known = {each.id: each for each in jobs}
    for each in problems:
        job = known.get(each.about)
        if job and job.runs:
            name = job.id.partition("/")[2]
            run = job.runs[0]
            each = replace(  # noqa: PLW2901 - the same, with more said
                each, since_ms=run.ended_ms, command=f"pltfrms job show {name}"
            )
        yield each
