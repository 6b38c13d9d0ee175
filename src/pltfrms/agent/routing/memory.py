"""What this edge has announced and withdrawn, remembered across agents and reboots."""

from collections.abc import Collection, Mapping
from typing import Final

from pltfrms import codec
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.model.addresses import Prefix
from pltfrms.model.running.machine import Route
from pltfrms.planner.routing.aggregates import AggregateState
from pltfrms.planner.routing.remembering import (
    AggregateMemory,
    Instant,
    announced_before,
    forgotten,
    is_old,
    recalled,
    remembered,
)

AGGREGATES_FILE: Final = "aggregates.json"
_READING: Final = "memory of aggregates on disk"
_WRITING: Final = "memory of aggregates"


class Memory:
    """The states of aggregates on disk."""

    def __init__(self, world: World, problems: Problems) -> None:
        """Read nothing yet."""
        self._world = world
        self._problems = problems
        self._written: AggregateMemory | None = None

    def recall(
        self, prefixes: Collection[Prefix], announced: Collection[Route]
    ) -> tuple[Mapping[Prefix, AggregateState], bool]:
        """Return the states of before, and whether anybody outside could be told.

        `announced` are our routes of table 101, `prefixes` the aggregates there are. A memory
        that cannot be read stays the problem of this agent, and takes nothing away.
        """
        with self._problems.watch(_READING):
            text = self._world.disk.read(AGGREGATES_FILE)
            if text is None:
                return announced_before(announced), True
            memory = codec.decode(AggregateMemory, text)
            return recalled(memory, self._now(), announced), memory.outside
        return forgotten(prefixes, self._now(), announced), True

    def keep(self, states: Mapping[Prefix, AggregateState], *, outside: bool) -> None:
        """Write what has changed, before it is acted on.

        A disk that refuses is a problem, and no reason not to decide; it is tried again.
        """
        fresh = remembered(states, self._now(), outside=outside)
        if not is_old(self._written, fresh):
            return
        with self._problems.watch(_WRITING):
            self._world.disk.write(AGGREGATES_FILE, codec.encode(fresh))
            self._written = fresh

    def _now(self) -> Instant:
        clock, boot = self._world.clock, self._world.boot
        return Instant(boot=boot, monotonic=clock.monotonic(), unix_ms=clock.unix_ms())
