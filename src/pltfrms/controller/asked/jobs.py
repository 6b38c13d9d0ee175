"""What operators ask of jobs: each is one transaction, and written down."""

from dataclasses import replace

from pltfrms.codec import encode
from pltfrms.controller.asked.operations import Operations
from pltfrms.controller.planning.judging import conditions, require_role
from pltfrms.controller.records.auditing import Asked
from pltfrms.controller.records.state import commit_mark, job_key, run_key
from pltfrms.drivers.store.ports import Delete, Put
from pltfrms.model.messages.jobs import JobAsk, JobChange, JobReply
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.jobs.asking import JobOutcome, change_job

_TOLD = {
    JobAsk.DELETE: "job deleted",
    JobAsk.RUN: "run wanted",
    JobAsk.STOP: "run is to stop",
}


class JobDesk:
    """Does with jobs what operators ask for."""

    def __init__(self, operations: Operations) -> None:
        """Write as the controller of `operations`, and into its audit."""
        self._controller = operations.controller
        self._records = operations.records

    async def change(self, said: JobChange, asked: Asked) -> JobReply:
        """Do it.

        Raises:
            ForbiddenError: it is not for the role of who asks.
            NotFoundError: there is no such job, or no run to stop.
            ConflictError: a run is under way that would have to be over first.
        """
        change = replace(said, by=asked.by or said.by)
        who = replace(asked, by=change.by, why=change.why)

        async def attempt() -> JobReply | None:
            snapshot = await self._controller.view.linearized()
            outcome = change_job(snapshot, change)
            changed = _is_news(snapshot, outcome)
            reply = JobReply(job=outcome.job, run=outcome.run, changed=changed)
            if not changed:
                return reply
            about = (f"job/{change.name}",)
            require_role(snapshot.platform, who, None, about, overrides=False)
            committed = await self._commit(snapshot, outcome, change, who)
            return reply if committed is not None else None

        return await self._controller.insisting.until_done(attempt)

    async def _commit(
        self, snapshot: Snapshot, outcome: JobOutcome, change: JobChange, who: Asked
    ) -> int | None:
        controller, what = self._controller, _TOLD[change.verb]
        about = f"job/{outcome.run.id if outcome.run else change.name}"
        detail = "; ".join(filter(None, (change.why, change.by and f"by {change.by}")))
        sealed = await self._records.seal(f"job {change.verb}", (f"{about}: {what}",), who)
        writes: list[Put | Delete] = [
            commit_mark(controller.name, controller.clock.unix_ms()),
            Put(key=job_key(change.name), value=encode(outcome.job)),
            controller.journal.put(controller.journal.tell(about, what, detail=detail)),
            *sealed.writes,
        ]
        if outcome.run is not None:
            writes.append(Put(key=run_key(outcome.run.id), value=encode(outcome.run)))
        unchanged = (*conditions(snapshot, None), sealed.condition)
        return await controller.store.commit(writes, unchanged)


def _is_news(snapshot: Snapshot, outcome: JobOutcome) -> bool:
    run = outcome.run
    known = snapshot.jobs.get(outcome.job.name) == outcome.job
    return not known or (run is not None and snapshot.runs.get(run.id) != run)
