"""Which events somebody wants to see, and those that repeat as one. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pltfrms.model.messages.api import Event

_PARTS = re.compile(r"[/.@]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """What of the events somebody wants; what is empty fits all."""

    about: str = ""
    """Name, or pattern with `*`, of a service, machine, instance or prefix; or who says it."""
    what: str = ""
    """A part of what happened, in lower case."""
    since_ms: int = 0
    """Unix time of the sender, which may be wrong."""

    def fits(self, event: Event) -> bool:
        """Return whether an event is wanted."""
        return (
            event.at_ms >= self.since_ms
            and self.what in f"{event.what} {event.reason} {event.detail}".lower()
            and (not self.about or self._names(event))
        )

    def _names(self, event: Event) -> bool:
        names = {each for said in (event.about, event.source) for each in _names_in(said)}
        return any(fnmatchcase(name, self.about) for name in names)


def _names_in(said: str) -> set[str]:
    """Return what `said` may be called: all of it, without its kind, and each part of it."""
    return {said, said.partition("/")[2] or said, *_PARTS.split(said)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """The newest of some events that say the same of the same."""

    event: Event
    times: int


def repeated(events: Iterable[Event]) -> Sequence[Repeated]:
    """Return those that say the same once, with how often; in the order of the newest."""
    found: dict[tuple[str, str, str], Repeated] = {}
    for event in events:
        key = (event.about, event.what, event.reason)
        before = found.pop(key, None)
        found[key] = Repeated(event=event, times=before.times + 1 if before else 1)
    return tuple(found.values())
