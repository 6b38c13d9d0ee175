"""Fetch newer targets from any controller."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from pltfrms.agent.control.retrying import retry_seconds
from pltfrms.agent.control.targets import Targets
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.errors import UnavailableError, VersionError
from pltfrms.model.running.plan import Target

WAIT_MS: Final = 30_000
"""Answers to heartbeats say that there is news as well: this one may be long."""
_REFUSED_SECONDS = 1.0
_BREATH_SECONDS = 0.05
"""After an empty answer, which should have taken WAIT_MS and may have taken nothing."""


class Fetcher:
    """The long poll for the target of this machine."""

    def __init__(
        self,
        world: World,
        problems: Problems,
        targets: Targets,
        follow: Callable[[], Awaitable[None]],
    ) -> None:
        """Call `follow` after a newer target has become the current one."""
        self._world = world
        self._problems = problems
        self._targets = targets
        self._follow = follow
        self._newer = asyncio.Event()
        self._failures = 0
        self._again_at = 0.0
        """When to ask once more for values of secrets that the target lacks."""

    def hear(self, generation: int, made_of: str) -> None:
        """Hear that a controller knows this generation: ask again at once if it is news."""
        if not self._targets.confirm(generation, made_of):
            self._newer.set()

    async def run(self) -> None:
        """Fetch and follow for ever."""
        while True:
            self._newer.clear()
            with self._problems.watch("target") as outcome:
                await self._fetch()
            if outcome.failed:
                await self._world.clock.sleep(_REFUSED_SECONDS)

    async def _fetch(self) -> None:
        try:
            target = await self._poll()
        except VersionError as error:
            raise VersionError(
                f"what is in force stays, as no newer one is understood: {error}"
            ) from error
        except UnavailableError:
            self._failures += 1
            await self._world.clock.sleep(retry_seconds(self._targets.machine, self._failures))
            return
        self._failures = 0
        if target is None:
            now = self._world.clock.monotonic()
            if self._targets.lacks_secrets and now >= self._again_at:
                self._targets.ask_again()  # a controller may have them by now
                self._again_at = now + WAIT_MS / 1000
            await self._world.clock.sleep(_BREATH_SECONDS)
            return
        self._targets.accept(target)
        self._world.follow_controllers(target.platform)
        await self._follow()

    async def _poll(self) -> Target | None:
        """Return the controllers' answer; None also when a hint says to ask anew."""
        asking = asyncio.ensure_future(
            self._world.control_plane.target(
                self._targets.current, self._targets.as_of, WAIT_MS
            )
        )
        hinted = asyncio.ensure_future(self._newer.wait())
        try:
            await asyncio.wait({asking, hinted}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else None
        finally:
            asking.cancel()
            hinted.cancel()
            await asyncio.gather(asking, hinted, return_exceptions=True)
