"""New versions of a service under load: good ones come by stages, bad ones go back."""

import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import pytest

from bench.rig import EXAMPLE, Rig
from pltfrms.lab.client.prober import BAD_ANSWER, TIMEOUT
from tests.live.example import web_text
from tests.live.serving import looking

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.root, pytest.mark.timeout(300)]

COMMAND = "process: [nginx, -p, ., -c, nginx.conf, -e, error.log]"
WANTED = 6
EVERYWHERE = {"fra": 2, "ams": 2, "lon": 2}
"""On so many nodes of each datacenter it is served: its count, and its spread."""
RATE = 500
"""Requests per second."""


def spec(tmp_path: Path, old: str, new: str, bake: str = "2s") -> str:
    """Return a file of the service of the example with something else in it."""
    text = web_text()
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


def test_a_good_version_reaches_every_replica_and_no_request_is_lost(
    healthy: Rig, tmp_path: Path
) -> None:
    path = spec(tmp_path, "cpu: 0.2", "cpu: 0.21")
    before = set(healthy.snapshot().allocations)
    with healthy.asking(rate=RATE) as report, looking(healthy) as looks:
        healthy.cli("apply", path, "--yes", "--wait")
    assert report["lost"] == 0, report
    assert looks.fewest == EVERYWHERE
    assert not before & set(healthy.snapshot().allocations)
    assert "done" in healthy.cli("rollout", "status", "web")


def test_planned_work_loses_no_request_of_500_in_a_second(healthy: Rig, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    text = web_text()
    other.write_text(text.replace("service: web", "service: other"))
    healthy.cli("apply", str(other), "--yes", "--wait")
    node = healthy.node_of("fra")
    with healthy.asking(rate=RATE) as report, looking(healthy) as looks:
        healthy.cli("node", "drain", node)
        healthy.wait("nothing is there", lambda: node not in nodes_in_use(healthy), 30)
        healthy.cli("service", "delete", "other", "--yes")
        healthy.cli("node", "undrain", node)
        healthy.cli("edge", "drain", "fra-e1", "--wait", "3s", "--yes-i-mean", "headroom")
        healthy.cli("edge", "undrain", "fra-e1")
    assert report["lost"] == 0, report
    assert looks.fewest == EVERYWHERE


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

    with looking(healthy, dead) as looks:
        with healthy.asking(rate=RATE, patience_ms=3000) as report:
            healthy.cli("apply", path, "--yes")
            healthy.wait("its second stage", lambda: "rollout goes on" in told(), 60)
            dead |= {healthy.node_of("fra", replica=2)}
            healthy.client.fault(f"node/{next(iter(dead))}")
            healthy.wait("it is missed", lambda: dead <= missed(), 30)
        with healthy.asking(rate=RATE, patience_ms=3000) as later:
            assert "rollout done" not in told()
            began = next(who for what, who in told().items() if what.endswith(" accepted"))
            healthy.client.fault(began)
            healthy.wait("the end", lambda: "rollout done" in told(), 120)
        healthy.wait("all run the new one", lambda: len(versions(healthy)) == 1, 20)
    assert report["lost"] < RATE / 2, "what was on its way to that node, for half a second"
    assert later["lost"] == 0, later
    assert looks.fewest.items() >= {"ams": 2, "lon": 2}.items()
    assert looks.fewest["fra"] >= 1
    every = healthy.snapshot().allocations.values()
    assert len(every) == len({(each.datacenter, each.node) for each in every}) == WANTED
    assert not dead & {each.node for each in every}


def test_a_version_that_crashes_goes_back_and_no_request_is_lost(
    healthy: Rig, tmp_path: Path
) -> None:
    before = set(healthy.snapshot().allocations)
    version = healthy.snapshot().services["web"].version
    path = spec(tmp_path, COMMAND, "process: [sh, -c, exit 3]")
    with healthy.asking(rate=RATE) as report, looking(healthy) as looks:
        said = healthy.cli("apply", path, "--yes", "--wait", expect=6)
    assert f"version {version} is back: web." in said
    assert report["lost"] == 0, report
    assert looks.fewest == EVERYWHERE
    assert set(healthy.snapshot().allocations) == before
    assert "rollout failed, and goes back" in healthy.cli("events")
    again = healthy.cli("plan", path, expect=3)
    assert "which failed: web." in again


def test_a_version_that_is_never_ready_and_ignores_term_goes_back(
    healthy: Rig, tmp_path: Path
) -> None:
    deaf = "trap '' TERM; while :; do sleep 1; done"
    path = spec(tmp_path, COMMAND, f'process: [sh, -c, "{deaf}"]')
    Path(path).write_text(Path(path).read_text().replace("fall: 2}", "fall: 2, grace: 2s}"))
    before, began_ms = set(healthy.snapshot().allocations), time.time_ns() // 1_000_000
    with healthy.asking(rate=RATE) as report, looking(healthy) as looks:
        said = healthy.cli("apply", path, "--yes", "--wait", expect=6)
    assert " is back: web." in said
    assert report["lost"] == 0, report
    assert looks.fewest == EVERYWHERE
    assert set(healthy.snapshot().allocations) == before

    def killed() -> bool:
        return any("was killed" in each.detail for each in healthy.events(began_ms))

    healthy.wait("it is killed, and that is said", killed, 20)
    assert "which failed: web." in healthy.cli("plan", path, expect=3)


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
    _, _, rest = web_text().partition("  cpu:")
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
    # No more than a server in Python answers in time with a fifth of a slow processor.
    with healthy.asking(rate=100) as report, looking(healthy) as looks:
        said = healthy.cli("apply", path, "--yes", "--wait", expect=6)
    assert says in said
    assert looks.fewest == EVERYWHERE
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
    with healthy.asking(rate=RATE) as report, looking(healthy) as looks:
        said = healthy.cli("apply", path, "--yes", "--wait", expect=6)
    assert "its probe fails on all 6 running instances" in said
    assert report["lost"] == 0, report
    assert looks.fewest == EVERYWHERE
    assert set(healthy.snapshot().allocations) == before
    assert "which failed: its probe fails" in healthy.cli("plan", path, expect=3)
