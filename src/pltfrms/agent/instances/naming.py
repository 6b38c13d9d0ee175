"""Let the instances of a node know the names of services, also of those that come later."""

import asyncio
from typing import Final

from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.model.running.plan import Target
from pltfrms.render.instances.names import render_hosts

_AGAIN_SECONDS: Final = 5.0


class Naming:
    """The names that instances of this node find, whoever else is there."""

    def __init__(self, world: World, problems: Problems) -> None:
        """Know of nobody yet."""
        self._world = world
        self._problems = problems
        self._lines: tuple[str, ...] | None = None
        self._told: tuple[str, ...] | None = None
        self._wake = asyncio.Event()

    def want(self, target: Target, more: tuple[str, ...]) -> None:
        """Name the services of a target from now on; one that nobody has made names none.

        Who is started from now on knows them at once, and `more` lines.
        """
        if target.generation:
            self._lines = (*more, *render_hosts(target.platform, target.balanced))
            self._world.workload.know(self._lines)
            self._wake.set()

    async def run(self) -> None:
        """Tell who runs whenever it is something new, for ever."""
        while True:
            self._wake.clear()
            await self.tell()
            if self._told == self._lines:
                await self._wake.wait()
            else:
                await self._world.clock.sleep(_AGAIN_SECONDS)

    async def tell(self) -> None:
        """Make one pass; what fails becomes a problem, and who was told keeps what it has."""
        lines = self._lines
        if lines is None or lines == self._told:
            return
        with self._problems.watch("names of services"):
            await self._world.workload.tell()
            self._told = lines
