"""Those who wait for their targets: a commit wakes only those whose target it changes.

To wake all of them, and let each look and wait again, holds up every heartbeat that comes
meanwhile: for a tenth of a second at 1 000 machines, with each commit of a rollout.
"""

import asyncio
from itertools import islice
from typing import Final

from pltfrms.controller.contact.view import View
from pltfrms.drivers.ports import Clock

_AT_ONCE: Final = 8
"""Looked at in one go of the event loop."""
_PAUSE_SECONDS_MAX: Final = 0.25
"""Between two looks at all, which otherwise lasts as long as the last one: while commit follows
commit, no more than half of the time goes by with it."""
_IDLE_SECONDS: Final = 60.0


class Polls:
    """Wakes who waits for a target when there is another one."""

    def __init__(self, view: View, clock: Clock) -> None:
        """Nobody waits."""
        self._view = view
        self._clock = clock
        self._waiting: dict[asyncio.Future[None], tuple[str, str]] = {}
        """Of which machine each is, and what the target is made of that it has."""

    async def wait(self, machine: str, made_of: str, seconds: float) -> None:
        """Return when a machine's target is made of something else, or after some time.

        It is looked at after each commit that comes from now on: who begins to wait knows that
        there is nothing new for him yet. He looks again himself, as he may be woken in vain.
        """
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        timer = loop.call_later(seconds, _wake, woken)
        self._waiting[woken] = (machine, made_of)
        try:
            await woken
        finally:
            timer.cancel()
            del self._waiting[woken]

    async def run(self) -> None:
        """Look after each commit, for ever, at all who wait: at some, then others have a go."""
        seen = 0
        while True:
            await self._view.wait_commit(seen, _IDLE_SECONDS)
            began, seen = self._clock.monotonic(), self._view.commit
            left = iter(tuple(self._waiting.items()))
            while some := tuple(islice(left, _AT_ONCE)):
                for woken, (machine, made_of) in some:
                    if self._may_be_new(machine, made_of):
                        _wake(woken)
                await self._clock.sleep(0)
            took = self._clock.monotonic() - began
            await self._clock.sleep(min(took, _PAUSE_SECONDS_MAX))

    def _may_be_new(self, machine: str, made_of: str) -> bool:
        """Return whether a machine has to look itself, also because we do not know."""
        try:
            self._view.require_readable()
            return self._view.makings().made_of(machine, self._clock.unix_ms()) != made_of
        except Exception:  # noqa: BLE001 - whatever it is, who looks himself is told
            return True


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
