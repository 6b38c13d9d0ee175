"""Limits that hold: who goes over its memory is ended, and it is said why."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.tool import run_tool
from pltfrms.drivers.workload.instance.limits import PIDS_MAX, own_groups
from pltfrms.drivers.workload.probes.probe import NamespaceProber
from pltfrms.drivers.workload.process import ProcessRuntime
from pltfrms.model.services.service import Probe, ProbeKind
from tests.contracts.test_workload import directories_below, spec
from tests.namespaces import in_machine

pytestmark = pytest.mark.root

HOG = ("python3", "-c", "held = [bytes(1 << 20) and bytearray(1 << 20) for _ in range(512)]")
OLD = Path("/sys/fs/cgroup/cpu")
needs_old = pytest.mark.skipif(not OLD.is_dir(), reason="no cgroup v1")
BUSY = ("python3", "-c", "while True: pass")


def groups(name: str) -> list[Path]:
    return list(Path("/sys/fs/cgroup").rglob(f"pltfrms/**/{name}"))


def empty_groups() -> set[Path]:
    found = Path("/sys/fs/cgroup").rglob("pltfrms")
    return {each for each in found if not any(part.is_dir() for part in each.iterdir())}


async def limited(root: Path) -> ProcessRuntime:
    runtime = ProcessRuntime(directories_below(root), KernelNetwork())
    if not runtime.limits().startswith("enforced"):
        pytest.skip(runtime.limits())
    return runtime


def test_who_goes_over_its_memory_ends_and_that_is_said(tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = await limited(tmp_path)
        wanted = replace(spec(HOG), cpu=1.0)
        instance = await runtime.start(wanted)
        async with asyncio.timeout(60):
            how = await runtime.wait(instance)
        assert how == "killed by the kernel: it went over its memory"
        await runtime.running()
        assert await runtime.wait(instance) == how
        assert not groups(wanted.allocation)

    in_machine(scenario, groups=True)


def test_a_command_that_asks_is_within_the_limits_of_whom_it_asks(tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = await limited(tmp_path)
        instance = await runtime.start(replace(spec(BUSY), cpu=1.0))
        prober = NamespaceProber(directories_below(tmp_path).runtime)
        mine = await run_tool("cat", f"/proc/{instance.pid}/cgroup")
        assert f"/{instance.allocation}\n" in mine
        same = ("sh", "-c", 'test "$(cat /proc/self/cgroup)" = "$0"', mine.rstrip())
        for command, failure in ((same, ""), (HOG, "python3: killed by signal 9")):
            probe = Probe(kind=ProbeKind.EXEC, command=command, timeout_ms=60_000)
            assert (await prober.probe(instance, probe, ())).failure == failure
        assert instance.allocation in await runtime.running()
        await runtime.stop(instance, 0)
        assert not groups(instance.allocation)

    in_machine(scenario, groups=True)


def test_who_is_asked_to_end_does_not_end_for_what_the_kernel_did_to_another(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        runtime = await limited(tmp_path)
        script = "python3 -c '$HOG'; touch survived; exec sleep 1000"
        command = ("sh", "-c", script.replace("$HOG", HOG[-1]))
        instance = await runtime.start(replace(spec(command), cpu=1.0))
        survived = directories_below(tmp_path).state / "instances" / "web.fra.1-1" / "survived"
        async with asyncio.timeout(60):
            while not survived.exists():  # noqa: ASYNC110 - outside
                await asyncio.sleep(0.05)
        waiting = asyncio.ensure_future(runtime.wait(instance))
        await asyncio.sleep(0)
        os.kill(instance.pid, signal.SIGTERM)
        how = await waiting
        await runtime.running()
        assert how.startswith("killed by signal 15")

    in_machine(scenario, groups=True)


def test_cpu_and_processes_are_limited_in_groups_of_our_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        before = empty_groups()  # of others
        runtime = await limited(tmp_path)
        instance = await runtime.start(replace(spec(BUSY), cpu=0.2))
        (most,) = groups(f"{instance.allocation}/pids.max")
        assert most.read_text().strip() == str(PIDS_MAX)
        (stats,) = groups(f"{instance.allocation}/cpu.stat")
        async with asyncio.timeout(60):
            while "nr_throttled 0" in stats.read_text():  # noqa: ASYNC110 - outside
                await asyncio.sleep(0.05)
        await runtime.stop(instance, 0)
        assert empty_groups() <= before

    in_machine(scenario, groups=True)


@needs_old
@pytest.mark.parametrize("cpu", [2.0, 0.001])
def test_more_cpu_than_those_above_have_and_less_than_there_can_be_is_no_reason_not_to_start(
    tmp_path: Path, cpu: float
) -> None:
    number = os.getpid()

    async def scenario() -> None:
        above = OLD / own_groups().get("cpu", "").lstrip("/")
        group = above / f"tried-{number}"
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("10000")
        try:
            (group / "cgroup.procs").write_text(str(os.getpid()))
            runtime = await limited(tmp_path)
            instance = await runtime.start(replace(spec(BUSY), cpu=cpu))
            assert groups(f"{instance.allocation}/cgroup.procs")
            await runtime.stop(instance, 0)
        finally:
            (above / "cgroup.procs").write_text(str(os.getpid()))
            group.rmdir()

    in_machine(scenario, groups=True)


@needs_old
def test_groups_that_cannot_be_written_are_none(tmp_path: Path) -> None:
    async def scenario() -> None:
        for name in ("cpu", "memory", "pids"):
            tree = f"/sys/fs/cgroup/{name}"
            await run_tool("mount", "--bind", "-o", "ro", tree, tree)
        runtime = ProcessRuntime(directories_below(tmp_path), KernelNetwork())
        assert runtime.limits().startswith("not enforced")
        await runtime.stop(await runtime.start(spec(BUSY)), 0)

    in_machine(scenario, groups=True)
