"""The package: what is in it, and what becomes of machines that it is installed on.

In order, each test going on where the one before left two machines with systemd: `m1` is edge
and controller, `m2` is the node that serves. A client asks from outside of `m1`. The releases
take turns, so that each of them is either.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.machines.bed import (
    LEFT_IN_KERNEL,
    ROOT,
    Machine,
    Namespace,
    cable,
    eventually,
    machines,
    tree,
)
from tests.machines.packages import build, newer, unpack

pytestmark = [pytest.mark.root, pytest.mark.live, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
SUITES = ("bookworm", "trixie")
DAEMONS = ("agent", "bird", "etcd", "controller")
ADDRESSES = ("198.51.100.1", "2001:db8:100::1")
RATE = 100
UPGRADE_RATE = 300
"""Requests a second. 500 pass, too, where nothing else runs: machines, their programs and who
asks share two cores, and what has no processor for half a minute counts as ill."""
MOST_EXPOSED = 4.0
"""Of 10, as `systemd-analyze security` counts."""


@dataclass
class Bed:
    """The machines, and who asks them."""

    m1: Machine
    m2: Machine
    client: Namespace
    newer: dict[str, Path]
    """By name of the machine."""

    @property
    def both(self) -> tuple[Machine, Machine]:
        return (self.m1, self.m2)

    def active(self, machine: Machine) -> dict[str, str]:
        return {name: machine.show(f"pltfrms-{name}", "ActiveState") for name in DAEMONS}

    def pids(self, machine: Machine, *names: str) -> dict[str, str]:
        return {name: machine.show(f"pltfrms-{name}", "MainPID") for name in names}

    def instances(self) -> set[str]:
        group = "/sys/fs/cgroup/pltfrms.slice/pltfrms-instances.slice"
        procs = f"{group}/pltfrms-instances.service/web.*/cgroup.procs"
        return set(self.m2.sh(f"cat {procs}", check=False).split())

    def failures(
        self, act: Callable[[], None], seconds: float = 2.0, rate: int = RATE
    ) -> list[str]:
        """Return what fails of many requests while something is done, and a while after."""
        asker = subprocess.Popen(
            self.client.enter(sys.executable, str(HERE / "asker.py"), str(rate), *ADDRESSES),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            time.sleep(1.0)
            act()
            time.sleep(seconds)
        finally:
            said, _ = asker.communicate()
        report = json.loads(said)
        assert report["asked"] > rate
        return list(report["failed"])


@pytest.fixture(scope="module")
def trees() -> dict[str, Path]:
    if os.geteuid():
        pytest.skip("needs root")
    return {suite: tree(suite) for suite in SUITES}


@pytest.fixture(scope="module")
def packages(
    trees: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("packages")
    return {suite: build(files, place) for suite, files in trees.items()}


@pytest.fixture(scope="module", params=[SUITES, SUITES[::-1]], ids="-".join)
def bed(
    request: pytest.FixtureRequest,
    trees: dict[str, Path],
    packages: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Bed]:
    of = dict(zip(("m1", "m2"), request.param, strict=True))
    place = tmp_path_factory.mktemp("newer")
    later: dict[str, Path] = {}
    client = Namespace()
    try:
        with machines(**{name: trees[suite] for name, suite in of.items()}) as found:
            for name, suite in of.items():
                found[name].put("/root/pltfrms.deb", packages[suite].read_bytes())
                (place / name).mkdir()
                later[name] = newer(packages[suite], place / name)
            bed = Bed(found["m1"], found["m2"], client, later)
            cable(bed.m1, "fab-a", bed.m2, "fab-a")
            cable(bed.m1, "x-transit1", client, "eth0")
            client.run("ip", "address", "add", "203.0.113.0/31", "dev", "eth0")
            client.run("ip", "address", "add", "2001:db8:f000:1::/127", "dev", "eth0", "nodad")
            client.run("ip", "route", "add", "default", "via", "203.0.113.1")
            client.run("ip", "route", "add", "default", "via", "2001:db8:f000:1::1")
            yield bed
    finally:
        client.end()


def doing(machine: Machine, *command: str) -> Callable[[], None]:
    def act() -> None:
        machine.run(*command)

    return act


def install(machine: Machine) -> None:
    machine.sh(
        "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "
        "--no-install-recommends /root/pltfrms.deb"
    )


def nothing_runs(machine: Machine) -> bool:
    looks = (("-a", "^(bird|etcd)$"), ("-af", "/usr/bin/pltfrms"))
    return not any(machine.run("pgrep", *words, check=False) for words in looks)


def test_two_builds_are_the_same_file(
    trees: dict[str, Path], packages: dict[str, Path], tmp_path: Path
) -> None:
    again = build(trees["bookworm"], tmp_path)
    assert again.read_bytes() == packages["bookworm"].read_bytes()


@pytest.mark.parametrize("suite", SUITES)
def test_no_file_of_it_names_the_place_where_it_was_built(
    packages: dict[str, Path], tmp_path: Path, suite: str
) -> None:
    files = [each for each in unpack(packages[suite], tmp_path).rglob("*") if each.is_file()]
    builders = (str(ROOT).encode(), b"/mnt/usr", b"/tmp/tmp.")
    assert [each for each in files if any(word in each.read_bytes() for word in builders)] == []
    compiled = {
        each.parent.parent / each.name.split(".")[0] for each in files if each.suffix == ".pyc"
    }
    sources = {each.with_suffix("") for each in files if each.suffix == ".py"}
    assert compiled == sources
    assert any(each.name == "director.bpf.o" for each in files)


def test_installed_it_starts_nothing_on_a_machine_without_configuration(bed: Bed) -> None:
    for machine in bed.both:
        install(machine)
        assert machine.run("pltfrms", "version").startswith("pltfrms ")
        assert set(bed.active(machine).values()) == {"inactive"}
        assert machine.run("systemctl", "--failed", "--quiet") == ""
        assert machine.show("pltfrms.target", "UnitFileState") == "enabled"


def test_debians_own_daemons_do_not_start_and_keep_their_files(bed: Bed) -> None:
    for machine in bed.both:
        for daemon in ("bird", "etcd"):
            assert machine.show(daemon, "ActiveState") == "inactive"
        assert machine.run("dpkg", "--verify", "bird2", "etcd-server") == ""


def test_configured_by_hand_a_platform_comes_up_and_serves(bed: Bed) -> None:
    for machine in bed.both:
        machine.put("/etc/pltfrms/machine", f"{machine.name}\n")
        machine.put("/etc/pltfrms/platform.yaml", (HERE / "platform.yaml").read_text())
        if machine is bed.m1:
            machine.put("/etc/pltfrms/first-members", "bed m1\n")
        machine.run("systemctl", "start", "pltfrms.target")
    bed.m1.put("/root/web.yaml", (HERE / "web.yaml").read_text())
    all_run = dict.fromkeys(DAEMONS, "active")
    eventually(lambda: bed.active(bed.m1) == all_run, "m1 does not run all that it should")
    eventually(
        lambda: (
            '"web"' in bed.m1.run("pltfrms", "status", "--json", check=False)
            or "web" in bed.m1.run("pltfrms", "apply", "/root/web.yaml", "--yes", check=False)
        ),
        "the service is not taken",
    )
    eventually(lambda: bed.failures(lambda: None, 0.5) == [], "the client is not answered")
    # The store and a controller run on controllers alone.
    wanted = all_run | {"etcd": "inactive", "controller": "inactive"}
    assert bed.active(bed.m2) == wanted
    assert bed.m2.run("systemctl", "--failed", "--quiet") == ""


def test_instances_are_below_a_unit_of_their_own(bed: Bed) -> None:
    assert len(bed.instances()) >= 2
    agents = bed.m2.show("pltfrms-agent", "ControlGroup")
    agent = bed.pids(bed.m2, "agent")["agent"]
    # A tool that it calls is there for a moment.
    eventually(
        lambda: bed.m2.sh(f"cat /sys/fs/cgroup{agents}/cgroup.procs").split() == [agent],
        "somebody else is in the agent's group",
    )


def test_requests_do_not_notice_that_an_agent_starts_again(bed: Bed) -> None:
    before = bed.instances()
    for machine in bed.both:
        act = doing(machine, "systemctl", "restart", "pltfrms-agent")
        assert bed.failures(act, 5.0) == []
    assert bed.instances() == before


def test_requests_do_not_notice_that_agents_are_stopped(bed: Bed) -> None:
    before = bed.instances()

    def stop() -> None:
        for machine in bed.both:
            machine.run("systemctl", "stop", "pltfrms-agent")

    assert bed.failures(stop, 5.0) == []
    assert bed.instances() == before
    assert {bed.active(each)["agent"] for each in bed.both} == {"inactive"}
    assert {bed.active(each)["bird"] for each in bed.both} == {"active"}
    for machine in bed.both:
        machine.run("systemctl", "start", "pltfrms-agent")


def test_bird_starts_again_and_keeps_the_routes_of_its_machine(bed: Bed) -> None:
    for machine in bed.both:
        count = "ip route show table all proto bird; ip -6 route show table all proto bird"
        before = machine.sh(count)
        machine.run("systemctl", "kill", "-s", "KILL", "pltfrms-bird")
        time.sleep(1.0)
        assert machine.sh(count) == before
        eventually(partial(machine.active, "pltfrms-bird"), "BIRD does not run")
        assert "-R" in machine.sh("tr '\\0' ' ' </proc/$(pgrep -x bird)/cmdline")
        eventually(lambda: bed.failures(lambda: None, 0.5) == [], "the client is not answered")


@pytest.mark.parametrize("package", ["newer", "pltfrms"], ids=["upgrade", "way back"])
def test_it_restarts_agent_and_controller_alone_and_nobody_notices(
    bed: Bed, package: str
) -> None:
    stay, change = ("bird", "etcd"), ("agent", "controller")
    before = bed.instances()
    for machine in (bed.m2, bed.m1):
        machine.put("/root/newer.deb", bed.newer[machine.name].read_bytes())
        stayed, changed = bed.pids(machine, *stay), bed.pids(machine, *change)
        act = doing(machine, "dpkg", "-i", f"/root/{package}.deb")
        assert bed.failures(act, 3.0, UPGRADE_RATE) == []
        assert bed.pids(machine, *stay) == stayed
        after = bed.pids(machine, *change)
        assert after["agent"] not in {changed["agent"], "0"}
        if machine is bed.m1:
            assert after["controller"] not in {changed["controller"], "0"}
    assert bed.instances() == before


def test_the_controllers_unit_is_hardly_exposed(bed: Bed) -> None:
    told = bed.m1.run("systemd-analyze", "security", "--no-pager", "pltfrms-controller")
    exposed = float(
        told.partition("exposure level for pltfrms-controller.service: ")[2].split()[0]
    )
    assert exposed <= MOST_EXPOSED


def test_removed_nothing_of_it_runs_and_purged_nothing_of_it_is_left(bed: Bed) -> None:
    for machine in (bed.m2, bed.m1):
        machine.run("rm", "-f", "/root/pltfrms.deb", "/root/newer.deb", "/root/web.yaml")
        machine.sh("dpkg --remove pltfrms")
        assert machine.sh("ls -d /usr/lib/pltfrms /run/pltfrms 2>/dev/null || true") == ""
        assert machine.sh("systemctl list-units --quiet 'pltfrms*' | grep loaded || true") == ""
        eventually(partial(nothing_runs, machine), "something of it runs still")
        for left in LEFT_IN_KERNEL:
            assert machine.sh(f"{left} || true") == "", left
        assert {"machine", "platform.yaml"} <= set(machine.sh("ls /etc/pltfrms").split())
        machine.sh("dpkg --purge pltfrms")
        assert machine.sh("find / -xdev -name '*pltfrms*'") == ""
        assert machine.run("systemctl", "--failed", "--quiet") == ""
