"""How much services write to their parts of the store, as one controller sees it."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pltfrms.drivers.store.ports import Gateway
from pltfrms.model.services.parts import part_of
from pltfrms.planner.parts.questions import PartQuestion
from pltfrms.planner.parts.refusals import EXHAUSTED, PartError
from pltfrms.planner.parts.room import (
    BYTES_MAX,
    BYTES_OF_ALL_PER_SECOND,
    BYTES_PER_SECOND,
    CHANGES_OF_ALL_PER_SECOND,
    CHANGES_PER_SECOND,
    why_no_room,
    with_puts,
)

_KNOWN_SECONDS: Final = 2.0
"""So long what a part has is believed, beside what we write there ourselves."""
_ALL: Final = ""


@dataclass(slots=True)
class _Pace:
    """What may be taken at once just now."""

    changes: float
    bytes: float
    at: float


class PartRoom:
    """Counts what parts take."""

    def __init__(
        self, gateway: Gateway, monotonic: Callable[[], float], gates: Callable[[], int]
    ) -> None:
        """Share what there is with the other gates; `gates` tells how many there are."""
        self._gateway = gateway
        self._monotonic = monotonic
        self._gates = gates
        self._paces: dict[str, _Pace] = {}
        self._known: dict[str, tuple[float, Mapping[bytes, int]]] = {}

    async def take(self, service: str, asked: PartQuestion) -> None:
        """Take what a question would write.

        Raises:
            PartError: there is not so much.
            UnavailableError: the store does not say what the part has.
        """
        size = sum(each for _, each in asked.puts)
        self._pay(service, size, CHANGES_PER_SECOND, BYTES_PER_SECOND)
        self._pay(_ALL, size, CHANGES_OF_ALL_PER_SECOND, BYTES_OF_ALL_PER_SECOND)
        if not asked.puts:
            return
        at, known = self._known.get(service, (-_KNOWN_SECONDS, {}))
        fresh = self._monotonic() - at < _KNOWN_SECONDS
        if not fresh or why_no_room(known, asked.puts):
            known = await self._look(service)
        if why := why_no_room(known, asked.puts):
            raise PartError(EXHAUSTED, why)

    def wrote(self, service: str, puts: Sequence[tuple[bytes, int]]) -> None:
        """Note what may have been written."""
        if service in self._known:
            at, known = self._known[service]
            self._known[service] = at, with_puts(known, puts)

    async def _look(self, service: str) -> Mapping[bytes, int]:
        begin = part_of(service).encode()
        end = begin[:-1] + bytes([begin[-1] + 1])
        question = {"key": _text(begin), "range_end": _text(end)}
        at = self._monotonic()
        answer = await self._gateway.ask("/v3/kv/range", question, repeatable=True)
        known = dict(_sizes(answer))
        self._known[service] = at, known
        return known

    def _pay(self, name: str, size: int, changes: int, size_rate: int) -> None:
        """Take from what comes anew all the time; at once there may be a second of it."""
        now, gates = self._monotonic(), max(1, self._gates())
        rate, bytes_rate = changes / gates, size_rate / gates
        most = max(BYTES_MAX, bytes_rate)
        pace = self._paces.setdefault(name, _Pace(rate, most, now))
        passed, pace.at = now - pace.at, now
        pace.changes = min(rate, pace.changes + passed * rate)
        pace.bytes = min(most, pace.bytes + passed * bytes_rate)
        if pace.changes < 1 or pace.bytes < size:
            whose = "all parts" if name == _ALL else "a part"
            raise PartError(
                EXHAUSTED, f"{whose} change more often, or more, than there is room"
            )
        pace.changes -= 1
        pace.bytes -= size


def _sizes(answer: Mapping[str, Any]) -> list[tuple[bytes, int]]:
    found = []
    for each in answer.get("kvs", ()):
        key = base64.b64decode(each["key"])
        found.append((key, len(key) + len(base64.b64decode(each.get("value", "")))))
    return found


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
