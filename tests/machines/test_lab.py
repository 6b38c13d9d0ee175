"""`lab up --packages`: a lab whose machines are as a user's, from nothing to its end.

One lab for all tests, which use it in this order; the last one kills it.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from bench.rig import Rig
from pltfrms.codec import decode
from pltfrms.errors import NotFoundError
from pltfrms.lab.client.client import find_lab
from pltfrms.lab.client.ready import ReadyReport
from pltfrms.lab.groups import group_of, v2_tree
from pltfrms.lab.parts import UnitState
from pltfrms.lab.rundir import directory_of

pytestmark = [pytest.mark.root, pytest.mark.live, pytest.mark.calm, pytest.mark.timeout(600)]

EXAMPLE = Path(__file__).parents[2] / "examples/three-servers"
SERVERS = ("fra1", "ams1", "lon1")
NEAREST = {"berlin": "fra", "rotterdam": "ams", "reading": "lon"}
NAME = f"packages-{os.getpid()}"


@pytest.fixture(scope="module")
def lab() -> Iterator[Rig]:
    if os.geteuid():
        pytest.skip("needs root")
    words = ("--lab", NAME, "lab", "up", str(EXAMPLE), "--packages", "--json")
    command = [sys.executable, "-m", "pltfrms", *words]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=False, timeout=500
        )
        assert done.returncode == 0
        ready = decode(ReadyReport, done.stdout)
        yield Rig(client=find_lab(NAME), ready=ready, up_seconds=ready.seconds)
    finally:
        subprocess.run(
            [sys.executable, "-m", "pltfrms", "--lab", NAME, "lab", "down"], check=False
        )


def states(lab: Rig, machine: str) -> dict[str, UnitState]:
    [found] = [each for each in lab.client.machines() if each.name == machine]
    return dict(found.units)


def test_machines_boot_what_a_user_boots_and_clients_are_answered(lab: Rig) -> None:
    assert {lab.run(each, "cat", "/proc/1/comm").strip() for each in SERVERS} == {"systemd"}
    versions = [lab.run(each, "cat", "/etc/debian_version")[:2] for each in SERVERS]
    assert versions == ["12", "13", "12"]
    for each in SERVERS:
        status = lab.run(each, "dpkg-query", "-W", "-f", "${db:Status-Status}", "pltfrms")
        assert status == "installed"
        assert lab.run(each, "ls", "/var/lib/pltfrms/identity/identity.pem")
        assert {*states(lab, each).values()} == {UnitState.RUNNING}
        assert lab.run(each, "systemctl", "--failed", "--quiet") == ""
    answers = {(each.eyeball, each.address): each.datacenter for each in lab.ready.answers}
    addresses = ("198.51.100.1", "2001:db8:100::1")
    assert answers == {
        (eyeball, address): datacenter
        for eyeball, datacenter in NEAREST.items()
        for address in addresses
    }


def test_nothing_that_they_need_is_missing_on_small_machines(lab: Rig) -> None:
    lab.wait("no machine has a problem", lambda: not any(problems(lab).values()), 20)
    assert {*problems(lab)} == {*SERVERS}


def problems(lab: Rig) -> dict[str, tuple[str, ...]]:
    return {name: status.problems for name, status in lab.snapshot().statuses.items()}


@pytest.mark.parametrize(
    ("daemon", "kind", "state"),
    [
        ("bird", "kill", UnitState.KILLED),
        ("agent", "kill", UnitState.KILLED),
        ("agent", "hang", UnitState.HUNG),
    ],
)
def test_a_daemon_is_down_until_it_is_healed(
    lab: Rig, daemon: str, kind: str, state: UnitState
) -> None:
    unit, target = f"pltfrms-{daemon}.service", f"daemon/ams1/{daemon}"
    instances, pid = pids(lab, "nginx"), main_pid(lab, unit)
    lab.client.fault(target, kind)
    assert states(lab, "ams1")[daemon] is state
    if state is UnitState.KILLED:
        ends = partial(lab.run, "ams1", "systemctl", "is-active", unit, check=False)
        lab.wait("it is dead", lambda: ends() == "failed\n", 10)
        lab.run("ams1", "systemctl", "start", unit, check=False)
        assert states(lab, "ams1")[daemon] is state
        assert main_pid(lab, unit) == "0"
    lab.client.heal(target)
    assert states(lab, "ams1")[daemon] is UnitState.RUNNING
    assert (main_pid(lab, unit) == pid) is (state is UnitState.HUNG)
    assert pids(lab, "nginx") == instances
    lab.restore()


def pids(lab: Rig, name: str) -> str:
    return lab.run("ams1", "pgrep", "-x", name)


def main_pid(lab: Rig, unit: str) -> str:
    return lab.run("ams1", "systemctl", "show", "--value", "-p", "MainPID", unit).strip()


def test_a_machine_without_power_is_not_missed_and_comes_back_by_itself(lab: Rig) -> None:
    words = ("--fault", "edge/fra1", "--at", "2s", "--duration", "10s", "--rate", "50")
    report = lab.probe("berlin", *words)
    after = report["answered_by"]["after"]
    assert {"ams", "lon"} & after.keys()
    assert report["lossless_after_s"] is not None
    assert report["lossless_after_s"] < 7
    assert "fra1" in lab.cli("lab", "exec", "ams1", "--", "pltfrms", "status")
    lab.restore()
    assert lab.run("fra1", "cat", "/etc/pltfrms/machine") == "fra1\n"
    assert lab.probe("berlin", "--duration", "1s")["answered_by"]["before"].keys() == {"fra"}


def test_what_is_rewired_is_another_lab(lab: Rig) -> None:
    assert "nothing is rewired" in lab.cli("lab", "rewire", str(EXAMPLE), expect=2)


def test_nothing_is_left_of_a_lab_that_was_killed_with_its_keeper(lab: Rig) -> None:
    tree = v2_tree()
    assert tree is not None
    group = tree / group_of(NAME, "")
    assert {each.name for each in group.iterdir() if each.is_dir()} == {*SERVERS}
    info = lab.client.info()
    os.kill(info.keeper_pid, signal.SIGKILL)
    os.kill(info.root_pid, signal.SIGKILL)

    def gone() -> bool:
        with suppress(NotFoundError):
            find_lab(NAME)  # looks for all labs
        return not group.exists() and not directory_of(NAME).exists()

    lab.wait("nothing is left", gone, 30)
