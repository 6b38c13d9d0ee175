"""A running lab of the example and the verbs that benches and live tests are written in."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import PltfrmsError, UnavailableError
from pltfrms.lab.client.client import LabClient, find_lab, start_lab
from pltfrms.lab.client.probing import Measurement, probed
from pltfrms.lab.client.ready import ReadyReport, apply_services, missing_parts, wait_ready
from pltfrms.model.messages.api import Event
from pltfrms.model.running.state import Phase, Snapshot

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "three-datacenters"
_ASKING_MAX_MS = 300_000
NEAREST = {"berlin": "fra", "rotterdam": "ams", "reading": "lon"}
"""Which datacenter should answer each eyeball of the example."""


@dataclass(frozen=True, slots=True)
class Rig:
    """The lab under test."""

    client: LabClient
    ready: ReadyReport
    up_seconds: float
    """From the start to sessions up and every eyeball answered in both families."""

    def snapshot(self) -> Snapshot:
        """Return the state as any controller sees it."""
        with OperatorClient(self.client.controller_endpoints()) as operator:
            return operator.snapshot().snapshot

    def events(self, since_ms: int) -> list[Event]:
        """Return what happened from a Unix time (milliseconds) on, oldest first."""
        events: list[Event] = []
        with OperatorClient(self.client.controller_endpoints()) as operator:
            while some := operator.events(events[-1].sequence if events else 0):
                events += some
        return [event for event in events if event.at_ms >= since_ms]

    def drawn(self) -> dict[str, dict[str, str]]:
        """Return the state of each element of the picture by its list and id."""
        with (
            OperatorClient(self.client.controller_endpoints()) as operator,
            operator.raw("/v1/view", {}) as answer,
        ):
            picture = json.loads(b"".join(answer.parts()))
        lists = ("datacenters", "edges", "machines", "links", "services")
        return {name: {each["id"]: each["state"] for each in picture[name]} for name in lists}

    def run(self, machine: str, *argv: str, check: bool = True) -> str:
        """Run a command in a machine and return what it printed."""
        done = subprocess.run(
            self.client.exec_argv(machine, argv),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if check and done.returncode:
            raise UnavailableError(f"{machine}: {' '.join(argv)}: {done.stderr or done.stdout}")
        return done.stdout

    def cli(self, *argv: str, expect: int = 0) -> str:
        """Run `pltfrms` as a person would, and return what it printed on stdout."""
        done = subprocess.run(
            [sys.executable, "-m", "pltfrms", "--lab", self.client.name, *argv],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        if done.returncode != expect:
            said = f"exit {done.returncode}\n{done.stdout}{done.stderr}"
            raise UnavailableError(f"pltfrms {' '.join(argv)}: {said}")
        return done.stdout + (done.stderr if expect else "")

    def probe(self, client: str, *options: str, service: str = "web") -> dict[str, Any]:
        """Run `lab probe` of a service from a client; return its report."""
        text = self.cli("lab", "probe", service, "--from", client, "--json", *options)
        report: dict[str, Any] = json.loads(text)
        return report

    @contextmanager
    def asking(
        self,
        client: str = "berlin",
        *,
        rate: float = 200,
        patience_ms: int = 1000,
        service: str = "web",
    ) -> Iterator[dict[str, Any]]:
        """Ask a service for as long as the block takes; the report is complete afterwards."""
        wanted = Measurement(
            client=client, rate=rate, duration_ms=_ASKING_MAX_MS, timeout_ms=patience_ms
        )
        report: dict[str, Any] = {}
        with probed(self.client, self.snapshot().services[service], wanted) as asked:
            yield report
        report.update(asdict(asked()))

    def probe_all(self, clients: Iterable[str], *options: str) -> dict[str, dict[str, Any]]:
        """Run `lab probe web` from several clients at once; return their reports."""
        with ThreadPoolExecutor() as pool:
            asking = {each: pool.submit(self.probe, each, *options) for each in clients}
        return {each: report.result() for each, report in asking.items()}

    def restore(self) -> None:
        """Undo every fault, power everything on, and wait until all is well."""
        self.client.heal(None)
        for machine in self.client.machines():
            if not machine.running:
                self.client.boot(f"machine/{machine.name}")
        self.wait("all well", lambda: not missing_parts(self.snapshot()), 60)

    def wait(self, what: str, condition: Callable[[], bool], seconds: float) -> float:
        """Wait for a condition and return the seconds it took.

        Raises:
            UnavailableError: it did not come true in time.
        """
        started = time.monotonic()
        while time.monotonic() < started + seconds:
            try:
                if condition():
                    return time.monotonic() - started
            except PltfrmsError:
                pass  # a controller may be the one that is down now
            time.sleep(0.02)
        raise UnavailableError(f"not within {seconds} s: {what}")

    def ready_replicas(self, datacenter: str, *, besides: str = "") -> int:
        """Return how many replicas of web are ready there, on other nodes than `besides`."""
        snapshot = self.snapshot()
        ready = {
            allocation.replica
            for allocation in snapshot.allocations.values()
            if allocation.datacenter == datacenter
            and allocation.node != besides
            and (instance := snapshot.instance(allocation.id)) is not None
            and instance.phase is Phase.READY
        }
        return len(ready)

    def node_of(self, datacenter: str, replica: int = 1) -> str:
        """Return the node that runs a replica of web."""
        return next(
            allocation.node
            for allocation in self.snapshot().allocations.values()
            if allocation.datacenter == datacenter and allocation.replica == replica
        )

    def aggregate_paths(self, machine: str, prefix: str = "198.51.100.0/24") -> str:
        """Return BIRD's paths to an aggregate in a machine of the emulated internet."""
        words = ("show", "route", "all", "for", prefix)
        return self.run(machine, "birdc", "-s", "/run/pltfrms/bird.ctl", *words)


@contextmanager
def running_rig(name: str, directory: Path = EXAMPLE) -> Iterator[Rig]:
    """Start a lab of an example, wait until it is ready, and end it afterwards."""
    started = time.monotonic()
    with running_lab(directory, name) as (client, ready):
        yield Rig(client, ready, time.monotonic() - started)


@contextmanager
def running_lab(directory: Path, name: str) -> Iterator[tuple[LabClient, ReadyReport]]:
    """Start a lab with its services, wait until it is ready, and end it afterwards.

    It also ends when this process is killed.
    """
    client = start_lab(directory, name, _silent)
    words = (sys.executable, str(Path(__file__).resolve()), name)
    with subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True):
        try:
            applied = apply_services(client, directory, _silent)
            yield client, wait_ready(client, 90, _silent, applied)
        finally:
            client.down()


def _end_with_starter(name: str) -> None:
    """End a lab once stdin is closed, which the kernel does when its starter is gone."""
    sys.stdin.read()
    with suppress(PltfrmsError):
        find_lab(name).down()


def _silent(_sentence: str) -> None:
    """Progress is for people."""


def machine_words() -> str:
    """Say in one line what a bench ran on."""
    python = platform.python_version()
    return f"{os.cpu_count()} cores, Linux {platform.release()}, Python {python}"


if __name__ == "__main__":
    _end_with_starter(sys.argv[1])
