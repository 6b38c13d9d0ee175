"""Interfaces as a kernel has them, and who manages them, as files tell."""

import asyncio
from ipaddress import ip_interface
from pathlib import Path

import pytest

from pltfrms.drivers.kernel.found import managers_of, networkd_flushes
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.model.network.ports import Manager, SeenPort
from pltfrms.model.running.machine import DeviceState, NetworkState
from tests.contracts.test_network import (
    KernelWorld,
    MemoryWorld,
    World,
    ip,
    with_two_devices,
)
from tests.drivers.kernel.test_netlink import write_sysctl
from tests.namespaces import in_machine

_LINK = "run/systemd/netif/links/7"
_NETWORK = "/etc/systemd/network/10-eno1.network"
_MANAGED_LINK = f"ADMIN_STATE=configured\nOPER_STATE=routable\nNETWORK_FILE={_NETWORK}\n"


def _managers(root: Path, files: dict[str, str]) -> list[Manager]:
    for name, text in files.items():
        file = root / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return list(managers_of(root, 7, "eno1"))


@pytest.mark.parametrize(
    ("files", "managers"),
    [
        ({}, []),
        (
            {"run/NetworkManager/devices/7": "[device]\nmanaged=true\n"},
            [Manager.NETWORK_MANAGER],
        ),
        ({"run/NetworkManager/devices/7": "[device]\nmanaged=false\n"}, []),
        ({"run/NetworkManager/devices/8": "[device]\nmanaged=true\n"}, []),
        ({_LINK: _MANAGED_LINK, _NETWORK: "[Network]\nDHCP=yes\n"}, [Manager.NETWORKD]),
        ({_LINK: _MANAGED_LINK}, [Manager.NETWORKD]),
        ({_LINK: _MANAGED_LINK, _NETWORK: "[Network]\nKeepConfiguration=yes\n"}, []),
        ({_LINK: "ADMIN_STATE=unmanaged\nOPER_STATE=carrier\n"}, []),
        ({"run/dhcpcd/eno1.pid": "4711"}, [Manager.DHCPCD]),
        ({"run/dhcpcd/eno1-4.pid": "4711"}, [Manager.DHCPCD]),
        ({"run/dhcpcd/eno10.pid": "4711"}, []),
        ({"run/dhcpcd/pid": "4711"}, [Manager.DHCPCD]),
        (
            {
                "run/dhcpcd/pid": "1",
                "etc/dhcpcd.conf": "option rapid\ndenyinterfaces lo eno*\n",
            },
            [],
        ),
        ({"run/dhcpcd.pid": "1", "etc/dhcpcd.conf": "allowinterfaces eth0\n"}, []),
        ({"run/dhclient.eno1.pid": "4711"}, [Manager.DHCLIENT]),
        (
            {"etc/network/interfaces": "auto eno1\niface eno1 inet dhcp\n"},
            [Manager.IFUPDOWN],
        ),
        (
            {
                "etc/network/interfaces": "iface lo inet loopback\niface eno1 inet manual\n",
                "etc/network/interfaces.d/x": "iface eno1.7 inet static\n",
            },
            [],
        ),
    ],
)
def test_a_manager_is_known_by_what_it_leaves_in_files(
    tmp_path: Path, files: dict[str, str], managers: list[Manager]
) -> None:
    assert _managers(tmp_path, files) == managers


def test_networkd_removes_what_it_did_not_set_unless_it_is_told_not_to(tmp_path: Path) -> None:
    assert not networkd_flushes(tmp_path), "it does not run"
    _managers(tmp_path, {"run/systemd/netif/state": "OPER_STATE=routable\n"})
    assert networkd_flushes(tmp_path)
    half = "[Network]\n#ManageForeignRoutes=yes\nManageForeignRoutes=no\n"
    _managers(tmp_path, {"etc/systemd/networkd.conf": half})
    assert networkd_flushes(tmp_path)
    rest = "[Network]\nManageForeignRoutingPolicyRules=no\n"
    _managers(tmp_path, {"etc/systemd/networkd.conf.d/pltfrms.conf": rest})
    assert not networkd_flushes(tmp_path)


@pytest.mark.root
def test_interfaces_are_seen_with_all_that_a_port_needs() -> None:
    async def scenario() -> None:
        for words in (
            "link add eno1 mtu 9000 type veth peer name far-eno1",
            "link set far-eno1 up",
            "link set eno1 up",
            "link add br0 type bridge",
            "link add eth9 type veth peer name far-eth9",
            "link set eth9 master br0 up",
            "link add link eno1 name mac0 type macvlan mode bridge",
            "address add 203.0.113.10/24 dev eno1",
        ):
            ip(words)
        write_sysctl("net/ipv6/conf/eno1/disable_ipv6", "1")
        write_sysctl("net/ipv6/conf/eno1/accept_ra", "1")
        write_sysctl("net/ipv6/conf/mac0/accept_ra", "2")
        network = KernelNetwork()
        seen = {port.name: port for port in await network.ports()}
        await network.close()
        assert seen["eno1"] == SeenPort(
            name="eno1",
            kind="veth",
            mtu=9000,
            addresses=(ip_interface("203.0.113.10/24"),),
            parent="far-eno1",
            ipv6=False,
            hears_as_host=True,
        )
        assert not seen["mac0"].hears_as_host
        assert (seen["eth9"].master, seen["eth9"].carrier) == ("br0", False)
        assert (seen["mac0"].kind, seen["mac0"].parent) == ("macvlan", "eno1")
        assert (seen["mac0"].up, seen["mac0"].ipv6) == (False, True)

    in_machine(scenario)


@pytest.mark.parametrize("kind", ["memory", pytest.param("kernel", marks=pytest.mark.root)])
def test_ports_are_seen_with_what_was_set_on_them(kind: str) -> None:
    async def scenario() -> None:
        world: World = KernelWorld() if kind == "kernel" else MemoryWorld()
        network = await with_two_devices(world)
        world.add_device("i3")
        address = ip_interface("2001:db8::7/64")
        device = DeviceState(name="i1", addresses=(address,), mtu=1400)
        await network.apply_state(NetworkState(devices=(device,)))
        seen = {port.name: port for port in await network.ports()}
        assert (seen["i1"].mtu, seen["i2"].mtu) == (1400, 1500)
        assert address in seen["i1"].addresses
        assert address not in seen["i2"].addresses
        assert [seen[name].up for name in ("i1", "i2", "i3")] == [True, True, False]
        assert [seen[name].carrier for name in ("i1", "i2", "i3")] == [True, True, False]
        assert not any(port.master or port.managers for port in seen.values())

        await network.close()

    if kind == "kernel":
        in_machine(scenario)
    else:
        asyncio.run(scenario())
