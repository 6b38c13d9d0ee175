"""The verdict on redundancy, for all who ask."""

import asyncio
from functools import partial

from pltfrms.controller.asked.operations import Operations
from pltfrms.drivers.aside import SMALL
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.running.redundancy import Redundancy
from pltfrms.planner.redundancy.verdict import redundancy

_FRESH_SECONDS = 1.0


class Verdicts:
    """Works it out; where that takes long, beside the event loop and once a second at most."""

    def __init__(self, operations: Operations) -> None:
        """Nobody has asked yet."""
        self._operations = operations
        self._turn = asyncio.Lock()
        self._last: tuple[float, Redundancy] | None = None

    async def now(self) -> Redundancy | None:
        """Return the verdict on what is; None: not known."""
        try:
            return await self.of(self._operations.snapshot())
        except UnavailableError:
            return None

    async def of(self, view: SnapshotView) -> Redundancy | None:
        """Return the verdict on what a view knows; None: it could not be worked out."""
        snapshot, clock = view.last_known, self._operations.controller.clock
        size = len(snapshot.allocations) + len(snapshot.statuses)
        work = partial(redundancy, snapshot, clock.unix_ms())
        if size <= SMALL:
            return work()
        async with self._turn:
            if self._last and clock.monotonic() - self._last[0] < _FRESH_SECONDS:
                return self._last[1]
            try:
                found = await self._operations.controller.aside.run(size, work)
            except UnavailableError:
                return None
            self._last = (clock.monotonic(), found)
            return found
