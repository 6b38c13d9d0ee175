"""What every `ports.Network` does for what others start: the kernel's, and its twin."""

import asyncio
from ipaddress import ip_interface

import pytest

from pltfrms.drivers.kernel.devices import here_end
from pltfrms.drivers.kernel.memory import MemoryNetwork
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.kernel.ports import Network
from tests.contracts.test_network import V4, V6, table
from tests.namespaces import in_machine


async def scenario(network: Network) -> None:
    addresses = (ip_interface("198.51.100.1/32"), ip_interface("2001:db8:100::1/128"))
    for _ in range(2):
        await network.attach_here("i1", addresses)
        ports = {port.name: port for port in await network.ports()}
        assert set(addresses) <= set(ports[here_end("i1")].addresses)
        assert ports["i1"].up
        assert ports[here_end("i1")].up
    await network.apply_routes([100], (V4, V6))
    assert await table(network, 100) == {V4, V6}
    await network.detach_instance("i1")
    assert await table(network, 100) == set()
    assert not {port.name for port in await network.ports()} & {"i1", here_end("i1")}


def test_the_twin_puts_addresses_on_the_machine() -> None:
    asyncio.run(scenario(MemoryNetwork()))


@pytest.mark.root
def test_the_kernel_puts_addresses_on_the_machine() -> None:
    async def real() -> None:
        await scenario(KernelNetwork())

    in_machine(real)
