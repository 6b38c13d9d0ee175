"""Measure what controllers and their etcd cost, beside simulated agents with the real calls.

    .venv/bin/python bench/controller.py [--machines 100] [--controllers 1] [--json]

Runs as root, in a machine of its own: three etcd members, real controllers (1 or 3), and as
many simulated agents as there are machines, 20 replicas on each node unless told otherwise.
They share the cores of one machine, so look at the CPU time of the controllers before anything
that is wall time. How long heartbeats took a tenth of the machines says, in a process that has
little else to do.

For each step: CPU of all controllers and of all etcd members in cores, heartbeats (how long one
took, how many nobody took, the longest silence of a machine), machines that fetched a target,
commits of any key, the longest slice of a controller's event loop (processor time; with
`--slices`, which itself costs), and machines that were called lost and were not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.agents import Agents, Seen
from bench.rig import machine_words
from bench.watched import longest
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import PltfrmsError
from pltfrms.model.messages.api import Change
from pltfrms.model.network.topology import CONTROLLER_PORT, Platform, Role
from pltfrms.model.running.state import Contact, Phase, Snapshot
from pltfrms.model.services.service import ServiceSpec
from pltfrms.render.etcd import Beginning, etcd_command, peer_url
from pltfrms.specfile import load_platform
from tests.namespaces import in_machine
from tests.strategies import make_spec

_DATACENTERS = 5
_EDGES = 2
_MEMBERS = 3
_SERVICES_PER_CHANGE = 40
_AGENT_PROCESSES = 2
_TIMED_SHARE = 10
"""One in so many machines is in a process that has time to see how long heartbeats take."""
_TICK = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 120
_MS = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one step showed."""

    step: str
    seconds: float
    controller_cores: float
    etcd_cores: float
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


class Site:
    """Everything that runs: members, controllers, agents."""

    def __init__(
        self, directory: Path, machines: int, controllers: int, *, watched: bool
    ) -> None:
        """Start it; `watched`: write down the longest slices of event loops, which costs."""
        self._directory, self._watched = directory, watched
        self.platform = _make_platform(directory, machines)
        self._names = [each.name for each in self.platform.machines_of(Role.CONTROLLER)]
        add_addresses([str(self.platform.loopback6(each)) for each in self.platform.managed])
        self._members = [self._start_member(name) for name in self._names]
        self.controllers = {name: self.start(name) for name in self._names[:controllers]}
        edges = self.platform.machines_of(Role.EDGE)
        timed = [each for each in self.platform.managed if each not in edges][::_TIMED_SHARE]
        others = [each for each in self.platform.managed if each not in timed]
        parts = [timed, *(others[part::_AGENT_PROCESSES] for part in range(_AGENT_PROCESSES))]
        self._agents = [Agents(self.platform, part) for part in parts]
        self.ended: set[str] = set()
        self._slices_read: dict[str, int] = {}

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a controller."""
        config, runtime = self._directory / name, self._directory / name / "run"
        runtime.mkdir(parents=True, exist_ok=True)
        (config / "machine").write_text(name)
        (config / "platform.yaml").write_bytes((self._directory / "platform.yaml").read_bytes())
        words = (f"--config={config}", f"--runtime={runtime}")
        program = ["-m", "pltfrms.api.main"]
        if self._watched:
            program = [str(Path(__file__).with_name("watched.py")), self._slices(name)]
        return self._spawn(name, sys.executable, *program, *words)

    def _slices(self, name: str) -> str:
        return str(self._directory / f"{name}.slices")

    def longest_slice(self) -> tuple[float, str]:
        """Return the longest slice of a loop since it was asked last: seconds, what ran."""
        found = [(0.0, "")]
        for name in self._names:
            at = self._slices_read.get(name, 0)
            seconds, words, self._slices_read[name] = longest(Path(self._slices(name)), at)
            found.append((seconds, words))
        return max(found)

    def _start_member(self, name: str) -> subprocess.Popen[bytes]:
        controllers = self.platform.machines_of(Role.CONTROLLER)
        members = tuple((each.name, peer_url(self.platform, each)) for each in controllers)
        data, first = self._directory / f"{name}.etcd", Beginning(members=members, new=True)
        words = etcd_command(self.platform, name, data, first)
        local = [word.replace(",http://[::1]:2379", "") for word in words]  # one address each
        return self._spawn(f"{name}.etcd", *local)

    def _spawn(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        with (self._directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(words, stdout=log, stderr=log)

    def ask(self) -> OperatorClient:
        """Return a client of the controllers that run."""
        return OperatorClient(
            [
                f"http://[{self.platform.loopback6(self.platform.machine(name))}]:{CONTROLLER_PORT}"
                for name in self.controllers
            ]
        )

    def snapshot(self) -> Snapshot:
        """Return the state as a controller tells it."""
        with self.ask() as operator:
            return operator.snapshot().snapshot

    def wait(self, what: str, condition: Callable[[Snapshot], bool], seconds: float) -> float:
        """Wait until the state is so; return the seconds that it took."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            try:
                if condition(self.snapshot()):
                    return time.monotonic() - began
            except PltfrmsError:
                pass  # it is busy, or not yet there
            time.sleep(0.25)
        raise TimeoutError(f"not within {seconds} s: {what}")

    def change(self, per_second: float) -> None:
        """Let so many machines a second report a change."""
        for agents in self._agents:
            agents.change(per_second / len(self._agents))

    def end_agent(self, machine: str) -> None:
        """Let a machine fall silent."""
        self.ended.add(machine)
        for agents in self._agents:
            agents.end(machine)

    def seen(self) -> Seen:
        """Return what all agents saw since they were asked last."""
        parts = [agents.seen() for agents in self._agents]
        return Seen(
            heartbeat_ms=parts[0].heartbeat_ms,
            heartbeats=sum(len(part.heartbeat_ms) for part in parts),
            refused=sum(part.refused for part in parts),
            targets=sum(part.targets for part in parts),
            fetching_machines=sum(part.fetching_machines for part in parts),
            silent_ms_max=max(part.silent_ms_max for part in parts),
        )

    def cpu_seconds(self) -> tuple[float, float]:
        """Return what controllers and members have used so far."""
        return (
            sum(_cpu_seconds(each.pid) for each in self.controllers.values()),
            sum(_cpu_seconds(each.pid) for each in self._members),
        )

    def memory_mib(self) -> str:
        """Return the memory of controllers and members in words."""
        controllers = max(_rss_mib(each.pid) for each in self.controllers.values())
        members = max(_rss_mib(each.pid) for each in self._members)
        return f"controller {controllers:.0f} MiB, etcd {members:.0f} MiB"

    def false_losses(self, after: int) -> tuple[int, int]:
        """Return how many machines that live were called lost, and the last event's number."""
        count, last = 0, after
        with self.ask() as operator:
            while events := operator.events(last):
                last = events[-1].sequence
                count += sum(
                    each.what == "machine lost"
                    and each.about.removeprefix("machine/") not in self.ended
                    for each in events
                )
        return count, last

    def stop(self) -> None:
        """End everything."""
        for agents in self._agents:
            agents.stop()
        for process in (*self.controllers.values(), *self._members):
            process.kill()
            process.wait()


@contextmanager
def running(machines: int, controllers: int, *, watched: bool) -> Iterator[Site]:
    """Start a site, and end it afterwards."""
    with tempfile.TemporaryDirectory(prefix="pltfrms-bench-") as directory:
        site = Site(Path(directory), machines, controllers, watched=watched)
        try:
            yield site
        finally:
            site.stop()


class Bench:
    """Takes the steps and measures each."""

    def __init__(
        self, site: Site, seconds: float, replicas_per_node: int, *, rest_alone: bool
    ) -> None:
        """Measure a step of no end of its own for so many seconds."""
        self._site = site
        self._replicas_per_node = replicas_per_node
        self._rest_alone = rest_alone
        self._seconds = seconds
        self._events = 0
        self.rows: list[Row] = []

    def run(self) -> None:
        """Take all steps."""
        site, agents = self._site, len(self._site.platform.managed)
        self._measure("cold start", lambda: site.wait("contact", _all_present, _START_SECONDS))
        specs = _specs(site.platform, self._replicas_per_node)
        self._measure("place all", lambda: self._place(specs))
        self._measure("at rest", self._rest)
        if self._rest_alone:
            return
        for per_second in (1.0, 10.0):
            site.change(per_second)
            self._measure(f"{per_second:g} status changes/s", self._rest)
            site.change(0)
        self._measure("one service changed", lambda: self._change(specs[0]))
        node = site.platform.machines_of(Role.NODE)[0].name
        self._measure("a node lost", lambda: self._lose(node))
        if len(site.controllers) > 1:
            self._measure("a controller killed", self._kill_controller)
        print(f"{agents} machines; {site.memory_mib()}", file=sys.stderr)

    def _rest(self) -> None:
        time.sleep(self._seconds)

    def _place(self, specs: Sequence[ServiceSpec]) -> None:
        """Apply one change after the other, each when what was wanted before is ready."""
        wanted = 0
        for start in range(0, len(specs), _SERVICES_PER_CHANGE):
            some = specs[start : start + _SERVICES_PER_CHANGE]
            self._apply(some)
            wanted += sum(
                spec.per_datacenter * len(spec.datacenters or range(_DATACENTERS))
                for spec in some
            )
            self._site.wait("all ready", partial(_are_ready, wanted), 600)
        time.sleep(2)

    def _change(self, spec: ServiceSpec) -> None:
        self._apply([replace(spec, run=replace(spec.run, cpu=spec.run.cpu + 0.001))])
        time.sleep(self._seconds)

    def _apply(self, specs: Sequence[ServiceSpec]) -> None:
        """Apply as an operator would who finds the controllers busy."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with self._site.ask() as operator:
                    operator.apply(Change(services=tuple(specs)))
            except PltfrmsError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
            else:
                return

    def _lose(self, node: str) -> None:
        self._site.end_agent(node)
        took = self._site.wait("replaced", lambda seen: _is_replaced(seen, node), 60)
        self._note = f"replaced after {took:.1f} s"

    def _kill_controller(self) -> None:
        name = next(iter(self._site.controllers))
        process = self._site.controllers.pop(name)
        process.kill()
        process.wait()
        self._before = self._site.cpu_seconds()
        time.sleep(self._seconds)

    def _measure(self, step: str, act: Callable[[], object]) -> None:
        site, self._note = self._site, ""
        site.seen()
        site.longest_slice()
        self._before, began = site.cpu_seconds(), time.monotonic()
        revision = _revision(site)
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
                heartbeats_per_second=round(seen.heartbeats / seconds, 1),
                heartbeat_ms_p50=round(statistics.median(heartbeats), 1),
                heartbeat_ms_p99=round(heartbeats[int(len(heartbeats) * 0.99)], 1),
                refused=seen.refused,
                silent_ms_max=round(seen.silent_ms_max),
                fetching_machines=seen.fetching_machines,
                commits=_revision(site) - revision,
                slice_ms_max=round(1000 * slice_seconds, 1),
                slice_of=slice_of,
                false_losses=false_losses,
                note=self._note,
            )
        )
        print(f"{step}: {seconds:.0f} s", file=sys.stderr, flush=True)


def _all_present(seen: Snapshot) -> bool:
    names = [each.name for each in seen.platform.managed]
    return all(seen.contact(name) is Contact.PRESENT for name in names)


def _are_ready(wanted: int, seen: Snapshot) -> bool:
    return _ready_count(seen) == wanted


def _ready_count(seen: Snapshot) -> int:
    return sum(
        instance.phase is Phase.READY and instance.allocation in seen.allocations
        for status in seen.statuses.values()
        for instance in status.instances
    )


def _is_replaced(seen: Snapshot, node: str) -> bool:
    return not any(each.node == node for each in seen.allocations.values())


def _specs(platform: Platform, replicas_per_node: int) -> tuple[ServiceSpec, ...]:
    nodes = len(platform.machines_of(Role.NODE))
    count = nodes * replicas_per_node // (2 * _DATACENTERS)
    specs = (make_spec(f"s{number:04d}", cpu=0.1) for number in range(count))
    first, *others = (
        replace(spec, run=replace(spec.run, memory_bytes=1 << 20)) for spec in specs
    )
    return replace(first, datacenters=("d0",)), *others  # one that touches few


def _make_platform(directory: Path, machines: int) -> Platform:
    nodes = machines - _MEMBERS - _DATACENTERS * _EDGES
    lines = ["platform: bench", "asn: 64500"]
    lines += ['aggregates: [198.18.0.0/16, "2001:db8:100::/48"]', "datacenters:"]
    names = [f"d{number}" for number in range(_DATACENTERS)]
    for number, name in enumerate(names):
        edges = ", ".join(f"{name}-e{edge}" for edge in range(1, _EDGES + 1))
        lines += [f"  {name}:", f"    id: {number + 1}", "    fabrics: [a, b]"]
        lines += [f"    edges: [{edges}]", "    nodes:"]
        lines += [
            f"      {name}-n{node}: {{cpu: 64, memory: 64GiB}}"
            for node in range(1, nodes // _DATACENTERS + (number < nodes % _DATACENTERS) + 1)
        ]
        lines += [f"    controllers: [{name}-c1]"] * (number < _MEMBERS)
    lines.append("backbone:")
    lines += [
        f"  - {{link: [{a}-e1, {b}-e2], kind: direct, capacity: 10Gbit}}"
        for a, b in zip(names, names[1:] + names[:1], strict=True)
    ]
    path = directory / "platform.yaml"
    path.write_text("\n".join(lines) + "\n")
    return load_platform(path)


def _revision(site: Site) -> int:
    words = ["etcdctl", "--endpoints", _endpoint(site), "get", "none", "--write-out=json"]
    done = subprocess.run(
        words, env=os.environ | {"ETCDCTL_API": "3"}, capture_output=True, check=False
    )
    return int(json.loads(done.stdout)["header"]["revision"]) if done.stdout else 0


def _endpoint(site: Site) -> str:
    first = site.platform.machines_of(Role.CONTROLLER)[0]
    return f"http://[{site.platform.loopback6(first)}]:2379"


def _cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, words[11:15])) / _TICK  # its own, and of processes that it waited for


def _rss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def add_addresses(addresses: Sequence[str]) -> None:
    """Give addresses to this machine."""
    lines = "".join(f"address add {each}/128 dev lo\n" for each in addresses)
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)


def run(*words: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(words, check=True)


def _show(rows: Sequence[Row]) -> None:
    print(
        f"{'step':22}{'s':>7}{'controller':>12}{'etcd':>8}{'beats/s':>9}{'p50 ms':>8}"
        f"{'p99 ms':>8}{'refused':>9}{'silent s':>10}{'fetching':>10}{'commits':>9}"
        f"{'slice ms':>10}{'false':>7}"
    )
    for row in rows:
        print(
            f"{row.step:22}{row.seconds:>7}{row.controller_cores:>12}{row.etcd_cores:>8}"
            f"{row.heartbeats_per_second:>9}{row.heartbeat_ms_p50:>8}{row.heartbeat_ms_p99:>8}"
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
    parser.add_argument("--slices", action="store_true", help="longest slices of event loops")
    parser.add_argument("--rest-alone", action="store_true", help="nothing after `at rest`")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()

    async def scenario() -> None:
        run("ip", "link", "set", "lo", "up")
        with running(asked.machines, asked.controllers, watched=asked.slices) as site:
            bench = Bench(
                site, asked.seconds, asked.replicas_per_node, rest_alone=asked.rest_alone
            )
            bench.run()
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
