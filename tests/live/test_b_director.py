"""Long-lived flows through the director of a whole lab: who loses what, and when."""

from collections.abc import Iterator

import pytest

from bench.rig import Rig
from tests.live.flows import FLOWS, Flows

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def flows(lab: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flows]:
    lab.restore()
    machines = tuple(f"fra-{name}" for name in ("e1", "e2", "n1", "n2", "n3"))
    some = Flows(lab, tmp_path_factory.mktemp("echo"), machines)
    yield some
    some.end()
    lab.cli("service", "delete", "echo", "--yes")
    lab.restore()


def test_flows_spread_over_all_instances_by_both_edges(flows: Flows) -> None:
    counts = flows.open()
    assert len(counts) == 6
    assert min(counts.values()) > FLOWS / 6 / 3
    assert not flows.broken()


def test_agents_that_end_break_nothing(flows: Flows) -> None:
    flows.open()
    for machine in flows.machines:
        flows.rig.client.fault(f"daemon/{machine}/agent")
    assert not flows.broken()
    for machine in flows.machines:
        flows.rig.client.heal(f"daemon/{machine}/agent")
    flows.settle()
    assert not flows.broken()


def test_an_instance_that_dies_takes_only_its_own_flows(flows: Flows) -> None:
    flows.lose_an_instance()


def test_a_node_that_dies_takes_only_its_own_flows(flows: Flows) -> None:
    before = flows.open()
    where = flows.ready()
    node = flows.rig.node_of("fra")
    lost = {name for name, place in where.items() if place == node}
    flows.rig.client.fault(f"node/{node}", "silent")
    assert set(flows.broken()) <= lost
    flows.rig.wait("six are ready again", lambda: _elsewhere(flows, node) == 6, 40)
    flows.rig.client.heal(f"node/{node}")
    flows.rig.restore()
    flows.settle()
    assert set(flows.broken()) <= lost
    assert sum(flows.broken().values()) == sum(before[name] for name in lost if name in before)


def _elsewhere(flows: Flows, node: str) -> int:
    return sum(place != node for place in flows.ready().values())


def test_an_edge_that_dies_and_comes_back_breaks_nothing(flows: Flows) -> None:
    flows.forget()
    flows.open()
    flows.rig.client.fault("machine/fra-e1", "silent")
    assert not flows.broken()
    flows.rig.client.heal("machine/fra-e1")
    flows.rig.restore()
    flows.settle()
    assert not flows.broken()


def test_scaling_and_an_edge_that_dies_in_a_drain_break_nothing(flows: Flows) -> None:
    flows.forget()
    flows.open()
    flows.scale(9)
    assert not flows.broken()
    flows.forget()
    flows.open()
    flows.scale(6)
    draining = [states.count(2) for states in flows.tables().values()]
    assert draining == [3] * len(flows.machines)
    assert not flows.broken()
    flows.rig.client.fault("machine/fra-e1", "silent")
    assert not flows.broken()
    flows.rig.client.heal("machine/fra-e1")
    flows.rig.restore()
    flows.forget()
