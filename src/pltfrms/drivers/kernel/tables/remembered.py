"""Answers of the kernel that cannot have changed, because it told of no change since."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from pltfrms.drivers.kernel.tables.hints import ROUTING_GROUPS, Hints

_T = TypeVar("_T")
_LONGEST_SECONDS: Final = 60.0
"""The kernel tells of all changes that we know of; of one that we do not, we hear then. To look
at everything takes 25 ms with 20 instances."""
_BUFFER_BYTES: Final = 4096
"""One message says enough; that others were lost says the same."""


class Remembered:
    """What was asked about addresses, routes and rules of this network namespace.

    An agent looks at the same few tables all day long, and a look takes milliseconds.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._hints = Hints(ROUTING_GROUPS, buffer_bytes=_BUFFER_BYTES)
        self._answers: dict[object, Any] = {}
        self._since = 0.0
        self._changes = 0

    async def answer(self, question: object, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Return what `ask` answered last time, or ask it now."""
        self._forget_if_changed()
        if question in self._answers:
            known: _T = self._answers[question]
            return known
        before = self._changes
        answer = await ask()
        if before == self._changes:  # else somebody has heard of a change meanwhile
            self._answers[question] = answer
        return answer

    async def unless_settled(
        self,
        question: object,
        wanted: object,
        make: Callable[[], Awaitable[_T]],
        settled: Callable[[_T], bool],
    ) -> _T:
        """Return what came of it when the same was wanted last, or see to it now.

        That is asked for only if what came of it was `settled`: there was nothing to be done.
        """

        async def once() -> tuple[object, _T]:
            return wanted, await make()

        for_what, came = await self.answer(question, once)
        if for_what != wanted:
            self._answers.pop(question, None)
            _, came = await self.answer(question, once)
        if not settled(came):
            self._answers.pop(question, None)
        return came

    def close(self) -> None:
        """Close the socket."""
        self._hints.close()

    def _forget_if_changed(self) -> None:
        now = time.monotonic()
        if self._hints.heard() or now - self._since > _LONGEST_SECONDS:
            self._answers.clear()
            self._since = now
            self._changes += 1
