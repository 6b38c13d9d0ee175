"""Instances that are to go and may still have connections: remembered across agents."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from pltfrms import codec
from pltfrms.agent.problems import Problems
from pltfrms.drivers.ports import Disk
from pltfrms.drivers.workload.ports import CONNECTIONS_UNKNOWN, Workload
from pltfrms.model.addresses import Address
from pltfrms.model.running.machine import Instance
from pltfrms.model.running.plan import Allocation
from pltfrms.model.services.service import Service

DRAINS_FILE: Final = "drains.json"
_PROBLEM: Final = "memory of drains"
_LATE_SECONDS: Final = 2.0
"""So long after a drain began a new connection, or a datagram, says that an edge has not heard
of it yet. Later it says nothing: an instance may connect to itself, or be the only one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDrain:
    """An instance that keeps serving the connections it has, and gets no new ones."""

    instance: Instance
    allocation: Allocation
    service: Service
    """As the instance runs it; the target may not have it any more."""
    why: str
    begun_at: float
    """Monotonic seconds, which count from boot; no instance outlives one."""
    asked: bool = False
    """Whether hooks are run in it before that, and it serves as before."""

    @property
    def ends_at(self) -> float:
        """When it goes, whoever is still connected."""
        return self.begun_at + self.service.spec.drain_ms / 1000

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where its clients are connected to."""
        return tuple(prefix.network_address for prefix in self.service.prefixes)


class Drains:
    """All drains of a node, in memory and on disk."""

    def __init__(self, disk: Disk, problems: Problems) -> None:
        """Read nothing yet."""
        self._disk = disk
        self._problems = problems
        self._drains: dict[str, InstanceDrain] = {}

    def read(self, running: Collection[Instance]) -> None:
        """Recall what an agent before us knew of instances that still run."""
        with self._problems.watch(_PROBLEM):
            text = self._disk.read(DRAINS_FILE)
            known = codec.decode(tuple[InstanceDrain, ...], text) if text else ()
            self._drains = {each.instance.allocation: each for each in known}
        found = {each.allocation: each for each in running}
        for name, each in self._drains.items():
            # What others start has the pid of the agent that asks it, which is another one now.
            if name in found and each.service.spec.run.adopted is not None:
                instance = replace(each.instance, pid=found[name].pid)
                self._drains[name] = replace(each, instance=instance)
        self._drains = {n: each for n, each in self._drains.items() if each.instance in running}

    def of(self, instance: Instance) -> InstanceDrain | None:
        """Return the drain of exactly this instance."""
        drain = self._drains.get(instance.allocation)
        return drain if drain is not None and drain.instance == instance else None

    def keep(self, drain: InstanceDrain) -> None:
        """Remember a drain. A disk that refuses is a problem, and no reason not to drain."""
        self._drains[drain.instance.allocation] = drain
        self._write()

    def forget(self, drain: InstanceDrain) -> None:
        """Remember a drain no longer."""
        self._drains.pop(drain.instance.allocation, None)
        self._write()

    def _write(self) -> None:
        with self._problems.watch(_PROBLEM):
            drains = tuple(self._drains.values())
            self._disk.write(DRAINS_FILE, codec.encode(drains, tuple[InstanceDrain, ...]))


class Arrivals:
    """What is new to an instance that drains: an edge may hear of it late."""

    def __init__(self, workload: Workload, drain: InstanceDrain) -> None:
        """Count from now on."""
        self._workload = workload
        self._drain = drain
        self._count = self._arrived()

    def ceased(self, now: float) -> bool:
        """Return whether none came since this was asked before, or they do not count any more.

        Asked after those that are left were counted: who comes in between is not missed.
        """
        before, self._count = self._count, self._arrived()
        return before == self._count or now - self._drain.begun_at >= _LATE_SECONDS

    def _arrived(self) -> int | None:
        """Return how much it has ever had; None: not known, or not of it alone."""
        if self._drain.service.spec.run.adopted is not None:
            return None
        return self._workload.arrived(self._drain.instance)


def connections_left(count: int) -> str:
    """Say how many connections there are still."""
    if count == CONNECTIONS_UNKNOWN:
        return "it is not known how many connections are left"
    return f"{count or 'no'} connection{'s' if count > 1 else ''} left"
