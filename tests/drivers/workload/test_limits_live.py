"""Limits that hold: who goes over its memory is ended, and it is said why."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.workload.limits import PIDS_MAX
from pltfrms.drivers.workload.process import ProcessRuntime
from tests.contracts.test_workload import directories_below, spec
from tests.namespaces import in_machine

pytestmark = pytest.mark.root

HOG = ("python3", "-c", "held = [bytes(1 << 20) and bytearray(1 << 20) for _ in range(512)]")
BUSY = ("python3", "-c", "while True: pass")


def groups(name: str) -> list[Path]:
    return list(Path("/sys/fs/cgroup").rglob(f"pltfrms/**/{name}"))


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


def test_cpu_and_processes_are_limited_in_groups_of_our_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = await limited(tmp_path)
        instance = await runtime.start(replace(spec(BUSY), cpu=0.2))
        (most,) = groups(f"{instance.allocation}/pids.max")
        assert most.read_text().strip() == str(PIDS_MAX)
        (stats,) = groups(f"{instance.allocation}/cpu.stat")
        async with asyncio.timeout(60):
            while "nr_throttled 0" in stats.read_text():  # noqa: ASYNC110 - outside
                await asyncio.sleep(0.05)
        await runtime.stop(instance, 0)

    in_machine(scenario, groups=True)
