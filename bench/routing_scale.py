"""How an edge's BIRD does at size: service prefixes, a full table, many peers, a restart.

    .venv/bin/python bench/routing_scale.py [--services N] [--external N] [--peers N] [--json]

Runs as root, in network namespaces of its own: one edge and eleven nodes of ours with the
configuration that the platform renders, and one BIRD that plays all peers. Times are until the
kernel of the edge has the routes, not until BIRD has them.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from pathlib import Path

from pltfrms.model.network.peering import Peer, PeerKind, Session
from pltfrms.model.network.topology import Aggregate, Datacenter, Machine, Platform, Role
from pltfrms.model.running.machine import SERVICE_TABLE
from pltfrms.render.bird import render_bird
from pltfrms.render.kernel import network_state

NODES = 11
_TAG = f"rs{os.getpid()}"
_EDGE = "edge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    what: str
    value: float
    unit: str


def platform_of(peers: int) -> Platform:
    """Return one datacenter with one edge, eleven nodes and so many transits."""
    return Platform(
        name="scale",
        asn=64500,
        aggregates=(
            Aggregate(prefix=ip_network("198.18.0.0/15")),
            Aggregate(prefix=ip_network("2001:db8:100::/40")),
        ),
        infrastructure4=IPv4Network("10.0.0.0/8"),
        infrastructure6=IPv6Network("fd00:5::/48"),
        datacenters=(Datacenter(name="dc", id=1, fabrics=("a",)),),
        machines=(
            Machine(name=_EDGE, datacenter="dc", role=Role.EDGE, id=1),
            *(
                Machine(name=f"node{n}", datacenter="dc", role=Role.NODE, id=n)
                for n in range(1, NODES + 1)
            ),
        ),
        peers=tuple(
            Peer(
                name=f"transit{n}",
                kind=PeerKind.TRANSIT,
                asn=64600 + n,
                sessions=(
                    Session(
                        edge=_EDGE,
                        ours=(ip_interface(f"203.0.113.{2 * n + 1}/31"),),
                        theirs=(ip_address(f"203.0.113.{2 * n}"),),
                        interface=f"x{n}",
                    ),
                ),
            )
            for n in range(peers)
        ),
    )


def run(*command: str, stdin: str = "") -> str:
    """Run a command; RuntimeError with its words if it fails."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.strip()}")
    return done.stdout


def seconds_until(condition: Callable[[], bool], limit_seconds: float = 300.0) -> float:
    """Return how long it took; RuntimeError if it never came."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > limit_seconds:
            raise RuntimeError("it did not happen in time")
        time.sleep(0.02)
    return time.monotonic() - start


class Site:
    """The namespaces and their daemons."""

    def __init__(self, directory: Path, platform: Platform, external: int) -> None:
        """Build nothing yet."""
        self.directory = directory
        self.platform = platform
        self.external = external
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.places = [machine.name for machine in platform.machines] + ["switch", "outside"]

    def ip(self, place: str, *words: str, stdin: str = "") -> str:
        """Run iproute2 in a namespace."""
        return run("ip", "-n", f"{_TAG}-{place}", *words, stdin=stdin)

    def birdc(self, place: str, words: str) -> str:
        """Return what a BIRD answers."""
        return run("birdc", "-s", str(self.directory / f"{place}.ctl"), words)

    def build(self) -> None:
        """Wire and configure everything; start the daemons of ours."""
        for place in self.places:
            run("ip", "netns", "add", f"{_TAG}-{place}")
            self.ip(place, *["link", "set", "lo", "up"])
        self.ip("switch", *["link", "add", "fabric", "type", "bridge", "mcast_snooping", "0"])
        self.ip("switch", *["link", "set", "fabric", "up"])
        for machine in self.platform.machines:
            self._veth("switch", machine.name, machine.name, "fab-a")
            self.ip("switch", *f"link set {machine.name} master fabric up".split())
        for n, peer in enumerate(self.platform.peers):
            self._veth("outside", f"p{n}", _EDGE, peer.sessions[0].interface)
            self.ip("outside", *f"link set p{n} up".split())
            far = peer.sessions[0].theirs[0]
            self.ip("outside", *f"addr add {far}/31 dev p{n}".split())
        for machine in self.platform.machines:
            self._prepare(machine.name)
            self.start(machine.name, render_bird(self.platform, machine.name))

    def start(self, place: str, text: str, *options: str) -> None:
        """Start a BIRD and wait until it answers."""
        log = str(self.directory / f"{place}.log")
        config = self.directory / f"{place}.conf"
        config.write_text(text.replace("/var/log/pltfrms/bird.log", log))
        control = self.directory / f"{place}.ctl"
        control.unlink(missing_ok=True)
        enter = ["ip", "netns", "exec", f"{_TAG}-{place}"]
        self.processes[place] = subprocess.Popen(
            [*enter, "bird", "-f", "-c", str(config), "-s", str(control), *options]
        )
        seconds_until(control.exists, 120)

    def end(self, place: str, how: signal.Signals = signal.SIGKILL) -> None:
        """End a BIRD."""
        self.processes[place].send_signal(how)
        self.processes[place].wait()

    def remove(self) -> None:
        """End and delete everything."""
        for process in self.processes.values():
            process.kill()
            process.wait()
        for place in self.places:
            name = f"{_TAG}-{place}"
            subprocess.run(("ip", "netns", "del", name), capture_output=True, check=False)

    def _veth(self, a: str, a_port: str, b: str, b_port: str) -> None:
        words = f"link add {a_port} type veth peer name {b_port} netns {_TAG}-{b}"
        self.ip(a, *words.split())

    def _prepare(self, machine: str) -> None:
        state = network_state(self.platform, machine)
        sysctls = "\n".join(f"{name} = {value}" for name, value in state.sysctls)
        enter = ("ip", "netns", "exec", f"{_TAG}-{machine}")
        run(*enter, "sysctl", "-q", "-p", "-", stdin=sysctls)
        for device in state.devices:
            self.ip(machine, *f"link set {device.name} up".split())
            for address in device.addresses:
                self.ip(machine, *f"addr add {address} dev {device.name}".split())
        if machine != _EDGE:
            self.ip(machine, *["link", "add", "i1", "type", "veth", "peer", "name", "far1"])
            self.ip(machine, *["link", "set", "i1", "up"])
            self.ip(machine, *["link", "set", "far1", "up"])

    # ---- what is measured ------------------------------------------------------------------

    def outside_text(self) -> str:
        """Return the configuration of the BIRD that plays all peers; the first has it all."""
        prefixes = (
            f"{20 + (n >> 16)}.{(n >> 8) & 255}.{n & 255}.0/24" for n in range(self.external)
        )
        routes = "\n".join(f"  route {prefix} blackhole;" for prefix in prefixes)
        sessions = "\n".join(
            f"""protocol bgp p{n} {{
  local {peer.sessions[0].theirs[0]} as {peer.asn};
  neighbor {peer.sessions[0].ours[0].ip} as {self.platform.asn};
  connect delay time 1; connect retry time 2; error wait time 1, 2;
  ipv4 {{ import all; export {"where source = RTS_STATIC" if n == 0 else "none"}; }};
}}"""
            for n, peer in enumerate(self.platform.peers)
        )
        return (
            f"router id 192.0.2.1;\nprotocol device {{ }}\n"
            f"protocol static table {{ ipv4;\n{routes}\n}}\n{sessions}\n"
        ).replace("protocol static table", "protocol static full")

    def in_kernel(self, stem: str) -> int:
        """Return how many IPv4 routes of the edge's main table start with `stem`."""
        text = self.ip(_EDGE, "-4", "route", "show", "table", "main")
        return sum(line.startswith(stem) for line in text.splitlines())

    def routes(self) -> int:
        """Return the size of the edge's main table, IPv4."""
        return self.ip(_EDGE, "-4", "route", "show", "table", "main").count("\n")

    def memory_mib(self) -> float:
        """Return the resident memory of the edge's BIRD."""
        pid = self.processes[_EDGE].pid
        status = Path(f"/proc/{pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def change_services(self, verb: str, numbers: range) -> None:
        """Add or delete the service routes of some numbers, spread over the nodes."""
        for node in range(NODES):
            lines = []
            for n in numbers:
                if n % NODES == node:
                    four = f"198.{18 + (n >> 16)}.{(n >> 8) & 255}.{n & 255}/32"
                    end = f"dev i1 table {SERVICE_TABLE} proto 181 metric 10"
                    lines.append(f"route {verb} {four} via inet6 fe80::2 {end}")
                    lines.append(f"-6 route {verb} 2001:db8:100::{n:x}/128 via fe80::2 {end}")
            self._batch(f"node{node + 1}", lines)

    def _batch(self, node: str, lines: list[str]) -> None:
        four = "\n".join(line for line in lines if not line.startswith("-6 "))
        six = "\n".join(line.removeprefix("-6 ") for line in lines if line.startswith("-6 "))
        self.ip(node, "-4", "-batch", "-", stdin=four)
        self.ip(node, "-6", "-batch", "-", stdin=six)

    @contextmanager
    def deletions(self) -> Iterator[list[str]]:
        """Collect the routes that the edge's kernel loses meanwhile."""
        lost: list[str] = []
        watcher = subprocess.Popen(
            ["ip", "-n", f"{_TAG}-{_EDGE}", "monitor", "route"],
            stdout=subprocess.PIPE,
            text=True,
        )
        time.sleep(0.2)
        yield lost
        watcher.terminate()
        output, _ = watcher.communicate()
        lost += [line for line in output.splitlines() if line.startswith("Deleted")]


def measure(site: Site, services: int) -> Iterator[Row]:
    """Yield the rows, in the order in which they were measured."""
    all_up = seconds_until(lambda: _sessions_up(site) == NODES, 60)
    yield Row(what=f"{NODES} node sessions up", value=all_up, unit="s")
    time.sleep(6)  # a BIRD that has just started looks at its kernel tables every 5 s only
    start = time.monotonic()
    site.change_services("add", range(services))
    written = time.monotonic() - start
    seconds_until(lambda: site.in_kernel("198.1") >= services)
    yield Row(what=f"{services} services announced", value=time.monotonic() - start, unit="s")
    yield Row(what="  of it, writing them into table 100", value=written, unit="s")
    yield Row(what="memory of the edge's BIRD", value=site.memory_mib(), unit="MiB")
    start = time.monotonic()
    site.change_services("del", range(0, services, 2))
    seconds_until(lambda: site.in_kernel("198.1") <= services - len(range(0, services, 2)))
    yield Row(what="half of them withdrawn", value=time.monotonic() - start, unit="s")
    start = time.monotonic()
    site.start("outside", site.outside_text())
    seconds_until(lambda: _sessions_up(site) == NODES + len(site.platform.peers), 120)
    peers = len(site.platform.peers)
    yield Row(what=f"{peers} peers up", value=time.monotonic() - start, unit="s")
    seconds_until(lambda: site.routes() >= site.external, 600)
    full = time.monotonic() - start
    yield Row(what=f"{site.external} external routes in the kernel", value=full, unit="s")
    yield Row(what="memory of the edge's BIRD", value=site.memory_mib(), unit="MiB")
    yield from _restart(site)


def _restart(site: Site) -> Iterator[Row]:
    before = site.routes()
    with site.deletions() as lost:
        start = time.monotonic()
        site.end(_EDGE)
        site.start(_EDGE, render_bird(site.platform, _EDGE), "-R")
        seconds_until(lambda: _sessions_up(site) == NODES + len(site.platform.peers), 120)
        up = time.monotonic() - start
        time.sleep(20)  # longer than the wait of a graceful restart
    after = site.routes()
    yield Row(what="BIRD killed and restarted: sessions up", value=up, unit="s")
    yield Row(what="  routes the kernel lost meanwhile", value=len(lost), unit="")
    yield Row(what="  routes missing afterwards", value=before - after, unit="")


def _sessions_up(site: Site) -> int:
    lines = site.birdc(_EDGE, "show protocols").splitlines()
    return sum("Established" in line for line in lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--external", type=int, default=200_000)
    parser.add_argument("--peers", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        site = Site(Path(directory), platform_of(words.peers), words.external)
        try:
            site.build()
            rows = []
            for row in measure(site, words.services):
                rows.append(row)
                if not words.json:
                    print(f"{row.what:45} {row.value:10.2f} {row.unit}", flush=True)
        finally:
            site.remove()
    if words.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
