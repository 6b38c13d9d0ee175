"""What instances are asked beside their probe, for their rollout, and what came of it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate, zip_longest
from typing import Final

from pltfrms.model.services.service import Probe

_STEPS: Final = 4
"""Buckets in which the time doubles: a p95 is told at most a fifth too high."""
BUCKETS_MAX: Final = 65
"""The last one is of a minute, which no question waits longer for."""
COUNTED_MAX: Final = 1000
"""Answers of an instance that count in full; then all so far count half."""
_HIGH: Final = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """A question to the instances of some versions of a service, asked over and over."""

    id: str
    """Another one for each trial and for each bake."""
    service: str
    versions: tuple[int, ...]
    probe: Probe
    """What is asked, and how long an answer may take."""
    interval_ms: int
    """Time between two questions to one instance."""
    at_once: int
    """Questions to one instance that wait for their answers at the same time."""
    tell_ms: int = 1000
    """So often a machine tells anew what was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What an instance, or some of them, answered to an inquiry."""

    inquiry: str
    failed: int = 0
    """Questions without a good answer."""
    buckets: tuple[int, ...] = ()
    """Good answers by how long they took: until 1 ms, 1.2 ms, 1.4 ms, 1.7 ms, 2 ms ..."""
    failure: str = ""
    """How the last one failed, one sentence; empty: none did."""

    @property
    def answered(self) -> int:
        """Good answers."""
        return sum(self.buckets)

    @property
    def asked(self) -> int:
        """Questions."""
        return self.answered + self.failed

    @property
    def failed_share(self) -> float:
        """Which part of the questions had no good answer; 0 if there were none."""
        return self.failed / self.asked if self.asked else 0.0

    @property
    def p95_ms(self) -> float:
        """Time within which 95 % of the good answers came; 0 if there were none."""
        wanted = _HIGH * self.answered
        sums = enumerate(accumulate(self.buckets[:BUCKETS_MAX]))
        reached = (place for place, many in sums if many >= wanted)
        return 2 ** (next(reached, 0) / _STEPS) if self.answered else 0.0

    def with_answer(self, took_ms: float) -> "Tally":
        """Count a good answer."""
        place = max(0, math.ceil(_STEPS * math.log2(max(took_ms, 1))))
        place = min(place, BUCKETS_MAX - 1)
        buckets = [*self.buckets, *[0] * (place + 1 - len(self.buckets))]
        buckets[place] += 1
        return _bounded(replace(self, buckets=tuple(buckets)))

    def with_failure(self, failure: str) -> "Tally":
        """Count a question without a good answer."""
        return _bounded(replace(self, failed=self.failed + 1, failure=failure))


def _bounded(tally: Tally) -> Tally:
    """Return it, all halved if there is much: what is old shall not hide what is new."""
    if tally.asked <= COUNTED_MAX:
        return tally
    buckets = tuple(many // 2 for many in tally.buckets)
    return replace(tally, failed=tally.failed // 2, buckets=buckets)


def sum_of(inquiry: str, tallies: Iterable[Tally]) -> Tally:
    """Return what several instances answered together."""
    total = Tally(inquiry=inquiry)
    for each in tallies:
        pairs = zip_longest(total.buckets, each.buckets, fillvalue=0)
        total = Tally(
            inquiry=inquiry,
            failed=total.failed + each.failed,
            buckets=tuple(map(sum, pairs)),
            failure=each.failure or total.failure,
        )
    return total
