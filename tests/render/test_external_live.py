"""The text for routers of others in a real FRR, with our nodes' BIRDs, over two fabrics."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pltfrms.model.network.lab import Lab
from pltfrms.render.external import render_external
from tests.render.external import OTHERS
from tests.render.instances_world import address as instance_address
from tests.render.instances_world import instance, instance_device, ready
from tests.render.namespaces import Net, eventually, run
from tests.render.test_bird_live import no_service, route, service

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.skipif(shutil.which("vtysh") is None, reason="needs FRR"),
    pytest.mark.xdist_group("bird-live"),
]

SERVICE = ("198.51.100.1", "2001:db8:100::1")
DEFAULTS = ("default", "::/0")
ROUTER = "fra-x3"
WRONG = """
protocol static 'static.wrong' {
  ipv4;
  route 10.1.1.0/24 unreachable;
  route 192.0.2.0/24 unreachable;
  route 198.51.100.0/24 unreachable;
}
protocol static 'static.wrong6' {
  ipv6;
  route 2001:db8:bad::/48 unreachable;
}
"""
REFUSED = ("10.1.1.0/24", "192.0.2.0/24", "198.51.100.0/24", "2001:db8:bad::/48")


class NetOfOthers(Net):
    """Machines of ours with BIRD, and FRR where others manage an edge."""

    def __init__(self, directory: Path, frr: Path) -> None:
        super().__init__(OTHERS, Lab(), directory, {"fra-n2": WRONG})
        self.frr = frr
        self.routers: list[subprocess.Popen[bytes]] = []

    def vtysh(self, machine: str, *words: str) -> str:
        sockets = ("--vty_socket", str(self.frr / machine))
        return run("ip", "netns", "exec", self.namespace(machine), "vtysh", *sockets, *words)

    def _start(self, machine: str, *options: str) -> None:
        if self.platform.machine(machine).external:
            self._start_frr(machine)
        else:
            super()._start(machine, *options)

    def _start_frr(self, machine: str) -> None:
        place = self.frr / machine
        place.mkdir()
        shutil.chown(place, "frr", "frr")
        enter = ("ip", "netns", "exec", self.namespace(machine))
        # -P 0: no terminal over TCP.
        common = ("-P", "0", "-f", "/dev/null", "-z", f"{place}/zserv", "--vty_socket")
        for daemon in ("zebra", "bfdd", "bgpd"):
            words = (*common, str(place), "-i", f"{place}/{daemon}.pid")
            extra = ("--bfdctl", f"{place}/bfdd.sock") if daemon == "bfdd" else ()
            self.routers.append(
                subprocess.Popen(
                    [*enter, f"/usr/lib/frr/{daemon}", *words, *extra],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            assert eventually((place / f"{daemon}.vty").exists, 5)
        config = self.frr / f"{machine}.conf"
        config.write_text(render_external(self.platform, machine))
        self.vtysh(machine, "-f", str(config))

    def remove(self) -> None:
        for router in self.routers:
            router.kill()
            router.wait()
        super().remove()


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetOfOthers]:
    frr = Path(tempfile.mkdtemp(prefix="pltfrms-frr-"))  # FRR is not root, it must get there
    frr.chmod(0o755)
    net = NetOfOthers(tmp_path_factory.mktemp("birds"), frr)
    try:
        net.build()
        net.ip(ROUTER, "link add out type veth peer name out-far")
        net.ip(ROUTER, "link set out up")
        net.ip(ROUTER, "link set out-far up")
        net.ip(ROUTER, "addr add 203.0.113.1/24 dev out")
        yield net
    finally:
        net.remove()
        shutil.rmtree(frr)


def default(net: Net, verb: str) -> None:
    net.ip(ROUTER, f"-4 route {verb} default via 203.0.113.2 proto static")
    net.ip(ROUTER, f"-6 route {verb} default via fe80::9 dev out proto static")


def both_ways(net: Net, machine: str, prefix: str, nexthops: tuple[str, str]) -> bool:
    shown = route(net, machine, prefix)
    return all(
        f"{nexthop} dev {interface}" in shown
        for nexthop, interface in zip(nexthops, ("fab-a", "fab-b"), strict=True)
    )


def test_sessions_and_bfd_come_up_over_both_fabrics(net: NetOfOthers) -> None:
    for node in ("fra-n1", "fra-n2", "ams-n1"):
        assert eventually(lambda: not [s for s in net.sessions_down() if node in s]), node  # noqa: B023
        shown = net.birdc(node, "show bfd sessions")
        assert shown.count(" Up ") == (4 if node == "ams-n1" else 2), shown
    peers = net.vtysh(ROUTER, "-c", "show bfd peers")
    assert peers.count("Status: up") == 4, peers


@pytest.mark.parametrize("address", SERVICE)
def test_a_service_arrives_in_its_kernel(net: NetOfOthers, address: str) -> None:
    service(net, "fra-n1", address)
    nexthops = ("fe80::1:a:1", "fe80::2:a:1")
    assert eventually(lambda: both_ways(net, ROUTER, address, nexthops), 3)
    no_service(net, "fra-n1", address)
    assert eventually(lambda: not route(net, ROUTER, address), 3)


@pytest.mark.parametrize("address", SERVICE)
def test_a_service_that_drains_loses(net: NetOfOthers, address: str) -> None:
    service(net, "fra-n1", address, proto=182)
    assert eventually(lambda: "fe80::1:a:1" in route(net, ROUTER, address), 3)
    service(net, "fra-n2", address)
    assert eventually(
        lambda: both_ways(net, ROUTER, address, ("fe80::1:a:2", "fe80::2:a:2")), 3
    )
    assert "a:1 " not in route(net, ROUTER, address)
    for node in ("fra-n1", "fra-n2"):
        no_service(net, node, address)


def test_nodes_have_its_default_routes_while_it_has_some(net: NetOfOthers) -> None:
    assert not route(net, "fra-n1", "default")
    default(net, "add")
    for prefix in DEFAULTS:
        assert eventually(lambda: both_ways(net, "fra-n1", prefix, ("fe80::e:3",) * 2), 3)  # noqa: B023
    assert net.ping("fra-n1", "10.1.1.0", "203.0.113.1")
    default(net, "del")
    for prefix in DEFAULTS:
        assert eventually(lambda: not route(net, "fra-n1", prefix), 3)  # noqa: B023


def test_what_a_node_may_not_announce_is_refused(net: NetOfOthers) -> None:
    heard = net.vtysh(
        ROUTER,
        *("-c", "show bgp ipv4 neighbors fe80::1:a:2 received-routes"),
        *("-c", "show bgp ipv6 neighbors fe80::1:a:2 received-routes"),
    )
    nexthops = route(net, ROUTER, "10.1.1.0/24")
    assert "a:1 " in nexthops
    assert "a:2 " not in nexthops
    for prefix in REFUSED:
        assert prefix in heard
        if prefix != "10.1.1.0/24":
            assert not route(net, ROUTER, prefix)


def test_beside_our_own_edge_the_infrastructure_is_behind_that(net: NetOfOthers) -> None:
    for prefix in ("10.0.0.0/8", "fd00:77::/48"):
        assert eventually(lambda: "fe80::e:1 dev fab-a" in route(net, "ams-n1", prefix), 3)  # noqa: B023
        assert "fe80::e:2" not in route(net, "ams-n1", prefix)


def test_it_hears_of_no_instance_and_our_edge_beside_it_does(net: NetOfOthers) -> None:
    instance_device(net, "ams-n1")
    instance(net, "ams-n1")
    one = instance_address("ams-n1")
    for name in ("ams-e1", "ams-n1"):
        assert eventually(lambda: ready(net, name) == {one: [1010]}, 2)  # noqa: B023
    heard = net.vtysh("ams-x2", "-c", "show bgp ipv6 neighbors fe80::1:a:1 received-routes")
    assert "fd00:77:0:1002:1::/80" in heard
    assert one not in heard


def test_a_dead_node_is_gone_within_a_second(net: NetOfOthers) -> None:
    for address in SERVICE:
        service(net, "fra-n2", address)
        assert eventually(lambda: route(net, ROUTER, address), 3)  # noqa: B023
    node = net.daemons.pop("fra-n2")
    node.kill()
    since = time.monotonic()
    node.wait()
    assert eventually(lambda: not any(route(net, ROUTER, one) for one in SERVICE), 3)
    assert time.monotonic() - since < 1
