"""Events in the store: how they are written, read and pruned."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import replace

import structlog

from pltfrms.codec import decode, encode
from pltfrms.controller.state import EVENTS
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.store.ports import Delete, Entry, Listing, Put, Store
from pltfrms.errors import UsageError
from pltfrms.model.api import Event

KEPT_COUNT = 1000
"""Events that stay after pruning."""
SURPLUS_COUNT = 200
"""Pruning waits until there are so many more, so that it is rare."""
BATCH_COUNT = 40
"""Events of one transaction: together with the steps they tell of, it has less than 100."""
_BROKEN_WATCH_SECONDS = 0.2

_log = structlog.get_logger(__name__)


class Journal:
    """Writes events as `controller/NAME`, and reads everybody's."""

    def __init__(self, store: Store, clock: Clock, name: str) -> None:
        """Write as the controller called `name`."""
        self._store = store
        self._clock = clock
        self._name = name
        self._numbers = itertools.count(1)

    def tell(self, about: str, what: str, *, reason: str = "", detail: str = "") -> Event:
        """Return an event of this controller, now."""
        return Event(
            at_ms=self._clock.unix_ms(),
            source=f"controller/{self._name}",
            about=about,
            what=what,
            reason=reason,
            detail=detail,
        )

    def put(self, event: Event) -> Put:
        """Return the write that stores an event."""
        source = event.source.rpartition("/")[2]
        number = next(self._numbers)
        key = f"{EVENTS}{event.at_ms:013d}-{source}-{self._name}-{number:06d}"
        return Put(key=key, value=encode(event))

    async def write(self, events: Iterable[Event]) -> None:
        """Store events, oldest first.

        Raises:
            UnavailableError: no answer from the store; some may not be stored.
        """
        puts = [self.put(event) for event in events]
        for start in range(0, len(puts), BATCH_COUNT):
            await self._store.commit(puts[start : start + BATCH_COUNT])

    async def read(self, after: int, wait_ms: int, limit: int) -> tuple[Event, ...]:
        """Return events with `sequence` > `after`, oldest first, waiting for the first one.

        Events stored together have the same sequence and are never parted, so that there may
        be more than `limit`.

        Raises:
            UnavailableError: no answer from the store.
        """
        deadline = self._clock.monotonic() + wait_ms / 1000
        while True:
            listing = await self._store.list(EVENTS)
            events = _events(listing, after)
            remaining = deadline - self._clock.monotonic()
            if events or remaining <= 0:
                return _first(events, limit)
            await self._wait(listing.revision, remaining)

    async def prune(self) -> None:
        """Delete the oldest events if there are many too many."""
        entries = sorted((await self._store.list(EVENTS)).entries, key=lambda e: e.key)
        if len(entries) <= KEPT_COUNT + SURPLUS_COUNT:
            return
        surplus = [Delete(key=entry.key) for entry in entries[:-KEPT_COUNT]]
        for start in range(0, len(surplus), BATCH_COUNT):
            await self._store.commit(surplus[start : start + BATCH_COUNT])

    async def _wait(self, revision: int, seconds: float) -> None:
        """Return when there may be new events, or after some time."""
        try:
            async with (
                asyncio.timeout(seconds),
                aclosing(_closable(self._store, revision)) as changes,
            ):
                async for _ in changes:
                    return
                await self._clock.sleep(_BROKEN_WATCH_SECONDS)
        except TimeoutError:
            return


async def _closable(store: Store, revision: int) -> AsyncGenerator[int, None]:
    async for change in store.changes(EVENTS, revision):
        yield change


def _events(listing: Listing, after: int) -> list[Event]:
    newer = [entry for entry in listing.entries if entry.mod_revision > after]
    newer.sort(key=lambda entry: (entry.mod_revision, entry.key))
    return [event for entry in newer if (event := _event(entry))]


def _event(entry: Entry) -> Event | None:
    try:
        return replace(decode(Event, entry.value), sequence=entry.mod_revision)
    except UsageError as error:
        _log.warning("event cannot be read", key=entry.key, error=str(error))
        return None


def _first(events: list[Event], limit: int) -> tuple[Event, ...]:
    if len(events) <= limit:
        return tuple(events)
    last = events[max(limit, 1) - 1].sequence
    return tuple(event for event in events if event.sequence <= last)
