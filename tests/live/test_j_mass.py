"""What looks as if everything had failed at once: traffic goes on, and it is said."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.rig import EXAMPLE, Rig
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import Phase
from tests.live.test_h_rollouts import load

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(400)]

PROBE = "probe: {http: /healthz, port: 80, interval: 500ms, timeout: 300ms, rise: 2, fall: 2}"
SITES = ("fra", "ams", "lon")


@pytest.fixture
def dependency(healthy: Rig, tmp_path: Path) -> Iterator[Path]:
    """Have the probe of the service ask for something that all of its instances share."""
    path = tmp_path / "dependency"
    path.touch()
    text = (EXAMPLE / "web.yaml").read_text()
    assert PROBE in text
    asks = (
        f"probe: {{exec: [test, -e, {path}], interval: 500ms, timeout: 3s, rise: 2, fall: 2}}"
    )
    spec = tmp_path / "web.yaml"
    spec.write_text(f"{text.replace(PROBE, asks)}\nrollout: {{bake: 0s}}\n")
    healthy.cli("apply", str(spec), "--yes", "--wait")
    yield path
    spec.write_text(f"{text}\nrollout: {{bake: 0s}}\n")
    healthy.cli("apply", str(spec), "--yes", "--wait")
    healthy.cli("apply", str(EXAMPLE / "web.yaml"), "--yes")
    healthy.restore()


def test_a_probe_that_fails_everywhere_takes_no_traffic_and_is_told(
    healthy: Rig, dependency: Path
) -> None:
    def panics() -> bool:
        said = healthy.cli("status")
        return all(f"web.{site}: {Reason.PANIC.sentence}" in said for site in SITES)

    def recovered() -> bool:
        snapshot = healthy.snapshot()
        said = map(snapshot.instance, snapshot.allocations)
        return all(each is not None and each.phase is Phase.READY for each in said)

    with load(healthy, 45) as report:
        dependency.unlink()
        healthy.wait("it is said of all datacenters", panics, 25)
        told = healthy.cli("explain", "service/web")
        dependency.touch()
        healthy.wait("all are ready again", recovered, 40)
    assert report["lost"] == 0
    assert f"web.fra: {Reason.PANIC.sentence}" in told
    assert Reason.PANIC.value in healthy.cli("events", "--json")
    assert Reason.PANIC.sentence not in healthy.cli("status")
