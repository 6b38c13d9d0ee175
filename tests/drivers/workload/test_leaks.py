"""Whatever ends a container, or those who start one: nothing of it is left.

    PLTFRMS_LEAK_ROUNDS=200 .venv/bin/python -m pytest tests/drivers/workload/test_leaks.py

starts and ends four times as many as usual.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.tool import ToolFailedError, run_tool
from pltfrms.drivers.workload.images import fetched as images
from pltfrms.drivers.workload.images.fetched import Images
from pltfrms.drivers.workload.images.oci import BOX
from pltfrms.drivers.workload.instance.limits import own_groups
from pltfrms.drivers.workload.probes.probe import NamespaceProber
from pltfrms.drivers.workload.process import ProcessRuntime
from pltfrms.errors import UnavailableError
from pltfrms.model.running.machine import Instance, InstanceSpec
from pltfrms.model.services.service import Probe, ProbeKind
from tests.contracts.test_workload import SERVICE, directories_below
from tests.drivers.workload.test_containers import (
    LONG,
    Counting,
    Play,
    boxed,
    image_store,
    play,
    said_by,
    short_path,
    with_registry,
)
from tests.registry import busybox, push, registry

__all__ = ["image_store", "play", "short_path"]
pytestmark = pytest.mark.root
ROUNDS = int(os.environ.get("PLTFRMS_LEAK_ROUNDS", "50"))
"""How many are started and ended before somebody looks for what they have left."""
LEAKS = "leaks.fra.1-1"
TREE = Path("/sys/fs/cgroup")


def left_over(root: Path) -> dict[str, list[str]]:
    """Return all of which a container has one, as far as it is there."""
    processes = [path for path in Path("/proc").iterdir() if path.name.isdecimal()]
    namespaces: set[str] = set()
    overlays: set[str] = set()
    for path in processes:
        with suppress(OSError):
            namespaces.add(str((path / "ns" / "net").readlink()))
            lines = (path / "mountinfo").read_text().splitlines()
            overlays.update(line for line in lines if " - overlay " in line)
    runtime = directories_below(root).runtime
    return {
        "processes": [path.name for path in processes if _is_alive(path)],
        "networks": sorted(namespaces),
        "mounts": Path("/proc/self/mountinfo").read_text().splitlines(),
        "overlays": sorted(overlays),
        "groups": sorted(map(str, TREE.rglob(LEAKS))),
        "files": sorted(str(path) for path in (runtime / BOX).iterdir()),
        "records": sorted(str(path) for path in (runtime / "instances").glob("*.json")),
        "devices": sorted(map(str, Path("/sys/class/net").iterdir())),
    }


def _is_alive(process: Path) -> bool:
    with suppress(OSError):
        return process.joinpath("stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


async def gone(root: Path, before: dict[str, list[str]]) -> None:
    """Return when there is nothing that was not there before."""
    found: dict[str, set[str]] = {}
    for _ in range(300):
        found = {
            kind: left
            for kind, things in left_over(root).items()
            if (left := set(things) - set(before[kind]))
        }
        if not found:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(found)


@pytest.fixture
def old_groups() -> Iterator[list[Path]]:
    """Make v1 groups that no other test uses, where there are any; for who writes 0 to them."""
    homes = own_groups()
    trees = [name for name in ("cpu", "memory", "pids") if (TREE / name).is_dir()]
    own = f"leaks-{os.getpid()}"
    groups = [TREE / name / homes.get(name, "").lstrip("/") / own for name in trees]
    for group in groups:
        group.mkdir()
    yield groups
    for group in groups:
        below = sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True)
        for path in (*below, group):
            path.rmdir()


def test_all_that_were_stopped_or_killed_leave_nothing(
    play: Play, old_groups: list[Path]
) -> None:
    async def scenario(runtime: ProcessRuntime, root: Path, image: str) -> None:
        wanted = replace(boxed(image, *LONG), allocation=LEAKS, cpu=2.0)
        for group in old_groups:
            (group / "cgroup.procs").write_text("0")
        runtime = ProcessRuntime(directories_below(root), KernelNetwork())
        await runtime.stop(await runtime.start(wanted), 1000)
        await runtime.rotate_logs()
        before = left_over(root)
        assert not before["groups"]
        for number in range(ROUNDS):
            instance = await runtime.start(wanted)
            assert left_over(root)["overlays"] != before["overlays"]
            await end_somehow(runtime, instance, number % 3)
        await gone(root, before)

    play(scenario, groups=True)


async def end_somehow(runtime: ProcessRuntime, instance: Instance, how: int) -> None:
    if how == 0:
        await runtime.stop(instance, 1000)
        return
    if how == 1:
        os.kill(instance.pid, signal.SIGKILL)
    else:  # all of it but the first process
        inside = f"--pid=/proc/{instance.pid}/ns/pid_for_children"
        with suppress(ToolFailedError):  # the first process, when it ends, may end it too
            await run_tool("nsenter", inside, "/bin/kill", "-9", "--", "-1")
    await runtime.wait(instance)
    await runtime.running()


def test_a_question_that_takes_too_long_leaves_nothing_in_the_container(play: Play) -> None:
    async def scenario(runtime: ProcessRuntime, root: Path, image: str) -> None:
        prober = NamespaceProber(directories_below(root).runtime)
        instance = await runtime.start(boxed(image, *LONG))
        before = left_over(root)
        command = ("/bin/sh", "-c", "busybox touch /tmp/asked; sleep 1000 & sleep 1000")
        probe = Probe(kind=ProbeKind.EXEC, command=command, timeout_ms=5000)
        answer = await prober.probe(instance, probe, SERVICE)
        assert answer.failure == "/bin/sh: took longer than 5000 ms"
        asked = replace(probe, command=("/bin/busybox", "test", "-e", "/tmp/asked"))  # noqa: S108 - its own
        assert not (await prober.probe(instance, asked, SERVICE)).failure
        await gone(root, before)
        await runtime.stop(instance, 0)

    play(scenario)


_HUNT = """
while :; do for process in /proc/[0-9]*; do
    read name <$process/comm && [ "$name" = crun ] && kill -9 ${process#/proc/} && exit
done; done 2>/dev/null
"""


async def start_and_stop(runtime: ProcessRuntime, wanted: InstanceSpec) -> None:
    for _ in range(50):
        await runtime.stop(await runtime.start(wanted), 0)


def test_crun_that_is_killed_leaves_nothing(play: Play) -> None:
    """Whoever kills crun while it starts a container gets a start that failed, and says so."""

    async def scenario(runtime: ProcessRuntime, root: Path, image: str) -> None:
        await said_by(runtime, root, boxed(image, "/bin/sh", "-c", "true"))
        before = left_over(root)
        for _ in range(max(1, ROUNDS // 25)):
            hunter = subprocess.Popen(("sh", "-c", _HUNT))  # noqa: ASYNC220 - at once
            try:
                with pytest.raises(UnavailableError, match="did not start"):
                    await start_and_stop(runtime, boxed(image, *LONG))
            finally:
                hunter.kill()
                hunter.wait()
        await gone(root, before)

    play(scenario)


def test_podman_that_is_killed_leaves_nothing_that_the_next_pull_minds(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_FIRST_REST", 0.01)

    async def scenario(_: Counting) -> None:
        directories = directories_below(short_path)
        (directories.runtime / BOX).mkdir(parents=True)
        with registry(short_path / "registry"):
            before, killed = left_over(short_path), 0
            for number in range(5):
                name = push(f"shop/v{number}", busybox() | {"v": str(number).encode()})
                store = Images(directories)
                hunter = asyncio.ensure_future(kill_a_pull(number / 10))
                try:
                    await store.get(name)
                except UnavailableError:
                    killed += 1
                hunter.cancel()
                assert (await store.get(name)).is_whole
            assert killed
            # One that was killed when all was there has its leavings until the next pull.
            await Images(directories).get(push("shop/last", busybox()))
            assert list((directories.state / "images-coming").iterdir()) == []
            await gone(short_path, before)

    with_registry(short_path, monkeypatch, scenario)


async def kill_a_pull(after: float) -> None:
    """Kill podman so many seconds after it has begun to pull."""
    while not (pulling := pulls()):  # noqa: ASYNC110 - outside
        await asyncio.sleep(0.005)
    await asyncio.sleep(after)
    with suppress(ProcessLookupError):
        os.kill(pulling[0], signal.SIGKILL)


def pulls() -> list[int]:
    """Return the pids of podman that pulls."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            said = process.joinpath("cmdline").read_bytes().split(b"\0")
            if said[0] == b"podman" and b"pull" in said:
                found.append(int(process.name))
    return found
