"""The attacked edges with a node behind one of them, whose instance and link come and go."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pltfrms.model.network.topology import Machine, Role
from tests.agent.bench import WEB
from tests.attacks.world import PLATFORM, World
from tests.render.namespaces import eventually, run

EDGE, NODE = "fra-e1", "fra-n1"
FLAPPED = replace(
    PLATFORM,
    machines=(
        *PLATFORM.machines,
        Machine(name=NODE, datacenter="fra", role=Role.NODE, id=1),
    ),
)
_ROOT = Path(__file__).parents[2]


class FlappingWorld(World):
    """`World`, a node with an instance of `WEB`, and an agent's announcer on its edge."""

    def __init__(self, directory: Path) -> None:
        """Build nothing yet."""
        super().__init__(directory, FLAPPED, frozenset({NODE}))

    def build(self) -> None:
        """Start everything, and wait until the instance is known at the edge."""
        super().build()
        run("ip", "netns", "add", self._namespace(NODE))
        self.ip(NODE, "link set lo up")
        self.ip(NODE, f"link add fab-a type veth peer name n1 netns {self._namespace(EDGE)}")
        self.ip(EDGE, "link set n1 master fab-a up")
        self._configure(NODE)
        self._start_bird(NODE)
        self.serve()
        words = (sys.executable, "-m", "tests.attacks.announcing_edge")
        files = (str(self.directory / f"{EDGE}.ctl"), str(self.directory / "bird"))
        enter = ("ip", "netns", "exec", self._namespace(EDGE))
        with (self.directory / "agent.log").open("wb") as log:
            agent = subprocess.Popen(
                (*enter, *words, *files), cwd=_ROOT, stdout=log, stderr=log
            )
        self._processes.append(agent)
        if not eventually(self.served, 20):
            raise RuntimeError(self.birdc(EDGE, "show protocols"))

    def _places(self) -> tuple[str, ...]:
        return (*super()._places(), NODE)

    def serve(self) -> None:
        """Let the instance be ready."""
        for prefix in WEB.prefixes:
            via = "via fe80::99" if prefix.version == 6 else "via inet6 fe80::99"
            words = f"route replace {prefix} {via} dev fab-a table 100 proto 181 metric 10"
            self.ip(NODE, f"-{prefix.version} {words}")

    def fail(self) -> None:
        """Let the instance be unhealthy."""
        for prefix in WEB.prefixes:
            self.ip(NODE, f"-{prefix.version} route del {prefix} table 100")

    def cut(self) -> None:
        """Take the node's only link away; the kernel forgets its addresses and routes."""
        self.ip(NODE, "link set fab-a down")

    def mend(self) -> None:
        """Give the link back, and what the node's agent would restore."""
        self._configure(NODE)
        self.serve()

    def served(self) -> bool:
        """Return whether the edge's BIRD says that the service is served here."""
        texts = (self.ip(EDGE, f"-{family} route show table all") for family in "46")
        lines = [line for text in texts for line in text.splitlines() if "table 102" in line]
        return len(lines) == len(WEB.prefixes)

    def flap(
        self, bad: Callable[[], None], good: Callable[[], None], times: int, half: float
    ) -> None:
        """Be bad for `half` a period (seconds), then good for as long, so many times."""
        begin = time.monotonic()
        for number in range(2 * times):
            (good if number % 2 else bad)()
            time.sleep(max(0.0, begin + (number + 1) * half - time.monotonic()))

    def agent_log(self) -> str:
        """Return what the announcer said."""
        return (self.directory / "agent.log").read_text()


@contextmanager
def flapping_world(directory: Path) -> Iterator[FlappingWorld]:
    """Build it all, and remove it all."""
    made = FlappingWorld(directory)
    try:
        made.build()
        yield made
    finally:
        made.remove()
