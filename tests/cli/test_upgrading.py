"""`upgrade plan` and `upgrade check`, as people and scripts see them."""

import json
from dataclasses import replace

import pytest

from pltfrms.cli.main import main
from pltfrms.model.network.topology import Role
from pltfrms.model.running.redundancy import Loss, Redundancy, Survival, Weakness
from tests.cli.world import HEALTHY, FakeController, with_lost

LIVING = tuple(each.name for each in HEALTHY.platform.machines_of(Role.CONTROLLER))
SAFE = Redundancy(survival=Survival.SURVIVED)
SAID = replace(
    HEALTHY,
    statuses={name: replace(each, version="0.1.0") for name, each in HEALTHY.statuses.items()},
)


def test_the_next_machine_is_named_and_the_order(
    controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    controller.snapshots, controller.redundancy = [SAID], SAFE
    controller.controllers = LIVING
    assert main(["upgrade", "plan", "--to", "0.2.0"]) == 0
    assert "next: " in capsys.readouterr().out
    assert main(["upgrade", "plan", "--to", "0.2.0", "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)
    assert [each["state"] for each in steps] == ["next", *["waits"] * (len(steps) - 1)]
    assert main(["upgrade", "plan", "--to", "0.1.0"]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_while_redundancy_is_lost_the_plan_waits(
    controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    controller.snapshots, controller.controllers = [SAID], LIVING
    lost = Survival.NOT_SURVIVED
    why = Weakness(about="store", loss=Loss.CONTROLLER, survival=lost, why="two are left")
    controller.redundancy = Redundancy(survival=lost, weaknesses=(why,))
    assert main(["upgrade", "plan", "--to", "0.2.0"]) == 4
    assert "wait: " in capsys.readouterr().out
    controller.stale_seconds = 5.0
    assert main(["upgrade", "plan", "--to", "0.2.0"]) == 5


def test_the_plan_waits_for_a_controller_that_does_not_run(
    controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    controller.snapshots, controller.redundancy = [SAID], SAFE
    controller.controllers = LIVING[1:]
    assert main(["upgrade", "plan", "--to", "0.2.0"]) == 4
    assert f"no controller runs on: {LIVING[0]}" in capsys.readouterr().out


def test_a_next_machine_of_unknown_version_is_said_to_be_that(
    controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    controller.snapshots, controller.redundancy = [HEALTHY], SAFE
    controller.controllers = LIVING
    assert main(["upgrade", "plan", "--to", "0.2.0"]) == 0
    said, _, _ = capsys.readouterr().out.partition("\n")
    assert "nobody says its version" in said


def test_versions_are_checked(
    controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    controller.snapshots = [SAID]
    assert main(["upgrade", "check"]) == 0
    assert "all is well" in capsys.readouterr().out
    controller.snapshots = [with_lost(SAID, "ams-n1")]
    assert main(["upgrade", "check"]) == 4
    assert "wrong: ams-n1: not in contact" in capsys.readouterr().out
    assert main(["upgrade", "check", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)[0]["machines"] == ["ams-n1"]
