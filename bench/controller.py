"""Measure what controllers and their etcd cost, beside simulated agents with the real calls.

    .venv/bin/python bench/controller.py [--machines 100] [--controllers 1] [--json]

Runs as root, in a machine of its own: three etcd members, real controllers (1 or 3), and as
many simulated agents as there are machines, 20 replicas on each node unless told otherwise.
They share the cores of one machine, so look at the CPU time of the controllers before anything
that is wall time. How long heartbeats took a tenth of the machines says, in a process that has
little else to do.

For each step: CPU of all controllers, of all etcd members and of the simulated agents in cores,
heartbeats (how long one took, how many nobody took, the longest silence of a machine), machines
that fetched a target, commits of any key, the longest slice of a controller's event loop
(processor time; with `--slices`, which itself costs), and machines that were called lost and
were not. With `--readers` also what so many streams of the picture cost, at rest.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.controller_site import (
    Site,
    absent,
    revision,
    run,
    running,
    say,
    words_of,
)
from bench.readers import Readers
from bench.rig import machine_words
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import Change
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.services.service import ServiceSpec
from tests.namespaces import in_machine
from tests.strategies import make_spec

STEPS = ("rest", "readers", "statuses", "service", "node", "controller", "cold")
"""What may be measured once all machines are in contact and all services are placed."""
_SERVICES_PER_CHANGE = 40
_START_SECONDS = 120
_PLACE_SECONDS = 600
_LOSE_SECONDS = 60
_CHANGE_SECONDS = 60
"""Until an agent has fetched what is new, however busy all are."""
_MS = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one step showed."""

    step: str
    seconds: float
    controller_cores: float
    etcd_cores: float
    agent_cores: float
    """Of the simulation, which takes them from the others."""
    heartbeats_per_second: float
    heartbeat_ms_p50: float
    heartbeat_ms_p99: float
    refused: int
    silent_ms_max: float
    fetching_machines: int
    commits: int
    slice_ms_max: float
    slice_of: str
    false_losses: int
    note: str = ""


class Bench:
    """Takes the steps and measures each."""

    def __init__(
        self, site: Site, seconds: float, replicas_per_node: int, readers: int = 0
    ) -> None:
        """Measure a step of no end of its own for so many seconds."""
        self._site, self._readers = site, readers
        self._specs = _specs(site.platform, replicas_per_node)
        self._seconds = seconds
        self._events = 0
        self._note = ""
        self.rows: list[Row] = []

    def run(self, steps: Sequence[str] = STEPS) -> None:
        """Start and fill the platform, then take these of `STEPS`."""
        site = self._site
        self._measure("cold start", lambda: site.wait(absent, _START_SECONDS))
        self._measure("place all", self._place)
        self.take(steps)
        say(f"{len(site.platform.managed)} machines; {site.memory_mib()}")

    def take(self, steps: Sequence[str]) -> None:
        """Take these of `STEPS`, once the platform is filled."""
        for step in (each for each in STEPS if each in steps):
            getattr(self, f"_step_{step}")()

    def _step_rest(self) -> None:
        self._measure("at rest", self._rest)

    def _step_readers(self) -> None:
        if self._readers:
            with self._site.readers(self._readers) as readers:
                self._measure(f"{self._readers} readers", lambda: self._read(readers))

    def _step_statuses(self) -> None:
        for per_second in (1.0, 10.0):
            self._site.change(per_second)
            self._measure(f"{per_second:g} status changes/s", self._rest)
            self._site.change(0)

    def _step_service(self) -> None:
        self._measure("one service changed", self._change)

    def _step_node(self) -> None:
        self._measure("a node lost", self._lose)

    def _step_controller(self) -> None:
        if len(self._site.controllers) > 1:
            self._measure("a controller killed", self._kill_controller)

    def _step_cold(self) -> None:
        self._measure("all started again", self._start_again)

    def _rest(self) -> None:
        time.sleep(self._seconds)

    def _read(self, readers: Readers) -> None:
        readers.seen()
        self._rest()
        read = readers.seen()
        each = read.bytes / self._readers / self._seconds
        self._note = f"{read.reading} read {each:.0f} bytes/s each, {read.problems} began anew"

    def _place(self) -> None:
        """Apply one change after the other, each when what was wanted before is ready."""
        specs = self._specs
        for start in range(0, len(specs), _SERVICES_PER_CHANGE):
            end = start + _SERVICES_PER_CHANGE
            self._apply(specs[start:end])
            self._site.wait(partial(_unready, self._replicas(specs[:end])), _PLACE_SECONDS)
        time.sleep(2)

    def _replicas(self, specs: Sequence[ServiceSpec]) -> int:
        """Return how many are to run of these."""
        everywhere = self._site.platform.datacenters
        return sum(spec.per_datacenter * len(spec.datacenters or everywhere) for spec in specs)

    def _change(self) -> None:
        spec = self._specs[0]
        before = self._site.version(spec.name)
        self._apply([replace(spec, run=replace(spec.run, cpu=spec.run.cpu + 0.001))])
        time.sleep(self._seconds)
        self._site.wait(partial(_unchanged, spec.name, before), _CHANGE_SECONDS)

    def _apply(self, specs: Sequence[ServiceSpec]) -> None:
        """Apply as an operator would who finds the controllers busy."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with self._site.ask() as operator:
                    operator.apply(Change(services=tuple(specs)))
            except UnavailableError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
            else:
                return

    def _lose(self) -> None:
        node = self._site.platform.machines_of(Role.NODE)[0].name
        self._site.end_agent(node)
        took = self._site.wait(partial(_unready, self._replicas(self._specs)), _LOSE_SECONDS)
        self._note = f"replaced after {took:.1f} s"

    def _kill_controller(self) -> None:
        name = next(iter(self._site.controllers))
        process = self._site.controllers.pop(name)
        process.kill()
        process.wait()
        self._before = self._site.cpu_seconds()
        time.sleep(self._seconds)

    def _start_again(self) -> None:
        wanted = self._replicas(self._specs)
        self._site.restart()
        self._before = (0.0, 0.0, 0.0)
        took = self._site.wait(absent, _START_SECONDS)
        self._site.wait(partial(_unready, wanted), _START_SECONDS)
        self._note = f"all in contact after {took:.1f} s"

    def _measure(self, step: str, act: Callable[[], object]) -> None:
        site, self._note = self._site, ""
        site.seen()
        site.longest_slice()
        self._before, began = site.cpu_seconds(), time.monotonic()
        began_at = revision(site)
        act()
        seconds = time.monotonic() - began
        after, seen = site.cpu_seconds(), site.seen()
        slice_seconds, slice_of = site.longest_slice()
        false_losses, self._events = site.false_losses(self._events)
        heartbeats = sorted(seen.heartbeat_ms) or [0.0]
        self.rows.append(
            Row(
                step=step,
                seconds=round(seconds, 1),
                controller_cores=round((after[0] - self._before[0]) / seconds, 3),
                etcd_cores=round((after[1] - self._before[1]) / seconds, 3),
                agent_cores=round((after[2] - self._before[2]) / seconds, 3),
                heartbeats_per_second=round(seen.heartbeats / seconds, 1),
                heartbeat_ms_p50=round(statistics.median(heartbeats), 1),
                heartbeat_ms_p99=round(heartbeats[int(len(heartbeats) * 0.99)], 1),
                refused=seen.refused,
                silent_ms_max=round(seen.silent_ms_max),
                fetching_machines=seen.fetching_machines,
                commits=revision(site) - began_at,
                slice_ms_max=round(1000 * slice_seconds, 1),
                slice_of=slice_of,
                false_losses=false_losses,
                note=self._note,
            )
        )
        words = f"; {words_of(seen.problems)}" if seen.problems else ""
        say(f"{step}: {seconds:.0f} s{words}")


def _unready(wanted: int, site: Site) -> str:
    running = site.instances()
    return f"{running} of {wanted} replicas run" * (running < wanted)


def _unchanged(service: str, before: int, site: Site) -> str:
    return f"no agent has fetched a newer {service}" * (site.version(service) <= before)


def _specs(platform: Platform, replicas_per_node: int) -> tuple[ServiceSpec, ...]:
    nodes = len(platform.machines_of(Role.NODE))
    count = nodes * replicas_per_node // (2 * len(platform.datacenters))
    specs = (make_spec(f"s{number:04d}", cpu=0.1) for number in range(count))
    first, *others = (
        replace(spec, run=replace(spec.run, memory_bytes=1 << 20)) for spec in specs
    )
    return replace(first, datacenters=("d0",)), *others  # one that touches few


def _show(rows: Sequence[Row]) -> None:
    print(
        f"{'step':22}{'s':>7}{'controller':>12}{'etcd':>8}{'agents':>8}{'beats/s':>9}"
        f"{'p50 ms':>8}{'p99 ms':>8}{'refused':>9}{'silent s':>10}{'fetching':>10}"
        f"{'commits':>9}{'slice ms':>10}{'false':>7}"
    )
    for row in rows:
        print(
            f"{row.step:22}{row.seconds:>7}{row.controller_cores:>12}{row.etcd_cores:>8}"
            f"{row.agent_cores:>8}{row.heartbeats_per_second:>9}{row.heartbeat_ms_p50:>8}{row.heartbeat_ms_p99:>8}"
            f"{row.refused:>9}{row.silent_ms_max * _MS:>10.1f}{row.fetching_machines:>10}"
            f"{row.commits:>9}{row.slice_ms_max:>10}{row.false_losses:>7}  {row.note}"
        )


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--machines", type=int, default=100)
    parser.add_argument("--controllers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--replicas-per-node", type=int, default=20)
    parser.add_argument("--readers", type=int, default=0, help="of the stream, at most 200")
    parser.add_argument("--heartbeat-ms", type=int, default=1000, help="at least 1000")
    parser.add_argument("--slices", action="store_true", help="longest slices of event loops")
    parser.add_argument("--steps", nargs="*", choices=STEPS, default=STEPS, help="which")
    parser.add_argument("--etcd", default="etcd", metavar="PATH", help="the program")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()

    async def scenario() -> None:
        run("ip", "link", "set", "lo", "up")
        started = running(
            asked.machines,
            asked.controllers,
            watched=asked.slices,
            etcd=asked.etcd,
            heartbeat_ms=asked.heartbeat_ms,
        )
        with started as site:
            bench = Bench(site, asked.seconds, asked.replicas_per_node, asked.readers)
            bench.run(asked.steps)
        what = {"machines": asked.machines, "controllers": asked.controllers}
        if asked.json:
            rows = [asdict(row) for row in bench.rows]
            print(json.dumps({"ran_on": machine_words(), **what, "rows": rows}, indent=2))
        else:
            print(f"ran on: {machine_words()}")
            print(f"{asked.machines} machines, {asked.controllers} controllers; CPU in cores\n")
            _show(bench.rows)
        sys.stdout.flush()

    in_machine(scenario)


if __name__ == "__main__":
    main()
