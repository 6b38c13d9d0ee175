"""What a node lets its instances send to the internet, with real packets.

Three namespaces in a row: an instance, its node, and the internet. One more is a neighbour of
the node, which is an edge, too.
"""

import asyncio
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from pltfrms.model.services.outgoing import Egress, EgressMode, EgressRule
from pltfrms.render.egress import Leaver, render_egress
from tests.model.services.test_egress import NODE, SPEC, UNICAST
from tests.namespaces import in_machine

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("nft") is None, reason="asks nft"),
]
SLOT, INSIDE4, OWN6 = 1, "10.1.1.1", "2001:db8:a:1::1"
INSIDE6, SERVICE = "fd00:77:0:1001:1:1:0:1", "198.51.100.1"
PORT = {4: "198.51.100.129", 6: "2001:db8:100::8:1"}
"""A neighbour's port at this machine that has an address of ours."""
NAMES = ("inst", "net", "peer")
THEIRS = {4: "198.18.1.1", 6: "2001:db8:e001::1"}
SERVER = """
import socket
for port in (80, 81):
    import threading
    def serve(port):
        server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        while True:
            one, (peer, *_) = server.accept()
            one.sendall(peer.removeprefix("::ffff:").encode()); one.close()
    threading.Thread(target=serve, args=(port,)).start()
"""
ASK = """
import socket, sys
address, port, source = sys.argv[1:]
try:
    line = socket.create_connection((address, int(port)), 1, (source, 0) if source else None)
    print(line.recv(99).decode(), end="")
except OSError as error:
    print("refused", end="")
"""


def sh(line: str, text: str = "") -> str:
    words = ("sh", "-c", line)
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    assert not done.returncode, (line, done.stderr)
    return done.stdout


def give(name: str, device: str, addresses: Iterable[str]) -> None:
    for address in addresses:
        sh(f"ip -n {name} address add {address} dev lo")
        six = "-6" if ":" in address else ""
        via = "via" if six else "via inet6"
        sh(f"ip {six} route add {address} {via} fe80::2 dev {device}")


def wire() -> None:
    sh("mount -t tmpfs none /run && mkdir /run/netns")  # seen by nobody else
    for name in NAMES:
        sh(f"ip netns add {name}")
    sh("ip link add i1 type veth peer eth0 netns inst")
    sh("ip link add fab-a type veth peer eth0 netns net")
    sh("ip link add port type veth peer eth0 netns peer")
    for where in ("", *(f"ip netns exec {name} " for name in NAMES)):
        sh(f"{where}ip link set lo up")
        for scope in ("all", "default"):
            sh(f"{where}sysctl -qw net.ipv6.conf.{scope}.accept_dad=0")
    sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    for device in ("i1", "fab-a", "port"):
        sh(f"ip link set {device} up")
        sh(f"ip address add fe80::1/64 dev {device} nodad")
    for name in NAMES:
        sh(f"ip -n {name} link set eth0 up")
        sh(f"ip -n {name} address add fe80::2/64 dev eth0 nodad")
        sh(f"ip -n {name} route add 0.0.0.0/0 via inet6 fe80::1 dev eth0")
        sh(f"ip -n {name} route add ::/0 via fe80::1 dev eth0")
    give("inst", "i1", (INSIDE4, SERVICE, OWN6, INSIDE6))
    give("peer", "port", PORT.values())
    for version, address in THEIRS.items():
        sh(f"ip -n net address add {address} dev lo")
        via = "via" if version == 6 else "via inet6"
        sh(f"ip -{version} route add default {via} fe80::2 dev fab-a")


@contextmanager
def servers() -> Iterator[None]:
    running = [
        subprocess.Popen(["ip", "netns", "exec", name, "python3", "-c", SERVER])
        for name in ("inst", "net")
    ]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def judge(mode: EgressMode | None, *allow: EgressRule) -> None:
    spec = replace(SPEC, egress=Egress(mode=mode, allow=allow))
    text = render_egress(UNICAST, NODE.name, [Leaver(device="i1", slot=SLOT, spec=spec)])
    table = "inet pltfrms_egress"
    sh("nft -f -", f"table {table}\ndelete table {table}\n{text}")


def ask(name: str, address: str, source: str = "", port: int = 80) -> str:
    words = ["ip", "netns", "exec", name, "python3", "-c", ASK, address, str(port), source]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def fend_off() -> None:
    """Give the node a firewall as hosts have them: in comes what is an answer."""
    sh(
        "nft -f -",
        """
        table inet host {
          chain input {
            type filter hook input priority 0; policy drop;
            ct state established, related accept
            meta l4proto ipv6-icmp accept
          }
        }
        """,
    )


def ask_as_node(address: str, source: str) -> str:
    words = ["python3", "-c", ASK, address, "80", source]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def tracked() -> int:
    return int(sh("cat /proc/sys/net/netfilter/nf_conntrack_count"))


async def scenario() -> None:
    wire()
    with servers():
        await asyncio.sleep(1)
        judge(None)
        # The service is answered, and leaves no state.
        assert ask("net", SERVICE) == THEIRS[4]
        assert tracked() == 0
        # What leaves has the promised sources, and answers come back.
        assert ask("inst", THEIRS[4], INSIDE4) == "192.0.2.1"
        assert ask("inst", THEIRS[6], OWN6) == OWN6
        assert tracked() > 0
        # A neighbour asks, from an address of ours.
        for version, address in THEIRS.items():
            assert ask("peer", address, PORT[version]) == PORT[version]
        # Private sources, and a service that asks, do not leave; nobody may ask us.
        assert ask("inst", THEIRS[6], INSIDE6) == "refused"
        assert ask("inst", THEIRS[4], SERVICE) == "refused"
        assert ask("net", OWN6) == "refused"
        judge(None, EgressRule(protocol="tcp", port=81))
        assert ask("inst", THEIRS[4], INSIDE4) == "refused"
        assert ask("inst", THEIRS[4], INSIDE4, 81) == "192.0.2.1"
        assert ask("inst", THEIRS[6], OWN6, 81) == OWN6
        judge(EgressMode.OWN)
        assert ask("net", OWN6) == THEIRS[6]
        # The node itself asks, whatever it is told to let its instances do.
        sh("ip address add 203.0.113.9/32 dev lo && ip address add 10.1.1.0/32 dev lo")
        fend_off()
        for mode in (None, EgressMode.NONE):
            judge(mode)
            assert ask_as_node(THEIRS[4], "203.0.113.9") == "203.0.113.9"
            assert ask_as_node(SERVICE, "10.1.1.0") == "10.1.1.0"
            assert ask("net", SERVICE) == THEIRS[4]
        judge(EgressMode.NONE)
        assert ask("inst", THEIRS[4], INSIDE4) == "refused"
        assert ask("inst", THEIRS[6], OWN6) == "refused"
        assert ask("net", SERVICE) == THEIRS[4]


def test_what_leaves_has_the_promised_source_and_neither_service_nor_host_notices() -> None:
    in_machine(scenario)
