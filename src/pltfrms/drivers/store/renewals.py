"""Renews leases: those that are asked for within a moment, with one request.

Each machine has a lease, which each of its heartbeats renews. A request for each costs etcd and
us more than all else that a heartbeat does; how many leases it has costs next to nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

GATHER_SECONDS: Final = 0.02
"""For how long others are waited for: little beside the interval of heartbeats."""
TOGETHER_MAX: Final = 16
"""Leases of one request. etcd's gateway must have all of it from its first read, of 512 bytes:
once it has begun to answer, it reads no more."""


class Renewals:
    """Gathers renewals."""

    def __init__(self, renew: Callable[[Sequence[int]], Awaitable[Sequence[bool]]]) -> None:
        """Take what renews several leases, and says of each whether it still exists."""
        self._renew = renew
        self._gathered: dict[int, asyncio.Future[bool]] = {}
        self._asking: set[asyncio.Task[None]] = set()

    async def renew(self, lease: int) -> bool:
        """Renew a lease; False if it does not exist any more, else what the request raises."""
        renewed = self._gathered.get(lease)
        if renewed is None:
            loop = asyncio.get_running_loop()
            renewed = self._gathered[lease] = loop.create_future()
            if len(self._gathered) == 1:
                task = loop.create_task(self._ask_soon())
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)
        return await asyncio.shield(renewed)  # who gives up does not give up for others

    async def close(self) -> None:
        """Give up what is being asked."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _ask_soon(self) -> None:
        gathered = self._gathered
        try:
            await asyncio.sleep(GATHER_SECONDS)
            self._gathered = {}
            leases = tuple(gathered)
            async with asyncio.TaskGroup() as group:
                for at in range(0, len(leases), TOGETHER_MAX):
                    group.create_task(self._ask(leases[at : at + TOGETHER_MAX], gathered))
        finally:
            for renewed in gathered.values():
                renewed.cancel()  # where we were told to close before an answer came

    async def _ask(self, leases: Sequence[int], whose: dict[int, asyncio.Future[bool]]) -> None:
        try:
            answers = await self._renew(leases)
        except Exception as error:  # noqa: BLE001 - of who waits for it, whatever it is
            for lease in leases:
                whose[lease].set_exception(error)
                whose[lease].exception()  # nobody may be waiting any more
        else:
            for lease, exists in zip(leases, answers, strict=True):
                whose[lease].set_result(exists)
