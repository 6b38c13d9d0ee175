"""The real clock, and waiting for an event by any clock."""

import asyncio
import time

from pltfrms.drivers.ports import Clock


class SystemClock:
    """`ports.Clock` of a running machine."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def unix_ms(self) -> int:
        """Return the wall clock in milliseconds."""
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


async def wait_event(event: asyncio.Event, clock: Clock, seconds: float) -> bool:
    """Wait until `event` is set, at most `seconds` of `clock`; return whether it is set."""
    if event.is_set():
        return True
    sleeping = asyncio.ensure_future(clock.sleep(seconds))
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({sleeping, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeping.cancel()
        waiting.cancel()
        await asyncio.gather(sleeping, waiting, return_exceptions=True)
    return event.is_set()
