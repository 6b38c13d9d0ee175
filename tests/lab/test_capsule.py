"""Whole capsules of stand-ins: what starts, what faults do, and that nothing is left."""

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.codec import encode
from pltfrms.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from pltfrms.lab.client.client import LabClient, find_lab, running_labs, start_capsule
from pltfrms.lab.parts import LabParts, MachineParts, Port, Unit, WiredMachine, Wiring
from pltfrms.lab.rundir import directory_of
from pltfrms.model.running.plan import Target
from tests.cli.world import PLATFORM, WEB
from tests.lab.labs import (
    CABLE,
    FABRIC,
    FRA_N2,
    OUT,
    PARTS,
    WIRING,
    all_pids,
    family,
    has_carrier,
    inside,
    namespaces,
    ping,
    unit_state,
)

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("netns")]

NAME = f"test-{os.getpid()}"
TO_OUT, TO_N2 = f"{OUT}%x-out", f"{FRA_N2}%fab-a"
_PATIENCE_SECONDS = 8.0


def start(name: str, parts: LabParts = PARTS) -> LabClient:
    return start_capsule(name, "/somewhere", parts, lambda _text: None, "ada in /srv")


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def running() -> Iterator[LabClient]:
    lab = start(NAME)
    yield lab
    for info in running_labs():
        if info.name.startswith(NAME):  # also those of tests that failed
            LabClient(info).down()


@pytest.fixture
def lab(running: LabClient) -> LabClient:
    """Return the lab, healed and with power everywhere."""
    for machine in running.machines():
        if not machine.running:
            running.boot(f"machine/{machine.name}")
    running.heal()
    return running


def instance_pid(lab: LabClient) -> int:
    text = inside(lab, "fra-n1", "cat", "/run/pltfrms/instances/web.fra.1-7.json")
    return int(json.loads(text)["pid"]) if text else 0


def instance_alive(lab: LabClient) -> bool:
    pid = instance_pid(lab)
    return bool(pid) and inside(lab, "fra-n1", "ls", "-d", f"/proc/{pid}") != ""


# ---- machines and units --------------------------------------------------------------------


def test_machines_are_told_apart_and_run_their_units(lab: LabClient) -> None:
    assert inside(lab, "fra-n2", "hostname").strip() == "fra-n2"
    assert inside(lab, "machine/fra-n1", "cat", "/etc/pltfrms/machine") == "fra-n1\n"
    assert inside(lab, "out", "ls", "/etc/pltfrms") == ""
    assert unit_state(lab, "fra-n1", "fork") == "running"
    assert unit_state(lab, "fra-n1", "late") == "waiting"
    eventually(lambda: unit_state(lab, "fra-n2", "brief") == "restarting")
    inside(lab, "fra-n1", "touch", "/var/lib/pltfrms/late")
    eventually(lambda: unit_state(lab, "fra-n1", "late") == "running")
    assert "RR" in inside(lab, "fra-n1", "ps", "-o", "cls=", "-C", "sleep").split()
    assert not Path("/var/lib/pltfrms/late").exists()


def test_a_killed_unit_comes_back_unless_a_fault_killed_it(lab: LabClient) -> None:
    def pid() -> str:
        return inside(lab, "fra-n1", "pgrep", "-x", "fork").strip()

    before = pid()
    inside(lab, "fra-n1", "kill", "-9", before)
    eventually(lambda: pid() not in {"", before})
    assert "kept down" in lab.fault("daemon/fra-n1/fork")[0]
    eventually(lambda: not pid())
    time.sleep(0.5)
    assert not pid()
    assert unit_state(lab, "fra-n1", "fork") == "killed"
    lab.heal("daemon/fra-n1/fork")
    eventually(pid)


def test_a_hung_daemon_and_a_hung_machine_are_woken(lab: LabClient) -> None:
    def stopped() -> bool:
        return "T" in inside(lab, "fra-n1", "ps", "-o", "stat=", "-C", "fork")

    lab.fault("daemon/fra-n1/fork", "hang")
    lab.fault("node/fra-n1", "hang")
    assert stopped()
    lab.heal("node/fra-n1")
    assert stopped()
    lab.heal("daemon/fra-n1/fork")
    assert not stopped()


# ---- power ---------------------------------------------------------------------------------


def test_a_machine_keeps_its_disk_but_not_its_memory_over_a_power_cut(lab: LabClient) -> None:
    inside(lab, "fra-n1", "sh", "-c", "echo kept > /var/lib/pltfrms/disk; touch /run/memory")
    mac = inside(lab, "fra-n1", "cat", "/sys/class/net/fab-a/address")
    lab.fault("node/fra-n1")
    assert not has_carrier(lab, "out", "to-fra-n1")
    assert has_carrier(lab, "fra-n2", "fab-a")
    with pytest.raises(NotFoundError, match="no power"):
        lab.exec_argv("fra-n1", ["true"])
    assert "until booted" in lab.heal()[0]
    started = time.monotonic()
    lab.boot("node/fra-n1")
    assert time.monotonic() - started < 2
    assert inside(lab, "fra-n1", "cat", "/var/lib/pltfrms/disk") == "kept\n"
    assert inside(lab, "fra-n1", "ls", "/run/memory") == ""
    assert inside(lab, "fra-n1", "cat", "/sys/class/net/fab-a/address") == mac
    assert has_carrier(lab, "out", "to-fra-n1")
    assert ping(lab, "fra-n1", TO_N2)
    assert lab.faults() == ()


def test_a_power_cut_for_a_while_ends_with_a_boot(lab: LabClient) -> None:
    lab.fault("datacenter/fra", for_ms=200)
    assert [one.running for one in lab.machines()] == [False, False, True]
    eventually(lambda: all(one.running for one in lab.machines()))
    eventually(lambda: ping(lab, "fra-n1", TO_OUT, count=1))


def test_booting_a_running_machine_restarts_it(lab: LabClient) -> None:
    inside(lab, "fra-n2", "touch", "/run/memory")
    assert "were running" in lab.boot("node/fra-n2")[0]
    assert inside(lab, "fra-n2", "ls", "/run/memory") == ""
    with pytest.raises(UsageError):
        lab.boot(CABLE)


# ---- wires ---------------------------------------------------------------------------------


def test_a_cable_has_its_delay_and_a_fabric_none(lab: LabClient) -> None:
    assert 9.5 < statistics.median(ping(lab, "fra-n1", TO_OUT, 15)) < 30
    assert statistics.median(ping(lab, "fra-n1", TO_N2, 15)) < 8


def test_large_segments_with_unfinished_checksums_cross_a_delayed_cable(lab: LabClient) -> None:
    """A TCP stream uses both; a relay that loses either stops it."""
    listen = (
        "import socket; s = socket.create_server(('::', 9), family=socket.AF_INET6);"
        "print(flush=True); s.settimeout(5); c, _ = s.accept(); c.settimeout(5); n = 0\n"
        "while b := c.recv(1 << 16): n += len(b)\n"
        "print(n)"
    )
    send = (
        "import socket, sys; c = socket.create_connection((sys.argv[1], 9), 5);"
        "c.sendall(bytes(3 << 20))"
    )
    argv = lab.exec_argv("out", [sys.executable, "-I", "-S", "-c", listen])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        listener.stdout.readline()
        inside(lab, "fra-n1", sys.executable, "-I", "-S", "-c", send, TO_OUT)
        received = int(listener.stdout.read())
    assert received == 3 << 20


def test_cut_takes_carrier_and_silent_does_not(lab: LabClient) -> None:
    lab.fault(CABLE, "cut")
    assert not has_carrier(lab, "fra-n1", "x-out")
    assert not has_carrier(lab, "out", "to-fra-n1")
    lab.heal(CABLE)
    assert ping(lab, "fra-n1", TO_OUT)
    lab.fault("link/out--fra-n1", "silent")
    assert has_carrier(lab, "fra-n1", "x-out")
    assert not ping(lab, "fra-n1", TO_OUT, 2)
    lab.heal()
    assert ping(lab, "fra-n1", TO_OUT)


def test_faults_add_up_and_end_by_themselves(lab: LabClient) -> None:
    lab.fault(CABLE, "delay=20ms", for_ms=1500)
    lab.fault(FABRIC, "delay=10ms")
    assert 49 < statistics.median(ping(lab, "fra-n1", TO_OUT, 9)) < 75
    assert 19 < statistics.median(ping(lab, "fra-n1", TO_N2, 9)) < 45
    assert {one.kind for one in lab.faults()} == {"delay=20ms", "delay=10ms"}
    eventually(lambda: len(lab.faults()) == 1)
    lab.heal(FABRIC)
    assert statistics.median(ping(lab, "fra-n1", TO_N2, 9)) < 8
    assert 9.5 < statistics.median(ping(lab, "fra-n1", TO_OUT, 9)) < 30


def test_loss_is_about_what_was_asked(lab: LabClient) -> None:
    lab.fault(FABRIC, "loss=30%")
    answers = len(ping(lab, "fra-n1", TO_N2, 150))
    assert 45 < answers < 105  # 0.7 x 0.7 of 150 is 73
    lab.heal()
    assert len(ping(lab, "fra-n1", TO_N2, 20)) == 20


def test_a_silent_and_slow_port_heals_in_any_order(lab: LabClient) -> None:
    for first, second in (("silent", "delay=20ms"), ("delay=20ms", "silent")):
        lab.fault(FABRIC, first)
        lab.fault(FABRIC, second)
        assert not ping(lab, "fra-n1", TO_N2, 2)
        lab.heal()
        assert ping(lab, "fra-n1", TO_N2)


def test_a_dead_relay_is_replaced(lab: LabClient) -> None:
    relays = [
        pid
        for pid in family(lab.info().root_pid)
        if Path(f"/proc/{pid}/comm").read_text() == "lab-relay\n"
    ]
    if not relays:
        pytest.skip("this kernel has netem: no relays")
    for pid in relays:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: ping(lab, "fra-n1", TO_OUT, 1))
    assert statistics.median(ping(lab, "fra-n1", TO_OUT)) > 9.5


def test_the_doctor_measures_every_wire_and_names_substitutes(lab: LabClient) -> None:
    lab.fault(FABRIC, "cut")
    # A single measurement on a busy machine may be off.
    eventually(
        lambda: {link.segment: link for link in lab.doctor().links}[CABLE].verdict == "ok"
    )
    report = lab.doctor()
    found = {link.segment: link for link in report.links}
    assert found[CABLE].asked_us == 5_000
    assert found[FABRIC].verdict == "unknown"
    assert "faults" in found[FABRIC].why
    assert report.substitutes[0].uses in {"netem", "relay"}


def test_a_capture_sees_what_crosses_a_segment(lab: LabClient, tmp_path: Path) -> None:
    file = tmp_path / "link.pcap"
    argv = lab.pcap_argv(CABLE, str(file))
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as capture:
        assert capture.stderr is not None
        assert "listening" in capture.stderr.readline()
        ping(lab, "fra-n1", TO_OUT, 2)
        time.sleep(0.2)
        capture.terminate()
        capture.communicate()
    assert file.stat().st_size > 24 + 4 * 60


# ---- instances -----------------------------------------------------------------------------


def test_a_killed_instance_is_replaced_and_for_a_while_killed_again(lab: LabClient) -> None:
    eventually(lambda: instance_alive(lab))
    first = instance_pid(lab)
    assert "web.fra.1-7 on fra-n1" in lab.fault("instance/web/fra/1")[0]
    assert lab.faults() == ()
    eventually(lambda: instance_pid(lab) not in {0, first})
    second = instance_pid(lab)
    lab.fault("instance/web/fra/1", for_ms=1200)
    eventually(lambda: instance_pid(lab) not in {0, second})
    assert len(lab.faults()) == 1
    eventually(lambda: not lab.faults())
    eventually(lambda: instance_alive(lab))


def test_every_process_of_a_hung_instance_is_stopped(lab: LabClient) -> None:
    eventually(lambda: instance_alive(lab))
    assert inside(lab, "instance/web/fra/1", "hostname").strip() == "fra-n1"
    pid = instance_pid(lab)
    both = f"{pid},{inside(lab, 'fra-n1', 'pgrep', '-P', str(pid)).strip()}"

    def states() -> list[str]:
        text = inside(lab, "fra-n1", "ps", "-o", "stat=", "-p", both)
        return [state[0] for state in text.split()]

    assert states() == ["S", "S"]
    lab.fault("instance/web/fra/1", "hang")
    assert states() == ["T", "T"]
    lab.heal()
    assert states() == ["S", "S"]
    with pytest.raises(NotFoundError, match=r"running: web\.fra\.1-7"):
        lab.fault("instance/web/fra/2")


def test_services_are_known_as_nodes_were_last_told(lab: LabClient) -> None:
    assert lab.told_services() == {}
    newer = replace(WEB, version=2)
    for node, generation, told in (("fra-n1", 7, newer), ("fra-n2", 6, WEB)):
        target = Target(
            machine=node, generation=generation, platform=PLATFORM, services=(told,)
        )
        script = "mkdir -p /var/lib/pltfrms && cat > /var/lib/pltfrms/target.json"
        argv = lab.exec_argv(node, ["sh", "-c", script])
        subprocess.run(argv, input=encode(target), check=True)
    assert lab.told_services() == {"web": newer}
    lab.fault("node/fra-n1")
    assert lab.told_services() == {"web": WEB}


# ---- other machines and wires --------------------------------------------------------------


def test_machines_and_wires_come_and_go_while_others_run(lab: LabClient) -> None:
    third = MachineParts(
        name="fra-n3",
        units=(Unit(name="here", command=("sleep", "1000")),),
        network=("link set fab-a up", "address add fe80::4/64 dev fab-a nodad"),
    )
    fabric = PARTS.wiring.segments[0]
    larger = replace(
        PARTS,
        wiring=Wiring(
            machines=(*PARTS.wiring.machines[:2], WiredMachine(name="fra-n3", role="node")),
            segments=(replace(fabric, ports=(*fabric.ports, Port("fra-n3", "fab-a"))),),
        ),
        machines=(*PARTS.machines[:2], third),
    )
    before = inside(lab, "fra-n1", "cat", "/proc/1/stat").split()[21]
    lab.fault("machine/fra-n2", "silent")
    with pytest.raises(ConflictError, match="node/fra-n2"):
        lab.rewire_to(larger, "/elsewhere")
    lab.heal()
    (done,) = lab.rewire_to(larger, "/elsewhere")
    assert "out is gone, fra-n3 is new, fra-n1: x-out is pulled" in done
    assert (find_lab(NAME).info().directory, find_lab(NAME).info().machines) == (
        "/elsewhere",
        3,
    )
    assert len(ping(lab, "fra-n1", f"{OUT[:-1]}4%fab-a")) == 5
    assert "x-out" not in inside(lab, "fra-n1", "ip", "link")
    with pytest.raises(NotFoundError):
        lab.fault("machine/out")
    lab.boot("machine/fra-n3")
    eventually(lambda: unit_state(lab, "fra-n3", "here") == "running")
    lab.rewire_to(PARTS, "/somewhere")
    assert len(ping(lab, "fra-n1", TO_OUT)) == 5
    assert inside(lab, "fra-n1", "cat", "/proc/1/stat").split()[21] == before, "it ran on"


def test_a_change_that_failed_is_asked_for_again_until_it_is_done(lab: LabClient) -> None:
    first, second, out = PARTS.machines
    added = ("address add fe80::1:1/64 dev fab-a nodad", "rule add pref 77 lookup 77")
    changed = replace(
        first,
        files=(*first.files, ("/etc/pltfrms/new", "x")),
        network=(*first.network, *added),
        reload=("test", "-e", "/tmp/may-go-on"),  # noqa: S108 - inside of the machine
    )
    third = MachineParts(
        name="fra-n3",
        network=("link set fab-a up", "address add fe80::4/64 dev fab-a nodad"),
        prepare=(("test", "-e", "/var/lib/pltfrms/may-boot"),),
    )
    fabric, cable = PARTS.wiring.segments
    wider = replace(fabric, mtu=1700, ports=(*fabric.ports, Port("fra-n3", "fab-a")))
    larger = LabParts(
        wiring=Wiring(
            machines=(*PARTS.wiring.machines, WiredMachine(name="fra-n3", role="node")),
            segments=(wider, cable),
        ),
        machines=(changed, second, out, third),
    )
    for _ in range(2):
        with pytest.raises(UnavailableError, match="may-boot"):
            lab.rewire_to(larger, "/elsewhere")
    boots = replace(larger, machines=(changed, second, out, replace(third, prepare=())))
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"fra-n1: .*may-go-on"):
            lab.rewire_to(boots, "/elsewhere")
        assert len(ping(lab, "fra-n2", "fe80::4%fab-a")) == 5
    inside(lab, "fra-n1", "touch", "/tmp/may-go-on")  # noqa: S108 - as above
    assert "fra-n1: fab-a is plugged in" in lab.rewire_to(boots, "/elsewhere")[0]
    assert len(ping(lab, "fra-n2", "fe80::1:1%fab-a")) == 5
    assert inside(lab, "fra-n1", "ip", "-4", "rule").count("lookup 77") == 1
    assert "no machine" in lab.rewire_to(boots, "/elsewhere")[0]
    lab.rewire_to(PARTS, "/somewhere")
    assert len(ping(lab, "fra-n1", TO_OUT)) == 5


# ---- whole labs ----------------------------------------------------------------------------


def test_labs_live_side_by_side_and_a_killed_one_leaves_nothing(lab: LabClient) -> None:
    other = start(f"{NAME}-b")
    assert {lab.name, other.name} <= {info.name for info in running_labs()}
    with pytest.raises(ConflictError):
        start(other.name)
    root = other.info().root_pid
    members = family(root)
    own = namespaces(members) - namespaces({os.getpid()})
    assert len(own) >= 5 * 4  # of the capsule and three machines
    before = all_pids()  # whoever comes later may get the number of a namespace that is gone
    os.kill(root, signal.SIGKILL)
    eventually(lambda: not members & all_pids())
    eventually(lambda: not directory_of(other.name).exists())
    assert not namespaces(before & all_pids()) & own
    assert other.name not in Path("/proc/self/mounts").read_text()
    assert [name for _, name in socket.if_nameindex() if name.startswith(("p1", "s1"))] == []
    assert other.name not in {info.name for info in running_labs()}
    with pytest.raises(UnavailableError, match="is it running"):
        other.machines()
    assert ping(lab, "fra-n1", TO_N2)


def test_down_is_quick_and_leaves_nothing() -> None:
    lab = start(f"{NAME}-c")
    assert (lab.info().directory, lab.info().started_by) == ("/somewhere", "ada in /srv")
    members = family(lab.info().root_pid)
    assert lab.down() < 3
    assert not members & all_pids()
    assert not directory_of(lab.name).exists()
    with pytest.raises((NotFoundError, UsageError)):
        find_lab(lab.name)


def test_a_start_that_fails_says_why_and_leaves_nothing() -> None:
    broken = MachineParts(name="out", network=("link set nowhere up",))
    parts = replace(PARTS, machines=(*PARTS.machines[:2], broken))
    before = all_pids()
    with pytest.raises(UnavailableError, match="nowhere"):
        start(f"{NAME}-d", parts)
    assert not directory_of(f"{NAME}-d").exists()
    assert not [pid for pid in all_pids() - before if _names_us(pid, f"{NAME}-d")]


@pytest.mark.parametrize("moment", ["lab.log", "lab.json"])
def test_a_starter_that_is_killed_leaves_nothing(moment: str) -> None:
    """Killed at the first sign of life, and when all is ready but it does not know yet."""
    name = f"{NAME}-e"
    script = (
        "import time\n"
        "from tests.lab.test_capsule import *\n"
        "def wait(text):\n"
        "    print(text, flush=True)\n"
        "    time.sleep(60)\n"
        f"start_capsule({name!r}, '/somewhere', PARTS, wait)\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}/src:{root}"}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment
    ) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline()
        eventually((directory_of(name) / moment).exists)
        starter.kill()
    eventually(lambda: not directory_of(name).exists())
    eventually(lambda: not [pid for pid in all_pids() if _names_us(pid, name)])


def test_what_cannot_start_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="cannot name a lab"):
        start("a/b")
    unknown = replace(PARTS.machines[0].units[1], command=("no-such-program",))
    machine = replace(PARTS.machines[0], units=(unknown,))
    with pytest.raises(UsageError, match="no-such-program"):
        start(f"{NAME}-f", LabParts(wiring=WIRING, machines=(machine,)))


def _names_us(pid: int, name: str) -> bool:
    try:
        return name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
