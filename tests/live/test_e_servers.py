"""One server at each of three sites: what clients see when something of it fails.

The bounds are those of `test_a_failover`; the death of a machine is that of its datacenter.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.rig import NEAREST, Rig, running_rig
from pltfrms.model.running.state import Contact
from tests.live.flows import FLOWS, Flows

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.root, pytest.mark.timeout(400)]

EXAMPLE = Path(__file__).parents[2] / "examples/three-servers"
INSTANCES = 3


@pytest.fixture(scope="module")
def servers() -> Iterator[Rig]:
    with running_rig(f"servers-{os.getpid()}", EXAMPLE) as rig:
        yield rig


@pytest.fixture
def healthy(servers: Rig) -> Iterator[Rig]:
    servers.restore()
    yield servers
    servers.client.heal(None)


def answered(report: dict[str, Any], when: str) -> set[str]:
    return set(report["answered_by"][when])


def probe_fault(rig: Rig, fault: str, seconds: int = 8) -> dict[str, Any]:
    return rig.probe("berlin", "--duration", f"{seconds}s", "--fault", fault, "--at", "2s")


def test_every_eyeball_is_answered_by_its_nearest_server(servers: Rig) -> None:
    got = {(a.eyeball, ":" in a.address): a.datacenter for a in servers.ready.answers}
    assert got == {(name, v6): dc for name, dc in NEAREST.items() for v6 in (False, True)}
    assert servers.up_seconds < 45


def test_instance_killed(healthy: Rig) -> None:
    report = probe_fault(healthy, "instance/web/fra/1")
    assert report["gap_max_ms"] <= 600
    assert report["lost"] <= 40
    assert answered(report, "after") == {"fra"}
    assert len(report["answered_by"]["after"]["fra"]) == 2


def test_instance_hung(healthy: Rig) -> None:
    report = probe_fault(healthy, "instance/web/fra/2:hang")
    assert report["gap_max_ms"] <= 4000
    assert answered(report, "after") == {"fra"}
    healthy.wait("both replicas ready", lambda: healthy.ready_replicas("fra") == 2, 10)


def test_all_instances_of_a_server_killed(healthy: Rig) -> None:
    for replica in (1, 2):
        healthy.client.fault(f"instance/web/fra/{replica}", for_ms=20_000)
    report = healthy.probe("berlin", "--duration", "4s")
    assert report["gap_max_ms"] <= 1500
    assert "fra" not in answered(report, "before")


def test_machine_silent_and_back(healthy: Rig) -> None:
    report = probe_fault(healthy, "edge/fra1:silent")
    assert report["gap_max_ms"] <= 3000
    assert "fra" not in answered(report, "after") or answered(report, "after") > {"fra"}
    # Nobody at its site could tell of it: the edges of the others do.
    healthy.wait("it is lost", lambda: contact(healthy) is Contact.LOST, 20)
    healthy.client.heal("edge/fra1")
    with healthy.asking(rate=100) as back:
        healthy.wait("it is back", lambda: contact(healthy) is Contact.PRESENT, 30)
        announced(healthy)
    assert back["gap_max_ms"] <= 500, "coming back made a gap"


def announces(rig: Rig) -> bool:
    return "to-fra1" in rig.aggregate_paths("hoster1")


def announced(rig: Rig) -> None:
    """Wait until the hoster hears fra again, and what moves with it has moved."""
    rig.wait("fra announces", lambda: announces(rig), 90)
    time.sleep(5)


def contact(rig: Rig, name: str = "fra1") -> Contact:
    return rig.snapshot().contact(name)


def test_machine_killed_and_back(healthy: Rig) -> None:
    report = probe_fault(healthy, "machine/fra1")
    assert report["gap_max_ms"] <= 4500
    assert "ams" in answered(report, "after")
    paths = healthy.aggregate_paths("hoster1")
    assert "to-fra1" not in paths
    assert "to-hoster2" in paths
    healthy.client.boot("node/fra1")
    with healthy.asking(rate=100) as back:
        announced(healthy)
    assert back["gap_max_ms"] <= 500, "coming back made a gap"


@pytest.mark.parametrize("fault", ["link/fra1--hoster1:cut", "edge/fra1:cut"])
def test_uplink_cut(healthy: Rig, fault: str) -> None:
    """Of the session with the hoster alone, and of the only cable."""
    report = probe_fault(healthy, fault)
    assert report["gap_max_ms"] <= 4500
    assert "ams" in answered(report, "after")
    healthy.client.heal(fault.rpartition(":")[0])
    with healthy.asking(rate=100) as back:
        announced(healthy)
    assert back["gap_max_ms"] <= 500, "coming back made a gap"


def test_backbone_cut_everywhere(healthy: Rig) -> None:
    for link in healthy.snapshot().platform.links:
        healthy.client.fault(f"link/{link.name}", "cut")
    reports = healthy.probe_all(NEAREST, "--duration", "8s", "--rate", "100")
    for eyeball, report in reports.items():
        assert report["lost"] == 0
        assert answered(report, "before") == {NEAREST[eyeball]}


def test_controllers_and_store_killed(healthy: Rig) -> None:
    report = probe_fault(healthy, "controllers", 12)
    assert report["lost"] == 0
    assert answered(report, "after") == {"fra"}


def test_a_server_boots_and_serves_without_any_controller(healthy: Rig) -> None:
    healthy.client.fault("controllers")
    healthy.client.boot("machine/fra1")
    healthy.wait("its death is seen", lambda: not announces(healthy), 5)
    announced(healthy)  # from its own disk
    report = healthy.probe("berlin", "--duration", "3s")
    assert report["lost"] == 0
    assert answered(report, "before") == {"fra"}


# ---- flows ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flows(servers: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flows]:
    servers.restore()
    directory = tmp_path_factory.mktemp("echo")
    some = Flows(servers, directory, ("fra1",), per_node=9, replicas=INSTANCES)
    yield some
    some.end()
    servers.cli("service", "delete", "echo", "--yes")


def test_flows_spread_over_all_instances_of_a_server(flows: Flows) -> None:
    counts = flows.open()
    assert len(counts) == INSTANCES
    assert min(counts.values()) > FLOWS / INSTANCES / 3
    assert not flows.broken()


def test_an_instance_that_dies_takes_only_its_own_flows(flows: Flows) -> None:
    flows.lose_an_instance()


def test_agent_and_bird_that_end_and_a_cut_backbone_break_nothing(flows: Flows) -> None:
    flows.open()
    links = [link.name for link in flows.rig.snapshot().platform.links]
    for link in links:
        flows.rig.client.fault(f"link/{link}", "cut")
    assert not flows.broken(), "nobody else is left to hear of"
    flows.rig.client.heal(None)
    flows.rig.client.fault("daemon/fra1/agent")
    assert not flows.broken()
    flows.rig.client.heal("daemon/fra1/agent")
    flows.rig.restore()
    flows.settle()
    assert not flows.broken()


def test_scaling_breaks_nothing(flows: Flows) -> None:
    flows.forget()
    flows.open()
    flows.scale(INSTANCES + 2)
    assert not flows.broken()
    flows.forget()
    flows.open()
    flows.scale(INSTANCES)
    assert not flows.broken()
    flows.forget()


def test_another_server_that_dies_and_comes_back_breaks_nothing(flows: Flows) -> None:
    flows.open()
    flows.rig.client.fault("machine/ams1", "silent")
    assert not flows.broken()
    flows.rig.client.heal("machine/ams1")
    flows.rig.restore()
    assert not flows.broken()
