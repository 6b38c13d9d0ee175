"""Who takes too much is named, with what it is; who does not is not."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.tool import run_tool
from pltfrms.drivers.workload.instance.instance_files import InstanceFiles
from pltfrms.drivers.workload.measuring import hogs
from pltfrms.drivers.workload.process import ProcessRuntime
from pltfrms.model.running.machine import Instance
from tests.contracts.test_workload import directories_below, spec
from tests.namespaces import in_machine

pytestmark = pytest.mark.root

QUIET = ("sleep", "1000")
ZOMBIES = """
import os, time
for _ in range(300):
    if not os.fork():
        os._exit(0)
time.sleep(1000)
"""
CROWD = """
import os, time
for _ in range(300):
    if not os.fork():
        time.sleep(1000)
time.sleep(1000)
"""
LEAK = """
import resource, time
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
held = []
try:
    while True:
        held.append(open("/dev/null"))
except OSError:
    time.sleep(1000)
"""
FULL = "has more than a tenth of the disk, which is nearly full"
FLOOD = "while True: print('x' * 1000)"
FILL = "open('much', 'wb').write(bytes(15 << 18)); import time; time.sleep(1000)"


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (ZOMBIES, "does not wait for its processes: more than 256 have ended"),
        (CROWD, "has nearly all of the 200 processes that it may have"),
        (LEAK, "has nearly all of the 256 files and connections that it may have"),
        (FLOOD, "says so much that its log has less than the last minute"),
        (FILL, FULL),
    ],
    ids=["zombies", "crowd", "leak", "flood", "fill"],
)
def test_each_is_named_with_what_it_takes(
    program: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hogs, "PIDS_MAX", 200)

    async def scenario() -> None:
        await run_tool("mount", "-t", "tmpfs", "-o", "size=4M", "test", str(tmp_path))
        runtime = ProcessRuntime(
            directories_below(tmp_path), KernelNetwork(), log_bytes=1 << 16
        )
        quiet = await runtime.start(spec(QUIET, 1))
        hog = await runtime.start(spec(("python3", "-c", program), 2))
        await named(runtime, lambda: runtime.hogs() == {hog.allocation: says})
        await runtime.stop(hog, 0)
        await named(runtime, lambda: not runtime.hogs())
        assert await runtime.running() == {quiet.allocation: quiet}
        await runtime.stop(quiet, 0)

    in_machine(scenario)


async def named(runtime: ProcessRuntime, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await runtime.rotate_logs()
            await asyncio.sleep(0.1)


def test_who_may_have_few_files_and_has_them_is_no_hog(tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = ProcessRuntime(directories_below(tmp_path), KernelNetwork())
        modest = ("sh", "-c", "ulimit -n 4; exec sleep 1000")
        instance = await runtime.start(replace(spec(modest), cpu=1.0))
        await runtime.rotate_logs()
        assert runtime.hogs() == {}
        await runtime.stop(instance, 0)

    in_machine(scenario)


def test_who_has_few_files_open_costs_no_look_at_how_many_it_may_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[Path] = []

    def noted(path: Path) -> str:
        read.append(path)
        return ""

    runtime = Path(f"/proc/{os.getpid()}")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", noted)
        assert list(hogs._descriptors([runtime])) == []
        assert read == []
        patched.setattr(hogs, "_FEWEST_OPEN", 1)
        assert list(hogs._descriptors([runtime])) == []
    assert read == [runtime / "limits"]


def test_to_measure_who_fills_a_disk_takes_a_twentieth_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, measured = 100.0, 0

    def slow(_directory: Path) -> bool:
        nonlocal now, measured
        now, measured = now + 10, measured + 1
        return True

    monkeypatch.setattr(hogs, "_fills", slow)
    looks = hogs.Hogs(InstanceFiles(directories_below(tmp_path)))
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: now)
        for at, times in ((100.0, 1), (115.0, 1), (299.0, 1), (300.0, 2)):
            now = at
            looks.look({"web.fra.1-1": of(0)})
            assert measured == times
            assert looks.named == {"web.fra.1-1": FULL}


def test_what_others_start_is_not_taken_for_all_that_runs_on_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hogs, "PIDS_MAX", 2)
    looks = hogs.Hogs(InstanceFiles(directories_below(tmp_path)))
    looks.look({"web.fra.1-1": of(os.getppid())})
    assert "processes that it may have" in looks.named["web.fra.1-1"]
    looks.look({"web.fra.1-1": of(os.getpid())})
    assert looks.named == {}


def of(pid: int) -> Instance:
    return Instance(allocation="web.fra.1-1", pid=pid, device="i1", fingerprint="")
