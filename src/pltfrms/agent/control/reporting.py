"""Tell a controller how this machine is; hear of newer targets and of turns."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from pltfrms.agent.control.retrying import again_seconds
from pltfrms.agent.journal import Journal
from pltfrms.agent.world import World
from pltfrms.codec import first_that_fits
from pltfrms.drivers.clock import wait_event
from pltfrms.errors import PltfrmsError
from pltfrms.model.messages.api import Heartbeat, HeartbeatReply
from pltfrms.model.running.texts import STATUS_BYTES_MAX, smaller_statuses

COALESCE_SECONDS: Final = 0.05
EVENTS_PER_HEARTBEAT: Final = 100
_log = structlog.get_logger()


class Reporter:
    """The heartbeats of a machine."""

    def __init__(
        self,
        world: World,
        journal: Journal,
        poked: asyncio.Event,
        beat: Callable[[], tuple[Heartbeat, float]],
        heard: Callable[[HeartbeatReply, int], None],
    ) -> None:
        """Report soon after `poked` is set.

        `beat` returns what to report, without events, and the heartbeat interval in seconds.
        `heard` is called with every answer of a controller, and the Unix time of the question.
        """
        self._world = world
        self._journal = journal
        self._beat = beat
        self._heard = heard
        self._poked = poked
        self._failures = 0
        self._began_at = world.clock.monotonic()
        self.answered_at: float | None = None
        """When (monotonic) the last heartbeat was sent that was answered."""

    @property
    def away_seconds(self) -> float:
        """For how long no controller has answered, or this machine has reported to none."""
        since = self._began_at if self.answered_at is None else self.answered_at
        return self._world.clock.monotonic() - since

    async def run(self) -> None:
        """Report for ever: now, when poked, and every heartbeat interval."""
        while True:
            self._poked.clear()
            beat, interval_seconds = self._beat()
            refused = await self._send(beat)
            if refused is None:
                if await wait_event(self._poked, self._world.clock, interval_seconds):
                    await self._world.clock.sleep(COALESCE_SECONDS)
            else:
                wait_seconds = again_seconds(beat.status.machine, self._failures, refused)
                await self._world.clock.sleep(wait_seconds)

    async def _send(self, beat: Heartbeat) -> Exception | None:
        """Send a heartbeat; return why no controller took it, None: one did."""
        events = self._journal.oldest(EVENTS_PER_HEARTBEAT)
        status, _ = first_that_fits(smaller_statuses(beat.status), STATUS_BYTES_MAX)
        heartbeat = replace(beat, status=status, events=events)
        clock = self._world.clock
        sent_at, sent_ms = clock.monotonic(), clock.unix_ms()
        try:
            reply = await self._world.control_plane.heartbeat(heartbeat)
        except (PltfrmsError, OSError) as error:
            self._failures += 1
            if self._failures == 1:
                _log.warning("no controller answers", sentence=str(error))
            return error
        if self._failures:
            _log.info("a controller answers again", failures=self._failures)
        self._failures = 0
        self.answered_at = sent_at
        self._journal.confirm(events)
        if self._journal.oldest(1):
            self._poked.set()
        self._heard(reply, sent_ms)
        return None
