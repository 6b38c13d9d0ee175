"""How many series a controller tells Prometheus of a large platform."""

from collections.abc import Iterator

import pytest
from prometheus_client.core import Metric

from pltfrms.api import metrics
from pltfrms.api.network_metrics import network_metrics
from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import (
    Contact,
    InstanceStatus,
    MachineStatus,
    MachineView,
    Phase,
    SessionStatus,
    Snapshot,
)
from tests.cli.world import NOW_MS
from tests.strategies import make_allocation, make_platform, make_service, make_spec

DATACENTERS = [f"d{number}" for number in range(5)]
SESSIONS = 4
"""Of a node: with two edges over two fabrics."""
SERIES_OF_A_NODE = 4 * SESSIONS + 6


def large(nodes: int, services: int, replicas: int) -> Snapshot:
    """Return a platform with so many nodes, and replicas of each service."""
    platform = make_platform(dict.fromkeys(DATACENTERS, nodes // len(DATACENTERS)))
    names = [each.name for each in platform.machines_of(Role.NODE)]
    allocations = {}
    for number in range(services * replicas):
        service, replica = divmod(number, replicas)
        node = names[number % len(names)]
        name = f"s{service}.{platform.machine(node).datacenter}.{replica + 1}-1"
        allocations[name] = make_allocation(name, node)
    ready: dict[str, list[InstanceStatus]] = {name: [] for name in names}
    for each in allocations.values():
        ready[each.node].append(InstanceStatus(allocation=each.id, phase=Phase.READY))
    sessions = tuple(
        SessionStatus(name=f"edge.e{edge}.{fabric}", up=True)
        for edge in "12"
        for fabric in "ab"
    )
    return Snapshot(
        revision=1,
        platform=platform,
        services={f"s{n}": make_service(make_spec(f"s{n}")) for n in range(services)},
        allocations=allocations,
        statuses={
            name: MachineStatus(machine=name, sessions=sessions, instances=tuple(ready[name]))
            for name in names
        },
        machines=dict.fromkeys(names, MachineView(contact=Contact.PRESENT, since_seconds=1)),
    )


def told(snapshot: Snapshot) -> Iterator[Metric]:
    yield from metrics._state(snapshot)
    yield from metrics.role_metrics(snapshot)
    yield from network_metrics(snapshot, NOW_MS)


def series(snapshot: Snapshot) -> int:
    return sum(len(each.samples) for each in told(snapshot))


@pytest.mark.parametrize(
    ("nodes", "services", "replicas"), [(10, 20, 1), (10, 20, 10), (1000, 2000, 10)]
)
def test_it_grows_with_machines_and_not_with_replicas(
    nodes: int, services: int, replicas: int
) -> None:
    snapshot = large(nodes, services, replicas)
    assert len(snapshot.allocations) == services * replicas
    assert series(snapshot) == series(large(0, 0, 0)) + SERIES_OF_A_NODE * nodes


def test_no_series_has_the_name_of_a_replica() -> None:
    snapshot = large(10, 20, 10)
    labels = {
        value
        for family in told(snapshot)
        for sample in family.samples
        for value in sample.labels.values()
    }
    assert labels >= {"ready", "d0-n1"}
    assert not labels & set(snapshot.allocations)
