"""What the units of the package say, compared with what the code says."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pltfrms.drivers.ports import Directories
from pltfrms.drivers.workload.instance.limits import INSTANCES_UNIT
from pltfrms.lab.layout.assembly import MACHINE_FILE, PLATFORM_FILE
from pltfrms.lab.layout.speakers import BIRD_CONFIG, BIRD_SOCKET
from pltfrms.planner.upkeep.upgrading import releases_apart

PACKAGING = Path(__file__).parents[2] / "packaging"
UNITS = PACKAGING / "systemd"
OURS = sorted(UNITS.glob("pltfrms-*.service"))
MOST_EXPOSED = 40
"""Of 100, as `systemd-analyze security` counts with --threshold."""


def said(unit: str, key: str) -> list[str]:
    text = (UNITS / unit).read_text()
    return re.findall(rf"(?m)^{key}=(.*)$", text)


def test_bird_reads_what_the_agent_writes() -> None:
    [command] = said("pltfrms-bird.service", "ExecStart")
    assert f"-c {BIRD_CONFIG} -s {BIRD_SOCKET}" in command
    assert said("pltfrms-bird.path", "PathExists") == [BIRD_CONFIG]


def test_the_store_and_controllers_may_write_what_they_keep() -> None:
    for unit in ("pltfrms-etcd.service", "pltfrms-controller.service"):
        [places] = said(unit, "ReadWritePaths")
        assert str(Directories().state) in places.split()


def test_who_knows_secrets_leaves_no_memory_in_a_file() -> None:
    assert said("pltfrms-controller.service", "LimitCORE") == ["0"]
    # Instances are started with it, too, and may raise it again.
    assert said("pltfrms-agent.service", "LimitCORE") == ["0:infinity"]


def test_instances_are_put_below_a_unit_that_is_there_and_is_left_to_us() -> None:
    assert [(UNITS / each).exists() for each in INSTANCES_UNIT.parts] == [True] * 3
    assert said(INSTANCES_UNIT.name, "Slice") == [INSTANCES_UNIT.parent.name]
    assert said(INSTANCES_UNIT.name, "Delegate") == ["cpu memory pids io"]


@pytest.mark.parametrize("name", ["agent", "controller", "etcd"])
def test_a_machine_without_configuration_starts_nothing(name: str) -> None:
    conditions = said(f"pltfrms-{name}.service", "ConditionPathExists")
    assert conditions == [MACHINE_FILE, PLATFORM_FILE]


def test_the_end_of_an_agent_ends_nothing_else() -> None:
    assert said("pltfrms-agent.service", "KillMode") == ["process"]
    # Nor does anything that would give it, and so instances, mounts of its own.
    text = (UNITS / "pltfrms-agent.service").read_text()
    assert not re.search(r"(?m)^(Protect|Private|ReadOnly|NoNew|Restrict\w+=|SystemCall)", text)


@pytest.mark.parametrize("unit", OURS, ids=lambda unit: unit.stem)
def test_nothing_of_ours_is_stopped_because_another_is(unit: Path) -> None:
    assert not re.search(r"(?m)^(Requires|BindsTo|PartOf|Conflicts)=", unit.read_text())


def test_directories_are_those_of_the_code() -> None:
    made = re.findall(r"(?m)^d (\S+)", (PACKAGING / "tmpfiles.conf").read_text())
    ours = Directories()
    assert {*map(Path, made)} == {ours.config, ours.runtime, ours.state, ours.log}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
@pytest.mark.parametrize("name", ["controller", "etcd", "bird"])
def test_units_in_sandboxes_are_hardly_exposed(name: str) -> None:
    words = ("systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}")
    done = subprocess.run(
        [*words, UNITS / f"pltfrms-{name}.service"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


VERSIONS = (
    "0.1.0",
    "0.1.7+py3.11",
    "0.2.0+py3.13",
    "0.3",
    "0.10.0",
    "1.0.0",
    "1.1.0",
    "2.0.0",
    "x",
)


def test_the_package_takes_the_releases_for_neighbours_that_the_planner_does() -> None:
    script = f"""set -- none; . {PACKAGING}/debian/prerm
        for one in {" ".join(VERSIONS)}; do for other in {" ".join(VERSIONS)}; do
            ! together "$one" "$other" || echo "$one $other"
        done; done"""
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    together = {
        f"{one} {other}"
        for one in VERSIONS
        for other in VERSIONS
        if (apart := releases_apart(one, other)) is not None and apart <= 1
    }
    assert set(done.stdout.splitlines()) == together
