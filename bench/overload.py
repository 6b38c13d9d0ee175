"""Measure whether machines are heard while clients of a controller are slow, or far too many.

    .venv/bin/python bench/overload.py [--machines 100] [--slow 2000] [--flooding 40] [--json]

Runs as root, in a machine of its own, beside the site of `bench/controller.py` with one
controller. Slow clients send a byte a second, and connect again when they are closed; flooding
ones ask for the whole state as fast as they are answered. Both come from many networks.
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.controller_site import Site, absent, add_addresses, run, running
from bench.rig import machine_words
from pltfrms.model.network.topology import CONTROLLER_PORT, Role
from tests.namespaces import in_machine

_NETWORKS = 20
_FLOOD = b"GET /v1/snapshot HTTP/1.1\r\nHost: c\r\n\r\n"
_SLOW = b"POST /v1/apply HTTP/1.1\r\nHost: c\r\nX: "
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one step showed."""

    step: str
    controller_cores: float
    heartbeats_per_second: float
    heartbeat_ms_p50: float
    heartbeat_ms_p99: float
    refused: int
    silent_ms_max: float
    false_losses: int
    clients: str
    """What became of what the clients did."""


class Clients:
    """Clients that do a controller harm, in a process of their own."""

    def __init__(
        self, work: Callable[["_Seen", str], Coroutine[Any, Any, None]], count: int
    ) -> None:
        """Start so many."""
        self._pipe, far_end = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_serve, args=(work, count, far_end), daemon=True)
        self._process.start()

    def stop(self) -> str:
        """End them; return what they saw."""
        self._pipe.send("")
        said: str = self._pipe.recv()
        self._process.terminate()
        self._process.join()
        return said


_Seen = Counter[str]


def _serve(
    work: Callable[[_Seen, str], Coroutine[Any, Any, None]], count: int, pipe: Connection
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    seen: _Seen = Counter()

    async def run() -> None:
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(pipe.fileno(), told.set)
        tasks = [
            asyncio.create_task(work(seen, _network(number % _NETWORKS)))
            for number in range(count)
        ]
        await told.wait()
        for task in tasks:
            task.cancel()
        pipe.send(", ".join(f"{what} {count}" for what, count in sorted(seen.items())))

    asyncio.run(run())


def _network(number: int) -> str:
    return f"2001:db8:bad:{number:x}::1"


def slow(target: str) -> Callable[[_Seen, str], Coroutine[Any, Any, None]]:
    """Return what a slow client does."""

    async def work(seen: _Seen, source: str) -> None:
        while True:
            try:
                _, writer = await _connect(target, source)
                seen["connected"] += 1
                writer.write(_SLOW)
                while not writer.is_closing():
                    await asyncio.sleep(1)
                    writer.write(b"x")
                    await writer.drain()
            except OSError:
                seen["closed"] += 1
            await asyncio.sleep(0.1)

    return work


def flood(target: str) -> Callable[[_Seen, str], Coroutine[Any, Any, None]]:
    """Return what a client does that asks all the time."""

    async def work(seen: _Seen, source: str) -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await _connect(target, source)
                while True:
                    writer.write(_FLOOD)
                    head = (await reader.readuntil(b"\r\n\r\n")).lower()
                    length = int(head.partition(b"content-length:")[2].split()[0])
                    await reader.readexactly(length)
                    seen[head.split()[1].decode()] += 1

    return work


async def _connect(
    target: str, source: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(
        target, CONTROLLER_PORT, local_addr=(source, 0), limit=_BUFFER_BYTES
    )


def measure(site: Site, step: str, seconds: float, *clients: Clients) -> Row:
    """Look for some seconds, while clients do what they do."""
    time.sleep(2)
    site.seen()
    before, began = site.cpu_seconds()[0], time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    seen, cores = site.seen(), (site.cpu_seconds()[0] - before) / took
    said = "; ".join(each.stop() for each in clients)
    time.sleep(1)
    lost, _ = site.false_losses(0)
    beats = sorted(seen.heartbeat_ms) or [0.0]
    print(f"{step}: done", file=sys.stderr, flush=True)
    return Row(
        step=step,
        controller_cores=round(cores, 2),
        heartbeats_per_second=round(seen.heartbeats / took, 1),
        heartbeat_ms_p50=round(statistics.median(beats), 1),
        heartbeat_ms_p99=round(beats[int(len(beats) * 0.99)], 1),
        refused=seen.refused,
        silent_ms_max=round(seen.silent_ms_max),
        false_losses=lost,
        clients=said,
    )


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--machines", type=int, default=100)
    parser.add_argument("--slow", type=int, default=2000)
    parser.add_argument("--flooding", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()

    async def scenario() -> None:
        run("ip", "link", "set", "lo", "up")
        add_addresses([_network(number) for number in range(_NETWORKS)])
        with running(asked.machines, 1, watched=False) as site:
            site.wait(absent, 120)
            first = site.platform.machines_of(Role.CONTROLLER)[0]
            target = str(site.platform.loopback6(first))
            rows = [measure(site, "at rest", asked.seconds)]
            for step, works in (
                (f"{asked.slow} slow", [(slow, asked.slow)]),
                (f"{asked.flooding} flooding", [(flood, asked.flooding)]),
                ("both", [(slow, asked.slow), (flood, asked.flooding)]),
            ):
                clients = [Clients(work(target), count) for work, count in works]
                rows.append(measure(site, step, asked.seconds, *clients))
        _show(rows, asked.machines, as_json=asked.json)
        sys.stdout.flush()

    in_machine(scenario)


def _show(rows: list[Row], machines: int, *, as_json: bool) -> None:
    if as_json:
        said = {"ran_on": machine_words(), "machines": machines}
        print(json.dumps({**said, "rows": [asdict(row) for row in rows]}, indent=2))
        return
    print(f"ran on: {machine_words()}\n{machines} machines, 1 controller; CPU in cores\n")
    print(
        f"{'step':14}{'controller':>11}{'beats/s':>9}{'p50 ms':>8}{'p99 ms':>8}{'refused':>9}"
        f"{'silent s':>10}{'false':>7}"
    )
    for row in rows:
        print(
            f"{row.step:14}{row.controller_cores:>11}{row.heartbeats_per_second:>9}"
            f"{row.heartbeat_ms_p50:>8}{row.heartbeat_ms_p99:>8}{row.refused:>9}"
            f"{row.silent_ms_max / 1000:>10.1f}{row.false_losses:>7}  {row.clients}"
        )


if __name__ == "__main__":
    main()
