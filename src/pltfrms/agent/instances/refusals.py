"""Count what instances refuse: packets to ports that nobody declared, or from no client."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from pltfrms.agent.instances.usage import steady_number
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.errors import PltfrmsError, UnavailableError
from pltfrms.model.running.machine import Instance

LOOK_SECONDS: Final = 60.0
"""Each look starts a tool for each instance."""


class Refusals:
    """What the instances of a node have refused since they began."""

    def __init__(self, world: World, problems: Problems) -> None:
        """Know of nothing yet."""
        self._world = world
        self._problems = problems
        self._due_at = -math.inf
        self.counts: Mapping[str, Mapping[str, int]] = {}
        """By allocation and why; only what was refused at all. As of the last look, and told
        anew only after a change that matters: strangers knock all the time."""

    async def look(self, instances: Sequence[Instance]) -> None:
        """Look at all of them, at most once a minute; who cannot be asked keeps its counts."""
        now = self._world.clock.monotonic()
        if now < self._due_at:
            return
        self._due_at = now + LOOK_SECONDS
        counts = {each.allocation: self.counts.get(each.allocation, {}) for each in instances}
        wrong: list[str] = []
        with self._problems.watch("refused packets"):
            for each in instances:
                try:
                    said = await self._world.workload.refused(each)
                except (PltfrmsError, OSError) as error:
                    wrong.append(f"{each.allocation}: {error}")
                else:
                    counts[each.allocation] = _steady(counts[each.allocation], said)
            if wrong:
                raise UnavailableError("; ".join(wrong))
        self.counts = {name: said for name, said in counts.items() if said}


def _steady(before: Mapping[str, int], said: Mapping[str, int]) -> Mapping[str, int]:
    return {why: steady_number(before.get(why), count) for why, count in said.items() if count}
