"""`lab down` ends a lab whatever state it is in, within a bound, also on a busy machine."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pltfrms.lab.client.client import LabClient, running_labs, start_capsule
from pltfrms.lab.rundir import directory_of
from tests.lab.labs import PARTS, all_pids, namespaces

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("netns"), pytest.mark.timeout(240)]

BUSY = 30
BUSY_SECONDS = 90


@pytest.fixture
def lab() -> Iterator[LabClient]:
    name = f"end-{os.getpid()}"
    yield start_capsule(name, "/somewhere", PARTS, lambda _text: None)
    for info in running_labs():
        if info.name == name:
            LabClient(info).down()


def named(lab: LabClient, name: str) -> list[int]:
    """Return the processes of a name whose parent is the lab's root."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (path / "stat").read_text().rpartition(")")
            parent = int(words[2].split()[1])
            if words[0].partition("(")[2] == name and parent == lab.info().root_pid:
                found.append(int(path.name))
    return found


def test_a_lab_whose_daemon_hangs_ends(lab: LabClient) -> None:
    (daemon,) = named(lab, "lab-daemon")
    ends(lab, lambda: os.kill(daemon, signal.SIGSTOP))


def test_a_lab_whose_first_process_hangs_ends(lab: LabClient) -> None:
    ends(lab, lambda: os.kill(lab.info().root_pid, signal.SIGSTOP))


def test_a_lab_whose_keeper_hangs_ends(lab: LabClient) -> None:
    ends(lab, lambda: os.kill(lab.info().keeper_pid, signal.SIGSTOP), within=15)


def test_a_lab_on_a_busy_machine_starts_and_ends(lab: LabClient) -> None:
    name = f"busy-{os.getpid()}"
    with busy_machine():
        started = time.monotonic()
        busy = start_capsule(name, "/somewhere", PARTS, lambda _text: None)
        assert time.monotonic() - started < 60
        (daemon,) = named(busy, "lab-daemon")
        ends(busy, lambda: os.kill(daemon, signal.SIGSTOP), within=30)
        ends(lab, lambda: None, within=30)


def ends(lab: LabClient, before: Callable[[], None], within: float = 8) -> None:
    spaces = namespaces(all_pids())
    before()
    started = time.monotonic()
    lab.down()
    assert time.monotonic() - started < within
    assert not directory_of(lab.name).exists()
    assert not is_alive(lab.info().root_pid)
    assert len(namespaces(all_pids())) < len(spaces)


def is_alive(pid: int) -> bool:
    """Whether a process has not ended; whoever took over an orphan may not have reaped it."""
    try:
        return "\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@contextmanager
def busy_machine() -> Iterator[None]:
    """Let many processes want the processors, each in a session of its own."""
    command = ["timeout", str(BUSY_SECONDS), "sh", "-c", "while :; do :; done"]
    many = [subprocess.Popen(command, start_new_session=True) for _ in range(BUSY)]
    try:
        yield
    finally:
        for one in many:
            with suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
            one.wait()
