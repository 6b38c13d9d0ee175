"""What Prometheus is told of where metrics are, and how the page has it ask."""

import asyncio
import re
import shutil
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from ruamel.yaml import YAML

from pltfrms.api.app import make_app
from pltfrms.api.routes.discovery import scrape_groups
from pltfrms.model.identity.words import controllers_server_name, machines_server_name
from pltfrms.model.network.readers import MetricsReader
from pltfrms.model.network.topology import Role, controller_url
from tests.api.test_alerts import ALERTS, ROOT
from tests.controller.cluster import Cluster
from tests.controller.test_network import PLATFORM
from tests.simulation.virtual import run_virtual
from tests.strategies import make_platform

PATH = "/v1/prometheus/targets"
TOLD = [
    {
        "targets": ["[fd00:0:1::1:c:1]:7480"],
        "labels": {
            "platform": "test",
            "datacenter": "fra",
            "machine": "fra-c1",
            "role": "controller",
            "part": "controller",
        },
    }
]
READERS = (MetricsReader(name="prometheus", sha256="0a" * 32),)


def ask(cluster: Cluster) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(make_app(cluster.operations))
    return httpx2.AsyncClient(transport=transport, base_url="http://c")


def test_it_has_every_controller_also_while_the_store_is_away() -> None:
    async def story() -> None:
        cluster = Cluster(make_platform({"fra": 3}))
        cluster.start()
        await cluster.until(lambda: len(cluster.stored().leases) == 5, 10)
        async with ask(cluster) as client:
            answer = await client.get(PATH)
            assert answer.headers["content-type"] == "application/json"
            assert answer.json() == TOLD
            cluster.seats["fra-c1"].store.unavailable = True
            await cluster.clock.sleep(60)
            assert (await client.get("/v1/snapshot")).status_code == 503
            assert (await client.get(PATH)).json() == TOLD

    run_virtual(story())


def test_who_never_knew_a_platform_says_so_rather_than_that_there_is_nothing() -> None:
    async def story() -> None:
        cluster = Cluster(make_platform({"fra": 3}))
        cluster.seats["fra-c1"].store.unavailable = True
        cluster.start()
        await cluster.clock.sleep(10)
        async with ask(cluster) as client:
            assert (await client.get(PATH)).status_code == 503

    run_virtual(asyncio.wait_for(story(), 60))


def test_they_are_where_controllers_answer() -> None:
    groups = list(scrape_groups(PLATFORM))
    controllers = PLATFORM.machines_of(Role.CONTROLLER)
    assert len(controllers) > 1
    assert [f"http://{group.targets[0]}" for group in groups] == [
        controller_url(PLATFORM, controller) for controller in controllers
    ]
    assert [asdict(group)["labels"]["machine"] for group in groups] == [
        controller.name for controller in controllers
    ]


def test_machines_are_there_as_soon_as_somebody_may_read_their_metrics() -> None:
    """Also one that is a controller, by its agent; and none that others manage."""
    groups = [asdict(each) for each in scrape_groups(replace(PLATFORM, readers=READERS))]
    agents = [each for each in groups if each["labels"]["part"] == "agent"]
    assert {each["labels"]["machine"]: each["targets"] for each in agents} == {
        each.name: (f"[{PLATFORM.loopback6(each)}]:7482",) for each in PLATFORM.managed
    }
    assert {each["labels"]["role"] for each in agents} == {"edge", "node", "controller"}
    assert len(groups) == len(agents) + len(PLATFORM.machines_of(Role.CONTROLLER))
    targets = [target for each in groups for target in each["targets"]]
    assert len(set(targets)) == len(targets)


def written() -> list[dict[str, Any]]:
    """Return the configurations of Prometheus that the page has."""
    page = (ROOT / "docs" / "alerts.md").read_text()
    texts = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    return [each for text in texts if "scrape_configs" in (each := YAML(typ="safe").load(text))]


def test_what_a_metric_says_itself_is_not_replaced_by_what_is_said_of_who_tells_it() -> None:
    alike = set(TOLD[0]["labels"]) & set(re.findall(r"\w+", str([*ALERTS.values()])))
    assert "machine" in alike
    jobs = [job for config in written() for job in config["scrape_configs"]]
    assert jobs
    for job in jobs:
        assert job.get("honor_labels") or "http_sd_configs" not in job


def test_the_page_asks_each_by_its_name_and_shows_a_token_instead_of_a_certificate() -> None:
    jobs = [
        job
        for config in written()
        for job in config["scrape_configs"]
        if "http_sd_configs" in job
    ]
    assert jobs
    for job in jobs:
        assert job["tls_config"]["server_name"] == machines_server_name("example")
        for part in job["http_sd_configs"]:
            assert part["tls_config"]["server_name"] == controllers_server_name("example")
        for part in (job, *job["http_sd_configs"]):
            assert part["authorization"]["credentials_file"]
            assert "cert_file" not in part["tls_config"]


def test_prometheus_reads_what_the_page_has(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("Debian's prometheus is not installed: scripts/install does that")
    configs = written()
    assert configs
    for number, config in enumerate(configs):
        file = tmp_path / f"{number}.yaml"
        with file.open("w") as stream:
            YAML().dump(config, stream)
        done = subprocess.run(
            [promtool, "check", "config", "--syntax-only", str(file)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
