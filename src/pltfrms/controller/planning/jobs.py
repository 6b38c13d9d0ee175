"""What is decided of jobs, as it is written down and told."""

from collections.abc import Iterable
from typing import Final

import structlog

from pltfrms.codec import encode
from pltfrms.controller.records.journal import EventLog
from pltfrms.controller.records.state import job_key, run_key, unchanged_since
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.store.ports import Delete, Put, Store
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import RunState
from pltfrms.planner.jobs.deciding import decide_jobs
from pltfrms.planner.jobs.steps import JobNote, JobStep, JobVerb

STEPS_MAX: Final = 20
"""Steps of one transaction; each is three writes at most."""
RANK_SECONDS: Final = 0.7
"""What a controller waits, times its rank, before it does what others should have done."""
_CORRECTED_SECONDS: Final = 3600.0
"""So seldom a controller corrects the times of a job: perhaps its own clock is wrong."""
RUN_FAILED: Final = "run failed"

_log = structlog.get_logger(__name__)


class Jobs:
    """Does what is due of jobs. Any controller may: a commit is guarded as any other is."""

    def __init__(self, store: Store, journal: EventLog, clock: Clock) -> None:
        """Write into `store`, and tell it to `journal`."""
        self._store = store
        self._journal = journal
        self._clock = clock
        self._corrected: dict[str, float] = {}
        self._waiting: tuple[tuple[str, ...], float] | None = None
        self.notes: tuple[JobNote, ...] = ()
        """What could not be done at the last look."""

    async def keep(self, snapshot: Snapshot, mark: Put, rank: int) -> int | None:
        """Do what is due; return the revision of the commit.

        0: there is nothing to do, or others should have the time to do it. None: somebody else
        committed in between.

        Raises:
            UnavailableError: the store does not answer.
        """
        plan = decide_jobs(snapshot)
        self.notes = plan.notes
        steps = [step for step in plan.steps if self._may_do(step)][:STEPS_MAX]
        if not steps:
            self._waiting = None
            return 0
        if not self._patient_enough(steps, rank):
            return 0
        writes: list[Put | Delete] = [mark]
        for step in steps:
            writes += self._writes_of(step)
        done = await self._store.commit(writes, (unchanged_since(snapshot.revision),))
        if done is not None:
            _log.info("jobs changed", revision=done, steps=len(steps))
            now = self._clock.monotonic()
            self._corrected |= {s.about: now for s in steps if s.verb is JobVerb.CORRECT}
        self._waiting = None
        return done

    def _may_do(self, step: JobStep) -> bool:
        at = self._corrected.get(step.about)
        if step.verb is not JobVerb.CORRECT or at is None:
            return True
        return self._clock.monotonic() - at >= _CORRECTED_SECONDS

    def _patient_enough(self, steps: Iterable[JobStep], rank: int) -> bool:
        what, now = tuple(step.about for step in steps), self._clock.monotonic()
        if self._waiting is None or self._waiting[0] != what:
            self._waiting = (what, now)
        return now - self._waiting[1] >= rank * RANK_SECONDS

    def _writes_of(self, step: JobStep) -> list[Put | Delete]:
        if step.verb is JobVerb.FORGET:
            return [Delete(key=run_key(step.about))]
        writes: list[Put | Delete] = []
        if step.run is not None:
            writes.append(Put(key=run_key(step.run.id), value=encode(step.run)))
        if step.job is not None:
            writes.append(Put(key=job_key(step.job.name), value=encode(step.job)))
        return [*writes, self._told(step)]

    def _told(self, step: JobStep) -> Put:
        run = step.run
        what: str = step.verb.value
        if run is not None and step.verb is JobVerb.END:
            what = RUN_FAILED if run.state is RunState.FAILED else "run succeeded"
        parts = [step.reason]
        if run is not None:
            parts += [f"on {run.node}"] if run.node else []
            parts += [f"exit code {run.exit_code}"] if run.exit_code else []
            parts += [run.detail] if run.detail else []
        event = self._journal.tell(f"job/{step.about}", what, detail="; ".join(parts))
        return self._journal.put(event)
