"""Measure what the agent of a node costs while nothing happens.

    .venv/bin/python bench/agent.py [--instances 20 100] [--seconds 60] [--calls] [--json]

Runs as root, in a machine of its own: a real agent, BIRD, and so many instances of nginx with
the probe of the example (HTTP on both addresses, each 500 ms), each of a service of its own. A
stand-in for the controllers answers heartbeats and long polls; there is no edge, so sessions
are down. The figures: seconds of processor per second, its own and of what it starts; memory
(all of it, and without what it shares with others); how often it wakes. With `--calls`, system
calls per second beside that, by kind (needs strace, and slows what it counts).
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.rig import machine_words
from pltfrms import codec
from pltfrms.agent.identity import controller_urls
from pltfrms.lab.parts import FABRIC_MTU
from pltfrms.model.messages.api import HeartbeatReply
from pltfrms.model.running.balancer import BalancedService
from pltfrms.model.running.plan import Target
from pltfrms.model.services.service import Service
from tests.agent.test_main import PLATFORM, WEB, Node, routes
from tests.namespaces import in_machine
from tests.strategies import make_allocation, make_service

GENERATION: Final = 3
NODE, OTHER = PLATFORM.machine("fra-n1"), PLATFORM.machine("fra-n2")
SETTLE_SECONDS: Final = 8.0
"""After the last instance is ready: what goes on for a while after a start has ended."""
_CALLS_SECONDS: Final = 10
_NANO: Final = 1e9
_WANTED: Final[Mapping[int, tuple[float, float]]] = {20: (0.5, 60.0), 100: (5.0, 75.0)}
"""By instances: percent of a core, and megabytes."""


def _ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What an agent cost at rest."""

    instances: int
    cpu_percent: float
    """Of a core."""
    children_percent: float
    """Of what it starts, such as `bird -p`."""
    rss_mb: float
    pss_mb: float
    wakes: float
    """Per second."""
    calls: Mapping[str, float] = field(default_factory=dict)
    """System calls per second, most frequent first."""


@dataclass
class RestingNode(Node):
    """A node with instances of as many services, whose controllers answer."""

    instances: int = 0

    @property
    def services(self) -> Sequence[Service]:
        """One for each instance."""
        spec = WEB.spec
        return [
            make_service(replace(spec, name=f"web{number}"), number)
            for number in range(1, self.instances + 1)
        ]

    @property
    def target(self) -> Target:
        """What a controller would want."""
        services = tuple(self.services)
        return Target(
            machine=NODE.name,
            generation=GENERATION,
            made_of="rest",
            platform=PLATFORM,
            services=services,
            allocations=tuple(
                make_allocation(f"{each.spec.name}.fra.1-1", NODE.name, slot=each.id)
                for each in services
            ),
            balanced=tuple(
                BalancedService(
                    id=each.id,
                    name=each.spec.name,
                    prefix4=each.prefix4,
                    prefix6=each.prefix6,
                )
                for each in services
            ),
        )

    def build(self) -> None:
        """Be on a network where others are, so that the director is not cut off."""
        super().build()
        self.root.chmod(0o755)  # nginx is somebody else
        subprocess.run(("mount", "-t", "tmpfs", "tmpfs", "/var/log"), check=True)
        Path("/var/log/pltfrms").mkdir()  # BIRD's
        _ip("link", "set", "lo", "up")
        for end in ("wire-a", "fab-a", "wire-b", "fab-b"):
            _ip("link", "set", end, "mtu", str(FABRIC_MTU), "up")
        for service in self.services:
            address = f"{PLATFORM.instance6(OTHER, service.id, 1)}/128"
            words = f"{address} dev fab-a table 105 proto static metric 1010"
            _ip("-6", "route", "add", *words.split())
        _ip("-6", "route", "add", "default", "via", "fe80::ff", "dev", "fab-a")

    @property
    def pid(self) -> int:
        """Of the agent."""
        return self.agent.pid if self.agent else 0

    def clear(self) -> None:
        """Take away what would keep its directory."""
        subprocess.run(("umount", self.root / "runtime" / "bpf"), check=True)

    @property
    def all_announced(self) -> bool:
        """Whether all instances serve."""
        return routes().count("198.51.100.") >= self.instances


@contextmanager
def bird_of(node: Node) -> Iterator[None]:
    """Run the node's BIRD."""
    runtime = node.root / "runtime"
    command = ("bird", "-f", "-c", runtime / "bird.conf", "-s", runtime / "bird.ctl")
    bird = subprocess.Popen(command)
    try:
        yield
    finally:
        bird.kill()
        bird.wait()


# ---- instead of a controller ---------------------------------------------------------------


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"(?i)content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            if head.startswith("POST"):
                reply = HeartbeatReply(
                    generation=GENERATION, made_of="rest", unix_ms=time.time_ns() // 1_000_000
                )
                body = codec.encode(reply)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                )
            else:
                wait = re.search(r"wait_ms=(\d+)", head)
                await asyncio.sleep(int(wait[1]) / 1000 if wait else 0)
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
    except asyncio.CancelledError:
        return  # the bench has ended


async def _serve() -> None:
    url = controller_urls(PLATFORM, NODE.name)[0]
    address, port = url.removeprefix("http://[").split("]:")
    _ip("address", "add", address, "dev", "lo", "nodad")
    await asyncio.start_server(_answer, address, int(port))


# ---- measuring -----------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and all its threads, exactly."""
    return time.clock_gettime_ns(~pid << 3 | 2) / _NANO  # clock_getcpuclockid(3)


def _children_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(each) for each in words[13:15]) / os.sysconf("SC_CLK_TCK")


def _wakes(pid: int) -> int:
    return sum(
        int(found[1])
        for path in Path(f"/proc/{pid}/task").glob("*/status")
        if (found := re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", path.read_text()))
    )


def _megabytes(pid: int, what: str) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(rf"^{what}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def _calls(pid: int) -> Mapping[str, float]:
    command = ("timeout", "-s", "INT", str(_CALLS_SECONDS), "strace", "-cfqp", str(pid))
    told = subprocess.run(command, check=False, capture_output=True, text=True).stderr
    rows = [line.split() for line in told.splitlines()[2:]]
    counts = {
        row[-1]: int(row[3]) / _CALLS_SECONDS for row in rows if row[3:4] and row[3].isdecimal()
    }
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


async def look(pid: int, instances: int, seconds: float, *, calls: bool = False) -> Figures:
    """Return what a process costs for so long."""
    before = (cpu_seconds(pid), _children_seconds(pid), _wakes(pid))
    began = time.monotonic()
    await asyncio.sleep(seconds)
    passed = time.monotonic() - began
    after = (cpu_seconds(pid), _children_seconds(pid), _wakes(pid))
    cpu, children, wakes = ((b - a) / passed for a, b in zip(before, after, strict=True))
    return Figures(
        instances=instances,
        cpu_percent=round(100 * cpu, 2),
        children_percent=round(100 * children, 2),
        rss_mb=round(_megabytes(pid, "Rss"), 1),
        pss_mb=round(_megabytes(pid, "Pss"), 1),
        wakes=round(wakes, 1),
        calls=_calls(pid) if calls else {},
    )


async def measure(instances: int, seconds: float, *, calls: bool = False) -> Figures:
    """Let an agent run so many instances, in the machine where we are, and look at it."""
    with tempfile.TemporaryDirectory(prefix="agent-bench-") as directory:
        node = RestingNode(Path(directory), instances=instances)
        node.build()
        await _serve()
        node.start()
        await node.until((node.root / "runtime" / "bird.conf").exists)
        with bird_of(node):
            await node.until(lambda: node.all_announced, 60.0)
            await asyncio.sleep(SETTLE_SECONDS)
            figures = await look(node.pid, instances, seconds, calls=calls)
            node.stop()
        node.clear()
    return figures


def _measured(instances: int, asked: argparse.Namespace) -> Figures:
    with tempfile.TemporaryFile() as file:

        async def scenario() -> None:
            figures = await measure(instances, asked.seconds, calls=asked.calls)
            file.write(codec.encode(figures))
            file.flush()

        in_machine(scenario)
        file.seek(0)
        return codec.decode(Figures, file.read())


def show(results: Sequence[Figures]) -> None:
    """Print the table for people."""
    print(f"ran on: {machine_words()}\n")
    names = f"{'instances':>9}{'cpu %':>8}{'children %':>12}{'rss MB':>8}{'pss MB':>8}"
    print(f"{names}{'wakes/s':>9}")
    for r in results:
        figures = f"{r.instances:>9}{r.cpu_percent:>8.2f}{r.children_percent:>12.2f}"
        print(f"{figures}{r.rss_mb:>8.1f}{r.pss_mb:>8.1f}{r.wakes:>9.1f}")
    for r in results:
        if r.calls:
            kinds = ", ".join(f"{name} {count:.0f}" for name, count in r.calls.items())
            print(f"calls/s with {r.instances}: {kinds}")


def main() -> None:
    """Measure, and print a table or JSON; exit code 1 if it costs more than is wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--instances", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--calls", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    results = [_measured(instances, asked) for instances in asked.instances]
    if asked.json:
        print(
            json.dumps(
                {"ran_on": machine_words(), "rows": [asdict(r) for r in results]}, indent=2
            )
        )
    else:
        show(results)
    sys.exit(any(_is_more_than_wanted(each) for each in results))


def _is_more_than_wanted(figures: Figures) -> bool:
    cpu, memory = _WANTED.get(figures.instances, (float("inf"), float("inf")))
    return figures.cpu_percent > cpu or figures.rss_mb > memory


if __name__ == "__main__":
    main()
