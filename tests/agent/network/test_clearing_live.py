"""A kernel has nothing of ours when it has been cleared."""

from pathlib import Path

import pytest

from pltfrms.agent.network.clearing import clear_kernel
from pltfrms.drivers.balancer.memory import MemoryBalancer
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.render.kernel import network_state
from pltfrms.specfile import load_platform
from tests.contracts.test_network import ip
from tests.namespaces import in_machine

pytestmark = pytest.mark.root

PLATFORM = load_platform(Path("examples/three-servers/platform.yaml"))
LOOKS = (
    "-4 rule",
    "-6 rule",
    "-4 route show table all proto 12",
    "-o address show dev lo scope global",
)


def look() -> list[str]:
    return [ip(words) for words in LOOKS]


def test_rules_routes_and_addresses_are_gone() -> None:
    async def scenario() -> None:
        network = KernelNetwork()
        ip("link set lo up")
        before = look()
        await network.apply_state(network_state(PLATFORM, "fra1"))
        ip("route add blackhole 192.0.2.0/24 proto 12")
        with_ours = look()
        assert all(one != other for one, other in zip(before, with_ours, strict=True))
        await clear_kernel(MemoryBalancer(SystemClock(), tuple), PLATFORM, "fra1")
        assert look() == before
        await network.close()

    in_machine(scenario)
