"""A vantage point: asks services as their clients do, and tells controllers what came of it.

Agents of edges are some, and `pltfrms vantage run` is one anywhere else. It goes on asking what
it was last told to ask, whoever is away.
"""

import asyncio
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from pltfrms.drivers.ports import Clock
from pltfrms.drivers.workload.ports import Asker
from pltfrms.errors import PltfrmsError, UnavailableError
from pltfrms.model.addresses import Address
from pltfrms.model.network.vantage import INTERVAL_MS
from pltfrms.model.running.texts import shortened
from pltfrms.model.running.vantage import (
    Questions,
    VantageQuestion,
    VantageReply,
    VantageReport,
    VantageTally,
)
from pltfrms.planner.vantage.tallying import REPORT_ROUNDS, AskedResult, AskOutcome, Counted

_SENTENCE_MAX: Final = 160
_log = structlog.get_logger()


class VantagePoint:
    """Asks by rounds, each question once, spread over the time of a round."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        asker: Asker,
        tell: Callable[[VantageReport], Awaitable[VantageReply]],
        takes_part: Callable[[], bool] = lambda: True,
    ) -> None:
        """Know no questions; `tell` tells controllers, and raises why they do not hear it."""
        self._name = name
        self._clock = clock
        self._asker = asker
        self._tell = tell
        self._takes_part = takes_part
        self.began_ms = clock.unix_ms()
        self._questions = Questions(made_of="", interval_ms=INTERVAL_MS)
        self._counts: dict[tuple[str, Address, int], Counted] = {}
        self._silent_rounds = REPORT_ROUNDS
        self.results = Counter[AskedResult]()
        """How questions went since it began, whatever is asked now."""
        self.unheard = ""
        """Why the last report was not heard; empty: it was."""

    @property
    def tallies(self) -> tuple[VantageTally, ...]:
        """What came of each question so far."""
        return tuple(each.tally for each in self._counts.values())

    async def run(self) -> None:
        """Ask and report for ever."""
        while True:
            await self.round()

    async def round(self) -> None:
        """Report if it is time, and ask each question once; takes one interval."""
        if not self._takes_part():
            self._follow(Questions(made_of="", interval_ms=INTERVAL_MS))
            self._silent_rounds = REPORT_ROUNDS
            await self._clock.sleep(INTERVAL_MS / 1000)
            return
        if self._silent_rounds >= REPORT_ROUNDS:
            await self.report()
        wanted = self._questions
        asking = [
            asyncio.ensure_future(self._ask(question, after_ms / 1000))
            for question, after_ms in _spread(wanted, self._name).items()
        ]
        try:
            await self._clock.sleep(wanted.interval_ms / 1000)
            turned = await asyncio.gather(*asking)
        finally:
            for each in asking:
                each.cancel()
        self._silent_rounds += REPORT_ROUNDS if any(turned) else 1

    async def report(self) -> None:
        """Tell controllers, and hear what to ask."""
        report = VantageReport(
            vantage=self._name,
            began_ms=self.began_ms,
            made_of=self._questions.made_of,
            tallies=self.tallies,
        )
        try:
            reply = await self._tell(report)
        except (PltfrmsError, OSError) as error:
            if not self.unheard:
                _log.info("no controller hears what this vantage point says", why=str(error))
            self.unheard = str(error)
            self._silent_rounds = 0 if self._questions.made_of else REPORT_ROUNDS
            return
        self.unheard, self._silent_rounds = "", 0
        if reply.questions and reply.questions.made_of != self._questions.made_of:
            self._follow(reply.questions)

    def _follow(self, questions: Questions) -> None:
        """Ask these from now on; what was asked before goes on counting."""
        self._questions = questions
        before = self._counts
        self._counts = {
            _key(each): before.get(_key(each)) or Counted.of(each)
            for each in questions.questions
        }

    async def _ask(self, question: VantageQuestion, after_seconds: float) -> bool:
        """Ask once, after a while; return whether that is worth telling at once."""
        await self._clock.sleep(after_seconds)
        began = self._clock.monotonic()
        try:
            answer = await self._asker.ask(question.address, question.probe)
        except UnavailableError as error:
            outcome = AskOutcome(unable=shortened(str(error), _SENTENCE_MAX))
        else:
            took_us = round((self._clock.monotonic() - began) * 1e6)
            failure = shortened(answer.failure, _SENTENCE_MAX)
            outcome = AskOutcome(took_us=took_us, failure=failure, by=answer.by)
        self.results[outcome.result] += 1
        counted = self._counts.get(_key(question))
        return counted.note(outcome) if counted else False


def _key(question: VantageQuestion) -> tuple[str, Address, int]:
    return question.service, question.address, question.probe.port


def _spread(wanted: Questions, name: str) -> Mapping[VantageQuestion, float]:
    """Return after how many milliseconds of a round each question is asked.

    Vantage points begin at different ones: otherwise a service would be asked by all at once.
    """
    asked = wanted.questions
    first = zlib.crc32(name.encode()) % len(asked) if asked else 0
    step = wanted.interval_ms / max(1, len(asked))
    return {each: step * ((place + first) % len(asked)) for place, each in enumerate(asked)}
