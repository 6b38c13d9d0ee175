"""`lab up --packages`: a lab whose machines are as a user's, from nothing to its end.

Three servers, and two nodes beside them. One lab for all tests, which use it in this order; the
last one kills it. A leader of the store hangs for `PLTFRMS_STORE_SECONDS`.
"""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from bench.rig import Rig
from pltfrms.codec import decode
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import NotFoundError
from pltfrms.lab.client.client import find_lab
from pltfrms.lab.client.ready import ReadyReport
from pltfrms.lab.groups import group_of, v2_tree
from pltfrms.lab.parts import UnitState
from pltfrms.lab.rundir import directory_of
from pltfrms.model.messages.store import StoreState
from pltfrms.model.running.state import Contact

pytestmark = [pytest.mark.root, pytest.mark.live, pytest.mark.timeout(600), pytest.mark.heavy]

EXAMPLE = Path(__file__).parents[2] / "examples/three-servers"
SERVERS = ("fra1", "ams1", "lon1")
NODES = ("fra2", "lon2")
SECONDS = float(os.environ.get("PLTFRMS_STORE_SECONDS", "10"))
PATIENCE_MS = 3000
"""Of a client: machines, and who asks, share processors with what starts again."""
NEAREST = {"berlin": "fra", "rotterdam": "ams", "reading": "lon"}
NAME = f"packages-{os.getpid()}"


def platform_text(*controllers: str) -> str:
    """Return the platform in which these machines are controllers."""

    def said(name: str, *roles: str) -> str:
        more = ("controller",) if name in controllers else ()
        return f"{name}: {{cpu: 4, memory: 8GiB, roles: [{', '.join((*roles, *more))}]}}"

    text = (EXAMPLE / "platform.yaml").read_text()
    for server in SERVERS:
        of = [said(server, "edge", "node")]
        of += [said(node, "node") for node in NODES if node[:3] == server[:3]]
        fabrics = "fabrics: [a], " if len(of) > 1 else ""
        before = f"machines: {{{server}: {{cpu: 4, memory: 8GiB}}}}"
        assert before in text
        text = text.replace(before, f"{fabrics}machines: {{{', '.join(of)}}}")
    return text


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    if os.geteuid():
        pytest.skip("needs root")
    directory = tmp_path_factory.mktemp("packages") / "small"
    shutil.copytree(EXAMPLE, directory)
    (directory / "platform.yaml").write_text(platform_text(*SERVERS))
    words = ("--lab", NAME, "lab", "up", str(directory), "--packages", "--json")
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
    versions = {lab.run(each, "cat", "/etc/debian_version")[:2] for each in SERVERS}
    assert versions == {"12", "13"}
    for each in (*SERVERS, *NODES):
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
    assert {*problems(lab)} == {*SERVERS, *NODES}


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


def main_pid(lab: Rig, unit: str, machine: str = "ams1") -> str:
    return lab.run(machine, "systemctl", "show", "--value", "-p", "MainPID", unit).strip()


def store(lab: Rig) -> StoreState:
    with OperatorClient(lab.client.controller_endpoints()) as operator:
        state = operator.snapshot().store
    assert state
    return state


def are_members(lab: Rig, *names: str) -> bool:
    """Return whether these, and no others, vote, and all is well."""
    found = store(lab)
    well = {each.name for each in found.look.voters if not each.trouble}
    return well == {*names} == {each.name for each in found.look.members} and not found.problems


@contextmanager
def nobody_notices(lab: Rig) -> Iterator[None]:
    with lab.asking(rate=50, patience_ms=PATIENCE_MS) as report:
        yield
    assert report["sent"] > 0
    assert report["lost"] == 0, report


def test_controllers_come_and_go_by_apply_alone_and_nobody_notices(
    lab: Rig, tmp_path: Path
) -> None:
    """From one that began to three by joining, then by what is applied, all by TLS."""
    path = tmp_path / "platform.yaml"
    every = (*SERVERS, *NODES)
    with nobody_notices(lab):
        for names in (every, SERVERS[:1], SERVERS):
            path.write_text(platform_text(*names))
            lab.cli("apply", str(path), "--yes")
            seconds = lab.wait(f"members are {names}", partial(are_members, lab, *names), 150)
            print(f"{seconds:.0f} s until the members are {names}", file=sys.stderr)  # noqa: T201
            if names == every:
                for node in NODES:  # their files know them as nodes
                    assert "https://" in lab.run(node, "sh", "-c", LISTENING)
                    lab.wait("its controller answers", partial(answers, lab, node), 150)
    ended = partial(
        lab.run, NODES[0], "systemctl", "is-active", "pltfrms-etcd.service", check=False
    )
    lab.wait("its etcd stays ended", lambda: ended() == "inactive\n", 30)
    contacts = {view.contact for view in lab.snapshot().machines.values()}
    assert contacts == {Contact.PRESENT}


def answers(lab: Rig, controller: str) -> bool:
    """Return whether a controller answers on its own machine."""
    return "lon2" in lab.run(controller, "pltfrms", "status")


LISTENING = "tr '\\0' ' ' </proc/$(pgrep -x etcd)/cmdline"


WAITS = itertools.count(61)


def write(lab: Rig) -> bool:
    """Have the store take something that changes nothing now: how long drains wait."""
    timers = f"timers: {{drain_wait: {next(WAITS)}s, "
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(platform_text(*SERVERS).replace("timers: {", timers))
        file.flush()
        lab.cli("apply", file.name, "--yes")
    return True


def end_etcd(lab: Rig, machine: str) -> None:
    words = ("systemctl", "kill", "--signal=KILL", "pltfrms-etcd.service")
    lab.run(machine, *words)


def test_members_that_are_killed_are_back_by_systemd_and_nobody_notices(lab: Rig) -> None:
    unit = "pltfrms-etcd.service"
    before = {each: main_pid(lab, unit, each) for each in SERVERS}
    with nobody_notices(lab):
        end_etcd(lab, "ams1")
        write(lab)
        lab.wait("one is back", partial(are_members, lab, *SERVERS), 60)
        for each in SERVERS:
            end_etcd(lab, each)
        lab.wait("writes are taken", partial(write, lab), 60)
        lab.wait("all are back", partial(are_members, lab, *SERVERS), 60)
    after = {each: main_pid(lab, unit, each) for each in SERVERS}
    assert not {*before.values()} & {*after.values()}


def test_a_leader_that_hangs_is_left_and_nobody_notices(lab: Rig) -> None:
    (leader,) = (each.name for each in store(lab).look.members if each.leader)
    with nobody_notices(lab):
        lab.client.fault(f"daemon/{leader}/etcd", "hang")
        began = time.monotonic()
        lab.wait("another one takes writes", partial(write, lab), 60)
        time.sleep(max(began + SECONDS - time.monotonic(), 0))
        lab.client.heal(f"daemon/{leader}/etcd")
        lab.wait("it is back", partial(are_members, lab, *SERVERS), 60)


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
    assert {each.name for each in group.iterdir() if each.is_dir()} == {*SERVERS, *NODES}
    info = lab.client.info()
    os.kill(info.keeper_pid, signal.SIGKILL)
    os.kill(info.root_pid, signal.SIGKILL)

    def gone() -> bool:
        with suppress(NotFoundError):
            find_lab(NAME)  # looks for all labs
        return not group.exists() and not directory_of(NAME).exists()

    lab.wait("nothing is left", gone, 30)
