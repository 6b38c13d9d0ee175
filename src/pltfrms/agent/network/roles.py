"""Keep what an edge answers while nobody has a role as it is wanted."""

import asyncio
from typing import Final

from pltfrms.agent.freeze import Frost
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.drivers.clock import wait_event
from pltfrms.model.running.plan import Target
from pltfrms.render.roles import render_roles

LOOK_SECONDS: Final = 5.0


class RoleRefusals:
    """What one edge answers for roles that nobody has."""

    def __init__(self, world: World, problems: Problems, frost: Frost) -> None:
        """Answer nothing yet."""
        self._world = world
        self._problems = problems
        self._frost = frost
        self._text: str | None = None
        """None: nobody has told us which roles there are."""
        self._absent = False
        """None is wanted, and there was none after the last pass."""
        self._wake = asyncio.Event()

    def want(self, target: Target) -> None:
        """Answer for the roles of a target from now on."""
        if not target.generation:
            return
        roles = (role for service in target.services for role in service.roles)
        self._text = render_roles(prefix for role in roles for prefix in role.prefixes)
        self._wake.set()

    async def run(self) -> None:
        """Reconcile every five seconds and on a new target, for ever."""
        while True:
            self._wake.clear()
            await self.reconcile()
            await wait_event(self._wake, self._world.clock, LOOK_SECONDS)

    async def reconcile(self) -> None:
        """Make one pass; what fails becomes a problem. While frozen nothing is done."""
        if self._text is None or self._frost.reason or (self._absent and not self._text):
            return
        with self._problems.watch("roles that nobody has"):
            self._absent = False
            await self._world.role_filter.apply(self._text)
            self._absent = not self._text
