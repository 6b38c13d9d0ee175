"""`controller wanted`, which units ask before they start, and `agent clear`."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.codec import encode
from pltfrms.model.network.topology import FurtherRole, Role
from pltfrms.model.running.plan import Target
from pltfrms.specfile import load_platform
from tests.cli.conftest import Run
from tests.cli.world import EXAMPLE


@pytest.fixture
def config(tmp_path: Path) -> Path:
    directory = tmp_path / "etc"
    directory.mkdir()
    shutil.copy(EXAMPLE / "platform.yaml", directory)
    return directory


@pytest.mark.parametrize(
    ("machine", "code"), [("fra-c1", 0), ("fra-n1", 1), ("fra-e1", 1), ("nobody", 255)]
)
def test_a_controller_is_wanted_on_controllers_alone(
    run: Run, config: Path, machine: str, code: int
) -> None:
    (config / "machine").write_text(f"{machine}\n")
    assert run("controller", "wanted", "--config", config).code == code


def test_a_controller_is_wanted_where_the_agent_was_told_so(
    run: Run, config: Path, tmp_path: Path
) -> None:
    platform = load_platform(config / "platform.yaml")
    (config / "machine").write_text("fra-n1\n")
    node = platform.machine("fra-n1")
    more = replace(node, further=(FurtherRole(role=Role.CONTROLLER, id=9),))
    for machine, code in ((node, 1), (more, 0)):
        machines = tuple(machine if e.name == "fra-n1" else e for e in platform.machines)
        told = replace(platform, machines=machines)
        target = Target(machine="fra-n1", generation=3, platform=told)
        (tmp_path / "target.json").write_bytes(encode(target))
        words = ("controller", "wanted", "--config", config, "--state", tmp_path)
        assert run(*words).code == code


def test_a_file_that_cannot_be_read_is_not_known_rather_than_not_wanted(
    run: Run, config: Path
) -> None:
    missing = run("controller", "wanted", "--config", config)
    (config / "machine").write_text("fra-c1\n")
    (config / "platform.yaml").write_text("platform: [\n")
    broken = run("controller", "wanted", "--config", config)
    assert (missing.code, broken.code) == (255, 255)
    assert "platform.yaml" in broken.err


def test_to_clear_a_machine_needs_a_yes(run: Run, config: Path) -> None:
    refused = run("agent", "clear", "--config", config)
    assert refused.code == 2
    assert "--yes" in refused.err
