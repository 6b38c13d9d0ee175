"""Keep the packet filter of an edge as it is wanted, whoever changes it."""

import asyncio
from collections.abc import Callable
from typing import Final

from pltfrms.agent.freeze import Frost
from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.drivers.clock import wait_event
from pltfrms.model.network.topology import Platform
from pltfrms.render.filter import FILTER_TABLE, render_filter

LOOK_SECONDS: Final = 5.0


class EdgeFilter:
    """What one edge drops of what comes in from outside."""

    def __init__(
        self,
        world: World,
        journal: Journal,
        problems: Problems,
        frost: Frost,
        confirmed: Callable[[], Platform | None],
    ) -> None:
        """Filter nothing yet. `confirmed` says whose routing is in force; None: not known."""
        self._world = world
        self._journal = journal
        self._problems = problems
        self._frost = frost
        self._confirmed = confirmed
        self._wanted: tuple[Platform, str] | None = None
        self._wake = asyncio.Event()

    def want(self, platform: Platform, machine: str) -> None:
        """Filter for an edge of this platform from now on."""
        self._wanted = (platform, machine)
        self._wake.set()

    async def run(self) -> None:
        """Reconcile every five seconds and on a new platform, for ever."""
        while True:
            self._wake.clear()
            await self.reconcile()
            await wait_event(self._wake, self._world.clock, LOOK_SECONDS)

    async def reconcile(self) -> None:
        """Make one pass; what fails becomes a problem, and the filter stays as it is.

        While frozen nothing is done: a filter can end sessions.
        """
        if self._wanted is None or self._frost.reason:
            return
        platform, machine = self._wanted
        with self._problems.watch("packet filter"):
            text = render_filter(platform, machine, self._confirmed())
            if await self._world.packet_filter.apply(text):
                done = "installed" if text else "removed"
                about = f"machine/{machine}"
                self._journal.say(about, "packet filter changed", f"{done} {FILTER_TABLE}")
