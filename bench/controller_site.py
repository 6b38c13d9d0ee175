"""What a bench of controllers runs: members of the store, controllers, simulated agents."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.agents import Agents, Seen
from bench.readers import Readers, hosts_of
from bench.watched import longest
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import PltfrmsError
from pltfrms.model.network.topology import CONTROLLER_PORT, Platform, Role
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.render.etcd import Beginning, etcd_command, peer_url
from pltfrms.specfile import load_platform

_DATACENTERS, _FEW_DATACENTERS, _FEW = 5, 3, 40
"""How many datacenters; and how many where there are fewer machines than that."""
_EDGES = 2
_MEMBERS = 3
_AGENT_PROCESSES = 2
_TIMED_SHARE = 10
"""One in so many machines is in a process that has time to see how long heartbeats take."""
_TICK = os.sysconf("SC_CLK_TCK")
_SAY_SECONDS = 10.0
_READ_SECONDS = 60
"""Until all readers read."""
_LOOK_SECONDS = 0.1
_SHOWN = 3
_TAIL = 10
"""Lines of a log."""


class Site:
    """Everything that runs: members, controllers, agents."""

    def __init__(
        self,
        directory: Path,
        machines: int,
        controllers: int,
        *,
        watched: bool,
        etcd: str = "etcd",
        heartbeat_ms: int = 1000,
    ) -> None:
        """Start it; `watched`: write down the longest slices of event loops, which costs."""
        self._directory, self._watched, self._etcd = directory, watched, etcd
        self.platform = _make_platform(directory, machines, heartbeat_ms)
        self._names = [each.name for each in self.platform.machines_of(Role.CONTROLLER)]
        add_addresses([str(self.platform.loopback6(each)) for each in self.platform.managed])
        self.logs: dict[int, Path] = {}
        self._members = [self._start_member(name) for name in self._names]
        self.controllers = {name: self.start(name) for name in self._names[:controllers]}
        self._agents = self._start_agents()
        self.ended: set[str] = set()
        self._slices_read: dict[str, int] = {}

    def _start_agents(self) -> list[Agents]:
        edges = self.platform.machines_of(Role.EDGE)
        timed = [each for each in self.platform.managed if each not in edges][::_TIMED_SHARE]
        others = [each for each in self.platform.managed if each not in timed]
        parts = [timed, *(others[part::_AGENT_PROCESSES] for part in range(_AGENT_PROCESSES))]
        return [Agents(self.platform, part) for part in parts]

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
        _, *words = etcd_command(self.platform, name, data, first)
        local = [word.replace(",http://[::1]:2379", "") for word in words]  # one address each
        return self._spawn(f"{name}.etcd", self._etcd, *local)

    def _spawn(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        path = self._directory / f"{name}.log"
        with path.open("ab") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log)
        self.logs[process.pid] = path
        return process

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

    def wait(self, lacking: Callable[["Site"], str], seconds: float) -> float:
        """Wait until nothing is lacking; return the seconds that it took.

        Says what is lacking every ten seconds, and in the TimeoutError.
        """
        began = say_at = time.monotonic()
        words = ""
        while (passed := time.monotonic() - began) < seconds:
            self.check()
            asked = time.monotonic()
            try:
                words = lacking(self)
            except PltfrmsError as error:  # it is busy, or not yet there
                words = str(error)
            if not words:
                return time.monotonic() - began
            if time.monotonic() - say_at > _SAY_SECONDS:
                say_at = time.monotonic()
                say(f"  {passed:.0f} s: {words}")
            time.sleep(max(_LOOK_SECONDS, time.monotonic() - asked))  # a look costs as well
        raise TimeoutError(f"after {seconds:.0f} s: {words}; {self.problems()}")

    def instances(self) -> int:
        """Return how many instances run, which controllers need not be asked for."""
        return sum(agents.instances() for agents in self._agents)

    def silent(self) -> int:
        """Return how many agents have had no heartbeat taken lately."""
        return sum(agents.silent() for agents in self._agents)

    def version(self, service: str) -> int:
        """Return the newest version of a service that an agent has fetched; 0: none has any.

        Agents are asked: to encode the whole state is no part of a change.
        """
        return max(agents.version(service) for agents in self._agents)

    def check(self) -> None:
        """Raise RuntimeError if anything has ended that was to run."""
        for agents in self._agents:
            agents.check()
        for process in (*self.controllers.values(), *self._members):
            if process.poll() is not None:
                log = self.logs[process.pid]
                tail = "\n".join(log.read_text().splitlines()[-_TAIL:])
                raise RuntimeError(f"{log.stem} ended with {process.returncode}:\n{tail}")

    def problems(self) -> str:
        """Return what agents met since they were asked last, in words."""
        return words_of(self.seen().problems)

    def restart(self) -> None:
        """Kill everything at once, and start it again with the data that there is."""
        self.stop()
        self._members = [self._start_member(name) for name in self._names]
        self.controllers = {name: self.start(name) for name in self.controllers}
        self._agents = self._start_agents()

    @contextmanager
    def leader_hangs(self) -> Iterator[str]:
        """Have the member that leads the store live, and answer nobody; yield its name."""
        name = leader(self)
        process = self._members[self._names.index(name)]
        process.send_signal(signal.SIGSTOP)
        try:
            yield name
        finally:
            process.send_signal(signal.SIGCONT)

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
            problems=sum((part.problems for part in parts), Counter()),
        )

    def cpu_seconds(self) -> tuple[float, float, float]:
        """Return what controllers, members and simulated agents have used so far."""
        return (
            sum(_cpu_seconds(each.pid) for each in self.controllers.values()),
            sum(_cpu_seconds(each.pid) for each in self._members),
            sum(_cpu_seconds(each.pid) for each in self._agents),
        )

    @contextmanager
    def readers(self, count: int) -> Iterator[Readers]:
        """Have so many read the stream of controllers; yield once all do."""
        add_addresses(hosts_of(count))
        machines = (self.platform.machine(name) for name in self.controllers)
        at = [(str(self.platform.loopback6(each)), CONTROLLER_PORT) for each in machines]
        readers = Readers(at, count)
        try:
            self.wait(lambda _: readers.lacking(), _READ_SECONDS)
            yield readers
        finally:
            readers.stop()

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
def running(
    machines: int,
    controllers: int,
    *,
    watched: bool,
    etcd: str = "etcd",
    heartbeat_ms: int = 1000,
) -> Iterator[Site]:
    """Start a site, and end it afterwards."""
    with tempfile.TemporaryDirectory(prefix="pltfrms-bench-") as directory:
        site = Site(
            Path(directory),
            machines,
            controllers,
            watched=watched,
            etcd=etcd,
            heartbeat_ms=heartbeat_ms,
        )
        try:
            yield site
        finally:
            site.stop()


def absent(site: Site) -> str:
    """Return how many machines are not in contact, in words.

    Agents are asked first: the whole state of many machines is no small question.
    """
    names = [each.name for each in site.platform.managed]
    if silent := site.silent():
        return f"{silent} of {len(names)} machines are not in contact"
    seen = site.snapshot()
    missing = [name for name in names if seen.contact(name) is not Contact.PRESENT]
    return f"{len(missing)} of {len(names)} machines are not in contact" * bool(missing)


def words_of(problems: Counter[str]) -> str:
    """Return what agents met most often, in words."""
    most = "; ".join(f"{count} x {what}" for what, count in problems.most_common(_SHOWN))
    return f"agents met: {most}" if most else "agents met no problem"


def say(words: str) -> None:
    """Tell who waits how far it is."""
    print(words, file=sys.stderr, flush=True)


def _make_platform(directory: Path, machines: int, heartbeat_ms: int) -> Platform:
    datacenters = _DATACENTERS if machines >= _FEW else _FEW_DATACENTERS
    nodes = machines - _MEMBERS - datacenters * _EDGES
    lines = ["platform: bench", "asn: 64500", "timers:"]
    lines += [f"  heartbeat: {heartbeat_ms}ms", f"  contact_ttl: {3 * heartbeat_ms // 1000}s"]
    lines += [
        f"numbering: {{nodes: {nodes}}}",
        'aggregates: [198.18.0.0/16, "2001:db8:100::/48"]',
    ]
    lines.append("datacenters:")
    names = [f"d{number}" for number in range(datacenters)]
    for number, name in enumerate(names):
        edges = ", ".join(f"{name}-e{edge}" for edge in range(1, _EDGES + 1))
        lines += [f"  {name}:", f"    id: {number + 1}", "    fabrics: [a, b]"]
        lines += [f"    edges: [{edges}]", "    nodes:"]
        lines += [
            f"      {name}-n{node}: {{cpu: 64, memory: 64GiB}}"
            for node in range(1, nodes // datacenters + (number < nodes % datacenters) + 1)
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


def revision(site: Site) -> int:
    """Return the number of commits of the store so far."""
    said = _etcdctl(next(iter(_endpoints(site))), "get", "none")
    return int(said["header"]["revision"]) if said else 0


def leader(site: Site) -> str:
    """Return the name of the member that leads, as those say that answer; empty: none does."""
    endpoints = _endpoints(site)
    for each in _etcdctl(",".join(endpoints), "endpoint", "status"):
        if each["Status"]["leader"] == each["Status"]["header"]["member_id"]:
            return endpoints[each["Endpoint"]]
    return ""


def _etcdctl(endpoints: str, *words: str) -> Any:
    """Return what etcdctl says; empty: nothing."""
    done = subprocess.run(
        ["etcdctl", "--endpoints", endpoints, "--write-out=json", *words],
        env=os.environ | {"ETCDCTL_API": "3"},
        capture_output=True,
        check=False,
    )
    return json.loads(done.stdout) if done.stdout else {}


def _endpoints(site: Site) -> dict[str, str]:
    """Return the name of each member by its endpoint."""
    controllers = site.platform.machines_of(Role.CONTROLLER)
    return {f"http://[{site.platform.loopback6(e)}]:2379": e.name for e in controllers}


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
