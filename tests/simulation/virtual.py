"""Virtual time: unmodified asyncio code that never waits for the real clock.

The loop's selector does not sleep: it moves the loop's time to the moment of the next timer.
Everything inside must wait by timers of the loop only, never for sockets or threads.
"""

import asyncio
import selectors
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

_T = TypeVar("_T")

EPOCH_MS = 1_767_225_600_000
"""Unix time at which every simulation begins: 2026-01-01."""
_RESOLUTION_SECONDS = 1e-6
"""Timers closer than this fire together; absorbs rounding of large times."""


class StuckError(Exception):
    """Every task waits for something that can never happen."""


class _JumpingSelector(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StuckError("no timer is set and no task can run")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps from timer to timer."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = _RESOLUTION_SECONDS

    def time(self) -> float:
        return self._jumping.now

    def stall(self, seconds: float) -> None:
        """Let time pass in which no task runs, as without a processor."""
        self._jumping.now += seconds


class VirtualClock:
    """`ports.Clock` of the running VirtualLoop; `skew_ms` is how wrong its wall clock is."""

    def __init__(self, skew_ms: int = 0) -> None:
        self.skew_ms = skew_ms

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def unix_ms(self) -> int:
        return EPOCH_MS + self.skew_ms + int(self.monotonic() * 1000)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run_virtual(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run until done in virtual time from 0 s; tasks left over are cancelled.

    Raises:
        StuckError: the coroutine waits for something that can never happen.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


async def run_beside(main: Coroutine[Any, Any, _T], *others: Coroutine[Any, Any, Any]) -> _T:
    """Run `main` while `others` run in the background; cancel them when it is done."""
    tasks: Sequence[asyncio.Task[Any]] = [asyncio.create_task(other) for other in others]
    try:
        return await main
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
