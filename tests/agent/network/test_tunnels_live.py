"""Two edges with a WireGuard link, a client behind one and a server behind the other."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.agent.network.tunnel_end import LINK, TUNNELED
from tests.render.namespaces import eventually, run

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.xdist_group("bird-live"),
]
ROOT = Path(__file__).parents[3]
PERIOD_SECONDS = 30
"""Long enough for some tests between two changes of keys."""
GAP_SECONDS = 1.0
"""The longest silence of the tunnel when its keys change."""
SERVER = ("198.18.2.2", "2001:db8:2::2")
FAR = {"fra-e1": "ams-e1", "ams-e1": "fra-e1"}
BYTES = 60_000
DEAF = """
table inet deaf {
  chain input {
    type filter hook input priority 0;
    icmp type destination-unreachable drop
    icmpv6 type packet-too-big drop
  }
}
"""
SERVE = f"""
import socket
listener = socket.create_server(("::", 7777), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(bytes({BYTES}))
        connection.recv(1)
"""
FETCH = """
import socket, sys
with socket.create_connection((sys.argv[1], 7777), timeout=10) as connection:
    got = 0
    while got < 60000:
        got += len(connection.recv(65536))
    print(got, connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
"""


class TunnelPath:
    """client -- fra-e1 == tunnel over a wire == ams-e1 -- server."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ends: dict[str, subprocess.Popen[bytes]] = {}
        self.others: list[subprocess.Popen[bytes]] = []
        self._tag = f"wg{os.getpid()}"

    def inside(self, name: str, *words: str, fails: bool = False) -> str:
        """Run a command on a machine; return all that it said."""
        enter = ("ip", "netns", "exec", f"{self._tag}-{name}")
        done = subprocess.run((*enter, *words), capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        if bool(done.returncode) != fails:
            raise RuntimeError(f"{words}: {said}")
        return said

    def ip(self, name: str, words: str) -> None:
        run("ip", "-n", f"{self._tag}-{name}", *words.split())

    def build(self) -> None:
        for name in ("client", "fra-e1", "ams-e1", "server"):
            run("ip", "netns", "add", f"{self._tag}-{name}")
            self.ip(name, "link set lo up")
        self._wire("fra-e1", "wire", "ams-e1", "wire")
        self._wire("client", "port", "fra-e1", "access")
        self._wire("server", "port", "ams-e1", "access")
        for name, ours, theirs in (("fra-e1", 1, 2), ("ams-e1", 2, 1)):
            self.ip(name, f"addr add 192.0.2.{ours} peer 192.0.2.{theirs}/32 dev wire")
        for name, edge, number in (("client", "fra-e1", 1), ("server", "ams-e1", 2)):
            for prefix in (f"198.18.{number}.", f"2001:db8:{number}::"):
                length, nodad = ("64", "nodad") if ":" in prefix else ("24", "")
                self.ip(name, f"addr add {prefix}2/{length} dev port {nodad}")
                self.ip(edge, f"addr add {prefix}1/{length} dev access {nodad}")
                self.ip(name, f"route add default via {prefix}1")
        secret = self.directory / "backbone.secret"
        secret.write_text("x" * 40)
        secret.chmod(0o600)
        for name in FAR:
            self.start(name)

    def start(self, name: str) -> None:
        module = (sys.executable, "-m", "tests.agent.network.tunnel_end", name)
        enter = ("ip", "netns", "exec", f"{self._tag}-{name}", *module)
        words = (*enter, str(self.directory / "backbone.secret"), str(PERIOD_SECONDS))
        with (self.directory / f"{name}.log").open("ab") as log:
            self.ends[name] = subprocess.Popen(words, cwd=ROOT, stdout=log, stderr=log)

    def stop(self, name: str) -> None:
        self.ends[name].send_signal(signal.SIGKILL)
        self.ends.pop(name).wait()

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def serve(self) -> None:
        enter = ("ip", "netns", "exec", f"{self._tag}-server")
        self.others.append(subprocess.Popen((*enter, sys.executable, "-c", SERVE)))

    def routes(self) -> None:
        """Route as BIRD would; again after an interface was new."""
        for name, number in (("fra-e1", 2), ("ams-e1", 1)):
            address = TUNNELED.backbone_link_local(TUNNELED.machine(FAR[name]))
            for prefix in (f"198.18.{number}.0/24", f"2001:db8:{number}::/64"):
                via = f"via inet6 {address}" if "." in prefix else f"via {address}"
                self.ip(name, f"route replace {prefix} {via} dev bb-{FAR[name]}")

    def reached(self) -> bool:
        try:
            self.routes()
            return all(self._ping(address, 56) for address in SERVER)
        except RuntimeError:
            return False

    def _ping(self, address: str, size: int) -> bool:
        try:
            self.inside("client", "ping", "-c1", "-W1", "-s", str(size), address)
        except RuntimeError:
            return False
        return True

    def daemon(self, name: str) -> int:
        """Return the process behind the interface, if WireGuard is not in the kernel."""
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = file.read_bytes().split(b"\0")
            except OSError:
                continue
            if words[:2] == [b"wireguard-go", f"bb-{FAR[name]}".encode()]:
                return int(file.parent.name)
        return 0

    def _wire(self, a: str, a_port: str, b: str, b_port: str) -> None:
        far = f"netns {self._tag}-{b}"
        self.ip(a, f"link add {a_port} type veth peer name {b_port} {far}")
        self.ip(a, f"link set {a_port} up")
        self.ip(b, f"link set {b_port} up")

    def remove(self) -> None:
        for process in (*self.ends.values(), *self.others):
            process.kill()
            process.wait()
        for name, far in FAR.items():
            subprocess.run(
                ("ip", "-n", f"{self._tag}-{name}", "link", "del", f"bb-{far}"),
                capture_output=True,
                check=False,
            )
        for name in ("client", "fra-e1", "ams-e1", "server"):
            run("ip", "netns", "del", f"{self._tag}-{name}")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TunnelPath]:
    path = TunnelPath(tmp_path_factory.mktemp("tunnel"))
    try:
        path.build()
        assert eventually(path.reached), path.log("fra-e1") + path.log("ams-e1")
        path.serve()
        yield path
    finally:
        path.remove()


@pytest.mark.parametrize("address", SERVER)
def test_a_packet_that_does_not_fit_is_answered_with_the_size_that_does(
    path: TunnelPath, address: str
) -> None:
    headers = 48 if ":" in address else 28
    ping = ("ping", "-c2", "-W1", "-M", "do", address, "-s")
    for size in (1280, LINK.inner_mtu):
        path.inside("client", *ping, str(size - headers))
    refused = path.inside("client", *ping, str(1500 - headers), fails=True)
    assert re.search(rf"mtu ?= ?{LINK.inner_mtu}", refused), refused


@pytest.mark.parametrize("address", SERVER)
def test_tcp_fits_through_although_nobody_hears_what_does_not(
    path: TunnelPath, address: str
) -> None:
    for name in ("client", "server"):
        for family in ("-4", "-6"):
            path.inside(name, "ip", family, "route", "flush", "cache")
        path.inside(name, "nft", DEAF)
    got, segment = path.inside("client", sys.executable, "-c", FETCH, address).split()
    assert int(got) == BYTES
    headers = 60 if ":" in address else 40
    assert int(segment) <= LINK.inner_mtu - headers


def test_a_deleted_interface_comes_back(path: TunnelPath) -> None:
    path.ip("fra-e1", "link del bb-ams-e1")
    assert not path.reached()
    assert eventually(path.reached, 15), path.log("fra-e1")


def test_a_deleted_rule_for_tcp_comes_back(path: TunnelPath) -> None:
    path.inside("fra-e1", "nft", "flush", "ruleset")
    assert eventually(lambda: "maxseg" in path.inside("fra-e1", "nft", "list", "ruleset"), 5)


def test_the_tunnel_outlives_the_agent_and_is_found_again(path: TunnelPath) -> None:
    before = path.daemon("fra-e1")
    path.stop("fra-e1")
    assert path.reached()
    told = path.log("fra-e1")
    path.start("fra-e1")
    time.sleep(3)
    assert path.reached()
    assert path.daemon("fra-e1") == before
    assert "made bb-ams-e1" not in path.log("fra-e1").removeprefix(told)


def test_the_tunnel_goes_on_with_new_keys(path: TunnelPath) -> None:
    assert eventually(path.reached, 15), path.log("fra-e1")
    before = path.log("fra-e1").count("set keys")
    left = PERIOD_SECONDS - time.time() % PERIOD_SECONDS
    words = ("ping", "-n", "-D", "-i", "0.02", "-w", str(int(left) + 8), SERVER[1])
    said = path.inside("client", *words)
    assert path.log("fra-e1").count("set keys") > before
    heard = [float(at) for at in re.findall(r"^\[([\d.]+)\] .*seq=", said, re.MULTILINE)]
    longest = max(after - at for at, after in pairwise(heard))
    # One end changes its keys some 0.2 s after the other. An attempt that fails costs 5 s.
    assert longest <= GAP_SECONDS
