"""What becomes of jobs and runs, in each case by itself, and why."""

from dataclasses import replace
from typing import Any

import pytest

from pltfrms.model.network.interventions import Drain, Freeze, Interventions
from pltfrms.model.running.state import Contact, MachineStatus, MachineView, Snapshot
from pltfrms.model.services.jobs import (
    Job,
    JobRun,
    JobSpec,
    Missed,
    RunPhase,
    RunReason,
    RunState,
    RunStatus,
)
from pltfrms.model.services.service import Run
from pltfrms.planner.jobs.deciding import decide_jobs
from pltfrms.planner.jobs.leases import lease_ms
from pltfrms.planner.jobs.steps import JobStep, JobVerb
from tests.strategies import make_platform

PLATFORM = make_platform({"fra": 2, "ams": 1}, others=False)
HOUR = 3_600_000
THREE = 1_796_007_600_000 // (24 * HOUR) * 24 * HOUR + 3 * HOUR
"""Some day, 03:00 UTC."""
SPEC = JobSpec(name="backup", run=Run(process=("true",)), schedule="0 3 * * *")
JOB = Job(spec=SPEC, version=1, last_run=4, decided_ms=THREE - HOUR)
WANTED = JobRun(job="backup", number=4, spec=SPEC)
GIVEN = replace(WANTED, state=RunState.GIVEN, node="fra-n1", datacenter="fra", slot=250)
RUNNING = replace(GIVEN, state=RunState.RUNNING, claim="w")
FAILED = replace(RUNNING, state=RunState.FAILED, reason=RunReason.ENDED_BADLY)
PRESENT = MachineView(contact=Contact.PRESENT, since_seconds=900.0)
LOST = MachineView(contact=Contact.LOST, since_seconds=1.0)


def snapshot(*runs: JobRun, job: Job = JOB, now_ms: int = THREE - 1, **more: Any) -> Snapshot:
    """Return one in which every machine is in contact, and nothing is due."""
    return Snapshot(
        revision=1,
        platform=PLATFORM,
        machines={machine.name: PRESENT for machine in PLATFORM.machines},
        jobs={job.name: job},
        runs={run.id: run for run in runs},
        now_ms=now_ms,
        **more,
    )


def said(phase: RunPhase, **more: Any) -> dict[str, MachineStatus]:
    status = RunStatus(**{"run": "backup@4", "phase": phase, "claim": "w"} | more)
    return {"fra-n1": MachineStatus(machine="fra-n1", runs=(status,))}


def only(snapshot: Snapshot) -> JobStep:
    plan = decide_jobs(snapshot)
    assert len(plan.steps) == 1, plan
    return plan.steps[0]


def run_of(step: JobStep) -> JobRun:
    assert step.run is not None
    return step.run


# ---- times -----------------------------------------------------------------------------------


def test_what_is_due_is_wanted_once_with_a_number_of_its_own() -> None:
    before = snapshot(now_ms=THREE)
    step = only(before)
    assert (step.verb, step.about) == (JobVerb.WANT, "backup@5")
    assert (run_of(step).cause, run_of(step).due_ms) == (RunReason.DUE, THREE)
    assert step.job == replace(JOB, last_run=5, decided_ms=THREE)
    assert decide_jobs(snapshot()).steps == ()


@pytest.mark.parametrize(
    ("late_ms", "missed", "verb"),
    [
        (60_000, Missed.SKIP, JobVerb.WANT),
        (60_001, Missed.SKIP, JobVerb.SKIP),
        (60_001, Missed.ONCE, JobVerb.WANT),
        (71 * HOUR, Missed.ONCE, JobVerb.WANT),
        (71 * HOUR, Missed.SKIP, JobVerb.SKIP),
    ],
)
def test_what_was_missed_is_skipped_or_done_once(
    late_ms: int, missed: Missed, verb: JobVerb
) -> None:
    job = replace(JOB, spec=replace(SPEC, missed=missed))
    step = only(snapshot(job=job, now_ms=THREE + late_ms))
    assert step.verb is verb
    assert step.job is not None
    after = snapshot(job=step.job, now_ms=THREE + late_ms)
    assert decide_jobs(after).steps == ()


def test_while_one_runs_another_is_not_wanted() -> None:
    step = only(snapshot(RUNNING, now_ms=THREE))
    assert (step.verb, step.reason) == (JobVerb.SKIP, "backup@4 is running, and one runs")


def test_times_that_a_wrong_clock_dealt_with_come_again() -> None:
    job = replace(JOB, decided_ms=THREE + 400 * 24 * HOUR)
    step = only(snapshot(job=job, now_ms=THREE - HOUR))
    assert (step.verb, step.job) == (
        JobVerb.CORRECT,
        replace(job, decided_ms=THREE - HOUR),
    )


def test_a_number_that_a_node_remembers_does_not_come_back() -> None:
    """The store may be an older one, which was recovered."""
    statuses = said(RunPhase.ENDED, run="backup@90")
    assert only(snapshot(now_ms=THREE, statuses=statuses)).about == "backup@91"


def test_what_a_node_runs_of_a_lost_store_is_waited_for() -> None:
    statuses = said(RunPhase.RUNNING, run="backup@90")
    plan = decide_jobs(snapshot(WANTED, statuses=statuses))
    assert plan.steps == ()
    assert plan.notes[0].detail.startswith("backup@90 runs on fra-n1")


def test_what_is_allowed_elsewhere_in_a_lost_store_is_waited_for() -> None:
    """The store is of a time at which the run was wanted, or given, and its node began it."""
    here, there = said(RunPhase.RUNNING), said(RunPhase.RUNNING)["fra-n1"]
    for run, statuses in (
        (WANTED, here),
        (GIVEN, here),
        (GIVEN, {"fra-n2": replace(there, machine="fra-n2"), **said(RunPhase.ASKING)}),
    ):
        plan = decide_jobs(snapshot(run, statuses=statuses))
        assert plan.steps == ()
        assert "backup@4 runs on fra-n" in plan.notes[0].detail
    assert only(snapshot(GIVEN, statuses=said(RunPhase.ENDED))).verb is JobVerb.END


def test_a_dead_node_with_a_run_that_is_forgotten_stops_nothing() -> None:
    statuses = said(RunPhase.RUNNING, run="backup@1")
    before = snapshot(WANTED, statuses=statuses)
    for seconds, waits in ((60.0, True), (lease_ms(WANTED) / 1000, False)):
        lost = replace(LOST, since_seconds=seconds)
        seen = replace(before, machines={**before.machines, "fra-n1": lost})
        assert (decide_jobs(seen).steps == ()) is waits


def test_what_is_alive_although_it_must_be_over_is_waited_for() -> None:
    """Its machine stood still, and goes on."""
    statuses = said(RunPhase.RUNNING)
    again = replace(WANTED, number=5)
    before = snapshot(replace(FAILED, reason=RunReason.LEASE_OVER), again, statuses=statuses)
    plan = decide_jobs(before)
    assert plan.steps == ()
    assert plan.notes[0].detail.startswith("backup@4 runs on fra-n1, and must be over")
    gone = replace(before, machines={**before.machines, "fra-n1": LOST})
    assert only(gone).verb is JobVerb.GIVE


def test_why_a_node_does_not_ask_is_what_it_says() -> None:
    status = MachineStatus(machine="fra-n1", problems=("bird: x", "run backup@4: no image"))
    plan = decide_jobs(snapshot(GIVEN, statuses={"fra-n1": status}))
    assert [(note.about, note.detail) for note in plan.notes] == [
        ("backup@4", "fra-n1: no image")
    ]


def test_nothing_begins_while_the_network_is_frozen() -> None:
    freeze = Interventions(freeze=Freeze(by="ada", why="look", since_ms=0))
    asking = said(RunPhase.ASKING)
    for run in (WANTED, GIVEN):
        plan = decide_jobs(snapshot(run, now_ms=THREE, interventions=freeze, statuses=asking))
        assert (plan.steps, [note.about for note in plan.notes]) == ((), ["backup@4"])
    lost = snapshot(GIVEN, interventions=freeze, statuses=asking)
    lost = replace(lost, machines={**lost.machines, "fra-n1": LOST})
    assert only(lost).verb is JobVerb.TAKE_BACK


# ---- where -----------------------------------------------------------------------------------


def test_it_goes_to_the_first_datacenter_that_has_room() -> None:
    step = only(snapshot(WANTED))
    assert (step.verb, run_of(step).node) == (JobVerb.GIVE, "fra-n1")
    there = replace(WANTED, spec=replace(SPEC, datacenters=("ams", "fra")))
    assert run_of(only(snapshot(there))).node == "ams-n1"


def test_another_job_of_the_same_moment_goes_where_more_room_is() -> None:
    other = replace(SPEC, name="other")
    both = snapshot(WANTED, replace(WANTED, job="other", spec=other))
    both = replace(both, jobs={**both.jobs, "other": Job(spec=other, version=1, last_run=4)})
    nodes = [run_of(step).node for step in decide_jobs(both).steps]
    assert nodes == ["fra-n1", "fra-n2"]


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (Run(process=("true",), cpu=900.0), "no node where it may run has enough room for it"),
        (Run(process=("true",), memory_bytes=2**50), "has enough room for it"),
    ],
)
def test_without_room_it_waits_and_says_so(run: Run, says: str) -> None:
    plan = decide_jobs(snapshot(replace(WANTED, spec=replace(SPEC, run=run))))
    assert plan.steps == ()
    assert says in plan.notes[0].detail


def test_a_drained_node_gets_none_and_gives_back_what_has_not_begun() -> None:
    drains = Interventions(
        drains=(Drain(node="fra-n1", by="ada", why="disk", since_ms=0, wait_ms=0),)
    )
    assert run_of(only(snapshot(WANTED, interventions=drains))).node == "fra-n2"
    step = only(snapshot(GIVEN, interventions=drains))
    assert (step.verb, run_of(step).state) == (JobVerb.TAKE_BACK, RunState.WANTED)
    assert run_of(step).node == ""
    assert decide_jobs(snapshot(RUNNING, interventions=drains)).steps == ()


# ---- beginning and ending --------------------------------------------------------------------


def test_a_node_begins_only_after_it_asked() -> None:
    assert decide_jobs(snapshot(GIVEN)).steps == ()
    step = only(snapshot(GIVEN, statuses=said(RunPhase.ASKING, claim="w7")))
    assert (step.verb, run_of(step).claim) == (JobVerb.ALLOW, "w7")
    assert run_of(step).state is RunState.RUNNING


@pytest.mark.parametrize(
    ("view", "taken_back"),
    [
        (LOST, True),
        (MachineView(contact=Contact.UNKNOWN, since_seconds=29.0), False),
        (MachineView(contact=Contact.UNKNOWN, since_seconds=30.0), True),
    ],
)
def test_what_has_not_begun_is_taken_back_from_who_is_away(
    view: MachineView, *, taken_back: bool
) -> None:
    away = snapshot(GIVEN, statuses=said(RunPhase.ASKING))
    away = replace(away, machines={**away.machines, "fra-n1": view})
    verbs = [step.verb for step in decide_jobs(away).steps]
    assert verbs == ([JobVerb.TAKE_BACK] if taken_back else [])


def test_of_a_lost_node_nothing_is_known_until_it_must_be_over() -> None:
    lost = snapshot(RUNNING, statuses=said(RunPhase.RUNNING))
    lost = replace(lost, machines={**lost.machines, "fra-n1": LOST})
    doubted = only(lost)
    assert run_of(doubted).state is RunState.UNKNOWN
    unknown = replace(lost, runs={"backup@4": run_of(doubted)})
    assert decide_jobs(unknown).steps == ()
    late = {"backup@4": lease_ms(RUNNING) - 1}
    assert decide_jobs(replace(unknown, runs_seen_ms=late)).steps == ()
    late = {"backup@4": lease_ms(RUNNING)}
    step = only(replace(unknown, runs_seen_ms=late))
    assert (run_of(step).state, run_of(step).reason) == (RunState.FAILED, RunReason.LEASE_OVER)
    back = replace(unknown, machines={**lost.machines, "fra-n1": PRESENT})
    assert run_of(only(back)).state is RunState.RUNNING
    # It says that it runs: whatever the clock says, it does.
    for claim in ("w", ""):
        statuses = said(RunPhase.RUNNING, claim=claim)
        found = replace(back, runs={"backup@4": RUNNING}, statuses=statuses, runs_seen_ms=late)
        assert decide_jobs(found).steps == ()


@pytest.mark.parametrize(
    ("more", "state", "reason"),
    [
        ({"exit_code": 0}, RunState.SUCCEEDED, RunReason.ENDED_WELL),
        ({"exit_code": 3}, RunState.FAILED, RunReason.ENDED_BADLY),
        ({}, RunState.FAILED, RunReason.INTERRUPTED),
        ({"exit_code": 0, "reason": RunReason.STOPPED}, RunState.FAILED, RunReason.STOPPED),
        ({"exit_code": 0, "claim": "of another"}, RunState.FAILED, RunReason.NEVER_BEGAN),
        # Its node has no record of it any more, and has found it alive.
        ({"exit_code": 0, "claim": ""}, RunState.SUCCEEDED, RunReason.ENDED_WELL),
        ({"phase": RunPhase.NEVER, "claim": ""}, RunState.FAILED, RunReason.NEVER_BEGAN),
    ],
)
def test_a_run_ends_as_its_node_says(
    more: dict[str, Any], state: RunState, reason: RunReason
) -> None:
    step = only(snapshot(RUNNING, statuses=said(**{"phase": RunPhase.ENDED} | more)))
    assert (step.verb, run_of(step).state, run_of(step).reason) == (JobVerb.END, state, reason)


def test_who_is_stopped_before_it_began_is_over_at_once() -> None:
    for run in (WANTED, GIVEN):
        step = only(snapshot(replace(run, stop_by="ada")))
        assert (run_of(step).reason, run_of(step).detail) == (RunReason.STOPPED, "by ada")
    assert decide_jobs(snapshot(replace(RUNNING, stop_by="ada"))).steps == ()


# ---- again, and no more ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retries", "attempt", "reason", "again"),
    [
        (0, 1, RunReason.ENDED_BADLY, False),
        (1, 1, RunReason.ENDED_BADLY, True),
        (1, 2, RunReason.ENDED_BADLY, False),
        (1, 1, RunReason.LEASE_OVER, True),
        (1, 1, RunReason.STOPPED, False),
        (0, 3, RunReason.NEVER_BEGAN, True),
        (0, 4, RunReason.NEVER_BEGAN, False),
    ],
)
def test_it_is_tried_again_as_often_as_the_file_says(
    retries: int, attempt: int, reason: RunReason, *, again: bool
) -> None:
    spec = replace(SPEC, retries=retries)
    last = replace(FAILED, spec=spec, attempt=attempt, reason=reason, due_ms=THREE - HOUR)
    plan = decide_jobs(snapshot(last, job=replace(JOB, spec=spec)))
    assert bool(plan.steps) is again
    if again:
        run = run_of(plan.steps[0])
        assert (run.id, run.attempt, run.retry_of) == ("backup@5", attempt + 1, 4)
        assert run.wanted_ms == THREE - 1 + (10_000 << (attempt - 1))
        assert decide_jobs(snapshot(last, run, job=replace(JOB, spec=spec))).steps == ()


@pytest.mark.parametrize(
    "reason", [RunReason.ENDED_BADLY, RunReason.LEASE_OVER, RunReason.NEVER_BEGAN]
)
def test_what_somebody_stopped_is_not_tried_again_however_it_ended(reason: RunReason) -> None:
    spec = replace(SPEC, retries=3)
    last = replace(FAILED, spec=spec, reason=reason, stop_by="ada")
    assert decide_jobs(snapshot(last, job=replace(JOB, spec=spec))).steps == ()


def test_who_is_stopped_between_word_and_beginning_was_stopped() -> None:
    stopped = replace(RUNNING, stop_by="ada")
    run = run_of(only(snapshot(stopped, statuses=said(RunPhase.NEVER, claim=""))))
    assert (run.reason, run.detail) == (RunReason.STOPPED, "by ada")


def test_what_changed_since_is_not_tried_again() -> None:
    spec = replace(SPEC, retries=1)
    plan = decide_jobs(snapshot(FAILED, job=replace(JOB, spec=spec)))
    assert plan.steps == ()


def test_the_last_twenty_are_remembered_and_none_of_a_deleted_job() -> None:
    over = [replace(FAILED, number=number) for number in range(1, 22)]
    step = only(snapshot(*over))
    assert (step.verb, step.about) == (JobVerb.FORGET, "backup@1")
    assert decide_jobs(snapshot(*over[1:])).steps == ()
    assert only(snapshot(over[20], job=replace(JOB, deleted=True))).about == "backup@21"
