"""How what an operator wants gets between the commits of a large plan.

Who commits must have read the last commit before. A plan of many batches commits again sooner
than anybody can read and judge, so that an operator would lose for as long as it lasts. Who has
lost once says so by a key with a lease; while it is there, plans wait.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import TypeVar

from pltfrms.controller.records.state import WAITING_KEY
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.store.ports import Condition, Put, Store
from pltfrms.errors import ConflictError, UnavailableError

INSIST_SECONDS = 4.0
"""How long an operator's change is tried again: less than a client waits for one controller."""
GIVE_WAY_SECONDS = 10.0
"""How long plans wait for operators at most: a lost replica must not wait for ever."""
_LEASE_SECONDS = 5
_PAUSE_SECONDS = 0.2

_T = TypeVar("_T")


def nobody_waits() -> Condition:
    """Return the condition that no operator waits for plans to pause."""
    return Condition(key=WAITING_KEY, mod_revision=0)


class Insisting:
    """Repeats what lost against another commit until it wins."""

    def __init__(self, store: Store, clock: Clock, random: Random) -> None:
        """Wait for nobody yet."""
        self._store = store
        self._clock = clock
        self._random = random

    async def until_done(self, attempt: Callable[[], Awaitable[_T | None]]) -> _T:
        """Return what the first attempt returns that is not None.

        Raises:
            ConflictError: others were faster all the time.
        """
        deadline = self._clock.monotonic() + INSIST_SECONDS
        lease = 0
        try:
            while (done := await attempt()) is None:
                if self._clock.monotonic() >= deadline:
                    raise ConflictError(
                        f"others were faster for {INSIST_SECONDS:.0f} s; try again"
                    )
                lease = lease or await self.say_so()
                await self._clock.sleep(self._random.uniform(0, _PAUSE_SECONDS))
            return done
        finally:
            if lease:
                with suppress(UnavailableError):
                    await self._store.revoke(lease)

    async def say_so(self) -> int:
        """Have plans pause until the lease that is returned ends, which is soon."""
        lease = await self._store.grant(_LEASE_SECONDS)
        await self._store.commit([Put(key=WAITING_KEY, value=b"", lease=lease)])
        return lease
