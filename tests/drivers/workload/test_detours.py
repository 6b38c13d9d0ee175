"""The table that leads to what others start behind this machine, as others leave it there."""

import asyncio
import re
import shutil
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from pltfrms.agent.network.clearing import end_adopted
from pltfrms.drivers.kernel import nftables
from pltfrms.drivers.kernel.memory import MemoryNetwork
from pltfrms.drivers.tool import ToolFailedError
from pltfrms.drivers.workload.instance import port_filters, records
from pltfrms.drivers.workload.instance.port_filters import PortFilters
from pltfrms.drivers.workload.process import ProcessRuntime
from pltfrms.model.running.machine import InstanceSpec
from pltfrms.model.services.container import Adopted
from pltfrms.render.detour import render_detour
from tests.contracts.test_workload import directories_below, spec
from tests.strategies import make_spec


class Nft:
    """As much of nft as is said to it: tables of one namespace, and what was done."""

    def __init__(self) -> None:
        self.tables: dict[str, str] = {}
        self.loads = 0
        self.refuses = False

    async def __call__(self, *words: str, text: str = "") -> str:
        if self.refuses:
            raise ToolFailedError(words, "Error: Could not process rule")
        if "list" in words:
            name = " ".join(words[-2:])
            if name not in self.tables:
                raise ToolFailedError(words, "Error: No such file or directory")
            return self.tables[name]
        if "-c" not in words:
            (name,) = re.findall(r"^delete table (.*)$", text, re.MULTILINE)
            self.tables.pop(name, None)
            made = text.partition(f"delete table {name}\n")[2]
            self.tables |= {name: made} if made else {}
            self.loads += 1
        return ""


@pytest.fixture
def nft(monkeypatch: pytest.MonkeyPatch) -> Nft:
    found = Nft()
    for module in (nftables, port_filters):
        monkeypatch.setattr(module, "run_tool", found)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/sbin/{name}")
    return found


def behind(address: str = "10.9.0.2") -> InstanceSpec:
    found = replace(spec(()), adopted=Adopted(), elsewhere=(ip_address(address),))
    return replace(found, ports=render_detour(make_spec(), found))


def test_it_is_made_again_when_somebody_flushed_or_changed_it(nft: Nft, tmp_path: Path) -> None:
    filters = PortFilters(directories_below(tmp_path))

    async def scenario() -> None:
        await filters.lead(behind())
        (name,), before = nft.tables, dict(nft.tables)
        await filters.lead(behind())
        assert nft.loads == 1, "all was as it is to be"
        nft.tables.clear()
        await filters.lead(behind())
        assert nft.tables == before
        nft.tables[name] += "and more"
        await filters.lead(behind())
        assert nft.tables == before
        await filters.lead(behind("10.9.0.3"))
        assert "dnat ip to 10.9.0.3" in nft.tables[name]

    asyncio.run(scenario())


def test_another_agent_ends_what_one_before_it_made(nft: Nft, tmp_path: Path) -> None:
    async def scenario() -> None:
        directories = directories_below(tmp_path)
        await PortFilters(directories).lead(behind())
        after = PortFilters(directories)
        await after.lead(behind())
        assert len(nft.tables) == 1
        await after.end(behind().allocation)
        assert nft.tables == {}
        await after.lead(behind())
        assert len(nft.tables) == 1, "as it was before it ended"

    asyncio.run(scenario())


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The network devices that there are: all are that are put here."""
    found = {behind().device}
    monkeypatch.setattr(records, "has_device", found.__contains__)
    return found


def runtime_in(directory: Path) -> ProcessRuntime:
    directories, groups = directories_below(directory), directory / "cgroups"
    return ProcessRuntime(directories, MemoryNetwork(), cgroup_root=groups)


def test_a_table_that_cannot_be_ended_keeps_up_nobody_else(
    nft: Nft, devices: set[str], tmp_path: Path
) -> None:
    async def scenario() -> None:
        runtime = runtime_in(tmp_path)
        await runtime.start(behind())
        devices.clear()
        nft.refuses = True
        assert await runtime.running() == {}
        assert len(nft.tables) == 1
        nft.refuses = False
        assert await runtime.running() == {}
        assert nft.tables == {}, "it was tried again"

    asyncio.run(scenario())


def test_a_machine_that_leaves_leads_nowhere(
    nft: Nft, devices: set[str], tmp_path: Path
) -> None:
    async def scenario() -> None:
        await runtime_in(tmp_path).start(behind())
        after = runtime_in(tmp_path)
        nft.refuses = True
        await end_adopted(after)
        nft.refuses = False
        assert await after.running()
        await end_adopted(after)
        assert nft.tables == {}
        assert await after.running() == {}
        assert devices

    asyncio.run(scenario())
