"""The store, with a stopwatch."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TypeVar

from pltfrms.controller.counters import Counters
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.store.ports import Condition, Delete, Listing, Put, Store
from pltfrms.errors import UnavailableError

_T = TypeVar("_T")


class MeasuredStore:
    """`ports.Store` that counts its calls, their time and their failures."""

    def __init__(self, store: Store, clock: Clock, counters: Counters) -> None:
        """Pass everything on to `store`."""
        self._store = store
        self._clock = clock
        self._counters = counters

    async def list(self, prefix: str, after: int = 0) -> Listing:
        """Return all entries whose key starts with `prefix`, written after a revision."""
        return await self._timed(self._store.list(prefix, after))

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
        return await self._timed(self._store.grant(ttl_seconds))

    async def keep_alive(self, lease: int) -> bool:
        """Renew a lease."""
        return await self._timed(self._store.keep_alive(lease))

    async def revoke(self, lease: int) -> None:
        """End a lease."""
        await self._timed(self._store.revoke(lease))

    async def close(self) -> None:
        """Release connections."""
        await self._store.close()

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
