"""Whether packets in packets reach a machine, asked of a kernel."""

import subprocess
from ipaddress import IPv6Address

import pytest

from pltfrms.drivers.kernel.checked.preflight import swallowed
from pltfrms.model.network.system import LocalWay
from tests.drivers.kernel.test_netlink import attached, far_end
from tests.namespaces import in_machine

pytestmark = pytest.mark.root

WAY = LocalWay("i1", "fra-n2", IPv6Address("fe80::2"))
PROTOCOLS = (4, 41)


def tool(*words: str, text: str = "") -> None:
    subprocess.run(words, input=text, text=True, check=True)


def drop(protocol: int, pid: int) -> None:
    """Let the machine of a process drop a protocol unheard."""
    chain = "type filter hook input priority 0;"
    rules = f"table ip6 x {{ chain in {{ {chain} meta l4proto {protocol} drop; }}; }}\n"
    tool("nsenter", "-t", str(pid), "-n", "nft", "-f", "-", text=rules)


def test_the_protocol_that_a_host_of_machines_drops_is_found() -> None:
    async def scenario() -> None:
        tool("mount", "-t", "sysfs", "sysfs", "/sys")  # which shows ports of this machine
        network, pid = await attached()
        far_end(pid, "address add fe80::2/64 dev eth0 nodad")
        assert await swallowed([WAY], PROTOCOLS) == ()
        drop(41, pid)
        assert await swallowed([WAY], PROTOCOLS) == (("i1", "fra-n2", 41),)
        drop(4, pid)
        missing = LocalWay("i2", "fra-n3", WAY.address)
        both = (("i1", "fra-n2", 4), ("i1", "fra-n2", 41))
        assert await swallowed([WAY, missing], PROTOCOLS) == both
        await network.close()

    in_machine(scenario)
