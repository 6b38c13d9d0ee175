"""Rollouts, as a person sees and holds them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.cli.service import apply as applying
from pltfrms.cli.service import rollout as rolling
from pltfrms.model.messages.api import ChangeLine
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.rollouts import gone_back, in_state, stage_begun
from pltfrms.model.services.service import Rollout, RolloutState, Service
from pltfrms.planner.changes.rolling import digest_of, stages_of
from tests.cli.conftest import Run
from tests.cli.world import EXAMPLE, HEALTHY, PLATFORM, WEB, FakeController

NEW = replace(WEB.spec, run=replace(WEB.spec.run, cpu=0.3))
UPDATE = (ChangeLine(about="service/web", action="update", detail="run"),)
UNDER_WAY = replace(
    WEB,
    spec=NEW,
    version=2,
    rollout=Rollout(
        version=2,
        from_version=1,
        digest=digest_of(NEW),
        stages=stages_of(PLATFORM, replace(WEB, spec=NEW)),
        stage=1,
        state=RolloutState.BAKING,
        since_ms=0,
        before=WEB.spec,
        by="ada",
        why="bigger",
    ),
)
CAUSE = "web.fra.1-2 on fra-n1, restarted 2 times: exit code 1"
BACK = gone_back(UNDER_WAY, RolloutState.FAILED, CAUSE, 1)


def having(service: Service) -> Snapshot:
    return replace(HEALTHY, services={"web": service})


def done() -> Snapshot:
    service = UNDER_WAY
    while service.rolling:
        service = stage_begun(service)
    allocations = {name: replace(a, version=2) for name, a in HEALTHY.allocations.items()}
    return replace(HEALTHY, services={"web": service}, allocations=allocations)


def test_how_far_a_rollout_is(run: Run, controller: FakeController) -> None:
    controller.snapshots = [having(UNDER_WAY)]
    words = "version 1 -> 2, stage 2 of 4 (fra): bakes for 10 s more (by ada: bigger)"
    assert run("rollout", "status", "web").out == f"web: {words}\n"
    assert words in run("rollout", "list").out
    assert words in run("status").out
    row = json.loads(run("rollout", "status", "web", "--json").out)
    assert (row["state"], row["from_version"], row["version"]) == ("baking", 1, 2)
    assert f"web: rollout of {words}." in run("explain", "service/web").out


def test_a_service_without_any(run: Run, controller: FakeController) -> None:
    assert run("rollout", "status", "web").out == "web: no rollout\n"
    assert "none" in run("rollout", "list").out
    assert json.loads(run("rollout", "list", "--json").out)[0]["state"] == "none"
    assert controller.asked.count("snapshot") == 3


def test_who_follows_hears_how_it_goes_and_how_it_ended(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "_POLL_SECONDS", 0)
    controller.snapshots = [having(UNDER_WAY), having(UNDER_WAY), done()]
    result = run("rollout", "status", "web", "--follow")
    assert result.code == 0
    assert result.err.count("stage 2 of 4") == 1
    assert result.out == "web: version 1 -> 2 done\n"
    controller.snapshots = [having(UNDER_WAY), having(BACK)]
    result = run("rollout", "status", "web", "--follow")
    assert result.code == 6
    assert f"web: version 2 failed, and version 1 is back: {CAUSE}" in result.err


def test_status_says_that_a_version_went_back_and_is_not_fine(
    run: Run, controller: FakeController
) -> None:
    controller.snapshots = [having(BACK)]
    assert f"version 1 -> 2 failed, version 1 is back: {CAUSE}" in run("status").out


@pytest.mark.parametrize("verb", ["pause", "resume", "promote", "abort", "undo"])
def test_each_verb_is_asked_of_a_controller(
    run: Run, controller: FakeController, verb: str
) -> None:
    controller.changes = (replace(UPDATE[0], action=verb),)
    controller.snapshots = [having(UNDER_WAY)]
    yes = () if verb in {"pause", "resume"} else ("--yes",)
    result = run("rollout", verb, "web", "--why", "look", *yes)
    assert result.code == 0
    assert controller.asked[:2] == ["snapshot", f"{verb} web: look"]
    assert controller.seen == "version 2, stage 2 of 4"
    assert f"* {verb} service/web: run" in result.out
    assert json.loads(run("rollout", verb, "web", *yes, "--json").out)["revision"] == 7


def applied(run: Run, controller: FakeController, path: Path) -> int:
    path.write_text((EXAMPLE / "web.yaml").read_text().replace("cpu: 0.2", "cpu: 0.3"))
    controller.changes = UPDATE
    return run("apply", path, "--yes", "--wait").code


def test_who_waits_for_what_went_back_is_told_so_by_an_exit_code_of_its_own(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(applying, "_POLL_SECONDS", 0)
    controller.snapshots = [HEALTHY, having(UNDER_WAY), having(BACK)]
    assert applied(run, controller, tmp_path / "web.yaml") == 6
    controller.snapshots = [HEALTHY, having(UNDER_WAY), done()]
    assert applied(run, controller, tmp_path / "web.yaml") == 0


def test_who_waits_for_what_is_paused_is_told_where_it_is(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "_POLL_SECONDS", 0)
    assert UNDER_WAY.rollout
    paused = replace(UNDER_WAY, rollout=replace(UNDER_WAY.rollout, paused=True))
    controller.snapshots = [replace(done(), services={"web": paused})]
    result = run("service", "restart", "web", "--yes", "--wait", "--timeout", "1ms")
    assert result.code == 5
    assert "not over after 0.001 s: web stage 2 of 4 (fra) baking; try: " in result.err


def test_who_waits_for_a_restart_hears_how_it_ends(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "_POLL_SECONDS", 0)
    assert UNDER_WAY.rollout
    rollout = replace(UNDER_WAY.rollout, digest=digest_of(WEB.spec))
    rolling = replace(UNDER_WAY, spec=WEB.spec, rollout=rollout)
    controller.changes = (replace(UPDATE[0], action="restart"),)
    controller.snapshots = [HEALTHY, having(rolling), done()]
    result = run("service", "restart", "web", "--yes", "--wait")
    assert (result.code, "stage 2 of 4 (fra) baking" in result.err) == (0, True)
    assert result.out.splitlines()[-1] == "done, revision 7"
    controller.snapshots = [HEALTHY, having(gone_back(rolling, RolloutState.FAILED, CAUSE, 1))]
    result = run("service", "restart", "web", "--yes", "--wait", "--json")
    assert (result.code, result.out) == (6, "")
    controller.snapshots = [HEALTHY, having(in_state(rolling, RolloutState.ROLLING))]
    result = run("service", "restart", "web", "--yes", "--wait", "--timeout", "1ms")
    assert result.code == 5


def test_what_went_back_before_is_no_failure_of_another_spec(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "_POLL_SECONDS", 0)
    controller.snapshots = [having(BACK)]
    controller.changes = UPDATE
    assert run("apply", EXAMPLE / "web.yaml", "--yes", "--wait").code == 0
