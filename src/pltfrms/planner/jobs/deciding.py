"""What becomes of jobs: snapshot in, steps out, one of each job at most. Pure.

At most one run of a job is not over. A run is given to one node, which asks to begin it, and
may begin it once that is recorded; until then it can be taken back and given to another one. Of
a run that may have begun nothing is decided until its node has said how it ended, or must have
ended it (`leases`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from pltfrms.errors import UsageError
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.model.services.jobs import (
    BEGUN,
    OVER,
    RUNS_KEPT,
    Job,
    JobRun,
    Missed,
    RunPhase,
    RunReason,
    RunState,
    RunStatus,
)
from pltfrms.model.services.schedule import Schedule, last_due_ms
from pltfrms.planner.jobs.leases import lease_ms
from pltfrms.planner.jobs.placing import Rooms
from pltfrms.planner.jobs.steps import JobNote, JobPlan, JobStep, JobVerb

MISSED_MS: Final = 60_000
"""What was due longer ago than this was missed."""
_RETRY_MS: Final = 10_000
"""So long after the first failure it is tried again; twice as long after each further one."""
_RETRY_MOST_MS: Final = 300_000
_UNHEARD_SECONDS: Final = 30.0
"""A node of which so long nothing is known is not waited for, if it has not begun."""
_AHEAD_MS: Final = 600_000
"""Further in the future nobody has decided: that was a clock which was wrong."""
_UNBEGUN: Final = 3
"""So many more runs follow one that was given to a node, and did not begin there."""


def decide_jobs(snapshot: Snapshot) -> JobPlan:
    """Return what to do now."""
    return _Deciding(snapshot).plan()


def newest(runs: Iterable[JobRun]) -> JobRun | None:
    """Return the run with the highest number."""
    return max(runs, key=lambda run: run.number, default=None)


def under_way(runs: Iterable[JobRun]) -> JobRun | None:
    """Return the run that is not over."""
    return newest(run for run in runs if run.state not in OVER)


def next_number(job: Job | None, name: str, snapshot: Snapshot) -> int:
    """Return a number that no run of the job ever had, also not in a store that is lost.

    Nodes remember what they began: who recovers an older store does not get their numbers.
    """
    marks = [run.number for run in snapshot.runs.values() if run.job == name]
    for status in snapshot.statuses.values():
        for each in status.runs:
            of, _, number = each.run.rpartition("@")
            if of == name and number.isdecimal():
                marks.append(int(number))
    return max([job.last_run if job else 0, *marks]) + 1


def _is_of(said: RunStatus, run: JobRun) -> bool:
    """Return whether a node says this of this run, and not of one of a lost store.

    Of what it has found alive without a record it knows no word; that it ran it knows.
    """
    return said.claim in {"", run.claim}


class _Deciding:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._now_ms = snapshot.now_ms
        self._frozen = snapshot.interventions.freeze is not None
        self._made: Rooms | None = None
        self._notes: list[JobNote] = []
        self._runs: defaultdict[str, list[JobRun]] = defaultdict(list)
        for run in snapshot.runs.values():
            self._runs[run.job].append(run)
        self._said: Mapping[tuple[str, str], RunStatus] = {
            (machine, each.run): each
            for machine, status in snapshot.statuses.items()
            for each in status.runs
        }

    @property
    def _rooms(self) -> Rooms:
        self._made = self._made or Rooms(self._snapshot)
        return self._made

    def plan(self) -> JobPlan:
        steps = (self._step(job) for _, job in sorted(self._snapshot.jobs.items()))
        return JobPlan(steps=tuple(filter(None, steps)), notes=tuple(self._notes))

    def _step(self, job: Job) -> JobStep | None:
        runs = self._runs[job.name]
        current = under_way(runs)
        step = self._run_step(current) if current else None
        if step is None and not job.deleted:
            step = self._due_step(job, current)
        if step is None and current is None and not job.deleted:
            step = self._retry_step(job, newest(runs))
        return step or self._forget_step(job, runs)

    # ---- the run that is not over ----------------------------------------------------------

    def _run_step(self, run: JobRun) -> JobStep | None:
        if run.state in BEGUN:
            return self._begun_step(run)
        if run.stop_by:
            return self._end(run, RunReason.STOPPED, f"by {run.stop_by}")
        return self._given_step(run) if run.state is RunState.GIVEN else self._give_step(run)

    def _give_step(self, run: JobRun) -> JobStep | None:
        if self._is_held(run):
            return None
        if self._now_ms < run.wanted_ms and run.wanted_ms - self._now_ms <= _RETRY_MOST_MS:
            return None
        found = self._rooms.take(run)
        if isinstance(found, str):
            self._note(run.id, found)
            return None
        node, slot = found
        given = replace(
            run,
            state=RunState.GIVEN,
            reason=RunReason.MOST_ROOM,
            node=node.name,
            datacenter=node.datacenter,
            slot=slot,
        )
        return self._changed(JobVerb.GIVE, given)

    def _is_held(self, run: JobRun) -> bool:
        """Say why nothing of the job may begin now."""
        if self._frozen:
            self._note(run.id, "an operator has frozen the network")
        return self._frozen or self._is_alive_elsewhere(run)

    def _is_alive_elsewhere(self, run: JobRun) -> bool:
        """Say which run of the job is alive, for all we know, although none should be."""
        known = self._snapshot.runs
        for (machine, name), said in sorted(self._said.items()):
            if said.phase is not RunPhase.RUNNING or name.rpartition("@")[0] != run.job:
                continue
            ours = name in known and known[name].node == machine and name != run.id
            # Of ours we have waited for the end of its lease: then only its node knows better.
            present = self._snapshot.contact(machine) is Contact.PRESENT
            if present or (not ours and self._may_live(machine, run)):
                was = "must be over" if ours else "is of before the store was recovered"
                self._note(run.id, f"{name} runs on {machine}, and {was}")
                return True
        return False

    def _may_live(self, machine: str, run: JobRun) -> bool:
        """Return whether what runs on a machine that is away may, if it is as long as `run`."""
        view = self._snapshot.machines.get(machine)
        return view is None or view.since_seconds * 1000 < lease_ms(run)

    def _given_step(self, run: JobRun) -> JobStep | None:
        """Let it begin where it was given to; until then it can be taken back at any time."""
        said = self._said.get((run.node, run.id))
        view = self._snapshot.machines.get(run.node)
        contact = self._snapshot.contact(run.node)
        silent = view is None or view.since_seconds >= _UNHEARD_SECONDS
        away = contact is Contact.LOST or (contact is Contact.UNKNOWN and silent)
        if away or not self._rooms.is_open(run.node):
            free = replace(
                run,
                state=RunState.WANTED,
                reason=RunReason.NODE_AWAY,
                node="",
                datacenter="",
                slot=0,
            )
            return self._changed(JobVerb.TAKE_BACK, free)
        if contact is not Contact.PRESENT or self._is_held(run):
            return None
        if said is None:
            self._note_problem(run)
            return None
        if said.phase is not RunPhase.ASKING:  # its node knows the number from another store
            return self._end(run, RunReason.NEVER_BEGAN, said.detail)
        allowed = replace(
            run, state=RunState.RUNNING, reason=RunReason.ALLOWED, claim=said.claim
        )
        return self._changed(JobVerb.ALLOW, allowed)

    def _begun_step(self, run: JobRun) -> JobStep | None:
        said = self._said.get((run.node, run.id))
        if said is not None and said.phase in {RunPhase.ENDED, RunPhase.NEVER}:
            return self._ended_step(run, said)
        present = self._snapshot.contact(run.node) is Contact.PRESENT
        lives = said is not None and said.phase is RunPhase.RUNNING and _is_of(said, run)
        seen_ms = self._snapshot.runs_seen_ms.get(run.id, 0)
        if seen_ms >= lease_ms(run) and not (present and lives):
            return self._end(run, RunReason.LEASE_OVER)
        if not present and run.state is RunState.RUNNING:
            doubtful = replace(run, state=RunState.UNKNOWN, reason=RunReason.NODE_UNHEARD)
            return self._changed(JobVerb.DOUBT, doubtful)
        if present and run.state is RunState.UNKNOWN:
            known = replace(run, state=RunState.RUNNING, reason=RunReason.NODE_BACK)
            return self._changed(JobVerb.FOUND, known)
        if said is not None and lives and not run.began_ms and said.began_ms:
            return self._changed(JobVerb.BEGAN, replace(run, began_ms=said.began_ms))
        return None

    def _ended_step(self, run: JobRun, said: RunStatus) -> JobStep:
        if said.phase is RunPhase.NEVER or not _is_of(said, run):
            if run.stop_by:
                return self._end(run, RunReason.STOPPED, f"by {run.stop_by}")
            return self._end(run, RunReason.NEVER_BEGAN, said.detail)
        run = replace(
            run,
            began_ms=said.began_ms or run.began_ms,
            ended_ms=said.ended_ms,
            exit_code=said.exit_code,
        )
        if said.reason is not None:
            return self._end(run, said.reason, said.detail)
        if said.exit_code is None:
            return self._end(run, RunReason.INTERRUPTED, said.detail)
        well = said.exit_code == 0
        reason = RunReason.ENDED_WELL if well else RunReason.ENDED_BADLY
        return self._end(run, reason, said.detail)

    def _end(self, run: JobRun, reason: RunReason, detail: str = "") -> JobStep:
        well = reason is RunReason.ENDED_WELL
        ended = replace(
            run,
            state=RunState.SUCCEEDED if well else RunState.FAILED,
            reason=reason,
            detail=detail,
            ended_ms=run.ended_ms or self._now_ms,
        )
        return self._changed(JobVerb.END, ended)

    # ---- further runs ----------------------------------------------------------------------

    def _due_step(self, job: Job, current: JobRun | None) -> JobStep | None:
        times = None if self._frozen else self._times(job)
        if times is None:
            return None
        if job.decided_ms > self._now_ms + _AHEAD_MS:
            what = "times were dealt with that are far in the future: a clock was wrong"
            return JobStep(
                verb=JobVerb.CORRECT,
                about=job.name,
                reason=what,
                job=replace(job, decided_ms=self._now_ms),
            )
        due = last_due_ms(times, job.decided_ms, self._now_ms)
        if due is None:
            return None
        job = replace(job, decided_ms=due)
        missed = self._now_ms - due > MISSED_MS
        if current is not None:
            return self._skipped(job, f"{current.id} is {current.state.value}, and one runs")
        if missed and job.spec.missed is Missed.SKIP:
            return self._skipped(job, RunReason.MISSED.sentence)
        return self._want(job, RunReason.MISSED if missed else RunReason.DUE, due_ms=due)

    def _times(self, job: Job) -> Schedule | None:
        try:
            return job.spec.times
        except UsageError as error:
            self._note(job.name, f"its schedule {error}")
            return None

    def _skipped(self, job: Job, why: str) -> JobStep:
        return JobStep(verb=JobVerb.SKIP, about=job.name, reason=why, job=job)

    def _retry_step(self, job: Job, last: JobRun | None) -> JobStep | None:
        if last is None or last.state is not RunState.FAILED or self._frozen:
            return None
        unbegun = _UNBEGUN if last.reason is RunReason.NEVER_BEGAN else 0
        spent = last.attempt > job.spec.retries + unbegun
        stopped = last.stop_by or last.reason is RunReason.STOPPED
        if spent or stopped or last.spec != job.spec:
            return None
        pause_ms = min(_RETRY_MS << (last.attempt - 1), _RETRY_MOST_MS)
        return self._want(job, RunReason.RETRY, last, pause_ms=pause_ms)

    def _want(
        self,
        job: Job,
        cause: RunReason,
        last: JobRun | None = None,
        *,
        due_ms: int = 0,
        pause_ms: int = 0,
    ) -> JobStep:
        number = next_number(job, job.name, self._snapshot)
        run = JobRun(
            job=job.name,
            number=number,
            spec=job.spec,
            reason=cause,
            cause=cause,
            wanted_ms=self._now_ms + pause_ms,
            due_ms=due_ms or (last.due_ms if last else 0),
            attempt=last.attempt + 1 if last else 1,
            retry_of=(last.retry_of or last.number) if last else 0,
        )
        job = replace(job, last_run=number)
        return JobStep(verb=JobVerb.WANT, about=run.id, reason=cause.sentence, run=run, job=job)

    def _forget_step(self, job: Job, runs: Iterable[JobRun]) -> JobStep | None:
        over = sorted((run for run in runs if run.state in OVER), key=lambda run: run.number)
        kept = 0 if job.deleted else RUNS_KEPT
        if len(over) <= kept:
            return None
        what = "the job was deleted" if job.deleted else f"{kept} later ones are remembered"
        return JobStep(verb=JobVerb.FORGET, about=over[0].id, reason=what)

    # ---- words -----------------------------------------------------------------------------

    def _changed(self, verb: JobVerb, run: JobRun) -> JobStep:
        return JobStep(verb=verb, about=run.id, reason=run.reason.sentence, run=run)

    def _note_problem(self, run: JobRun) -> None:
        """Say why the node does not ask to begin, if it says so."""
        status, part = self._snapshot.statuses.get(run.node), f"run {run.id}: "
        for problem in status.problems if status else ():
            if problem.startswith(part):
                self._note(run.id, f"{run.node}: {problem.removeprefix(part)}")

    def _note(self, about: str, detail: str) -> None:
        self._notes.append(JobNote(about=about, detail=detail))
