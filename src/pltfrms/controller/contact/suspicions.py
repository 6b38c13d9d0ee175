"""Finds out about nodes that edges have heard fall silent, before their leases end.

A lease ends up to three heartbeats after the last one, which is long for those who wait for
replicas. When no edge hears a node any more, one heartbeat that is late for sure is enough. The
lease is ended then, so that all controllers see the same, and a machine that lives after all
says so with its next heartbeat.
"""

import asyncio

import structlog

from pltfrms.controller.contact.contacts import Contacts
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.store.ports import Store
from pltfrms.errors import UnavailableError
from pltfrms.model.network.topology import Timers

ASK_SECONDS = 0.1
LATE_BEATS = 1.5
"""Heartbeats' time without one: half a heartbeat late."""
LATE_SECONDS_MIN = 1.0
"""However often heartbeats come: any machine may be busy for a moment."""
_ASKED_MAX = 10
"""More at once are the affair of their leases."""

_log = structlog.get_logger(__name__)


def late_seconds(heartbeat_ms: int) -> float:
    """Return after how long without a heartbeat a machine that edges miss is lost."""
    return max(LATE_SECONDS_MIN, LATE_BEATS * heartbeat_ms / 1000)


class Suspicions:
    """Asks the store how long the leases of suspects have, until it is clear."""

    def __init__(self, store: Store, clock: Clock, contacts: Contacts) -> None:
        """Suspect nobody."""
        self._store = store
        self._clock = clock
        self._contacts = contacts
        self._timers = Timers()
        self._woken = asyncio.Event()
        self.confirmed_count = 0
        """Machines that were called lost before their lease ended."""

    def follow(self, timers: Timers, at: float) -> None:
        """Look closely from now on if there is somebody to suspect at time `at`."""
        self._timers = timers
        if self._contacts.suspects(at):
            self._woken.set()

    async def run(self) -> None:
        """Ask while there are suspects, for ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while suspects := self._contacts.suspects(self._clock.monotonic()):
                try:
                    for name, lease in list(suspects.items())[:_ASKED_MAX]:
                        await self._ask(name, lease)
                except UnavailableError as error:
                    _log.warning("suspects not asked for", error=str(error))
                await self._clock.sleep(ASK_SECONDS)

    async def _ask(self, name: str, lease: int) -> None:
        asked_at = self._clock.monotonic()
        time = await self._store.lease_time(lease)
        if time is None:  # it has ended; the next listing says so
            return
        # As late as it may have been answered for what is left, as early as for what is late.
        self._contacts.hear(name, self._clock.monotonic(), time)
        if self._contacts.is_overdue(name, asked_at, late_seconds(self._timers.heartbeat_ms)):
            await self._store.revoke(lease)
            self._contacts.lose(name, self._clock.monotonic())
            self.confirmed_count += 1
            _log.info("machine lost before its lease ended", machine=name)
