"""Long-lived flows of a client of a lab to the service `echo`, which runs in fra."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.rig import Rig
from pltfrms.model.running.state import Phase

HERE = Path(__file__).parent
FLOWS = 300
BERLIN = ("198.18.1.1", "2001:db8:e001::1")


class Flows:
    """Flows from an eyeball to the service `echo`."""

    def __init__(
        self,
        rig: Rig,
        tmp_path: Path,
        machines: tuple[str, ...],
        *,
        per_node: int = 3,
        replicas: int = 6,
    ) -> None:
        """`machines` are the edges and nodes of fra, of which a node takes `per_node`."""
        self.rig = rig
        self.machines = machines
        self._per_node = per_node
        self._replicas = replicas
        self._spec = tmp_path / "echo.yaml"
        self.scale(replicas)
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
        text = text.replace("PER_NODE", str(self._per_node))
        self._replicas = replicas
        self._spec.write_text(text)
        self.rig.cli("apply", "--yes", str(self._spec))
        self.settle()

    def settle(self) -> None:
        """Wait until all are active, and all machines of the datacenter say so."""

        def settled() -> bool:
            active = [states.count(1) for states in self.tables().values()]
            return active == [self._replicas] * len(self.machines)

        self.rig.wait(f"{self._replicas} active in all tables", settled, 60)

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
                if table["service"]["name"] == "echo" and view["machine"] in self.machines:
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

    def lose_an_instance(self) -> None:
        """Kill one and see it come back: its own flows break, and no others."""
        before = self.open()
        victim = next(name for name in self.ready() if ".1-" in name)
        self.rig.client.fault("instance/echo/fra/1")
        assert set(self.broken()) <= {victim}
        self.settle()
        assert self.broken() == {victim: before[victim]}, "its return broke others"

    def forget(self) -> None:
        """Close all flows, and wait until what drains has gone."""
        self.ask("close_flows")

        def nobody_drains() -> bool:
            tables = self.tables().values()
            return len(tables) == len(self.machines) and not any(
                states.count(2) for states in tables
            )

        self.rig.wait("nobody drains", nobody_drains, 60)

    def end(self) -> None:
        with self._process:  # closes its pipes, too
            self._process.kill()
