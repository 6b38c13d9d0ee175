"""A service that has more to do gets more replicas."""

import re
import time
from pathlib import Path

import pytest

from bench.rig import EXAMPLE, Rig
from tests.live.example import web_text

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(300)]


def test_busy_instances_get_another_one_beside_them(healthy: Rig, tmp_path: Path) -> None:
    """Only those of fra: berlin asks nobody else."""
    text = web_text().replace("cpu: 0.2", "cpu: 0.02")
    spec = tmp_path / "web.yaml"
    scale = "{min: 2, max: 3, cpu: 0.25, connections: 10000/s}"
    spec.write_text(f"{text}\nrollout: {{bake: 0s}}\nscale: {scale}\n")
    began_ms = time.time_ns() // 1_000_000
    healthy.cli("apply", str(spec), "--yes", "--wait")
    with healthy.asking() as report:
        healthy.wait("a third one", lambda: healthy.ready_replicas("fra") == 3, 65)
    assert report["lost"] == 0, report
    assert healthy.ready_replicas("ams") == 2
    (told,) = [each for each in healthy.events(began_ms) if each.what == "scaled up"]
    assert told.detail.startswith("fra: 2 -> 3 replicas, which use")
    (accepted,) = re.findall(r" and accept ([0-9]+) connections/s each", told.detail)
    assert 0 < int(accepted) <= 130, "up to 100 of users, and the probe's"
    # The third has to be measured first.
    said = "3 replicas, which use"
    healthy.wait("the load of three", lambda: said in healthy.cli("explain", "service/web"), 30)
    spec.write_text(f"{text}\nrollout: {{bake: 0s}}\n".replace("cpu: 0.02", "cpu: 0.2"))
    healthy.cli("apply", str(spec), "--yes", "--wait")
    healthy.cli("apply", str(EXAMPLE / "web.yaml"), "--yes")
    healthy.restore()
