"""plan, apply, delete: shown first, asked for, refused when the world moved."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.cli.service import apply as applying
from pltfrms.errors import ConflictError
from pltfrms.model.messages.api import Change, ChangeLine, PlanPreview
from pltfrms.model.running.plan import Note, Place, Reason
from pltfrms.model.running.state import Phase
from tests.cli.conftest import Run
from tests.cli.world import (
    EXAMPLE,
    HEALTHY,
    PLATFORM,
    WEB,
    FakeController,
    allocation,
    with_phase,
)

WEB_FILE = EXAMPLE / "web.yaml"
CREATE = (ChangeLine(about="service/web", action="create", detail="2 per datacenter"),)
UPDATE = (replace(CREATE[0], action="update"),)


def test_plan_without_change_exits_0(run: Run, controller: FakeController) -> None:
    result = run("plan", WEB_FILE)
    assert (result.code, controller.asked) == (0, ["snapshot", "plan", "close"])
    assert "no change" in result.out


def test_plan_with_changes_exits_3_and_says_why(run: Run, controller: FakeController) -> None:
    controller.changes = CREATE
    controller.notes = (Note(about="web.fra.2", reason=Reason.NO_CAPACITY),)
    result = run("plan", WEB_FILE)
    assert result.code == 3
    assert result.out.splitlines() == [
        "+ create service/web: 2 per datacenter",
        "  place web.fra.1-1 on fra-n1: the spec wants this replica and nothing runs it",
        "! web.fra.2: no node has enough room for it",
    ]
    assert controller.applied == []
    document = run("plan", WEB_FILE, "--json")
    assert document.code == 3
    assert json.loads(document.out)["changes"][0]["action"] == "create"


def test_plan_tells_the_steps_of_the_change_from_those_that_go_on_anyway(
    run: Run, controller: FakeController
) -> None:
    anyway = Place(allocation=allocation("lon-n3", 2), reason=Reason.NODE_LOST)
    controller.under_way = (anyway,)
    controller.changes = CREATE
    assert run("plan", WEB_FILE).out.splitlines() == [
        "+ create service/web: 2 per datacenter",
        "  place web.fra.1-1 on fra-n1: the spec wants this replica and nothing runs it",
        "under way anyway, not because of this change:",
        "  place web.lon.2-1 on lon-n3: its node is out of contact",
    ]
    controller.changes = ()
    assert run("plan", WEB_FILE).code == 0


@pytest.mark.usefixtures("controller")
def test_what_may_be_a_mistake_is_noted_and_stops_nothing(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(WEB_FILE.read_text().replace("ports: [80/tcp]\n", ""))
    result = run("plan", path, "--json")
    assert result.code == 0
    what = "nothing says what it listens on (such as ports: [80/tcp])"
    assert result.err == f"note: {path}:2: ports: {what}\n"
    assert json.loads(result.out)


def test_a_directory_is_one_change(run: Run, controller: FakeController) -> None:
    controller.changes = CREATE
    assert run("apply", EXAMPLE, "--yes").code == 0
    (change,) = controller.applied
    assert change.platform == PLATFORM
    assert change.services == (WEB.spec,)
    assert change.revision == 7
    assert controller.planned[0].revision is None


def test_a_directory_can_be_all_that_has_a_label(
    run: Run, controller: FakeController, tmp_path: Path
) -> None:
    controller.changes = CREATE
    (tmp_path / "web.yaml").write_text(f"{WEB_FILE.read_text()}\ngroup: shop\n")
    assert run("apply", tmp_path, "--prune", "group=shop", "--yes").code == 0
    (change,) = controller.applied
    assert change.prune == ("group", "shop")
    assert change.services[0].group == "shop"
    for words, what in (
        ((tmp_path, "--prune", "shop"), "is not a label"),
        ((WEB_FILE, "--prune", "group=shop"), "--prune takes a directory"),
    ):
        result = run("apply", *words, "--yes")
        assert (result.code, what in result.err) == (2, True)
    (tmp_path / "web.yaml").unlink()
    result = run("apply", tmp_path, "--prune", "group=shop", "--yes")
    assert (result.code, "has no spec file" in result.err) == (2, True)
    assert len(controller.applied) == 1


def test_who_prunes_has_no_service_in_a_directory_below(
    run: Run, controller: FakeController, tmp_path: Path
) -> None:
    controller.changes = CREATE
    (tmp_path / "web.yaml").write_text(f"{WEB_FILE.read_text()}\ngroup: shop\n")
    (tmp_path / ".ci" / "jobs").mkdir(parents=True)
    (tmp_path / ".ci" / "jobs" / "db.yml").write_text("service: db\n")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.yaml").write_text("about:\n  service: db\n")
    assert run("apply", tmp_path, "--prune", "group=shop", "--yes").code == 0
    (tmp_path / "eu" / "north").mkdir(parents=True)
    (tmp_path / "eu" / "north" / "db.yml").write_text("# moved\nservice: db\n")
    result = run("apply", tmp_path, "--prune", "group=shop", "--yes")
    assert (result.code, "north/db.yml: a service or a job in a dir" in result.err) == (2, True)
    assert len(controller.applied) == 1
    assert run("apply", tmp_path, "--yes").code == 0, "what is not read is not deleted, either"


def test_a_dry_run_shows_what_would_be_done_and_does_nothing(
    run: Run, controller: FakeController
) -> None:
    controller.changes = CREATE
    result = run("apply", EXAMPLE, "--dry-run", "--json")
    assert result.code == 3
    assert json.loads(result.out)["changes"]
    assert controller.applied == []
    controller.changes = ()
    assert run("apply", EXAMPLE, "--dry-run").code == 0


def test_a_platform_alone(run: Run, controller: FakeController) -> None:
    controller.changes = CREATE
    assert run("apply", EXAMPLE / "platform.yaml", "--yes").code == 0
    assert controller.applied[0].platform == PLATFORM
    assert controller.applied[0].services == ()


def test_a_bad_spec_is_refused_with_file_and_line_before_anybody_is_asked(
    run: Run, controller: FakeController, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(WEB_FILE.read_text().replace("per_datacenter: 2", "per_datacentre: 2"))
    for command in (("plan",), ("apply", "--yes")):
        result = run(*command, bad)
        assert result.code == 2
        assert result.err.startswith(f"{bad}:")
    assert controller.asked == []


def test_a_service_that_cannot_run_here_is_refused_with_file_and_line(
    run: Run, controller: FakeController, tmp_path: Path
) -> None:
    bad = tmp_path / "web.yaml"
    text = WEB_FILE.read_text()
    bad.write_text(
        text.replace("{per_datacenter: 2}", "{per_datacenter: 2, datacenters: [fro]}")
    )
    result = run("apply", bad, "--yes")
    assert result.code == 2
    assert f"{bad}:" in result.err
    assert "apply" not in controller.asked


def test_without_a_terminal_apply_wants_yes(run: Run, controller: FakeController) -> None:
    result = run("apply", WEB_FILE)
    assert (result.code, controller.asked) == (2, [])
    assert "--yes" in result.err


@pytest.mark.parametrize(("answer", "code", "applied"), [("y", 0, 1), ("n", 130, 0)])
def test_apply_asks(
    run: Run,
    controller: FakeController,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    code: int,
    applied: int,
) -> None:
    controller.changes = CREATE
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _prompt: answer)
    assert run("apply", WEB_FILE).code == code
    assert len(controller.applied) == applied


def test_no_change_applies_nothing(run: Run, controller: FakeController) -> None:
    assert run("apply", WEB_FILE, "--yes").code == 0
    assert controller.applied == []


@pytest.mark.parametrize(("other", "code", "applied"), [(False, 0, 1), (True, 4, 0)])
def test_what_was_shown_is_applied_though_somebody_was_faster_and_nothing_else(
    run: Run,
    controller: FakeController,
    monkeypatch: pytest.MonkeyPatch,
    *,
    other: bool,
    code: int,
    applied: int,
) -> None:
    controller.changes = CREATE
    apply, conflicts = controller.apply, iter((True, True))

    def late(change: Change) -> PlanPreview:
        if next(conflicts, False):
            controller.changes = UPDATE if other else CREATE
            raise ConflictError("the last commit is another one")
        return apply(change)

    monkeypatch.setattr(controller, "apply", late)
    assert run("apply", WEB_FILE, "--yes").code == code
    assert len(controller.applied) == applied


def test_somebody_else_was_faster(run: Run, controller: FakeController) -> None:
    controller.changes = CREATE
    controller.conflict = True
    assert run("apply", WEB_FILE, "--yes").code == 4


def test_wait_until_every_replica_is_ready(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "_POLL_SECONDS", 0)
    controller.changes = CREATE
    starting = with_phase(HEALTHY, "web.fra.1-1", Phase.STARTING)
    unseen = replace(HEALTHY, revision=6, services={}, allocations={})
    controller.snapshots = [HEALTHY, unseen, starting, starting, HEALTHY]
    result = run("apply", WEB_FILE, "--yes", "--wait")
    assert result.code == 0
    assert "1 replicas not ready yet" in result.err
    assert "all replicas ready" in result.err


def test_a_commit_that_nobody_sees_is_not_taken_for_done(
    run: Run, controller: FakeController
) -> None:
    controller.changes = CREATE
    controller.snapshots = [HEALTHY, replace(HEALTHY, revision=6, services={})]
    result = run("apply", WEB_FILE, "--yes", "--wait", "--timeout", "1ms")
    assert result.code == 5
    assert "have not seen revision 7" in result.err


def test_wait_says_what_is_missing(run: Run, controller: FakeController) -> None:
    controller.changes = CREATE
    controller.snapshots = [with_phase(HEALTHY, "web.fra.1-1", Phase.BACKOFF)]
    result = run("apply", WEB_FILE, "--yes", "--wait", "--timeout", "1ms")
    assert result.code == 5
    assert "web.fra.1-1: backoff on fra-n1" in result.err
    assert "pltfrms explain service/web" in result.err


def test_json_of_apply_is_one_document(run: Run, controller: FakeController) -> None:
    controller.changes = CREATE
    assert json.loads(run("apply", WEB_FILE, "--yes", "--json").out)["revision"] == 7


def test_delete(run: Run, controller: FakeController) -> None:
    assert run("service", "delete", "web").code == 2
    assert run("service", "delete", "nope", "--yes").code == 2
    assert "delete web" not in controller.asked
    assert run("service", "delete", "web", "--yes").code == 0
    assert "delete web" in controller.asked


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize("command", [("plan",), ("apply", "--yes")])
def test_a_directory_without_spec_files_is_not_what_the_platform_is(
    run: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "web.yaml").write_text((EXAMPLE / "web.yaml").read_text())
    result = run(*command, tmp_path)
    assert result.code == 2
    assert f"{tmp_path}:0: has no spec file" in result.err


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize("against", [(), ("--against", EXAMPLE)])
def test_services_of_a_directory_without_a_platform_are_checked_with_their_lines(
    run: Run, tmp_path: Path, against: tuple[object, ...]
) -> None:
    text = (EXAMPLE / "web.yaml").read_text()
    (tmp_path / "web.yaml").write_text(text)
    assert run("plan", tmp_path, *against).code == 0
    (tmp_path / "web.yaml").write_text(text.replace("per_datacenter: 2", "per_datacenter: 30"))
    result = run("plan", tmp_path, *against)
    assert result.code == 2
    line = 1 + text[: text.index("replicas:")].count("\n")
    assert f"{tmp_path}/web.yaml:{line}: replicas.per_datacenter: 30 replicas" in result.err
