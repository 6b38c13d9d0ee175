"""Jobs on the command line: applied, listed, run, stopped and deleted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pltfrms.model.messages.api import ChangeLine
from pltfrms.model.messages.glass import InstanceLog, LogAnswers
from pltfrms.model.messages.jobs import JobAsk, JobChange, JobReply
from pltfrms.model.services.jobs import Job, JobRun, JobSpec, RunReason, RunState
from pltfrms.model.services.service import Run as RunWords
from pltfrms.planner.jobs.asking import change_job
from tests.cli.conftest import Run
from tests.cli.world import HEALTHY, NOW_MS, FakeController

SPEC = JobSpec(name="backup", run=RunWords(process=("true",)), schedule="0 3 * * *")
GONE = replace(SPEC, name="gone")
ENDED = JobRun(
    job="backup",
    number=1,
    spec=SPEC,
    state=RunState.FAILED,
    reason=RunReason.ENDED_BADLY,
    node="fra-n1",
    began_ms=NOW_MS,
    ended_ms=NOW_MS + 1000,
    exit_code=3,
    detail="no space left",
)


@pytest.fixture(autouse=True)
def asked(controller: FakeController, monkeypatch: pytest.MonkeyPatch) -> list[JobChange]:
    jobs = {
        "backup": Job(spec=SPEC, version=2, last_run=1),
        "gone": Job(spec=GONE, version=1, deleted=True),
    }
    controller.snapshots = [replace(HEALTHY, jobs=jobs, runs={ENDED.id: ENDED})]
    changes: list[JobChange] = []

    def change(method: str, path: str, kind: type[Any], said: JobChange) -> JobReply:
        assert (method, path, kind) == ("POST", "/v1/jobs", JobReply)
        assert said.by
        changes.append(said)
        outcome = change_job(controller.snapshots[0], said)
        changed = outcome.job != controller.snapshots[0].jobs.get(said.name)
        return JobReply(job=outcome.job, run=outcome.run, changed=changed)

    monkeypatch.setattr(controller, "change", change)
    return changes


def test_jobs_are_listed_with_how_they_ended(run: Run) -> None:
    lines = run("job", "list").out.splitlines()
    assert len(lines) == 2
    assert lines[1].split()[:2] == ["backup", "0"]
    assert "backup@1" in lines[1]
    assert "exit code 3; no space left" in lines[1]
    assert [each["spec"]["name"] for each in json.loads(run("job", "list", "--json").out)] == [
        "backup"
    ]


def test_a_job_is_shown_with_its_runs(run: Run) -> None:
    lines = run("job", "show", "backup").out.splitlines()
    assert lines[0] == "backup: version 2, 0 3 * * * (UTC), in any datacenter"
    assert lines[2].split()[:3] == ["backup@1", "failed", "fra-n1"]
    (found,) = json.loads(run("job", "show", "backup", "--json").out)
    assert found["reason"] == "ended-badly"
    said = run("job", "show", "gone")
    assert (said.code, "there is no job 'gone'; there are: backup" in said.err) == (2, True)


def test_why_a_run_waits_and_how_one_failed_is_said(
    run: Run, controller: FakeController
) -> None:
    said = run("status").out
    assert (
        "job/backup: backup@1 on fra-n1 failed: it ended with another exit code than 0" in said
    )
    much = replace(SPEC, run=replace(SPEC.run, cpu=64.0))
    wanted = JobRun(job="backup", number=2, spec=much)
    runs = {ENDED.id: ENDED, wanted.id: wanted}
    controller.snapshots = [replace(controller.snapshots[0], runs=runs)]
    assert "backup@2 waits: no node" in run("job", "show", "backup").out
    assert "backup@1" not in run("status").out


def test_a_job_is_run_and_stopped(run: Run, controller: FakeController) -> None:
    assert run("job", "run", "backup", "--why", "now").out == "backup@2 is wanted\n"
    assert run("job", "stop", "backup").code == 2
    going = replace(ENDED, number=2, state=RunState.RUNNING)
    controller.snapshots = [replace(controller.snapshots[0], runs={going.id: going})]
    assert run("job", "run", "backup").code == 4
    assert run("job", "delete", "backup", "--yes").code == 4
    assert run("job", "stop", "backup").out == "backup@2 is to stop\n"


def test_what_a_run_said_is_shown(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, dict[str, str]]] = []
    log = InstanceLog(allocation="backup@1", lines=("a", "b"), position="1.4", said_ms=NOW_MS)

    def get(path: str, parameters: dict[str, str], _kind: type[Any]) -> LogAnswers:
        asked.append((path, parameters))
        if "run" in parameters:
            return LogAnswers(logs=(), silent={"fra-n1": "it does not answer"})
        return LogAnswers(logs=(log,))

    monkeypatch.setattr(controller, "get", get, raising=False)
    assert run("job", "logs", "backup").out == "a\nb\n"
    assert "fra-n1 is silent" in run("job", "logs", "backup", "--run", "backup@1").err
    assert asked == [
        ("/v1/jobs/backup/logs", {"lines": "50"}),
        ("/v1/jobs/backup/logs", {"lines": "50", "run": "backup@1"}),
    ]


def test_a_job_is_deleted_after_a_question(run: Run, asked: list[JobChange]) -> None:
    assert run("job", "delete", "backup").code == 2  # nobody can be asked
    assert asked == []
    assert run("job", "delete", "backup", "--yes").out == "backup is deleted\n"
    assert [each.verb for each in asked] == [JobAsk.DELETE]


def test_files_are_applied_like_those_of_services(
    run: Run, controller: FakeController, tmp_path: Path
) -> None:
    path = tmp_path / "backup.yaml"
    path.write_text("job: backup\nrun: {process: ['true']}\ntimeout: 2h\ngroup: shop\n")
    controller.changes = (ChangeLine(about="job/backup", action="update"),)
    assert run("plan", path).code == 3
    assert run("apply", tmp_path, "--prune", "group=shop", "--yes").code == 0
    for change in (controller.planned[0], controller.applied[0]):
        assert [(each.name, each.timeout_ms) for each in change.jobs] == [("backup", 7_200_000)]
    assert controller.applied[0].prune == ("group", "shop")
    path.write_text("job: backup\nrun: {process: []}\n")
    said = run("apply", path, "--yes")
    assert (said.code, f"{path}:2" in said.err) == (2, True)
    path.write_text("job: backup\nrun: {process: ['true']}\ndatacenters: [mars]\n")
    said = run("apply", path, "--yes")
    assert (said.code, f"{path}:3" in said.err) == (2, True)
    assert len(controller.applied) == 1


def test_a_job_is_explained_with_what_its_last_run_said(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = InstanceLog(
        allocation="backup@1", lines=("no space",), position="1.4", said_ms=NOW_MS
    )
    asked: list[dict[str, str]] = []

    def get(path: str, parameters: dict[str, str], _kind: type[Any]) -> LogAnswers:
        assert path == "/v1/jobs/backup/logs"
        asked.append(parameters)
        return LogAnswers(logs=(log,))

    monkeypatch.setattr(controller, "get", get, raising=False)
    lines = run("explain", "job/backup").out.splitlines()
    assert lines == [
        "backup: version 2, 0 3 * * * (UTC), in any datacenter",
        "there is backup@1 because somebody asked for it",
        f"backup@1 has failed on fra-n1: {ENDED.reason.sentence}; exit code 3; no space left",
        "backup@1 said last:",
        "  no space",
    ]
    assert asked == [{"run": "backup@1", "lines": "50"}]
    assert run("explain", "job/none").code == 2
    assert run("explain", "backup").code == 2


def test_what_a_run_says_is_followed_to_its_end(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter((("a",), ("b",), ("c",)))
    going = replace(ENDED, state=RunState.RUNNING)

    def get(_path: str, asked: dict[str, str], _kind: type[Any]) -> LogAnswers:
        after = asked.get("after", "1.0")
        if after == "1.1":
            runs = {ENDED.id: ENDED}
            controller.snapshots = [replace(controller.snapshots[0], runs=runs)]
        at = f"1.{int(after[2:]) + 1}"
        log = InstanceLog(allocation="backup@1", lines=next(said), position=at, said_ms=NOW_MS)
        return LogAnswers(logs=(log,))

    controller.snapshots = [replace(controller.snapshots[0], runs={going.id: going})]
    monkeypatch.setattr(controller, "get", get, raising=False)
    monkeypatch.setattr("pltfrms.cli.service.job._AGAIN_SECONDS", 0.0)
    assert run("job", "logs", "backup", "--follow").out == "a\nb\nc\n"
