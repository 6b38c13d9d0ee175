"""Tell nobody of instances while this machine cannot answer their clients."""

from collections.abc import Set as AbstractSet
from typing import Final

from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.model.running.machine import MAIN_TABLE, told_defaults

PATIENCE_SECONDS: Final = 30.0
"""So long a machine without default routes waits; then it serves whom it can answer."""
_PART = "answers to clients"


class Answering:
    """Whether the default routes that edges tell have come since the machine started.

    A session that has just begun carries both ways at once: edges may hear of a service, and
    lead clients here, some 40 ms before their default route arrives (a small second segment
    waits for the delayed acknowledgement of the first, RFC 9293, section 3.7.4). Once known it
    stays known: a machine that loses every edge has nobody either who hears what it announces.
    """

    def __init__(self, world: World, problems: Problems) -> None:
        """Know nothing yet."""
        self._world = world
        self._problems = problems
        self._since: float | None = None
        self.possible = False

    async def look(self, versions: AbstractSet[int]) -> None:
        """Look for default routes of these IP versions; of none nothing waits."""
        now = self._world.clock.monotonic()
        self._since = now if self._since is None else self._since
        if not versions:
            self._problems.set(_PART, "")
            return
        known = told_defaults(await self._world.network.routes(MAIN_TABLE))
        lacking = " and ".join(f"IPv{version}" for version in sorted(versions - known))
        if lacking and now - self._since < PATIENCE_SECONDS:
            sentence = f"edges have told no default route of {lacking}, and instances wait"
            self._problems.set(_PART, sentence)
            return
        self.assume()

    def assume(self) -> None:
        """Know that clients can be answered."""
        self.possible = True
        self._problems.set(_PART, "")
