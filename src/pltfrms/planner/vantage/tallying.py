"""How a vantage point counts what came of its questions. Pure."""

from bisect import bisect_left
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import takewhile
from math import ceil
from typing import Final

from pltfrms.model.running.vantage import (
    ANSWERERS_MAX,
    BOUNDS_MS,
    WINDOW,
    Recent,
    VantageQuestion,
    VantageTally,
)

REPORT_ROUNDS: Final = 3
"""After so many rounds a vantage point reports; at once when something turns."""


class AskedResult(StrEnum):
    """Whether a question was answered."""

    ANSWERED = "answered"
    FAILED = "failed"
    UNABLE = "unable"
    """It could not be asked from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOutcome:
    """What came of one question."""

    took_us: int = 0
    failure: str = ""
    """Why it was not answered as a client needs it; empty: it was."""
    by: str = ""
    """Which instance answered; empty: it does not say."""
    unable: str = ""
    """Why it could not be asked at all, which says nothing of the service."""

    @property
    def result(self) -> AskedResult:
        """In one word."""
        if self.unable:
            return AskedResult.UNABLE
        return AskedResult.FAILED if self.failure else AskedResult.ANSWERED


@dataclass(slots=True)
class Counted:
    """What came of one question since we began, and its last answers."""

    tally: VantageTally
    _window: deque[AskOutcome] = field(default_factory=lambda: deque(maxlen=WINDOW))

    @classmethod
    def of(cls, question: VantageQuestion) -> "Counted":
        """Return counts of a question that was not asked yet."""
        probe = question.probe
        return cls(
            VantageTally(
                service=question.service,
                address=question.address,
                port=probe.port,
                kind=probe.kind.value,
            )
        )

    def note(self, outcome: AskOutcome) -> bool:
        """Count one more; return whether that turns what a verdict may say of it."""
        before = self.tally
        if outcome.unable:
            self._window.clear()  # what was before is no evidence of now
            self.tally = replace(before, recent=Recent(unable=outcome.unable))
        else:
            self._window.append(outcome)
            self.tally = replace(_added(before, outcome), recent=recent_of(self._window))
        return _word(before.recent) != _word(self.tally.recent)


def recent_of(window: deque[AskOutcome]) -> Recent:
    """Return what the last outcomes say together."""
    took = sorted(each.took_us for each in window if not each.failure)
    failures = [each.failure for each in window if each.failure]
    by = Counter(each.by for each in window if each.by)
    return Recent(
        asked=len(window),
        failed=len(failures),
        in_a_row=_last_in_a_row(window, failed=True),
        answered_in_a_row=_last_in_a_row(window, failed=False),
        p50_us=_quantile(took, 0.5),
        p99_us=_quantile(took, 0.99),
        by=dict(by.most_common(ANSWERERS_MAX)),
        failure=failures[-1] if failures else "",
    )


def _last_in_a_row(window: deque[AskOutcome], *, failed: bool) -> int:
    return sum(1 for _ in takewhile(lambda it: bool(it.failure) is failed, reversed(window)))


def _added(tally: VantageTally, outcome: AskOutcome) -> VantageTally:
    if outcome.failure:
        return replace(tally, asked=tally.asked + 1, failed=tally.failed + 1)
    counts = list(tally.latencies)
    counts[bisect_left(BOUNDS_MS, outcome.took_us / 1000)] += 1
    return replace(
        tally,
        asked=tally.asked + 1,
        latencies=tuple(counts),
        seconds=tally.seconds + outcome.took_us / 1e6,
    )


def _quantile(ordered: list[int], part: float) -> int:
    """Return the nearest rank; 0 of nothing."""
    return ordered[ceil(part * len(ordered)) - 1] if ordered else 0


def _word(recent: Recent) -> tuple[bool, bool, bool]:
    """Return what decides whether controllers are to hear of it at once."""
    return bool(recent.unable), recent.in_a_row > 1, recent.in_a_row == 0
