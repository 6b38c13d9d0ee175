"""Let the replicas of a service that have volumes know of each other, while they run."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.drivers.clock import wait_event
from pltfrms.model.running.machine import Instance, InstanceSpec
from pltfrms.model.running.plan import Allocation, Target
from pltfrms.model.services.service import Service
from pltfrms.model.services.storage import PEERS_FILE
from pltfrms.planner.instances.instances import member_at
from pltfrms.render.instances.peers import render_peers

_LOOK_SECONDS: Final = 5.0
_Files = tuple[tuple[str, str], ...]
Listed = tuple[Instance, InstanceSpec, str, bool]
"""One that runs, what it is to have, the signal that it wants (empty: none), and whether it has
answered, so that it can take one."""


class Peers:
    """The files of members that instances of this node have.

    All is made of the target, which is on the disk: it needs no controller.
    """

    def __init__(
        self, world: World, problems: Problems, running: Callable[[], Iterable[Listed]]
    ) -> None:
        """Know of nobody yet; `running` returns who here has such a file."""
        self._world = world
        self._problems = problems
        self._running = running
        self._has: dict[str, tuple[Instance, _Files]] = {}
        self._unsaid: set[str] = set()
        """Allocations whose file is another one, and which were not signalled yet."""
        self._wake = asyncio.Event()

    def of(self, target: Target, service: Service, allocation: Allocation) -> _Files:
        """Return the file of an instance; none if its service keeps no volumes."""
        own = member_at(target.platform, service, allocation)
        known = next((each for each in target.balanced if each.id == service.id), None)
        if own is None or known is None or known.members is None or not target.generation:
            return ()
        self._wake.set()
        return ((PEERS_FILE, render_peers(target.platform, known, target.peers, own)),)

    async def run(self) -> None:
        """Tell who runs whenever there is something new, for ever."""
        while True:
            self._wake.clear()
            await self.tell()
            await wait_event(self._wake, self._world.clock, _LOOK_SECONDS)

    async def tell(self) -> None:
        """Make one pass; what fails becomes a problem, and is tried again."""
        has, running = dict[str, tuple[Instance, _Files]](), tuple(self._running())
        for instance, spec, signal, answered in running:
            files = tuple(each for each in spec.live if each[0] == PEERS_FILE)
            name, wanted = spec.allocation, (instance, files)
            with self._problems.watch(f"peers of {name}") as outcome:
                its = replace(spec, live=files)
                if self._has.get(name) != wanted and await self._world.workload.rewrite(its):
                    self._unsaid.add(name)
                if name in self._unsaid and answered:
                    if signal:
                        await self._world.workload.signal(instance, signal)
                    self._unsaid.discard(name)
            if not outcome.failed:
                has[name] = wanted
        self._unsaid &= {spec.allocation for _, spec, _, _ in running}
        self._has = has
