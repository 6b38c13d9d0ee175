"""Versions of a service, as a person sees them."""

import json
from dataclasses import replace
from pathlib import Path

from pltfrms.model.messages.api import ServiceVersion
from pltfrms.model.services.service import FailedVersion
from pltfrms.specfile import load_service
from tests.cli.conftest import Run
from tests.cli.world import HEALTHY, WEB, FakeController


def earlier() -> tuple[ServiceVersion, ...]:
    run = replace(WEB.spec.run, cpu=0.7)
    service = replace(WEB, spec=replace(WEB.spec, run=run), version=1)
    return (ServiceVersion(service=service, by="ada", why="more"),)


def test_the_spec_that_is_shown_is_the_spec(
    run: Run, controller: FakeController, tmp_path: Path
) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(run("service", "show", "web", "--spec").out)
    assert load_service(path) == WEB.spec
    assert controller.asked == ["snapshot", "close"]


def test_history_and_what_differs(run: Run, controller: FakeController) -> None:
    failed = FailedVersion(version=1, digest="", cause="web.fra.1-2 on fra-n1", at_ms=1)
    present = replace(WEB, version=2, changed_ms=1_700_000_000_000, failed=(failed,))
    controller.snapshots = [replace(HEALTHY, services={"web": present})]
    controller.earlier = earlier()
    shown = run("service", "history", "web").out
    assert "2        2023-11-1" in shown
    assert "failed: web.fra.1-2 on fra-n1" in shown
    assert "ada  more" in shown
    assert "web/1 cannot be read" in shown
    document = json.loads(run("service", "history", "web", "--json").out)
    assert [each["service"]["version"] for each in document["versions"]] == [2, 1]
    lines = run("service", "diff", "web", "1").out.splitlines()
    assert lines[:2] == ["--- web version 1", "+++ web version 2"]
    assert {line for line in lines[2:] if line[0] in "+-"} == {"-  cpu: 0.7", "+  cpu: 0.2"}
    assert "cpu: 0.7" in run("service", "diff", "web", "2", "1").out
    pair = json.loads(run("service", "diff", "web", "1", "2", "--json").out)
    assert [each["service"]["version"] for each in pair] == [1, 2]


def test_a_version_that_is_not_kept_is_refused_with_those_that_are(
    run: Run, controller: FakeController
) -> None:
    controller.snapshots = [replace(HEALTHY, services={"web": replace(WEB, version=2)})]
    controller.earlier = earlier()
    result = run("service", "diff", "web", "9")
    assert result.code == 2
    assert "there are: 1, 2" in result.err
