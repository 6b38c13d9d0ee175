"""Long-lived flows through the director of a whole lab: who loses what, and when."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.rig import Rig
from pltfrms.model.state import Phase

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(400)]

HERE = Path(__file__).parent
FLOWS = 300
BERLIN = ("198.18.1.1", "2001:db8:e001::1")


class Flows:
    """Flows from an eyeball to the service `echo`."""

    def __init__(self, rig: Rig, tmp_path: Path) -> None:
        self.rig = rig
        self._spec = tmp_path / "echo.yaml"
        self.scale(6)
        service = rig.snapshot().services["echo"]
        targets = [str(prefix.network_address) for prefix in service.prefixes]
        script = (sys.executable, str(HERE / "flow_client.py"))
        self._process = subprocess.Popen(
            rig.client.exec_argv("berlin", [*script, *BERLIN, "--", *targets]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def scale(self, replicas: int) -> None:
        """Run so many replicas, and return when they are ready."""
        text = (HERE / "echo.yaml").read_text().replace("REPLICAS", str(replicas))
        self._spec.write_text(text)
        self.rig.cli("apply", "--yes", str(self._spec))
        self.settle(replicas)

    def settle(self, replicas: int = 6) -> None:
        """Wait until so many are active, and all machines of the datacenter say so."""

        def settled() -> bool:
            tables = self.tables().values()
            return len(tables) == 5 and all(states.count(1) == replicas for states in tables)

        self.rig.wait(f"{replicas} active in all tables", settled, 60)

    def ready(self) -> dict[str, str]:
        """Return the nodes of the ready instances, by allocation."""
        snapshot = self.rig.snapshot()
        return {
            name: allocation.node
            for name, allocation in snapshot.allocations.items()
            if allocation.service == "echo"
            and (status := snapshot.instance(name)) is not None
            and status.phase is Phase.READY
        }

    def tables(self) -> dict[str, list[int]]:
        """Return the states of the instances that each machine of the datacenter knows."""
        found = {}
        for view in json.loads(self.rig.cli("balancer", "show", "--json"))["balancers"]:
            for table in view["tables"]:
                if table["service"]["name"] == "echo" and view["machine"].startswith("fra"):
                    found[view["machine"]] = [each["state"] for each in table["candidates"]]
        return found

    def ask(self, method: str, *words: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([method, *words]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the client has ended"
        return json.loads(line)

    def open(self, count: int = FLOWS) -> dict[str, int]:
        self.ask("close_flows")
        self.ask("open_flows", count, 20)
        counts: dict[str, int] = self.ask("flow_counts")
        assert sum(counts.values()) == count
        return counts

    def broken(self) -> dict[str, int]:
        """Return how many flows to whom are broken now."""
        verdict = self.ask("verdict", 8)
        found: dict[str, int] = verdict["broken"]
        if found:
            print("broken:", found, verdict["why"])  # noqa: T201 - shown when a test fails
        return found

    def forget(self) -> None:
        """Close all flows, and wait until what drains has gone."""
        self.ask("close_flows")

        def nobody_drains() -> bool:
            tables = self.tables().values()
            return len(tables) == 5 and not any(states.count(2) for states in tables)

        self.rig.wait("nobody drains", nobody_drains, 60)

    def end(self) -> None:
        with self._process:  # closes its pipes, too
            self._process.kill()


@pytest.fixture(scope="module")
def flows(lab: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flows]:
    lab.restore()
    some = Flows(lab, tmp_path_factory.mktemp("echo"))
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
    machines = [f"fra-{name}" for name in ("e1", "e2", "n1", "n2", "n3")]
    for machine in machines:
        flows.rig.client.fault(f"daemon/{machine}/agent")
    assert not flows.broken()
    for machine in machines:
        flows.rig.client.heal(f"daemon/{machine}/agent")
    flows.settle()
    assert not flows.broken()


def test_an_instance_that_dies_takes_only_its_own_flows(flows: Flows) -> None:
    before = flows.open()
    victim = next(name for name in flows.ready() if ".1-" in name)
    flows.rig.client.fault("instance/echo/fra/1")
    assert set(flows.broken()) <= {victim}
    flows.settle()
    assert flows.broken() == {victim: before[victim]}, "its return broke others"


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
    assert draining == [3] * 5
    assert not flows.broken()
    flows.rig.client.fault("machine/fra-e1", "silent")
    assert not flows.broken()
    flows.rig.client.heal("machine/fra-e1")
    flows.rig.restore()
    flows.forget()
