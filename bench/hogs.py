"""Measure what instances that take too much do to their neighbours, and to the node's BIRD.

    .venv/bin/python bench/hogs.py [--seconds 10] [--json]

Runs as root, in a machine of its own, in groups with limits. One instance answers 200 requests
a second; beside it runs one hog after the other, each promised half a core and 64 MiB. BIRD has
a session with another one, with BFD every 100 ms: what it says of both before and after tells
whether they went down, and how many routes were withdrawn. The first row has no hog, and the
disk of the others is not full. Last comes what the node says of the hog, and how it ended.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.rig import machine_words
from pltfrms.codec import decode
from pltfrms.drivers.bird.daemon import BirdDaemon
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.tool import run_tool
from pltfrms.drivers.workload.process import ProcessRuntime
from pltfrms.errors import UnavailableError
from pltfrms.lab.client.prober import ProbeRun, summarize
from pltfrms.model.running.machine import BfdState, Instance
from tests.contracts.test_workload import SERVICE, directories_below, spec
from tests.namespaces import in_machine

_RATE = 200
_SERVER = """
import http.server, json, socket
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = json.dumps({"datacenter": "here", "instance": "web"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    def log_message(self, *words):
        pass
class Server(http.server.ThreadingHTTPServer):
    address_family, request_queue_size = socket.AF_INET6, 512
Server(("::", 80), Answer).serve_forever()
"""
HOGS = {
    "nothing": "",
    "cpu": "import os; os.fork(); os.fork()\nwhile True: pass",
    "memory": "held = []\nwhile True: held.append(bytearray(1 << 20))",
    "fork bomb": """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
""",
    "disk": """
import itertools
for number in itertools.count():
    try:
        open(str(number % 50), "wb").write(bytes(1 << 20))
    except OSError:
        pass
""",
    "log": "while True: print('x' * 1000)",
    "zombies": """
import os, time
while True:
    try:
        os.fork() or os._exit(0)
    except OSError:
        time.sleep(0.1)
""",
    "deaf": """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(1000)
""",
    "files": """
import time
held = []
while True:
    try:
        held.append(open("/dev/null"))
    except OSError:
        time.sleep(0.1)
""",
}
_BIRD = """
router id OURS;
protocol device {}
protocol direct { interface "lo"; ipv4; }
protocol bfd { interface "*" { interval 100 ms; multiplier 3; }; }
protocol bgp peer { local OURS as OWN; neighbor THEIRS as PEER; bfd on; connect retry time 1;
  ipv4 { import all; export all; };
}
"""
_NEAR, _FAR = "192.0.2.1", "192.0.2.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one hog did."""

    hog: str
    p50_ms: float
    p99_ms: float
    lost: int
    bfd_stayed: bool
    withdrawn: int
    """Routes, as the other BIRD counts."""
    named: str


class Router:
    """Two BIRDs; ours in this network namespace, and the other one behind a wire."""

    def __init__(self, directory: Path) -> None:
        """Start nothing yet."""
        self._directory = directory
        self._sockets = [directory / "near.ctl", directory / "far.ctl"]
        self._bird = BirdDaemon(directory / "bird", self._sockets[0])

    async def start(self) -> None:
        """Start both, and return when they have a session."""
        far = await asyncio.create_subprocess_exec("unshare", "--net", "sleep", "infinity")
        await asyncio.sleep(1)
        there = ("nsenter", f"--net=/proc/{far.pid}/ns/net")
        for words in (
            "link set lo up",
            f"link add near type veth peer name far netns {far.pid}",
            f"address add {_NEAR}/30 dev near",
            "address add 198.51.100.9/32 dev lo",
            "link set near up",
        ):
            await run_tool("ip", *words.split())
        for words in (f"address add {_FAR}/30 dev far", "link set far up"):
            await run_tool(*there, "ip", *words.split())
        near, other = self._sockets
        await _start_bird(
            near, {"OURS": _NEAR, "THEIRS": _FAR, "OWN": "64500", "PEER": "64501"}
        )
        said = {"OURS": _FAR, "THEIRS": _NEAR, "OWN": "64501", "PEER": "64500"}
        await _start_bird(other, said, *there)
        while not any(each.up for each in await self._liveness()):  # noqa: ASYNC110 - outside
            await asyncio.sleep(0.2)
        await asyncio.sleep(2)

    async def state(self) -> tuple[frozenset[BfdState], int]:
        """Return since when the session lives, and how many routes were withdrawn."""
        said = await run_tool("birdc", "-s", str(self._sockets[1]), "show protocols all peer")
        (line,) = [each for each in said.splitlines() if "Import withdraws" in each]
        return await self._liveness(), int(line.split()[2])

    async def _liveness(self) -> frozenset[BfdState]:
        try:
            return await self._bird.liveness()
        except UnavailableError:  # it has not begun yet
            return frozenset()


async def _start_bird(control: Path, said: Mapping[str, str], *where: str) -> None:
    config = control.with_suffix(".conf")
    config.write_text(re.sub("|".join(said), lambda found: said[found[0]], _BIRD))
    # As its unit does.
    bird = ("nice", "-n", "-10", "bird", "-f", "-c", str(config), "-s", str(control))
    await asyncio.create_subprocess_exec(*where, *bird)


class Bench:
    """A neighbour, whoever asks it, and one hog at a time."""

    def __init__(self, directory: Path, seconds: float) -> None:
        """Start nothing yet."""
        self._runtime = ProcessRuntime(directories_below(directory), KernelNetwork())
        self._router = Router(directory)
        self._seconds = seconds
        self._ends: set[str] = set()
        """How the hog ended, or was ended."""

    async def rows(self) -> list[Row]:
        """Measure beside one hog after the other."""
        if not self._runtime.limits().startswith("enforced"):
            sys.exit(f"nothing would keep hogs: {self._runtime.limits()}")
        await self._router.start()
        await self._start_neighbour()
        await self._row("nothing")  # which is slow the first time
        rows = [await self._row(hog) for hog in HOGS]
        for instance in (await self._runtime.running()).values():
            await self._runtime.stop(instance, 0)
        return rows

    async def _start_neighbour(self) -> None:
        web = spec(("python3", "-c", _SERVER), 1)
        await self._runtime.start(replace(web, cpu=1.0))
        for words in (
            "address add 2001:db8:9::9/128 dev lo",
            f"route add {SERVICE[0]}/32 via inet6 fe80::2 dev i1 src {_NEAR}",
            f"-6 route add {SERVICE[1]}/128 via fe80::2 dev i1",
        ):
            await run_tool("ip", *words.split())
        await asyncio.sleep(1)

    async def _row(self, hog: str) -> Row:
        before, withdrawn = await self._router.state()
        task = asyncio.create_task(self._hogging(HOGS[hog], 2 + list(HOGS).index(hog)))
        await asyncio.sleep(2 if HOGS[hog] else 0)
        report = summarize(await self._asked(), None)
        await self._runtime.rotate_logs()
        after, then = await self._router.state()
        task.cancel()
        await asyncio.wait((task,))
        named = "; ".join(filter(None, (*self._runtime.hogs().values(), *sorted(self._ends))))
        print(f"{hog}: done", file=sys.stderr, flush=True)
        return Row(
            hog=hog,
            p50_ms=round(report.latency_ms["p50"] or 0.0, 2),
            p99_ms=round(report.latency_ms["p99"] or 0.0, 2),
            lost=report.lost,
            bfd_stayed=bool(before) and before == after,
            withdrawn=then - withdrawn,
            named=named,
        )

    async def _asked(self) -> ProbeRun:
        config = {
            "addresses": list(map(str, SERVICE)),
            "port": 80,
            "path": "/",
            "rate": _RATE,
            "duration_ms": round(1000 * self._seconds),
        }
        words = (sys.executable, "-m", "pltfrms.lab.client.prober", json.dumps(config))
        return decode(ProbeRun, await run_tool(*words, seconds=self._seconds + 30))

    async def _hogging(self, program: str, slot: int) -> None:
        """Let it run until this is cancelled; whenever it ends, start it again."""
        self._ends.clear()
        hog: Instance | None = None
        try:
            while program:
                wanted = replace(spec(("python3", "-c", program), slot), cpu=0.5)
                hog = await self._runtime.start(wanted)
                self._ends.add(await self._runtime.wait(hog))
                await self._runtime.running()
                await asyncio.sleep(0.5)
        finally:
            if hog is not None:
                self._ends.add(await self._runtime.stop(hog, 500))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(argv)

    async def scenario() -> None:
        with tempfile.TemporaryDirectory() as directory:
            rows = await Bench(Path(directory), asked.seconds).rows()
        _show(rows, as_json=asked.json)
        sys.stdout.flush()

    in_machine(scenario, groups=True)


def _show(rows: list[Row], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"ran_on": machine_words(), "rows": [*map(asdict, rows)]}, indent=2))
        return
    print(f"ran on: {machine_words()}\n")
    print(f"{'hog':10}{'p50 ms':>8}{'p99 ms':>8}{'times':>7}{'lost':>6}{'bfd':>6}{'gone':>6}")
    for row in rows:
        times = row.p99_ms / rows[0].p99_ms
        stayed = "up" if row.bfd_stayed else "fell"
        print(
            f"{row.hog:10}{row.p50_ms:>8}{row.p99_ms:>8}{times:>7.1f}{row.lost:>6}"
            f"{stayed:>6}{row.withdrawn:>6}  {row.named}"
        )


if __name__ == "__main__":
    main()
