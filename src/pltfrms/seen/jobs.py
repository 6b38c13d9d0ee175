"""How jobs ended last, as a person wants to hear of it. Pure."""

from collections.abc import Iterator, Mapping

from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import JobRun, RunState

_LOUD = frozenset((RunState.FAILED, RunState.UNKNOWN))


def last_runs(snapshot: Snapshot) -> Mapping[str, JobRun]:
    """Return the newest run of each job that there is, if it had one."""
    found: dict[str, JobRun] = {}
    for run in snapshot.runs.values():
        job = snapshot.jobs.get(run.job)
        if job is None or job.deleted:
            continue
        known = found.get(run.job)
        found[run.job] = run if known is None or run.number > known.number else known
    return found


def job_lines(snapshot: Snapshot) -> Iterator[str]:
    """Yield a line for each job whose last run failed, or of which nobody knows."""
    for _, run in sorted(last_runs(snapshot).items()):
        if run.state in _LOUD:
            state = "failed" if run.state is RunState.FAILED else "is not known"
            where = f" on {run.node}" if run.node else ""
            detail = f" ({run.detail})" if run.detail else ""
            yield f"{run.id}{where} {state}: {run.reason.sentence}{detail}"
