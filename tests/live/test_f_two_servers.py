"""Two servers at one site, each edge and node: long-lived flows, and what clients see."""

import os
from collections.abc import Iterator

import pytest

from bench.rig import Rig, running_rig
from pltfrms.model.running.state import Contact
from tests.live.flows import FLOWS, Flows
from tests.shapes.answers import check_answers
from tests.shapes.shapes import read

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(400)]

SHAPE = read("two-servers")
SERVERS = ("fra1", "fra2")
INSTANCES = 4


@pytest.fixture(scope="module")
def servers() -> Iterator[Rig]:
    with running_rig(f"two-{os.getpid()}", SHAPE.directory) as rig:
        yield rig


@pytest.fixture(scope="module")
def flows(servers: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flows]:
    directory = tmp_path_factory.mktemp("echo")
    some = Flows(servers, directory, SERVERS, per_node=INSTANCES, replicas=INSTANCES)
    yield some
    some.end()


def on(flows: Flows, server: str) -> set[str]:
    return {name for name, node in flows.ready().items() if node == server}


def test_every_client_is_answered_by_its_nearest_and_hears_only_what_is_ours(
    servers: Rig,
) -> None:
    check_answers(SHAPE, servers.client, servers.ready)


def test_flows_spread_over_the_instances_of_both_servers(flows: Flows) -> None:
    counts = flows.open()
    assert len(counts) == INSTANCES
    assert on(flows, "fra1")
    assert on(flows, "fra2")
    assert min(counts.values()) > FLOWS / INSTANCES / 3
    assert not flows.broken()


def test_a_line_that_is_cut_leads_all_flows_through_the_other_server(flows: Flows) -> None:
    flows.open()
    flows.rig.client.fault("link/fra1--transit1", "cut")
    assert not flows.broken()
    flows.rig.client.heal(None)
    flows.rig.restore()
    assert not flows.broken()


def test_a_server_whose_fabric_is_cut_and_comes_back_breaks_nothing_of_its_own(
    flows: Flows,
) -> None:
    """While it is apart, flows that it gets and has not are lost; they are not reset."""
    flows.open()
    flows.rig.client.fault("link/fra1--transit1", "cut")  # so it gets none from outside
    flows.rig.client.fault("fabric/fra/a", "cut")
    kept = on(flows, "fra2")
    assert not set(flows.broken()) & kept
    flows.rig.client.heal(None)
    flows.rig.restore()
    flows.settle()
    assert not set(flows.broken()) & kept


def test_a_server_that_dies_takes_only_its_own_flows(flows: Flows) -> None:
    flows.forget()
    flows.open()
    lost = on(flows, "fra2")
    flows.rig.client.fault("machine/fra2", "silent")
    assert set(flows.broken()) <= lost
    flows.rig.wait(
        "it is lost", lambda: flows.rig.snapshot().contact("fra2") is Contact.LOST, 20
    )
    flows.rig.client.heal("machine/fra2")
    flows.rig.restore()
    flows.settle()
    assert set(flows.broken()) <= lost, "its return broke others"


def test_a_client_sees_a_server_that_dies_for_a_moment_only(servers: Rig) -> None:
    servers.restore()
    report = servers.probe(
        "berlin", "--duration", "8s", "--fault", "edge/fra2:silent", "--at", "2s"
    )
    assert report["gap_max_ms"] <= 3000
    assert set(report["answered_by"]["after"]) == {"fra"}
    servers.restore()
