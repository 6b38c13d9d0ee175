"""Events in the store: how they are written, read and pruned."""

import itertools
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import NoReturn

import structlog

from pltfrms.codec import first_that_fits
from pltfrms.controller.records.documents import read_documents
from pltfrms.controller.records.state import EVENTS
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.store.ports import Delete, KeyValue, Put, Store
from pltfrms.drivers.store.transaction import batches
from pltfrms.drivers.store.watching import Tail
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import Event
from pltfrms.model.messages.store import KindSize
from pltfrms.model.running.texts import EVENT_BYTES_MAX, shortened, with_short_texts

MACHINE_IN_CONTACT = "machine in contact"
KEPT_COUNT = 1000
"""Events that stay after pruning."""
SURPLUS_COUNT = 200
"""Pruning waits until there are so many more, so that it is rare."""
BATCH_COUNT = 40
"""Events of one transaction: together with the steps they tell of, it has less than 100."""
FOLLOWERS_MAX = 200
"""Readers that may wait for events at one controller at once."""
READERS_MAX = 20
"""Readers that may have one controller list the store at once: leases need it, too."""
STALE_SECONDS = 5.0
"""A store that answered no list for so long counts as not answering. It is listed every 2 s."""
_RESYNC_SECONDS = 2.0
_SLICE_SECONDS = 1.0
"""After so long a waiting reader looks whether the store still answers."""

_log = structlog.get_logger(__name__)


class EventLog:
    """Writes events as `controller/NAME`, and reads everybody's.

    The newest events are kept in memory by one watch, from which all who wait for events are
    served: they cost the store nothing, however many they are.
    """

    def __init__(self, store: Store, clock: Clock, name: str, random: Random) -> None:
        """Write as the controller called `name`."""
        self._store = store
        self._clock = clock
        self._name = name
        self._numbers = itertools.count(1)
        self._tail = Tail(
            store,
            EVENTS,
            clock,
            random=random,
            resync_seconds=_RESYNC_SECONDS,
            kept=KEPT_COUNT,
        )
        self._followers = 0
        self._readers = 0

    async def run(self) -> None:
        """Keep the newest events in memory until cancelled."""
        await self._tail.run()

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
        key = f"{EVENTS}{event.at_ms:013d}-{shortened(source, 64)}-{self._name}-{number:06d}"
        _, value = first_that_fits((event, with_short_texts(event)), EVENT_BYTES_MAX)
        return Put(key=key, value=value)

    def size(self) -> dict[str, KindSize]:
        """Return how many events the store has, as far as it is known."""
        listing = self._tail.listing
        return {EVENTS: KindSize(keys=listing.total)} if listing else {}

    def last(self, about: str, whats: Container[str]) -> str:
        """Return which of `whats` was told last about something; empty: none is remembered."""
        needle = about.encode()
        for entry in reversed(self._newer(0)):
            for event in _events([entry]) if needle in entry.value else ():
                if event.about == about and event.what in whats:
                    return event.what
        return ""

    async def write(self, events: Iterable[Event]) -> None:
        """Store events, oldest first.

        Raises:
            UnavailableError: no answer from the store; some may not be stored.
        """
        for batch in batches(map(self.put, events)):
            await self._store.commit(batch)

    async def read(
        self, after: int, wait_ms: int, limit: int, *, stale: bool = False
    ) -> tuple[Event, ...]:
        """Return events with `sequence` > `after`, oldest first, waiting for the first one.

        Events stored together have the same sequence and are never parted, so that there may
        be more than `limit`. With `stale`, while the store does not answer, what is known.

        Raises:
            UnavailableError: no answer from the store, or too many readers at once.
        """
        if not self._tail.answered_within(STALE_SECONDS):
            return _first(_events(self._newer(after)), limit) if stale else self._refuse()
        if wait_ms:
            return await self._follow(after, wait_ms / 1000, limit)
        return await self._list(after, limit)

    def kept(self, after: int) -> tuple[Event, ...]:
        """Return the events after a sequence that are in memory, oldest first."""
        return tuple(_events(_by_revision(self._newer(after))))

    @property
    def newest(self) -> int:
        """The sequence of the last event in memory; 0: there is none."""
        return max((entry.mod_revision for entry in self._newer(0)), default=0)

    async def _list(self, after: int, limit: int) -> tuple[Event, ...]:
        """Return what is in the store itself, so that nobody misses what he has just done."""
        if self._readers >= READERS_MAX:
            raise UnavailableError(
                f"{READERS_MAX} others read the events of this controller just now; ask "
                "another controller, or try again"
            )
        self._readers += 1
        try:
            listing = await self._store.list(EVENTS, after)
        finally:
            self._readers -= 1
        return _first(_events(_by_revision(listing.entries)), limit)

    async def _follow(self, after: int, seconds: float, limit: int) -> tuple[Event, ...]:
        """Return what is newer than `after` in memory, as soon as there is something."""
        deadline = self._clock.monotonic() + seconds
        with self._following():
            while after >= self._tail.complete_after:
                events = _events(self._newer(after))
                remaining = deadline - self._clock.monotonic()
                if events or remaining <= 0:
                    return _first(events, limit)
                revision = self._tail.listing.revision if self._tail.listing else 0
                await self._tail.wait(revision, min(remaining, _SLICE_SECONDS))
                if not self._tail.answered_within(STALE_SECONDS):
                    self._refuse()
        return await self._list(after, limit)

    @contextmanager
    def _following(self) -> Iterator[None]:
        if self._followers >= FOLLOWERS_MAX:
            raise UnavailableError(
                f"{FOLLOWERS_MAX} others wait for events at this controller already; ask "
                "another controller, or read them without waiting"
            )
        self._followers += 1
        try:
            yield
        finally:
            self._followers -= 1

    def _newer(self, after: int) -> list[KeyValue]:
        listing = self._tail.listing
        entries = listing.entries if listing else ()
        return [entry for entry in entries if entry.mod_revision > after]

    def _refuse(self) -> NoReturn:
        raise UnavailableError("the store does not answer; try another controller, or later")

    async def prune(self) -> None:
        """Delete the oldest events if there are many too many.

        What is oldest is what the store took first: clocks of senders may be wrong.
        """
        entries = _by_revision((await self._store.list(EVENTS)).entries)
        if len(entries) <= KEPT_COUNT + SURPLUS_COUNT:
            return
        surplus = [Delete(key=entry.key) for entry in entries[:-KEPT_COUNT]]
        for start in range(0, len(surplus), BATCH_COUNT):
            await self._store.commit(surplus[start : start + BATCH_COUNT])


def _by_revision(entries: Iterable[KeyValue]) -> list[KeyValue]:
    return sorted(entries, key=lambda entry: (entry.mod_revision, entry.key))


def _events(entries: Sequence[KeyValue]) -> list[Event]:
    """Return the events of some entries; what cannot be read is logged and left out."""
    documents = read_documents(Event, entries)
    for problem in documents.problems.values():
        _log.warning("event cannot be read", problem=problem)
    words = documents.words
    return [
        replace(words[entry.key], sequence=entry.mod_revision)
        for entry in entries
        if entry.key in words
    ]


def _first(events: list[Event], limit: int) -> tuple[Event, ...]:
    if len(events) <= limit:
        return tuple(events)
    last = events[max(limit, 1) - 1].sequence
    return tuple(event for event in events if event.sequence <= last)
