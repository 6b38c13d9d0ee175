"""How busy instances are: an average that is told anew only when it has changed enough."""

from collections import deque
from collections.abc import Mapping
from typing import Final

LOOKS: Final = 4
"""The average is over the time from the first of so many looks to the last. When that time is
over, all instances are told of anew, at once."""
STEP: Final = 5
NEAR: Final = 10
"""A change of fewer percent is told nobody: each is a write of all that a machine says."""
_Sample = tuple[float, float]
"""When (monotonic seconds), and how many processor seconds were used until then."""


class Usage:
    """The cpu that instances use, in percent of what they are promised."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._samples: dict[str, deque[_Sample]] = {}
        self._looks = 0
        self.percents: Mapping[str, int] = {}
        """By allocation; one is missing until it was seen often enough."""

    def see(self, now: float, used: Mapping[str, tuple[float, float]]) -> None:
        """Take what was used until now: processor seconds, and the cores that are promised."""
        self._samples = {
            name: _grown(self._samples.get(name), (now, seconds))
            for name, (seconds, _) in used.items()
        }
        self._looks = (self._looks + 1) % (LOOKS - 1)
        known = {} if self._looks == 0 else self.percents
        self.percents = {
            name: known[name]
            if name in known
            else steady_percent(self.percents.get(name), _percent(samples, used[name][1]))
            for name, samples in self._samples.items()
            if len(samples) == LOOKS
        }


def _grown(samples: deque[_Sample] | None, new: _Sample) -> deque[_Sample]:
    """Return the samples with another; alone if less was used than before: it began anew."""
    if samples and new[1] >= samples[-1][1]:
        samples.append(new)
        return samples
    return deque([new], maxlen=LOOKS)


def _percent(samples: deque[_Sample], cores: float) -> float:
    (begin, first), (end, last) = samples[0], samples[-1]
    return 100 * (last - first) / max(end - begin, 0.001) / cores


def steady_percent(before: int | None, percent: float) -> int:
    """Return a percentage to tell: rounded, or `before` again if it is near."""
    if before is not None and abs(percent - before) < NEAR:
        return before
    return STEP * round(percent / STEP)
