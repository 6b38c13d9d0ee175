"""What is left of what others start, where the agent ends while it adopts it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.drivers.kernel.memory import MemoryNetwork
from pltfrms.drivers.workload.process import ProcessRuntime
from pltfrms.model.addresses import Interface
from pltfrms.model.services.container import Adopted
from tests.contracts.test_workload import directories_below, spec


class EndsMeanwhile(MemoryNetwork):
    async def attach_here(self, device: str, addresses: Sequence[Interface]) -> None:
        await super().attach_here(device, addresses)
        raise asyncio.CancelledError


def test_no_address_is_left_where_the_agent_ends_meanwhile(tmp_path: Path) -> None:
    async def scenario() -> None:
        network = EndsMeanwhile()
        runtime = ProcessRuntime(directories_below(tmp_path), network, cgroup_root=tmp_path)
        with pytest.raises(asyncio.CancelledError):
            await runtime.start(replace(spec(()), adopted=Adopted()))
        assert network.addresses == MemoryNetwork().addresses

    asyncio.run(scenario())
