"""An up-to-date copy of a part of the store: list, with watch as a hint to list again."""

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from random import Random

import structlog

from pltfrms.drivers.clock import wait_event
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.store.ports import KeyValue, Listing, Store
from pltfrms.errors import UnavailableError

_COALESCE_SECONDS, _COALESCE_SECONDS_MAX = 0.02, 0.2
_BACKOFF_MIN_SECONDS = 0.2
_BACKOFF_MAX_SECONDS = 1.0

_KEYS_SAID = 5
_KEY = attrgetter("key")

_log = structlog.get_logger(__name__)


class Mirror:
    """Keeps `listing` equal to what is in the store under a prefix.

    Rules:
        - Data comes from linearizable lists only. A watch merely shortens the wait for the
          next one, so a watch that loses, repeats or invents changes costs time, not truth.
        - A session begins with a whole list. After that only what was written since is listed,
          and how many keys there are: as many as we know then means that none was deleted.
          If not, and every `audit_seconds`, all is listed. What a whole list has otherwise than
          we do, although we should have known it, is counted in `divergences`; the list wins.
        - Lists happen on every hint, and every `resync_seconds` (+-20 %) without one. Between
          two of them are 20 ms, or as long as the last one took, up to 0.2 s: while change
          follows change, a slow store or a busy machine is asked for several at once.
        - A list or a watch that breaks, or that we do not understand, begins a new session
          (list, then watch) after a back-off of 0.2 s that doubles to 1 s, jittered; a
          session of 1 s resets it.
        - A listing with a lower revision than ours is not believed at once: it may come from
          one confused member. A second list decides. If it is not lower, the first was
          stale, and only the second is taken. If it is lower too, the store was really set
          back (restored from a backup, or etcd #17780): `regressions` counts up, the old
          listing is dropped for the second one, and a new session begins, because the old
          watch waits for revisions that are far in the future now.
    """

    def __init__(
        self,
        store: Store,
        prefix: str,
        clock: Clock,
        *,
        random: Random,
        resync_seconds: float = 10.0,
        audit_seconds: float = 60.0,
    ) -> None:
        """Know nothing until `run` runs."""
        self.listing: Listing | None = None
        """The latest; stays as it is while the store does not answer. None: never listed."""
        self.last_success_at: float | None = None
        """Monotonic time at which the store last answered a list; None: never."""
        self.regressions = 0
        """How often the store was really set back."""
        self.divergences = 0
        """How many entries a whole list showed otherwise than they were known."""
        self._audit_seconds = audit_seconds
        self._whole_at: float | None = None
        """When the last whole list was asked for; None: the next one is whole."""
        self._store = store
        self._prefix = prefix
        self._clock = clock
        self._random = random
        self._resync_seconds = resync_seconds
        self._taken = asyncio.Event()
        self._bug = ""

    async def run(self) -> None:
        """Keep `listing` up to date until cancelled."""
        backoff = _BACKOFF_MIN_SECONDS
        while True:
            began = self._clock.monotonic()
            try:
                await self._session()
            except UnavailableError as error:
                _log.warning("store not answering", prefix=self._prefix, error=str(error))
            except Exception as error:  # noqa: BLE001 - who does not understand asks again
                self._say_bug(error)
            if self._clock.monotonic() - began >= _BACKOFF_MAX_SECONDS:
                backoff = _BACKOFF_MIN_SECONDS
            await self._clock.sleep(backoff * self._random.uniform(0.5, 1.0))
            backoff = min(backoff * 2, _BACKOFF_MAX_SECONDS)

    def _say_bug(self, error: Exception) -> None:
        """Log what nobody has foreseen; where it came from only once, as it may last."""
        sentence = repr(error)
        trace = None if sentence == self._bug else error
        _log.error("store not understood", prefix=self._prefix, bug=sentence, exc_info=trace)
        self._bug = sentence

    async def wait_newer(self, revision: int) -> Listing:
        """Return the listing once its revision is > `revision`.

        Also returns when the store is set back while waiting: then the listing is older than
        asked for, but newer than any that will come from the past that was lost.
        """
        regressions = self.regressions
        while True:
            taken = self._taken
            listing = self.listing
            if listing and (listing.revision > revision or self.regressions != regressions):
                return listing
            await taken.wait()

    async def wait(self, revision: int, seconds: float) -> None:
        """Return when the listing's revision is > `revision`, or after some time."""
        newer = asyncio.ensure_future(self.wait_newer(revision))
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({newer, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            newer.cancel()
            sleeping.cancel()
            await asyncio.gather(newer, sleeping, return_exceptions=True)

    async def newest(self) -> Listing:
        """Return what the store holds now, with all that was written before this call.

        By the same rule as ours: what was written since, and how many keys there are.
        """
        known = self.listing
        if known is not None:
            newer = await self._store.list(self._prefix, known.revision)
            found = merged(known, newer)
            if newer.revision >= known.revision and len(found.entries) == newer.total:
                return found
        return await self._store.list(self._prefix)

    def answered_within(self, seconds: float) -> bool:
        """Whether the store has answered a list so lately."""
        last = self.last_success_at
        return last is not None and self._clock.monotonic() - last < seconds

    async def _session(self) -> None:
        """List, then watch and list until the watch ends or the store is set back."""
        self._whole_at = None
        first = await self._relist()
        hint = asyncio.Event()
        watch = asyncio.create_task(self._follow(first.revision, hint))
        try:
            regressions = self.regressions
            took = 0.0
            while not watch.done() and self.regressions == regressions:
                pause = min(max(took, _COALESCE_SECONDS), _COALESCE_SECONDS_MAX)
                await self._clock.sleep(pause)
                resync = self._resync_seconds * self._random.uniform(0.8, 1.2)
                await wait_event(hint, self._clock, resync)
                hint.clear()
                began = self._clock.monotonic()
                await self._relist()
                took = self._clock.monotonic() - began
        finally:
            watch.cancel()
            (outcome,) = await asyncio.gather(watch, return_exceptions=True)
        if isinstance(outcome, Exception):
            raise outcome

    async def _follow(self, after: int, hint: asyncio.Event) -> None:
        try:
            async for revision in self._store.changes(self._prefix, after):
                if self.listing is None or revision > self.listing.revision:
                    hint.set()
        finally:
            hint.set()

    async def _relist(self) -> Listing:
        listing = await self._look(self.listing)
        known = self.listing.revision if self.listing else 0
        if listing.revision < known:
            _log.warning("store revision went back", known=known, now=listing.revision)
            listing = await self._look(None)
            self.regressions += listing.revision < known
        self.listing = listing
        self.last_success_at = self._clock.monotonic()
        self._taken.set()
        self._taken = asyncio.Event()
        return listing

    async def _look(self, known: Listing | None) -> Listing:
        """Return what the store holds, for somebody who knows `known` of it."""
        now = self._clock.monotonic()
        due = self._whole_at is None or now - self._whole_at >= self._audit_seconds
        if known is None or due:
            return await self._look_at_all(known)
        newer = await self._store.list(self._prefix, known.revision)
        if newer.revision < known.revision:
            return newer
        found = merged(known, newer)
        if len(found.entries) == newer.total:
            return found
        return await self._look_at_all(known)

    async def _look_at_all(self, known: Listing | None) -> Listing:
        asked_at = self._clock.monotonic()
        whole = await self._store.list(self._prefix)
        self._whole_at = asked_at
        if known and whole.revision >= known.revision:
            differing = _differing(known, whole)
            if differing:
                _log.error("mirror differs from the store", keys=differing[:_KEYS_SAID])
                self.divergences += len(differing)
        return whole


def merged(known: Listing, newer: Listing) -> Listing:
    """Return what is known with what was written since; the same entries if nothing was."""
    if not newer.entries:
        return replace(known, revision=newer.revision)
    entries = list(known.entries)
    for entry in newer.entries:
        at = bisect_left(entries, entry.key, key=_KEY)
        there = at < len(entries) and entries[at].key == entry.key
        entries[at : at + there] = [entry]
    return Listing(revision=newer.revision, entries=tuple(entries), total=len(entries))


def changed_entries(
    before: tuple[KeyValue, ...], now: tuple[KeyValue, ...]
) -> Sequence[KeyValue] | None:
    """Return the entries that are others than before; None if they are of other keys."""
    if len(before) != len(now):
        return None
    pairs = [(was, entry) for was, entry in zip(before, now, strict=True) if was is not entry]
    same = all(was.key == entry.key for was, entry in pairs)
    return [entry for _, entry in pairs] if same else None


def _differing(known: Listing, whole: Listing) -> list[str]:
    """Return the keys that are otherwise than known, and were not written since."""
    before = {entry.key: entry for entry in known.entries}
    return [
        entry.key
        for entry in whole.entries
        if entry.mod_revision <= known.revision and before.get(entry.key) != entry
    ]


class Tail(Mirror):
    """Keeps what was written last under a prefix: at most `kept` entries, oldest first.

    It asks only for what is new, so that it costs the same however much is kept. What is
    deleted in the store stays here until newer entries push it out.
    """

    def __init__(
        self,
        store: Store,
        prefix: str,
        clock: Clock,
        *,
        random: Random,
        resync_seconds: float = 10.0,
        kept: int,
    ) -> None:
        """Know nothing until `run` runs."""
        super().__init__(store, prefix, clock, random=random, resync_seconds=resync_seconds)
        self.complete_after = 0
        """Everything that was written after this revision is in `listing`."""
        self._kept = kept

    async def _look(self, known: Listing | None) -> Listing:
        newer = await self._store.list(self._prefix, known.revision if known else 0)
        if known and newer.revision < known.revision:
            return newer
        written = sorted(newer.entries, key=lambda entry: (entry.mod_revision, entry.key))
        entries = (*(known.entries if known else ()), *written)
        surplus, kept = entries[: -self._kept], entries[-self._kept :]
        before = self.complete_after if known else 0
        self.complete_after = surplus[-1].mod_revision if surplus else before
        return Listing(revision=newer.revision, entries=kept, total=newer.total)
