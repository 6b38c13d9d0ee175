"""How busy instances are: an average that is told anew only when it has changed enough.

And how busy they were at most, in the last hours.
"""

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Final

LOOKS: Final = 4
"""The average is over the time from the first of so many looks to the last. When that time is
over, all instances are told of anew, at once."""
STEP: Final = 5
NEAR: Final = 10
"""A change of fewer percent is told nobody: each is a write of all that a machine says."""
HOURS: Final = 24
"""So many are looked back upon."""
_HOUR_SECONDS: Final = 3600
_ABOVE: Final = 1.1
_BELOW: Final = 1.3
"""A peak that is told is at least as much as was seen, and at most so much more."""
_ALL: Final = 100
_ALL_SEEN: Final = 105
"""Percent. Who is held to all that it is promised may be seen to use a little more."""
_Sample = tuple[float, float]
"""When (monotonic seconds), and how much was used until then."""


class Usage:
    """What instances use in a second, such as of the cpu or of connections that they accept."""

    def __init__(self, steady: Callable[[int | None, float], int]) -> None:
        """Know nothing yet; `steady` says what to tell, after what was told before."""
        self._steady = steady
        self._samples: dict[str, deque[_Sample]] = {}
        self._looks = 0
        self.rates: Mapping[str, float] = {}
        """The averages, by allocation; one is missing until it was seen often enough."""
        self.told: Mapping[str, int] = {}
        """Of each of them what is told."""

    def see(self, now: float, used: Mapping[str, tuple[float, float]]) -> None:
        """Take what was used until now, and how much of it in a second is told as one."""
        self._samples = {
            name: _grown(self._samples.get(name), (now, amount))
            for name, (amount, _) in used.items()
        }
        self._looks = (self._looks + 1) % (LOOKS - 1)
        known = {} if self._looks == 0 else self.told
        self.rates = {
            name: _rate(samples) / used[name][1]
            for name, samples in self._samples.items()
            if len(samples) == LOOKS
        }
        self.told = {
            name: known[name] if name in known else self._steady(self.told.get(name), rate)
            for name, rate in self.rates.items()
        }


class Peaks:
    """The most that instances did in a second, in each of the last hours."""

    def __init__(self, steady: Callable[[int | None, float], int]) -> None:
        """Know nothing yet; `steady` says what to tell, after what was told before."""
        self._steady = steady
        self._hours: dict[str, deque[tuple[int, float]]] = {}
        """By allocation: the hour, and the most in it; the newest last."""
        self.told: Mapping[str, int] = {}
        """By allocation; one is missing until something is known of it."""

    def see(self, now: float, rates: Mapping[str, float], alive: Collection[str]) -> None:
        """Take what instances do now (monotonic seconds); forget all that are not `alive`."""
        hour = int(now // _HOUR_SECONDS)
        for name, rate in rates.items():
            hours = self._hours.setdefault(name, deque())
            if hours and hours[-1][0] == hour:
                rate = max(rate, hours.pop()[1])  # noqa: PLW2901 - of the hour until now
            hours.append((hour, rate))
        for hours in self._hours.values():
            while hours and hours[0][0] <= hour - HOURS:
                hours.popleft()
        self._hours = {n: each for n, each in self._hours.items() if each and n in alive}
        self.told = {
            name: self._steady(self.told.get(name), max(most for _, most in hours))
            for name, hours in self._hours.items()
        }

    def hours(self, name: str) -> int:
        """Return in how many of the last hours an instance was seen."""
        return len(self._hours.get(name, ()))


def _grown(samples: deque[_Sample] | None, new: _Sample) -> deque[_Sample]:
    """Return the samples with another; alone if less was used than before: it began anew."""
    if samples and new[1] >= samples[-1][1]:
        samples.append(new)
        return samples
    return deque([new], maxlen=LOOKS)


def _rate(samples: deque[_Sample]) -> float:
    (begin, first), (end, last) = samples[0], samples[-1]
    return (last - first) / max(end - begin, 0.001)


def steady_percent(before: int | None, percent: float) -> int:
    """Return a percentage to tell: rounded, or `before` again if it is near."""
    if before is not None and abs(percent - before) < NEAR:
        return before
    return STEP * round(percent / STEP)


def steady_number(before: int | None, number: float) -> int:
    """Return a number to tell: two digits of it, or `before` again if it is near."""
    if before is not None and abs(number - before) < max(1, before * NEAR / 100):
        return before
    step = 10 ** max(0, len(str(int(number))) - 2)
    return int(step * round(number / step))


def steady_peak(before: int | None, peak: float) -> int:
    """Return a peak to tell: never too low, or `before` again if it still is about that."""
    if before is not None and peak <= before <= peak * _BELOW + 1:
        return before
    most = math.ceil(peak * _ABOVE)
    step = 10 ** max(0, len(str(most)) - 2)
    return int(step * math.ceil(most / step))


def steady_peak_percent(before: int | None, peak: float) -> int:
    """Return the same of what is promised: who used all of it, and no more, used just that.

    Told a tenth too high it would look as if what runs now could not do it.
    """
    told = steady_peak(before, peak)
    return min(told, _ALL) if peak <= _ALL_SEEN else told
