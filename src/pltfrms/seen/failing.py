"""Services whose instances fail, and jobs whose runs do, in words. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from pltfrms.model.running.plan import Allocation
from pltfrms.model.running.state import Contact, InstanceStatus, Snapshot
from pltfrms.model.services.jobs import JobRun, RunState

_LOUD = frozenset((RunState.FAILED, RunState.UNKNOWN))


def failing_lines(snapshot: Snapshot) -> Iterator[str]:
    """Yield a line for each service with instances that fail: how many, and how one does.

    Nodes out of contact are left out: what they said last may be over. Of several instances
    the one that was restarted most often speaks.
    """
    found: defaultdict[str, list[tuple[Allocation, InstanceStatus]]] = defaultdict(list)
    for status in snapshot.statuses.values():
        for instance in status.instances:
            allocation = snapshot.allocations.get(instance.allocation)
            present = snapshot.contact(status.machine) is Contact.PRESENT
            if instance.failure and allocation and present:
                found[allocation.service].append((allocation, instance))
    for service, some in sorted(found.items()):
        allocation, worst = max(some, key=lambda each: (each[1].restarts, each[0].id))
        several = f"{len(some)} instances fail, such as " if len(some) > 1 else ""
        often = f" (restarted {worst.restarts} times)" if worst.restarts else ""
        who = f"{several}{worst.allocation} on {allocation.node}{often}"
        yield f"{service}: {who}: {worst.failure}"


def with_failure(instance: InstanceStatus | None) -> str:
    """Return the last thing that happened to an instance, and how it failed before; or ``."""
    if instance is None:
        return ""
    if not instance.failure or instance.failure in instance.detail:
        return instance.detail
    return f"{instance.detail}; failed before: {instance.failure}"


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
            yield f"job/{run.job}: {run.id}{where} {state}: {run.reason.sentence}{detail}"
