"""Let instances know where their part of the store is asked, and whom to believe there."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.drivers.clock import wait_event
from pltfrms.errors import UsageError
from pltfrms.model.network.controllers import controllers_for
from pltfrms.model.running.machine import Instance, InstanceSpec
from pltfrms.model.running.plan import Target
from pltfrms.model.services.gates import gate_hosts
from pltfrms.model.services.parts import ROOTS_FILE, STORE_FILE
from pltfrms.model.services.service import Service
from pltfrms.render.instances.store_part import render_store_part

_LOOK_SECONDS: Final = 5.0
_Files = tuple[tuple[str, str], ...]
PartUser = tuple[Instance, InstanceSpec]
"""One that runs, and what it is to have."""


class StoreParts:
    """The files of instances that have a part of the store. They need no controller."""

    def __init__(
        self, world: World, problems: Problems, running: Callable[[], Iterable[PartUser]]
    ) -> None:
        """Know of nobody yet; `running` returns who runs here."""
        self._world = world
        self._problems = problems
        self._running = running
        self._roots: str | None = None
        self._has: dict[str, tuple[Instance, _Files]] = {}
        self._wake = asyncio.Event()

    def of(self, target: Target, service: Service, *, runs: bool = False) -> _Files:
        """Return the files of an instance of a service; none if it has no part.

        Raises:
            UsageError: whom to believe is not known, and the instance does not run yet.
        """
        if service.spec.run.store is None or not target.generation:
            return ()
        self._wake.set()
        said = render_store_part(
            target.platform, target.machine, service.name, secure=self._secure()
        )
        try:
            roots = self._believed()
        except UsageError:
            if not runs:
                raise
            roots = ""  # it has what it was told before, and passes go on to look
        return ((STORE_FILE, said), *(((ROOTS_FILE, roots),) if roots else ()))

    def hosts(self, target: Target) -> tuple[str, ...]:
        """Return the lines by which instances find those who answer; none if nobody asks."""
        asks = any(each.spec.run.store for each in (*target.services, *target.earlier))
        if not asks or not self._secure():
            return ()
        controllers = controllers_for(target.platform, target.machine)
        return gate_hosts(target.platform, controllers)

    async def run(self) -> None:
        """Tell who runs whenever there is something new, for ever."""
        while True:
            self._wake.clear()
            await self.tell()
            await wait_event(self._wake, self._world.clock, _LOOK_SECONDS)

    async def tell(self) -> None:
        """Make one pass; what fails becomes a problem, and is tried again.

        Who is believed may change at any time, without another target.
        """
        has = dict[str, tuple[Instance, _Files]]()
        for instance, spec in tuple(self._running()):
            name, files = spec.allocation, _Files()
            with self._problems.watch(f"part of the store of {name}") as outcome:
                files = tuple(self._now(spec.live))
                wanted = (instance, files)
                if files and self._has.get(name) != wanted:
                    await self._world.workload.rewrite(replace(spec, live=files))
            if files and not outcome.failed:
                has[name] = wanted
        self._has = has

    def _now(self, live: _Files) -> Iterable[tuple[str, str]]:
        for name, text in live:
            if name == STORE_FILE:
                yield name, text
                if roots := self._believed():
                    yield ROOTS_FILE, roots

    def _secure(self) -> bool:
        """Return whether controllers answer by TLS; what cannot be read says that they do."""
        try:
            return bool(self._believed())
        except UsageError:
            return True

    def _believed(self) -> str:
        """Return whom to believe, now or as it was known last."""
        try:
            self._roots = self._world.roots()
        except UsageError:
            if self._roots is None:
                raise
        return self._roots
