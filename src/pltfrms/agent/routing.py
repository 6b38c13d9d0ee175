"""Keep BIRD's configuration as it is wanted, and know its sessions."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from pltfrms.agent.costs import Costs
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.drivers.clock import wait_event
from pltfrms.errors import InvariantError, UnavailableError
from pltfrms.model.state import SessionStatus
from pltfrms.model.topology import Platform
from pltfrms.render.bird import render_bird

SESSIONS_SECONDS: Final = 2.0
APPLY_SECONDS: Final = 10.0
"""The same text again: finds a BIRD that runs an older one."""
COLD_SECONDS: Final = 12.0
"""A BIRD that was not running when we came gets the ways of a cold start for this long."""
_log = structlog.get_logger()


class Routing:
    """BIRD, as one machine wants it."""

    def __init__(
        self,
        world: World,
        problems: Problems,
        machine: str,
        costs: Costs,
        poke: Callable[[], None],
    ) -> None:
        """Call `poke` (which must not block) when sessions change."""
        self._world = world
        self._problems = problems
        self._machine = machine
        self._costs = costs
        self._poke = poke
        self._platform: Platform | None = None
        self._refused = ""
        """The text that BIRD's own parser refused: offering it again is no use."""
        self._cold_until = 0.0
        """Monotonic seconds."""
        self._wake = costs.changed
        self.answers = False
        """Whether BIRD answered when it was asked last."""
        self.sessions: tuple[SessionStatus, ...] = ()

    def want(self, platform: Platform) -> None:
        """Configure BIRD for this platform from now on.

        Raises:
            KeyError: the platform has no such machine; nothing is changed.
        """
        render_bird(platform, self._machine, self._costs.by_link())
        self._platform = platform
        self._wake.set()

    async def run(self) -> None:
        """Configure BIRD when needed and watch its sessions, for ever."""
        self._cold_until = await self._find_cold_end()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_sessions())
            while True:
                self._wake.clear()
                if self._platform is not None:
                    await self._configure(self._platform)
                cold = self._cold_until - self._world.clock.monotonic()
                seconds = cold if 0 < cold < APPLY_SECONDS else APPLY_SECONDS
                await wait_event(self._wake, self._world.clock, seconds)

    async def _find_cold_end(self) -> float:
        now = self._world.clock.monotonic()
        try:
            await self._world.bird.sessions()
        except UnavailableError:
            return now + COLD_SECONDS
        return now

    async def _configure(self, platform: Platform) -> None:
        cold = self._world.clock.monotonic() < self._cold_until
        text = render_bird(platform, self._machine, self._costs.by_link(), cold=cold)
        if text == self._refused:
            return
        with self._problems.watch("BIRD configuration"):
            try:
                sentence = await self._world.bird.apply(text)
            except InvariantError:
                self._refused = text
                raise
            self._refused = ""
            _log.debug("BIRD configured", sentence=sentence)

    async def _watch_sessions(self) -> None:
        while True:
            with self._problems.watch("BIRD"):
                await self._read_sessions()
            await self._world.clock.sleep(SESSIONS_SECONDS)

    async def _read_sessions(self) -> None:
        before = self.sessions
        try:
            states = await self._world.bird.sessions()
        except UnavailableError as error:
            self.answers = False
            self.sessions = tuple(
                SessionStatus(name=session.name, up=False, detail=f"unknown: {error}")
                for session in before
            )
            raise
        else:
            self.answers = True
            self.sessions = tuple(
                SessionStatus(name=state.name, up=state.up, detail=state.detail)
                for state in states
            )
        finally:
            if self.sessions != before:
                self._poke()
