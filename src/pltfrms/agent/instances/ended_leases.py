"""End the leases that an instance had in the store when it has ended by itself.

Nothing of it runs then, and nothing is started before this is done, or has failed for a second:
so what controllers say that it has are leases of its past, and none of what comes next.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pltfrms.agent.instances.runner import Runner
from pltfrms.agent.journal import Journal
from pltfrms.agent.world import World
from pltfrms.errors import PltfrmsError
from pltfrms.model.messages.api import LeasesAsk
from pltfrms.planner.parts.ends import ends_leases

_PATIENCE_SECONDS: Final = 1.0
"""Then it starts anew, and its leases end by themselves."""


class EndedLeases:
    """Asks controllers to end them. Without any, nothing else is different."""

    def __init__(self, world: World, journal: Journal, runners: Mapping[str, Runner]) -> None:
        """Know of nobody yet."""
        self._world = world
        self._journal = journal
        self._runners = runners
        self._lived: set[str] = set()
        """Who has run since its leases were ended last."""
        self._ending: set[str] = set()
        self._wake = asyncio.Event()

    def look(self) -> None:
        """See who runs, and who has ended."""
        for name, runner in self._runners.items():
            if runner.instance is not None and _wants_it(runner):
                self._lived.add(name)
        if any(map(self._has_ended, self._lived)):
            self._wake.set()

    def holds_up(self, name: str) -> bool:
        """Return whether one that has ended is not to be started yet."""
        if name not in self._lived:
            return False
        self._wake.set()
        return True

    async def run(self) -> None:
        """End leases whenever somebody has ended, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._lived &= self._runners.keys()
                for name in sorted(filter(self._has_ended, self._lived - self._ending)):
                    self._ending.add(name)
                    tasks.create_task(self._end(name))  # nobody waits for another one's

    def _has_ended(self, name: str) -> bool:
        """Return whether nothing runs of who is still wanted: nobody else has its addresses."""
        runner = self._runners.get(name)
        return runner is not None and runner.order is not None and runner.instance is None

    async def _end(self, name: str) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                count = await self._end_all(name)
        except (PltfrmsError, TimeoutError) as error:
            why = str(error) or f"no controller answered within {_PATIENCE_SECONDS:g} s"
            self._journal.say(name, "leases not ended", why)
        else:
            if count:
                self._journal.say(name, "leases ended", f"{count}, as it has ended")
        finally:
            self._lived.discard(name)
            self._ending.discard(name)

    async def _end_all(self, name: str) -> int:
        order, controllers = self._runners[name].order, self._world.control_plane
        if order is None:
            return 0
        ask = LeasesAsk(machine=order.allocation.node, allocation=name)
        had = (await controllers.leases(ask)).leases
        if not had or not self._has_ended(name):
            return 0
        await controllers.leases(replace(ask, end=had))
        return len(had)


def _wants_it(runner: Runner) -> bool:
    return runner.service is not None and ends_leases(runner.service)
