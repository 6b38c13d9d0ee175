"""Keep what a node's instances may send to the internet as it is wanted."""

import asyncio
from collections.abc import Callable
from typing import Final

from pltfrms.agent.freeze import Frost
from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.drivers.clock import wait_event
from pltfrms.model.network.topology import Platform
from pltfrms.render.egress import EGRESS_TABLE, Leaver, render_egress

LOOK_SECONDS: Final = 5.0


class EgressFilter:
    """What one node lets its instances send to the internet, and from which address."""

    def __init__(
        self,
        world: World,
        journal: Journal,
        problems: Problems,
        frost: Frost,
        leavers: Callable[[], tuple[Leaver, ...] | None],
    ) -> None:
        """Judge nothing yet; `leavers` are the instances of this node, None: not known."""
        self._world = world
        self._journal = journal
        self._problems = problems
        self._frost = frost
        self._leavers = leavers
        self._wanted: tuple[Platform, str] | None = None
        self._judged: tuple[Leaver, ...] | None = None
        """The last ones that were known."""
        self._made = ""
        self._absent = False
        """None is wanted, and there was none after the last pass."""
        self._wake = asyncio.Event()

    def want(self, platform: Platform, machine: str) -> None:
        """Judge for a node of this platform from now on, and look who is there."""
        self._wanted = (platform, machine)
        self._wake.set()

    def hear(self) -> None:
        """Look at once if others are here than were judged last."""
        if self._leavers() not in (None, self._judged):
            self._wake.set()

    async def run(self) -> None:
        """Reconcile every five seconds and on a new target, for ever."""
        while True:
            self._wake.clear()
            await self.reconcile()
            await wait_event(self._wake, self._world.clock, LOOK_SECONDS)

    async def reconcile(self) -> None:
        """Make one pass; what fails becomes a problem, and all stays as it is.

        While frozen nothing is done, as for routes; nor while it is not known who is here:
        what an agent before us installed serves those who run.
        """
        leavers = self._leavers()
        if self._wanted is None or leavers is None or self._frost.reason:
            return
        self._judged = leavers
        with self._problems.watch("egress of instances"):
            text = render_egress(*self._wanted, leavers)
            if self._absent and not text:
                return  # nobody else makes one: nft need not be asked
            self._absent = False
            changed = await self._world.egress_filter.apply(text)
            if changed and bool(text) != bool(self._made):
                done = "installed" if text else "removed"
                about = f"machine/{self._wanted[1]}"
                self._journal.say(about, "egress changed", f"{done} {EGRESS_TABLE}")
            self._made, self._absent = text, not text
