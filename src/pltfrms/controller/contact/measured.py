"""The store, with a stopwatch, which also tells when heartbeats could not reach it."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pltfrms.controller.counters import Counters
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.store.ports import Condition, Delete, LeaseTime, Listing, Put, Store
from pltfrms.errors import StoreFullError, UnavailableError

_T = TypeVar("_T")

SLOW_SECONDS = 1.0
"""A call as small as a keep-alive that takes longer has met a store without a leader, or us
without a processor: meanwhile machines could not say in time that they live."""
SLOW_LIST_SECONDS = 3.0
"""A list is larger, and nobody's heartbeat waits for it; but what takes so long is not well."""
_FULL = "is full, and takes in no machine that was away"


@dataclass(slots=True)
class Trouble:
    """What all clients of one store together know of its trouble."""

    at: float | None = None
    """When (monotonic) it last failed us, or kept a heartbeat waiting; None: never.
    Commits do not count: one that is refused for its own sake says nothing of others."""
    what: str = ""
    """How it was, one sentence."""


class MeasuredStore:
    """`ports.Store` that counts its calls, their time and their failures."""

    def __init__(
        self, store: Store, clock: Clock, counters: Counters, trouble: Trouble
    ) -> None:
        """Pass everything on to `store`; note in `trouble` when it failed."""
        self._store = store
        self._clock = clock
        self._counters = counters
        self._trouble = trouble

    async def list(self, prefix: str, after: int = 0) -> Listing:
        """Return all entries whose key starts with `prefix`, written after a revision."""
        return await self._vital(self._store.list(prefix, after), SLOW_LIST_SECONDS)

    async def commit(
        self, writes: Sequence[Put | Delete], conditions: Sequence[Condition] = ()
    ) -> int | None:
        """Do all writes if all conditions hold."""
        return await self._timed(self._store.commit(writes, conditions))

    def changes(self, prefix: str, after: int) -> AsyncIterator[int]:
        """Yield revisions at which something changed; not timed, for it has no end."""
        return self._store.changes(prefix, after)

    async def grant(self, ttl_seconds: int) -> int:
        """Make a lease."""
        return await self._vital(self._store.grant(ttl_seconds))

    async def keep_alive(self, lease: int) -> bool:
        """Renew a lease."""
        return await self._vital(self._store.keep_alive(lease))

    async def lease_time(self, lease: int) -> LeaseTime | None:
        """Return how long a lease still has; None if it does not exist any more."""
        return await self._vital(self._store.lease_time(lease))

    async def revoke(self, lease: int) -> None:
        """End a lease."""
        await self._timed(self._store.revoke(lease))

    async def close(self) -> None:
        """Release connections."""
        await self._store.close()

    async def _vital(self, call: Awaitable[_T], slow_seconds: float = SLOW_SECONDS) -> _T:
        """Make a call that contact depends on."""
        began = self._clock.monotonic()
        failed = full = False
        try:
            return await self._timed(call)
        except UnavailableError as error:
            failed, full = True, isinstance(error, StoreFullError)
            raise
        finally:  # also when whoever asked has given up waiting
            now = self._clock.monotonic()
            if failed or now - began > slow_seconds:
                seconds = f"{now - began:.1f} s"
                how = _FULL if full else _how(seconds, failed=failed)
                self._trouble.at = now
                self._trouble.what = f"the store {how}"

    async def _timed(self, call: Awaitable[_T]) -> _T:
        began = self._clock.monotonic()
        try:
            return await call
        except UnavailableError:
            self._counters.store_errors += 1
            raise
        finally:
            self._counters.store_calls += 1
            self._counters.store_seconds += self._clock.monotonic() - began


def _how(seconds: str, *, failed: bool) -> str:
    return f"gave no answer for {seconds}" if failed else f"took {seconds} for an answer"
