"""The packet filter in a kernel: an edge between outside networks and a node, with packets.

The test process is the edge. All others are network namespaces that a sleeping process holds.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from itertools import count
from pathlib import Path

import pytest

from pltfrms.drivers.balancer.kernel import KernelBalancer
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.kernel.nftables import NftTable
from pltfrms.errors import UnavailableError
from pltfrms.model.running.balancer import BalancedService, Candidate
from pltfrms.planner.balancing.balancing import hooks_of, settings_of
from pltfrms.planner.balancing.rendezvous import make_table
from pltfrms.render.filter import FILTER_TABLE, REASONS, render_filter
from pltfrms.render.kernel import network_state
from tests.namespaces import in_machine
from tests.render.filter_world import EDGE, PLATFORM
from tests.render.namespaces import eventually

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft"),
]

HOSTS = {
    "node": ("172.31.0.2/30", "172.31.0.1", "fd00:99::2/64", "fd00:99::1"),
    "transit1": (
        "203.0.113.0/31",
        "203.0.113.1",
        "2001:db8:f000:1::/127",
        "2001:db8:f000:1::1",
    ),
    "ixp1": ("192.0.2.1/24", "192.0.2.11", "2001:db8:f1::1/64", "2001:db8:f1::11"),
    "shop": ("203.0.113.20/31", "203.0.113.21", "2001:db8:f2::/127", "2001:db8:f2::1"),
}
"""Of each: address and gateway in IPv4 and IPv6. `node` is on the fabric, the rest outside."""
EXTRA = {
    "node": ("198.51.100.7", "2001:db8:100::7", "10.1.1.1", "fd00:77:0:1001:1::1"),
    "transit1": (
        *("198.18.1.1", "198.51.100.66", "10.1.1.99", "45.20.1.9", "198.18.77.7", "192.0.2.1"),
        *("2001:db8:e001::1", "2001:db8:100::66", "fd00:77::66"),
    ),
    "ixp1": ("192.0.2.2", "192.0.2.3", "2001:db8:f1::2", "2001:db8:f1::3"),
    "shop": (
        *("45.20.1.1", "45.99.1.1", "198.51.100.66"),
        *("2a00:20::1", "2a00:99::1", "2001:db8:100::66"),
    ),
}
"""More addresses, true and forged."""
ROUTES = {
    "node": ("198.51.100.7/32", "2001:db8:100::7/128", "10.1.1.0/24", "fd00:77:0:1001::/64"),
    "transit1": ("198.18.0.0/16", "2001:db8:e001::/48"),
    "shop": ("45.20.0.0/22", "2a00:20::/32"),
}
"""Where the edge sends what; what is not here has no route."""
SERVICE4, SERVICE6 = "198.51.100.7", "2001:db8:100::7"
PYTHON = (sys.executable, "-S", "-u", "-c")
FORGED = (
    ("shop", "45.99.1.1", "node", SERVICE4),
    ("shop", "2a00:99::1", "node", SERVICE6),
    ("transit1", "10.1.1.99", "node", SERVICE4),
    ("transit1", "2001:db8:100::66", "node", SERVICE6),
    ("transit1", "198.18.1.1", "node", "10.1.1.1"),
    ("transit1", "2001:db8:e001::1", "node", "fd00:77:0:1001:1::1"),
)
LISTEN = """
import select, socket
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
server.bind(("::", 7777))
headers = {server: 0}
for protocol, bytes_before in ((4, 28), (41, 48)):
    headers[socket.socket(socket.AF_INET6, socket.SOCK_RAW, protocol)] = bytes_before
while True:
    for ready in select.select(list(headers), [], [])[0]:
        print(ready.recv(200)[headers[ready]:].decode(errors="replace"), flush=True)
"""
"""Prints what datagrams say, also those in outer packets of a director."""
SEND = """
import socket, sys
word, source, target, port = sys.argv[1:]
family = socket.AF_INET6 if ":" in target else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as client:
    client.bind((source, 0))
    client.sendto(word.encode(), (target, int(port)))
"""
WRAP = """
import socket, sys
source, target, protocol = sys.argv[1:]
family = socket.AF_INET6 if ":" in target else socket.AF_INET
with socket.socket(family, socket.SOCK_RAW, int(protocol)) as client:
    client.bind((source, 0))
    client.sendto(bytes(40), (target, 0))
"""
CONNECT = """
import socket, sys
source, target, port, seconds = sys.argv[1:]
place = (target, int(port))
socket.create_connection(place, float(seconds), (source, 0)).close()
"""


class Edge:
    """The edge of the platform with its neighbours, and what they do."""

    def __init__(self) -> None:
        self.table = NftTable(FILTER_TABLE)
        self._held: dict[str, subprocess.Popen[bytes]] = {}
        self._heard: dict[str, subprocess.Popen[bytes]] = {}
        self._words = count()

    async def build(self) -> None:
        _run("ip", "link", "set", "lo", "up")
        for name in HOSTS:
            self._host(name)
        _run("ip", "addr", "add", "172.31.0.1/30", "dev", "fab-a")
        _run("ip", "addr", "add", "fd00:99::1/64", "dev", "fab-a", "nodad")
        network = KernelNetwork()
        await network.apply_state(network_state(PLATFORM, EDGE))
        await network.close()
        for name, prefixes in ROUTES.items():
            for prefix in prefixes:
                far = HOSTS[name][2 if ":" in prefix else 0].split("/")[0]
                _run("ip", "route", "add", prefix, "via", far)
        self._listen()

    def _listen(self) -> None:
        for name in HOSTS:
            self._heard[name] = subprocess.Popen(
                (*self.enter(name), *PYTHON, LISTEN),
                stdout=subprocess.PIPE,
            )
            pipe = self._heard[name].stdout
            assert pipe
            os.set_blocking(pipe.fileno(), False)

    def _host(self, name: str) -> None:
        holder = subprocess.Popen(("unshare", "--net", "sleep", "1000"))
        self._held[name] = holder
        while _namespace(holder.pid) == _namespace(os.getpid()):
            time.sleep(0.01)
        port = "fab-a" if name == "node" else f"x-{name}"
        far = ("peer", "name", "port", "netns", str(holder.pid))
        _run("ip", "link", "add", port, "type", "veth", *far)
        _run("ip", "link", "set", port, "up")
        four, gateway4, six, gateway6 = HOSTS[name]
        for words in (
            "link set lo up",
            "link set port up",
            f"addr add {four} dev port",
            f"addr add {six} dev port nodad",
            f"route add default via {gateway4}",
            f"route add default via {gateway6}",
        ):
            self.inside(name, "ip", *words.split())
        for address in EXTRA[name]:
            # One of a LAN must be on the port, or IPv6 has no neighbour of that address.
            device = ("port", "nodad") if name == "ixp1" and ":" in address else ("lo",)
            self.inside(name, "ip", "addr", "add", address, "dev", *device)

    def enter(self, name: str) -> tuple[str, ...]:
        """Return the words that go before a command to run it in a namespace."""
        return ("nsenter", "-t", str(self._held[name].pid), "-n")

    def inside(self, name: str, *words: str) -> bool:
        """Run a command in a namespace; return whether it succeeded."""
        done = subprocess.run((*self.enter(name), *words), capture_output=True, check=False)
        return done.returncode == 0

    async def balance(self) -> KernelBalancer:
        """Let the director send what goes to the service to the instance at the node."""
        directory = Path(tempfile.mkdtemp())
        balancer = KernelBalancer(directory, KernelNetwork())
        await balancer.start(settings_of(PLATFORM, EDGE))
        await balancer.attach(hooks_of(PLATFORM, EDGE, {}))
        service = BalancedService(
            id=7,
            name="web",
            prefix4=IPv4Network(SERVICE4),
            prefix6=IPv6Network(SERVICE6),
        )
        some = [Candidate(address=IPv6Address("fd00:77:0:1001:1::1"))]
        balancer.put(make_table(service, some)[0])
        balancer.beat()
        return balancer

    async def filter(self) -> bool:
        return await self.table.apply(render_filter(PLATFORM, EDGE))

    def passes(
        self, sender: str, source: str, receiver: str, target: str, seconds: float = 2.0
    ) -> bool:
        """Return whether a datagram arrives."""
        word = f"word {next(self._words)}"
        pipe = self._heard[receiver].stdout
        assert pipe
        assert self.inside(sender, *PYTHON, SEND, word, source, target, "7777")
        return eventually(lambda: word.encode() in (pipe.read() or b"").splitlines(), seconds)

    def lost(self, sender: str, source: str, target: str) -> bool:
        """Return whether a datagram to the node does not arrive; counters tell what it met."""
        return not self.passes(sender, source, "node", target, seconds=0.1)

    def wrap(self, sender: str, source: str, target: str, protocol: int) -> None:
        """Send a packet in a packet."""
        words = (source, target, str(protocol))
        assert self.inside(sender, *PYTHON, WRAP, *words)

    def connects(
        self, sender: str, source: str, target: str, port: int, seconds: float = 3.0
    ) -> bool:
        words = (source, target, str(port), str(seconds))
        return self.inside(sender, *PYTHON, CONNECT, *words)

    def pings(self, sender: str, source: str, target: str) -> bool:
        return self.inside(sender, "ping", "-c1", "-W1", "-I", source, target)

    @contextlib.contextmanager
    def dropped(self, reason: str) -> Iterator[None]:
        """See that packets were dropped meanwhile, and for this reason alone."""
        before = counted()
        yield
        after = counted()
        grown = {each for each in REASONS if after[each] > before[each]}
        assert grown == {reason}


def counted() -> dict[str, int]:
    text = _run("nft", "-j", "list", "counters", "table", *FILTER_TABLE.split())
    counters = [each["counter"] for each in json.loads(text)["nftables"] if "counter" in each]
    return {each["name"]: each["packets"] for each in counters}


def _namespace(pid: int) -> str:
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    return ""


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert not done.returncode, f"{words}: {done.stderr}"
    return done.stdout


def _see_sources(edge: Edge) -> None:
    for true, forged, target in (
        ("45.20.1.1", ("45.99.1.1", "198.51.100.66"), SERVICE4),
        ("2a00:20::1", ("2a00:99::1", "2001:db8:100::66"), SERVICE6),
    ):
        assert edge.passes("shop", true, "node", target)
        assert edge.passes(
            "shop", HOSTS["shop"][2 if ":" in target else 0].split("/")[0], "node", target
        )
        for source in forged:
            with edge.dropped("spoofed-customer"):
                assert edge.lost("shop", source, target)
    for true, forged, target in (
        ("198.18.1.1", ("198.51.100.66", "10.1.1.99"), SERVICE4),
        ("2001:db8:e001::1", ("2001:db8:100::66", "fd00:77::66"), SERVICE6),
    ):
        assert edge.passes("transit1", true, "node", target)
        for source in forged:
            with edge.dropped("spoofed-ours"):
                assert edge.lost("transit1", source, target)
    assert edge.passes("transit1", "45.20.1.9", "node", SERVICE4), "a customer's other way"


def _see_infrastructure(edge: Edge) -> None:
    assert edge.passes("node", SERVICE4, "transit1", "198.18.1.1")
    assert edge.passes("node", SERVICE6, "transit1", "2001:db8:e001::1")
    assert edge.passes("node", SERVICE6, "shop", "2a00:20::1")
    with edge.dropped("private-source"):
        assert not edge.passes("node", "10.1.1.1", "transit1", "198.18.1.1", seconds=0.1)
    for source, targets in (
        ("198.18.1.1", ("10.1.1.1", "10.1.254.1")),
        ("2001:db8:e001::1", ("fd00:77:0:1001:1::1", "fd00:77::1:e:1")),
    ):
        for target in targets:
            with edge.dropped("to-infrastructure"):
                assert edge.lost("transit1", source, target)
                assert not edge.pings("transit1", source, target)
    assert edge.pings("node", "172.31.0.2", "10.1.254.1"), "fabrics are not filtered"


def _see_tunnelled(edge: Edge) -> None:
    for source, target in (("198.18.1.1", SERVICE4), ("198.18.1.1", "203.0.113.1")):
        for protocol in (4, 41):
            with edge.dropped("tunnelled"):
                edge.wrap("transit1", source, target, protocol)
    with edge.dropped("tunnelled"):
        edge.wrap("transit1", "2001:db8:e001::1", SERVICE6, 41)


def _see_edge(edge: Edge) -> None:
    listeners = [
        socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        for port in (179, 22)
    ]
    for neighbours, stranger, target in (
        (("192.0.2.1", "192.0.2.2"), "192.0.2.3", "192.0.2.11"),
        (("2001:db8:f1::1", "2001:db8:f1::2"), "2001:db8:f1::3", "2001:db8:f1::11"),
    ):
        for neighbour in neighbours:
            assert edge.connects("ixp1", neighbour, target, 179)
            with edge.dropped("to-edge"):
                assert not edge.connects("ixp1", neighbour, target, 22, 0.4)
        with edge.dropped("to-edge"):
            assert not edge.connects("ixp1", stranger, target, 179, 0.4)
        assert edge.pings("ixp1", stranger, target)
    assert edge.connects("transit1", "203.0.113.0", "203.0.113.1", 179)
    with edge.dropped("to-edge"):
        assert not edge.connects("transit1", "192.0.2.1", "203.0.113.1", 179, 0.4)
    assert edge.connects("node", "172.31.0.2", "172.31.0.1", 22), "fabrics are not filtered"
    for listener in listeners:
        listener.close()


def _see_datagrams_to_the_edge(edge: Edge) -> None:
    for source, port, arrives in (
        ("203.0.113.0", 3784, True),
        ("198.18.1.1", 3784, False),
        ("203.0.113.0", 53, False),
        ("198.18.77.7", 51999, True),
        ("198.18.1.1", 51999, False),
    ):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("203.0.113.1", port))
            server.settimeout(0.3)
            words = ("word", source, "203.0.113.1", str(port))
            edge.inside("transit1", *PYTHON, SEND, *words)
            heard = b""
            with contextlib.suppress(TimeoutError):
                heard = server.recv(100)
            assert bool(heard) is arrives, (source, port)


def _see_answers_to_our_own_connection(edge: Edge) -> None:
    """We connect to a neighbour's port 179; from there nobody connects to another of ours."""
    serve = "import socket; s = socket.create_server(('203.0.113.0', 179)); s.accept()"
    enter = edge.enter("transit1")
    server = subprocess.Popen((*enter, *PYTHON, serve))
    for _ in range(50):
        with contextlib.suppress(OSError), socket.create_connection(("203.0.113.0", 179), 1):
            break
        time.sleep(0.05)
    else:
        raise AssertionError("no answer from port 179")
    server.kill()
    server.wait()
    sneak = (
        "import socket; s = socket.socket(); s.settimeout(0.6);"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1);"
        "s.bind(('203.0.113.0', 179)); s.connect(('203.0.113.1', 22))"
    )
    with socket.create_server(("203.0.113.1", 22)), edge.dropped("to-edge"):
        assert not edge.inside("transit1", *PYTHON, sneak)


async def _see_it_come_back(edge: Edge) -> None:
    assert not await edge.filter(), "all is as it was made"
    for words in (
        ("flush", "ruleset"),
        ("delete", "table", *FILTER_TABLE.split()),
        ("flush", "chain", *FILTER_TABLE.split(), "to_edge"),
        ("add", "rule", *FILTER_TABLE.split(), "from_neighbour", "drop"),
    ):
        _run("nft", *words)
        assert await edge.filter(), words
        assert not await edge.filter()
    shown = _run("nft", "list", "ruleset")
    with pytest.raises(UnavailableError, match="syntax error"):
        await edge.table.apply("table inet pltfrms_edge { nonsense }")
    assert _run("nft", "list", "ruleset") == shown
    assert await edge.table.apply("")
    assert not await edge.table.apply("")
    assert "pltfrms_edge" not in _run("nft", "list", "ruleset")
    assert all(edge.passes(*each) for each in FORGED), "all this was the filter's work"


def test_packets_from_outside() -> None:
    async def story() -> None:
        edge = Edge()
        await edge.build()
        assert eventually(lambda: all(edge.passes(*each) for each in FORGED)), (
            "not yet filtered"
        )
        assert await edge.filter()
        for see in (
            _see_sources,
            _see_infrastructure,
            _see_tunnelled,
            _see_edge,
            _see_datagrams_to_the_edge,
            _see_answers_to_our_own_connection,
        ):
            see(edge)
        balancer = await edge.balance()
        _see_sources(edge)
        balancer.beat()
        _see_tunnelled(edge)
        counts = balancer.counts().services[7]
        assert counts.packets >= 12, "all of this went through the director"
        await balancer.stop()
        await _see_it_come_back(edge)

    in_machine(story)
