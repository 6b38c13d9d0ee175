"""What this edge accepts from nodes, remembered across agents."""

from collections.abc import Mapping
from typing import Final

from pltfrms import codec
from pltfrms.agent.problems import Problems
from pltfrms.drivers.ports import Clock, Disk
from pltfrms.model.running.plan import Permit, Target
from pltfrms.planner.routing.permits import permits_of, renewed

PERMITS_FILE: Final = "permits.json"
_PROBLEM: Final = "memory of what was placed"


class Permits:
    """The permits of all nodes, in memory and on disk.

    Without controllers nothing leaves: what the last target has stays placed.
    """

    def __init__(self, clock: Clock, disk: Disk, problems: Problems) -> None:
        """Read the disk. What cannot be read is forgotten: it was placed until lately."""
        self._clock = clock
        self._disk = disk
        self._problems = problems
        self._placed: tuple[Permit, ...] | None = None
        self._permits: tuple[Permit, ...] = ()
        with problems.watch(_PROBLEM):
            text = disk.read(PERMITS_FILE)
            self._permits = codec.decode(tuple[Permit, ...], text) if text else ()

    def apply(self, target: Target) -> None:
        """Permit what this target has placed from now on."""
        self._placed = permits_of(target)
        self._renew()

    def by_node(self) -> Mapping[str, tuple[Permit, ...]] | None:
        """Return the permits of this moment; None: nodes may announce any service."""
        if self._placed is None:
            return None
        self._renew()
        found: dict[str, tuple[Permit, ...]] = {}
        for permit in self._permits:
            found[permit.node] = (*found.get(permit.node, ()), permit)
        return found

    def _renew(self) -> None:
        if self._placed is None:
            return
        permits = renewed(self._permits, self._placed, self._clock.monotonic())
        if permits == self._permits:
            return
        self._permits = permits
        with self._problems.watch(_PROBLEM):
            self._disk.write(PERMITS_FILE, codec.encode(permits, tuple[Permit, ...]))
