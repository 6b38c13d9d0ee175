"""What looks as if everything had failed at once: traffic goes on, and it is said."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.rig import EXAMPLE, Rig
from pltfrms.model.network.topology import Role
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import Phase

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(400)]

PROBE = "probe: {http: /healthz, port: 80, interval: 500ms, timeout: 300ms, rise: 2, fall: 2}"
SITES = ("fra", "ams", "lon")


def everywhere(rig: Rig, *command: str, sites: tuple[str, ...] = SITES) -> None:
    """Run a command on every node of some datacenters, at once."""
    nodes = [
        node.name
        for node in rig.snapshot().platform.machines_of(Role.NODE)
        if node.datacenter in sites
    ]
    with ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(lambda node: rig.run(node, *command), nodes))


def recovered(rig: Rig) -> bool:
    snapshot = rig.snapshot()
    said = map(snapshot.instance, snapshot.allocations)
    return all(each is not None and each.phase is Phase.READY for each in said)


@pytest.fixture
def dependency(healthy: Rig, tmp_path: Path) -> Iterator[str]:
    """Have the probe of the service ask for something that is not the instance's own."""
    path = "/run/dependency"
    everywhere(healthy, "touch", path)
    text = (EXAMPLE / "web.yaml").read_text()
    assert PROBE in text
    asks = f"probe: {{exec: [test, -e, {path}], interval: 500ms, timeout: 3s}}"
    spec = tmp_path / "web.yaml"
    spec.write_text(f"{text.replace(PROBE, asks)}\nrollout: {{bake: 0s}}\n")
    healthy.cli("apply", str(spec), "--yes", "--wait")
    yield path
    spec.write_text(f"{text}\nrollout: {{bake: 0s}}\n")
    healthy.cli("apply", str(spec), "--yes", "--wait")
    healthy.cli("apply", str(EXAMPLE / "web.yaml"), "--yes")
    healthy.restore()


def test_a_probe_that_fails_everywhere_takes_no_traffic_and_is_told(
    healthy: Rig, dependency: str
) -> None:
    def panics() -> bool:
        said = healthy.cli("status")
        return all(f"web.{site}: {Reason.PANIC.sentence}" in said for site in SITES)

    with healthy.asking() as report:
        everywhere(healthy, "rm", dependency)
        healthy.wait("it is said of all datacenters", panics, 25)
        told = healthy.cli("explain", "service/web")
        everywhere(healthy, "touch", dependency)
        healthy.wait("all are ready again", lambda: recovered(healthy), 40)
    assert report["lost"] == 0, report
    assert f"web.fra: {Reason.PANIC.sentence}" in told
    assert Reason.PANIC.value in healthy.cli("events", "--json")
    assert Reason.PANIC.sentence not in healthy.cli("status")


def test_where_one_datacenter_says_that_it_is_ill_another_one_answers(
    healthy: Rig, dependency: str
) -> None:
    def answered() -> set[str]:
        report = healthy.probe("berlin", "--duration", "1s")
        return set(report["answered_by"]["before"])

    assert answered() == {"fra"}
    everywhere(healthy, "rm", dependency, sites=("fra",))
    healthy.wait("others answer", lambda: "fra" not in answered(), 30)
    report = healthy.probe("berlin", "--rate", "200", "--duration", "10s")
    assert report["lost"] == 0, report
    assert "fra" not in report["answered_by"]["before"]
    everywhere(healthy, "touch", dependency, sites=("fra",))
    healthy.wait("all are ready again", lambda: recovered(healthy), 40)
    healthy.wait("it answers again itself", lambda: answered() == {"fra"}, 60)
