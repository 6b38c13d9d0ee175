"""The package: what is in it, and what becomes of machines that it is installed on.

Two machines with systemd: `m1` is edge and controller, `m2` is the node that serves. A client
asks from outside of `m1`. The releases of Debian take turns, so that each of them is either.
All tests share the machines: one goes on where another left them, or first brings them there.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from tests.machines.packages import (
    VERSION_BEFORE,
    build,
    build_before,
    has_history,
    renumbered,
    unpack,
)
from tests.registry import tiny_server

pytestmark = [pytest.mark.root, pytest.mark.live, pytest.mark.timeout(600), pytest.mark.heavy]

HERE = Path(__file__).parent
SUITES = ("bookworm", "trixie")
DAEMONS = ("agent", "bird", "etcd", "controller")
ADDRESSES = ("198.51.100.1", "2001:db8:100::1")
RATE = 100
UPGRADE_RATE = 500
"""Requests a second."""
MOST_EXPOSED = 4.0
"""Of 10, as `systemd-analyze security` counts."""
THIS, BEFORE = "this", "before"
"""Releases, and what their files are called."""
CHANGES = {SUITES: (THIS, BEFORE), SUITES[::-1]: (BEFORE, THIS)}
"""By the Debians of m1 and m2: from which release to which. So each Debian goes both ways."""
APT = "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y"


@dataclass
class Told:
    """How the controller says that machines are."""

    present: bool
    ready: int
    """Instances of `m2`."""


@dataclass
class Bed:
    """The machines, and who asks them."""

    m1: Machine
    m2: Machine
    client: Namespace
    packages: dict[str, dict[str, Path]]
    """By name of the machine, then by `release`."""
    server: bytes
    """The program of the service."""
    change: tuple[str, str]
    """The release that is installed first, and the one that takes its place."""
    installed: bool = False
    started: bool = False

    @property
    def both(self) -> tuple[Machine, Machine]:
        return (self.m1, self.m2)

    def install(self) -> None:
        """Have the package, which no test has removed again, on both machines."""
        if not self.installed:
            on_each(self.both, self._install)
        self.installed = True

    def _install(self, machine: Machine) -> None:
        for name, package in self.packages[machine.name].items():
            machine.put(f"/root/{name}.deb", package.read_bytes())
        machine.sh(f"{APT} --no-install-recommends /root/{self.change[0]}.deb")

    def start(self) -> None:
        """Configure both by hand, and have them serve."""
        if self.started:
            return
        for machine in self.both:
            machine.put("/etc/pltfrms/machine", f"{machine.name}\n")
            machine.put("/etc/pltfrms/platform.yaml", (HERE / "platform.yaml").read_text())
            if machine is self.m1:
                machine.put("/etc/pltfrms/first-members", "bed m1\n")
            machine.run("systemctl", "start", "pltfrms.target")
        self.m2.put("/usr/local/bin/server", self.server)
        self.m2.run("chmod", "755", "/usr/local/bin/server")
        all_run = dict.fromkeys(DAEMONS, "active")
        eventually(
            lambda: self.active(self.m1) == all_run, "m1 does not run all that it should"
        )
        self.apply(1)
        self.answers()
        self.started = True

    def apply(self, replicas: int) -> None:
        """Have so many instances wanted."""
        text = (HERE / "web.yaml").read_text()
        wanted = f"replicas: {{per_datacenter: {replicas}, max_per_node: {replicas}}}"
        self.m1.put("/root/web.yaml", text.replace("replicas: {per_datacenter: 1}", wanted))
        apply = "pltfrms apply /root/web.yaml --yes >/dev/null 2>&1 && echo taken || true"
        eventually(lambda: self.m1.sh(apply) == "taken\n", "the service is not taken")

    def answers(self) -> None:
        """Wait until the client is answered."""
        eventually(lambda: self.failures(lambda: None, 0.5) == [], "the client is not answered")

    def release(self, machine: Machine) -> str:
        """Return which release a machine has."""
        version = machine.run("dpkg-query", "-W", "-f", "${Version}", "pltfrms")
        return BEFORE if version.startswith(VERSION_BEFORE) else THIS

    def have(self, release: str) -> None:
        """Have a release on both machines, whichever test brought it there."""
        others = [each for each in self.both if self.release(each) != release]
        on_each(others, lambda each: each.run("dpkg", "-i", f"/root/{release}.deb"))
        if others:
            self.answers()

    def told(self) -> Told:
        """Return what the controller says of the other machine."""
        said = self.m1.run("pltfrms", "status", "--json", check=False)
        try:
            snapshot = json.loads(said)["snapshot"]
        except ValueError:
            return Told(present=False, ready=0)
        phases = [each["phase"] for each in snapshot["statuses"]["m2"]["instances"]]
        contacts = {name: each["contact"] for name, each in snapshot["machines"].items()}
        present = contacts == {"m1": "present", "m2": "present"}
        return Told(present=present, ready=phases.count("ready"))

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
        assert asker.stdout is not None
        try:
            assert asker.stdout.readline() == "asking\n"
            began = time.monotonic()
            time.sleep(1.0)
            act()
            time.sleep(seconds)
        finally:
            said, _ = asker.communicate()
        report = json.loads(said)
        took = time.monotonic() - began
        print(f"asked {report['asked'] / took:.0f} times in a second for {took:.0f} s")  # noqa: T201
        assert report["asked"] > rate / 4, "who asks had no processor"
        return list(report["failed"])


def on_each(machines: Sequence[Machine], work: Callable[[Machine], object]) -> None:
    """Do work on machines at the same time."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(work, machines))


@pytest.fixture(scope="module")
def trees() -> dict[str, Path]:
    if os.geteuid():
        pytest.skip("needs root")
    return {suite: tree(suite) for suite in SUITES}


@pytest.fixture(scope="module")
def packages(
    trees: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Path]]:
    """By Debian: of this release, and of the one before; of a clone without its history, that
    is this one with another number."""
    place = tmp_path_factory.mktemp("packages")
    with ThreadPoolExecutor(2) as pool:
        building = {suite: pool.submit(build, trees[suite], place) for suite in SUITES}
        earlier = {
            suite: pool.submit(build_before, trees[suite])
            for suite in (SUITES if has_history() else ())
        }
        built = {suite: each.result() for suite, each in building.items()}
        before = {suite: each.result() for suite, each in earlier.items()}
    for suite in set(SUITES) - set(before):
        before[suite] = renumbered(built[suite], place, VERSION_BEFORE)
    return {suite: {THIS: built[suite], BEFORE: before[suite]} for suite in SUITES}


@pytest.fixture(scope="module", params=CHANGES, ids="-".join)
def bed(
    request: pytest.FixtureRequest,
    trees: dict[str, Path],
    packages: dict[str, dict[str, Path]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Bed]:
    server = tiny_server(tmp_path_factory.mktemp("server"))
    of = dict(zip(("m1", "m2"), request.param, strict=True))
    client = Namespace()
    try:
        with machines(**{name: trees[suite] for name, suite in of.items()}) as found:
            theirs = {name: packages[suite] for name, suite in of.items()}
            change = CHANGES[request.param]
            bed = Bed(found["m1"], found["m2"], client, theirs, server, change)
            cable(bed.m1, "fab-a", bed.m2, "fab-a")
            cable(bed.m1, "x-transit1", client, "eth0")
            client.run("ip", "address", "add", "203.0.113.0/31", "dev", "eth0")
            client.run("ip", "address", "add", "2001:db8:f000:1::/127", "dev", "eth0", "nodad")
            client.run("ip", "route", "add", "default", "via", "203.0.113.1")
            client.run("ip", "route", "add", "default", "via", "2001:db8:f000:1::1")
            yield bed
    finally:
        client.end()


@pytest.fixture
def installed(bed: Bed) -> Bed:
    """The machines with the package."""
    bed.install()
    return bed


@pytest.fixture
def serving(installed: Bed) -> Bed:
    """The machines with the package of this release, and a service that answers."""
    installed.start()
    installed.have(THIS)
    return installed


def doing(machine: Machine, *command: str) -> Callable[[], None]:
    def act() -> None:
        machine.run(*command)

    return act


def nothing_runs(machine: Machine) -> bool:
    looks = (("-a", "^(bird|etcd)$"), ("-af", "/usr/bin/pltfrms"))
    return not any(machine.run("pgrep", *words, check=False) for words in looks)


def test_two_builds_are_the_same_file(
    trees: dict[str, Path], packages: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    built = packages["bookworm"][THIS].read_bytes()
    again = build(trees["bookworm"], tmp_path / "again")  # with what the first one kept
    assert again.read_bytes() == built
    anew = build(trees["bookworm"], tmp_path / "anew", from_nothing=True)
    assert anew.read_bytes() == built


@pytest.mark.parametrize("suite", SUITES)
def test_no_file_of_it_names_the_place_where_it_was_built(
    packages: dict[str, dict[str, Path]], tmp_path: Path, suite: str
) -> None:
    package = packages[suite][THIS]
    files = [each for each in unpack(package, tmp_path).rglob("*") if each.is_file()]
    builders = (str(ROOT).encode(), b"/mnt/usr", b"/tmp/tmp.")
    assert [each for each in files if any(word in each.read_bytes() for word in builders)] == []
    compiled = {
        each.parent.parent / each.name.split(".")[0] for each in files if each.suffix == ".pyc"
    }
    sources = {each.with_suffix("") for each in files if each.suffix == ".py"}
    assert compiled == sources
    assert any(each.name == "director.bpf.o" for each in files)


# For what is the same on every machine of a Debian: whatever its roles are.
_ONCE = pytest.mark.parametrize("bed", [SUITES], indirect=True, ids=["-".join(SUITES)])


@_ONCE
def test_installed_it_starts_nothing_on_a_machine_without_configuration(
    installed: Bed,
) -> None:
    for machine in installed.both:
        assert machine.run("pltfrms", "version").startswith("pltfrms ")
        assert machine.show("pltfrms.target", "UnitFileState") == "enabled"
        assert machine.run("systemctl", "--failed", "--quiet") == ""
        if not installed.started:
            assert set(installed.active(machine).values()) == {"inactive"}


@_ONCE
def test_debians_own_daemons_do_not_start_and_keep_their_files(installed: Bed) -> None:
    for machine in installed.both:
        for daemon in ("bird", "etcd"):
            assert machine.show(daemon, "ActiveState") == "inactive"
        assert machine.run("dpkg", "--verify", "bird2", "etcd-server") == ""


def test_the_release_before_is_built_from_what_it_was() -> None:
    if not has_history():
        pytest.skip("a clone without history: this release stands for the one before")


def test_a_release_takes_the_place_of_the_one_beside_it_and_nobody_notices(
    installed: Bed,
) -> None:
    """Agent and controller alone start again. Between, an agent of one release follows a
    controller of the other, which understands what it says."""
    bed, (first, release) = installed, installed.change
    bed.start()
    bed.have(first)
    eventually(lambda: bed.told().present, "a machine is not in contact")
    stay, change = ("bird", "etcd"), ("agent", "controller")
    instances, ready = bed.instances(), bed.told().ready
    for machine in (bed.m2, bed.m1):
        stayed, changed = bed.pids(machine, *stay), bed.pids(machine, *change)
        act = doing(machine, "dpkg", "-i", f"/root/{release}.deb")
        assert bed.failures(act, 3.0, UPGRADE_RATE) == []
        assert bed.pids(machine, *stay) == stayed
        after = bed.pids(machine, *change)
        assert after["agent"] not in {changed["agent"], "0"}
        if machine is bed.m1:
            assert after["controller"] not in {changed["controller"], "0"}
        assert instances <= bed.instances()
        ready += 1
        bed.apply(ready)
        eventually(partial(says, bed, ready), f"not {ready} instances are said to be ready")


def says(bed: Bed, ready: int) -> bool:
    told = bed.told()
    return told.present and told.ready == ready


def test_configured_by_hand_a_platform_comes_up_and_serves(serving: Bed) -> None:
    # The store and a controller run on controllers alone.
    wanted = dict.fromkeys(DAEMONS, "active") | {"etcd": "inactive", "controller": "inactive"}
    assert serving.active(serving.m2) == wanted
    assert serving.m2.run("systemctl", "--failed", "--quiet") == ""


def test_instances_are_below_a_unit_of_their_own(serving: Bed) -> None:
    assert len(serving.instances()) >= 2
    agents = serving.m2.show("pltfrms-agent", "ControlGroup")
    agent = serving.pids(serving.m2, "agent")["agent"]
    # A tool that it calls is there for a moment.
    eventually(
        lambda: serving.m2.sh(f"cat /sys/fs/cgroup{agents}/cgroup.procs").split() == [agent],
        "somebody else is in the agent's group",
    )


def test_requests_do_not_notice_that_an_agent_starts_again(serving: Bed) -> None:
    before = serving.instances()
    for machine in serving.both:
        act = doing(machine, "systemctl", "restart", "pltfrms-agent")
        assert serving.failures(act, 5.0) == []
    assert serving.instances() == before


def test_requests_do_not_notice_that_agents_are_stopped(serving: Bed) -> None:
    before = serving.instances()

    def stop() -> None:
        for machine in serving.both:
            machine.run("systemctl", "stop", "pltfrms-agent")

    assert serving.failures(stop, 5.0) == []
    assert serving.instances() == before
    assert {serving.active(each)["agent"] for each in serving.both} == {"inactive"}
    assert {serving.active(each)["bird"] for each in serving.both} == {"active"}
    for machine in serving.both:
        machine.run("systemctl", "start", "pltfrms-agent")


def test_bird_starts_again_and_keeps_the_routes_of_its_machine(serving: Bed) -> None:
    for machine in serving.both:
        count = "ip route show table all proto bird; ip -6 route show table all proto bird"
        before = machine.sh(count)
        machine.run("systemctl", "kill", "-s", "KILL", "pltfrms-bird")
        time.sleep(1.0)
        assert machine.sh(count) == before
        eventually(partial(machine.active, "pltfrms-bird"), "BIRD does not run")
        assert "-R" in machine.sh("tr '\\0' ' ' </proc/$(pgrep -x bird)/cmdline")
        serving.answers()


@_ONCE
def test_another_release_is_refused_unless_it_is_the_one_beside_and_is_asked_for(
    serving: Bed, tmp_path: Path
) -> None:
    for machine in serving.both:
        before = serving.pids(machine, *DAEMONS)
        said = machine.sh(f"{APT} /root/{BEFORE}.deb", check=False)
        assert "--allow-downgrades" in said
        this = serving.packages[machine.name][THIS]
        far = renumbered(this, tmp_path, "0.9", without_files=True)
        machine.put("/root/far.deb", far.read_bytes())
        said = machine.run("dpkg", "-i", "/root/far.deb", check=False)
        assert "more than one release away" in said
        status = ("dpkg-query", "-W", "-f", "${db:Status-Status}", "pltfrms")
        assert machine.run(*status) == "installed"
        assert serving.release(machine) == THIS
        assert serving.pids(machine, *DAEMONS) == before


def test_the_controllers_unit_is_hardly_exposed(serving: Bed) -> None:
    told = serving.m1.run("systemd-analyze", "security", "--no-pager", "pltfrms-controller")
    exposed = float(
        told.partition("exposure level for pltfrms-controller.service: ")[2].split()[0]
    )
    assert exposed <= MOST_EXPOSED


def test_removed_nothing_of_it_runs_and_purged_nothing_of_it_is_left(serving: Bed) -> None:
    serving.installed = serving.started = False
    for machine in (serving.m2, serving.m1):
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
