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
    ANSWER_BYTES_MIN,
    ANSWERS_BYTES_AT_ONCE,
    ANSWERS_BYTES_PER_SECOND,
    BYTES_MAX,
    BYTES_OF_ALL_PER_SECOND,
    BYTES_PER_SECOND,
    CHANGES_OF_ALL_PER_SECOND,
    CHANGES_PER_SECOND,
    size_of,
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


@dataclass(slots=True)
class _Answers:
    """What may be answered just now; negative: more was than there is room for."""

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
        self._answers: dict[str, _Answers] = {}
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

    async def ask(self, service: str, path: str, asked: PartQuestion) -> Mapping[str, Any]:
        """Ask the store for a part, as far as there is room for the answer; PartError."""
        question, repeatable = asked.question, not asked.changes
        if not asked.reads:
            return await self._gateway.ask(path, question, repeatable=repeatable)
        self.expect(service, asked.reads)
        size = 0
        try:
            answer = await self._gateway.ask(path, question, repeatable=repeatable)
            size = max(size_of(answer), ANSWER_BYTES_MIN)
        finally:
            self.answered(service, size - asked.reads)
        return answer

    def expect(self, service: str, size: int) -> None:
        """Keep room for a question, or for its answer, of so many bytes; PartError."""
        answers = self._answered_by_now(service)
        if answers.bytes < size:
            raise PartError(EXHAUSTED, "a part says or reads more than there is room")
        answers.bytes -= size

    def answered(self, service: str, more: int) -> float:
        """Note how much more an answer was than expected; it may be less.

        Return after how many seconds there is room for another one.
        """
        answers = self._answered_by_now(service)
        answers.bytes -= more
        return max(0.0, -answers.bytes / ANSWERS_BYTES_PER_SECOND)

    def _answered_by_now(self, service: str) -> _Answers:
        now = self._monotonic()
        answers = self._answers.setdefault(service, _Answers(ANSWERS_BYTES_AT_ONCE, now))
        passed, answers.at = now - answers.at, now
        made_good = answers.bytes + passed * ANSWERS_BYTES_PER_SECOND
        answers.bytes = min(ANSWERS_BYTES_AT_ONCE, made_good)
        return answers

    async def _look(self, service: str) -> Mapping[bytes, int]:
        begin = part_of(service).encode()
        end = begin[:-1] + bytes([begin[-1] + 1])
        question = {"key": _text(begin), "range_end": _text(end)}
        at, asked = self._monotonic(), PartQuestion(question=question, reads=BYTES_MAX)
        known = dict(_sizes(await self.ask(service, "/v3/kv/range", asked)))
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
