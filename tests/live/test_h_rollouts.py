"""New versions of a service under load: good ones come by stages, bad ones go back."""

import threading
import time
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from bench.rig import EXAMPLE, Rig
from pltfrms.errors import UnavailableError
from pltfrms.lab.client.prober import BAD_ANSWER, TIMEOUT
from pltfrms.model.running.state import Phase

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(300)]

COMMAND = "process: [nginx, -p, ., -c, nginx.conf, -e, error.log]"
WANTED = 6


def spec(tmp_path: Path, old: str, new: str, bake: str = "2s") -> str:
    """Return a file of the service of the example with something else in it."""
    text = (EXAMPLE / "web.yaml").read_text()
    assert old in text
    path = tmp_path / "web.yaml"
    path.write_text(f"{text.replace(old, new)}\nrollout: {{bake: {bake}}}\n")
    return str(path)


def versions(rig: Rig) -> set[int]:
    return {each.version for each in rig.snapshot().allocations.values()}


def nodes_in_use(rig: Rig) -> set[str]:
    return {each.node for each in rig.snapshot().allocations.values()}


@pytest.fixture(scope="module", autouse=True)
def example(lab: Rig) -> Iterator[None]:
    """Leave the service as the example has it, whichever of these tests ran."""
    yield
    lab.restore()
    lab.cli("apply", str(EXAMPLE / "web.yaml"), "--yes")

    def settled() -> bool:
        service = lab.snapshot().services["web"]
        if service.rolling:  # stages need not bake here
            lab.cli("rollout", "promote", "web", "--yes")
        return versions(lab) == {service.version}

    lab.wait("all replicas run it", settled, 60)


@contextmanager
def load(rig: Rig, seconds: int, service: str = "web") -> Iterator[dict[str, Any]]:
    """Ask a service meanwhile; its report is complete afterwards."""
    report: dict[str, Any] = {}

    def ask() -> None:
        words = ("--rate", "200", "--duration", f"{seconds}s")
        report.update(rig.probe("berlin", *words, service=service))

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(1)
    try:
        yield report
    finally:
        asking.join()


@contextmanager
def asking(rig: Rig, rate: int = 200) -> Iterator[list[int]]:
    """Ask the service for as long as the block takes; say afterwards what was lost, in parts.

    Two ask in turns: while one begins anew, the other asks.
    """
    lost, over = list[int](), threading.Event()
    how = ("--rate", str(rate // 2), "--duration", "4s", "--patience", "3s")

    def ask(later_seconds: float) -> None:
        over.wait(later_seconds)
        while not over.is_set():
            lost.append(rig.probe("berlin", *how)["lost"])

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask, 2.0 * number) for number in range(2)]
        time.sleep(1)
        try:
            yield lost
        finally:
            over.set()
    for each in asked:
        each.result()


@contextmanager
def always_wanted(rig: Rig, dead: Container[str] = ()) -> Iterator[list[int]]:
    """Count the replicas that are ready, over and over, as far as controllers know.

    Those of nodes that are dead by then are not.
    """
    counts: list[int] = []
    done = threading.Event()

    def count() -> None:
        while not done.wait(0.05):
            try:
                snapshot = rig.snapshot()
            except UnavailableError:
                continue  # a controller may be the one that is dead by then
            ready = {
                (each.datacenter, each.replica)
                for each in snapshot.allocations.values()
                if each.service == "web"
                and each.node not in dead
                and (said := snapshot.instance(each.id))
                and said.phase is Phase.READY
            }
            counts.append(len(ready))

    counting = threading.Thread(target=count)
    counting.start()
    try:
        yield counts
    finally:
        done.set()
        counting.join()


def test_a_good_version_reaches_every_replica_and_no_request_is_lost(
    healthy: Rig, tmp_path: Path
) -> None:
    path = spec(tmp_path, "cpu: 0.2", "cpu: 0.21")
    before = set(healthy.snapshot().allocations)
    with load(healthy, 60) as report, always_wanted(healthy) as counts:
        healthy.cli("apply", path, "--yes", "--wait")
    assert report["lost"] == 0
    assert min(counts) == WANTED
    assert not before & set(healthy.snapshot().allocations)
    assert "done" in healthy.cli("rollout", "status", "web")


def test_planned_work_loses_no_request_of_500_in_a_second(healthy: Rig, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    text = (EXAMPLE / "web.yaml").read_text()
    other.write_text(text.replace("service: web", "service: other"))
    healthy.cli("apply", str(other), "--yes", "--wait")
    node = healthy.node_of("fra")
    with always_wanted(healthy) as counts, asking(healthy, rate=500) as lost:
        healthy.cli("node", "drain", node)
        healthy.wait("nothing is there", lambda: node not in nodes_in_use(healthy), 10)
        healthy.cli("service", "delete", "other", "--yes")
        healthy.cli("node", "undrain", node)
        healthy.cli("edge", "drain", "fra-e1", "--wait", "3s", "--yes-i-mean", "headroom")
        healthy.cli("edge", "undrain", "fra-e1")
    assert sum(lost) == 0
    assert min(counts) == WANTED


def test_a_node_and_the_controller_that_began_die_in_the_middle(
    healthy: Rig, tmp_path: Path
) -> None:
    path = spec(tmp_path, "cpu: 0.2", "cpu: 0.22", bake="10s")  # three of them are left later
    began_ms, dead = time.time_ns() // 1_000_000, set[str]()

    def told() -> dict[str, str]:
        """Return who told of each step of the rollout."""
        events = healthy.events(began_ms)
        return {each.what: each.source for each in events if each.about == "service/web"}

    def missed() -> set[str]:
        lost = [each.about for each in healthy.events(began_ms) if each.what == "machine lost"]
        return {about.removeprefix("machine/") for about in lost}

    with always_wanted(healthy, dead) as counts:
        with asking(healthy) as lost:
            healthy.cli("apply", path, "--yes")
            healthy.wait("its second stage", lambda: "rollout goes on" in told(), 60)
            dead |= {healthy.node_of("fra", replica=2)}
            healthy.client.fault(f"node/{next(iter(dead))}")
            healthy.wait("it is missed", lambda: dead <= missed(), 30)
        with asking(healthy) as lost_later:
            assert "rollout done" not in told()
            began = next(who for what, who in told().items() if what.endswith(" accepted"))
            healthy.client.fault(began)
            healthy.wait("the end", lambda: "rollout done" in told(), 120)
        healthy.wait("all run the new one", lambda: len(versions(healthy)) == 1, 20)
    assert sum(lost) < 100, "what was on its way to that node, for half a second"
    assert sum(lost_later) == 0
    assert min(counts) >= WANTED - 1
    every = healthy.snapshot().allocations.values()
    assert len(every) == len({(each.datacenter, each.node) for each in every}) == WANTED
    assert not dead & {each.node for each in every}


def test_a_version_that_crashes_goes_back_and_no_request_is_lost(
    healthy: Rig, tmp_path: Path
) -> None:
    before = set(healthy.snapshot().allocations)
    version = healthy.snapshot().services["web"].version
    path = spec(tmp_path, COMMAND, "process: [sh, -c, exit 3]")
    with load(healthy, 25) as report, always_wanted(healthy) as counts:
        said = healthy.cli("apply", path, "--yes", "--wait", expect=6)
    assert f"version {version} is back: web." in said
    assert report["lost"] == 0
    assert min(counts) == WANTED
    assert set(healthy.snapshot().allocations) == before
    assert "rollout failed, and goes back" in healthy.cli("events")
    again = healthy.cli("plan", path, expect=3)
    assert "which failed: web." in again


def test_a_version_that_dies_while_it_bakes_goes_back_to_where_it_came_from(
    healthy: Rig, tmp_path: Path
) -> None:
    dying = "exec timeout 4 nginx -p . -c nginx.conf -e error.log"
    path = spec(tmp_path, COMMAND, f'process: [sh, -c, "{dying}"]', bake="20s")
    version = healthy.snapshot().services["web"].version
    healthy.cli("apply", path, "--yes", "--wait", expect=6)
    assert healthy.snapshot().services["web"].version == version
    healthy.wait("all run the old one", lambda: versions(healthy) == {version}, 20)


SERVER = """
import json, socket, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
BEGAN = time.monotonic()
class Dual(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        status, names = 200, "service instance datacenter node".split()
        if self.path != "/healthz":
            MISCHIEF
        values = "${pltfrms.service} ${pltfrms.instance} ${pltfrms.datacenter} ${pltfrms.node}"
        said = json.dumps(dict(zip(names, values.split()))).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    def log_message(self, *words):
        pass
Dual(("::", 80), Answer).serve_forever()
"""


def compared(tmp_path: Path, mischief: str, rollout: str) -> str:
    """Return a file of the service with another server, which is ready, and does this."""
    _, _, rest = (EXAMPLE / "web.yaml").read_text().partition("  cpu:")
    rest = rest.replace("fall: 2}", "fall: 2, grace: 30s}")  # Python begins slowly beside labs
    server = indent(SERVER.replace("MISCHIEF", mischief).strip(), "      ")
    run = f"run:\n  process: [python3, server.py]\n  files:\n    server.py: |\n{server}\n"
    path = tmp_path / "web.yaml"
    path.write_text(f"service: web\n{run}  cpu:{rest}\nrollout: {rollout}\n")
    return str(path)


@pytest.mark.parametrize(
    ("mischief", "says"),
    [
        ("time.sleep(0.3)", " ms of version "),
        ("status = 500 if time.monotonic() - BEGAN > 5 else 200", "requests failed against"),
    ],
)
def test_a_version_that_is_ready_and_answers_worse_goes_back_by_itself(
    healthy: Rig, tmp_path: Path, mischief: str, says: str
) -> None:
    path = compared(tmp_path, mischief, "{bake: 20s, compare: {http: /}}")
    before = set(healthy.snapshot().allocations)
    with load(healthy, 35) as report, always_wanted(healthy) as counts:
        said = healthy.cli("apply", path, "--yes", "--wait", expect=6)
    assert says in said
    assert min(counts) == WANTED
    assert len(before - set(healthy.snapshot().allocations)) <= 1
    lost = {kind for kind, count in report["errors"].items() if count}
    assert lost <= {BAD_ANSWER, TIMEOUT}  # what the canary answered, or was too slow for
    assert "rollout failed, and goes back" in healthy.cli("events")
    assert "which failed" in healthy.cli("plan", path, expect=3)


def test_a_probe_that_nothing_that_runs_passes_is_refused_and_nothing_is_started(
    healthy: Rig, tmp_path: Path
) -> None:
    before = set(healthy.snapshot().allocations)
    path = spec(tmp_path, "probe: {http: /healthz", "probe: {exec: ['false']")
    text = Path(path).read_text().replace("['false'], port: 80,", "['false'],")
    Path(path).write_text(text)
    with load(healthy, 15) as report, always_wanted(healthy) as counts:
        said = healthy.cli("apply", path, "--yes", "--wait", expect=6)
    assert "its probe fails on all 6 running instances" in said
    assert report["lost"] == 0
    assert min(counts) == WANTED
    assert set(healthy.snapshot().allocations) == before
    assert "which failed: its probe fails" in healthy.cli("plan", path, expect=3)
