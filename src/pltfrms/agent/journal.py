"""What happened on this machine, kept until a controller has heard of it."""

from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from pltfrms.drivers.ports import Clock
from pltfrms.model.messages.api import Event
from pltfrms.model.running.texts import with_short_texts

MAX_EVENTS: Final = 1000
"""While no controller answers, the oldest events beyond this are forgotten."""
_log = structlog.get_logger()


class Journal:
    """`ports.EventSink` of an agent, in memory and bounded."""

    def __init__(self, source: str, clock: Clock, poke: Callable[[], None]) -> None:
        """Call `poke` (which must not block) after each event."""
        self._source = source
        self._clock = clock
        self._poke = poke
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)

    def say(self, about: str, what: str, detail: str = "", reason: str = "") -> None:
        """Make an event of this moment, keep it and log it."""
        _log.info(what, about=about, reason=reason, detail=detail)
        self.emit(
            Event(
                at_ms=self._clock.unix_ms(),
                source=self._source,
                about=about,
                what=what,
                reason=reason,
                detail=detail,
            )
        )

    def emit(self, event: Event) -> None:
        """See `ports.EventSink`."""
        self._events.append(with_short_texts(event))
        self._poke()

    def oldest(self, limit: int) -> tuple[Event, ...]:
        """Return the oldest events that are not confirmed yet."""
        return tuple(self._events)[:limit]

    def __len__(self) -> int:
        """Return how many events are not confirmed yet."""
        return len(self._events)

    def confirm(self, sent: tuple[Event, ...]) -> None:
        """Forget events that a controller has taken; `sent` came from `oldest`."""
        taken = {id(event) for event in sent}
        while self._events and id(self._events[0]) in taken:
            self._events.popleft()
