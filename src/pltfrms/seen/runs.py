"""Jobs and their runs in sentences. Pure."""

from collections.abc import Iterator

from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import OVER, Job, JobRun
from pltfrms.planner.jobs.asking import job_of
from pltfrms.planner.jobs.deciding import decide_jobs, newest


def runs_of(snapshot: Snapshot, name: str) -> list[JobRun]:
    """Return what is remembered of the runs of a job, the newest first."""
    found = (run for run in snapshot.runs.values() if run.job == name)
    return sorted(found, key=lambda run: -run.number)


def run_words(run: JobRun) -> str:
    """Return why a run is what it is, and how it ended."""
    code = f"exit code {run.exit_code}" if run.exit_code else ""
    return "; ".join(filter(None, (run.reason.sentence, code, run.detail)))


def job_words(job: Job) -> str:
    """Return when a job runs, and where it may."""
    spec = job.spec
    where = ", ".join(spec.datacenters) or "any datacenter"
    when = f"{spec.schedule} ({spec.timezone})" if spec.schedule else "when somebody says so"
    return f"{job.name}: version {job.version}, {when}, in {where}"


def waiting(snapshot: Snapshot, name: str) -> Iterator[str]:
    """Yield what a job, or its run, waits for."""
    for note in decide_jobs(snapshot).notes:
        if name in {note.about, note.about.rpartition("@")[0]}:
            yield f"{note.about} waits: {note.detail}"


def explain_job(snapshot: Snapshot, name: str) -> tuple[str, ...]:
    """Return why the last run of a job is as it is, and what is waited for.

    Raises:
        NotFoundError: there is no such job.
    """
    words = [job_words(job_of(snapshot, name))]
    run = newest(runs_of(snapshot, name))
    if run is None:
        words.append("it has not run yet")
    else:
        by = f", by {run.by}" if run.by else ""
        words.append(f"there is {run.id} because {run.cause.sentence}{by}")
        where = f" on {run.node}" if run.node else ""
        was = "has" if run.state in OVER else "is"
        words.append(f"{run.id} {was} {run.state.value}{where}: {run_words(run)}")
    return (*words, *waiting(snapshot, name))
