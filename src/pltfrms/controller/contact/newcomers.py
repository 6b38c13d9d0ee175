"""Lets in machines that need a new lease: so many at once, the others when they can be.

A heartbeat of who is in contact renews a lease, together with others. A new one is two writes
of the store and an event. When all machines come at once (a start, or after we were slow) there
is more of that than can be done in the time that agents wait; what is given up is asked again,
and nothing is ever done. So who comes is done quickly, or told at once when to come again, and
those are spread over what has been shown to be possible. Meanwhile nobody is called lost.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pltfrms.controller.contact.view import View
from pltfrms.errors import LaterError

AT_ONCE: Final = 32
"""Newcomers whose leases are being made: enough to keep the store busy."""
AGAIN_SECONDS_MAX: Final = 20.0
"""However many come: what they are told is a guess."""
_GUESS_SECONDS: Final = 0.2
_WEIGHT: Final = 1 / 16
"""Of the last one in how long one takes."""


class Newcomers:
    """Counts those that are being let in, and remembers how long that takes."""

    def __init__(self, view: View) -> None:
        """Say to `view` that machines were sent away."""
        self._view = view
        self._count = 0
        self._seconds = _GUESS_SECONDS
        self._next = 0.0
        """When (monotonic) the last of those who were sent away is to come again."""

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Be let in meanwhile.

        Raises:
            LaterError: others are; it says when to come again.
        """
        began = self._view.now()
        if self._count >= AT_ONCE:
            earliest, latest = began + self._seconds, began + AGAIN_SECONDS_MAX
            self._next = min(max(self._next + self._seconds / AT_ONCE, earliest), latest)
            self._view.sent_away(began + 2 * (self._next - began))
            raise LaterError(
                f"{AT_ONCE} machines are being let in, and others come after them; come again",
                self._next - began,
            )
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
            self._seconds += (self._view.now() - began - self._seconds) * _WEIGHT
