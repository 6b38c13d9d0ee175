"""The alerts for Prometheus: of metrics that are there, tested and explained."""

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pltfrms.agent.scraped.machine_metrics import machine_metrics
from pltfrms.api.app import doors_of
from pltfrms.api.metrics import Metrics
from pltfrms.model.running.redundancy import Redundancy, Survival
from pltfrms.model.running.state import MachineStatus
from tests.agent.scraped.test_machine_metrics import figures
from tests.controller.cluster import Cluster
from tests.simulation.virtual import run_virtual
from tests.strategies import make_platform

ROOT = Path(__file__).parents[2]
RULES = ROOT / "packaging" / "prometheus" / "pltfrms.rules.yaml"
TESTS = ROOT / "packaging" / "prometheus" / "pltfrms.rules_test.yaml"
ALERTS = {
    rule["alert"]: rule
    for group in YAML(typ="safe").load(RULES.read_text())["groups"]
    for rule in group["rules"]
}
NAME = re.compile(r"pltfrms_\w+")


def families() -> dict[str, tuple[str, ...]]:
    """Return the labels of the metrics of a controller, by name."""
    found: dict[str, tuple[str, ...]] = {}

    async def run() -> None:
        cluster = Cluster(make_platform({"fra": 3}))
        cluster.start()
        await cluster.until(lambda: len(cluster.stored().leases) == 5, 10)
        operations = cluster.operations
        metrics = Metrics(operations.controller, doors_of(operations), operations.vantages)
        verdict = Redundancy(survival=Survival.SURVIVED)
        metrics.text(verdict)
        for family in metrics._registry.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = vars(family)["_labelnames"]  # also where there are none yet

    run_virtual(asyncio.wait_for(run(), 60))
    return found


def told() -> set[str]:
    """Return the names of the metrics of a controller."""
    return set(families())


def test_every_metric_of_an_alert_is_there() -> None:
    asked = {name for rule in ALERTS.values() for name in NAME.findall(rule["expr"])}
    seen = figures(MachineStatus(machine="fra-n1"), certificate_ends_ms=1)
    agents = {each.full_name for each in machine_metrics(seen)}
    assert not agents & told()
    # Said only by a controller that makes backups.
    assert asked - told() - agents == {"pltfrms_backup_age_seconds"}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_how_urgent_it_is_and_is_explained_and_tested(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    assert f"\n## {alert}\n" in (ROOT / "docs" / "alerts.md").read_text()
    assert alert in TESTS.read_text()
    assert re.search(r"(max|min) ?(by|\()", rule["expr"]), "all controllers say the same"


def test_they_fire_when_they_should_and_once() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("Debian's prometheus is not installed: scripts/install does that")
    done = subprocess.run(
        [promtool, "test", "rules", TESTS.name],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
