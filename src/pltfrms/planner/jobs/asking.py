"""What an operator asks of a job, done to a snapshot. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pltfrms.errors import ConflictError, NotFoundError, UsageError
from pltfrms.model.messages.api import Change
from pltfrms.model.messages.jobs import JobAsk, JobChange
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import Job, JobRun, JobSpec, RunReason
from pltfrms.model.services.service import Run
from pltfrms.planner.jobs.deciding import next_number, under_way


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutcome:
    """What is to be written; the same as it was if nothing is."""

    job: Job
    run: JobRun | None = None


def job_of(snapshot: Snapshot, name: str) -> Job:
    """Return a job; NotFoundError if there is none of that name."""
    found = snapshot.jobs.get(name)
    if found is None or found.deleted:
        names = sorted(each.name for each in snapshot.jobs.values() if not each.deleted)
        known = ", ".join(names) or "none"
        raise NotFoundError(f"there is no job {name!r}; there are: {known}")
    return found


def change_job(snapshot: Snapshot, change: JobChange) -> JobOutcome:
    """Return what a change makes of a job, and of a run.

    Raises:
        NotFoundError: there is no such job, or nothing to stop.
        ConflictError: a run is under way that would have to be over first.
    """
    job = job_of(snapshot, change.name)
    current = under_way(run for run in snapshot.runs.values() if run.job == job.name)
    if change.verb is JobAsk.STOP:
        return JobOutcome(job=job, run=_stopped(job, current, change))
    if current is not None:
        what = "stop it before" if change.verb is JobAsk.DELETE else "one runs at a time"
        raise ConflictError(f"{current.id} is {current.state.value}: {what}")
    if change.verb is JobAsk.DELETE:
        gone = JobSpec(name=job.name, run=Run())
        return JobOutcome(
            job=replace(job, spec=gone, deleted=True, by=change.by, why=change.why)
        )
    return _wanted(snapshot, job, change)


def changed_jobs(snapshot: Snapshot, change: Change, gone: Iterable[str]) -> tuple[Job, ...]:
    """Return the jobs that a change makes others than they are, and those that go.

    Raises:
        UsageError: there is no such secret.
        ConflictError: a run of what is to go is not over.
    """
    applied = [_applied(snapshot, spec, change) for spec in change.jobs]
    delete = JobAsk.DELETE
    asked = [JobChange(verb=delete, name=n, by=change.by, why=change.why) for n in gone]
    deleted = [change_job(snapshot, each).job for each in asked]
    return tuple(each for each in (*applied, *deleted) if snapshot.jobs.get(each.name) != each)


def _applied(snapshot: Snapshot, spec: JobSpec, change: Change) -> Job:
    before = snapshot.jobs.get(spec.name)
    _require_secrets(snapshot, spec)
    if before is None:
        before = Job(spec=spec, version=0, deleted=True)
    if before.spec == spec and not before.deleted:
        return before
    # Times before this are not missed: nobody wanted them.
    return replace(
        before,
        spec=spec,
        version=before.version + 1,
        decided_ms=snapshot.now_ms,
        deleted=False,
        by=change.by,
        why=change.why,
    )


def _require_secrets(snapshot: Snapshot, spec: JobSpec) -> None:
    for use in spec.run.secrets:
        if use.name not in snapshot.secrets:
            known = ", ".join(sorted(snapshot.secrets)) or "none"
            raise UsageError(
                f"job {spec.name}: run: there is no secret {use.name!r}; there are: {known}; "
                f"give it a value first: pltfrms secret set {use.name}"
            )


def _wanted(snapshot: Snapshot, job: Job, change: JobChange) -> JobOutcome:
    run = JobRun(
        job=job.name,
        number=next_number(job, job.name, snapshot),
        spec=job.spec,
        reason=RunReason.ASKED,
        cause=RunReason.ASKED,
        by=change.by,
        why=change.why,
        wanted_ms=snapshot.now_ms,
    )
    return JobOutcome(job=replace(job, last_run=run.number), run=run)


def _stopped(job: Job, current: JobRun | None, change: JobChange) -> JobRun:
    if current is None or change.run not in {"", current.id}:
        raise NotFoundError(f"{change.run or job.name} has no run that is not over")
    return current if current.stop_by else replace(current, stop_by=change.by or "somebody")
