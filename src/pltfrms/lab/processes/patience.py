"""How long to wait for a process: longer where many others want the processors too."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

MOST: Final = 12.0
"""The longest wait is so many times the usual one, whatever the load: every wait ends."""
_LOAD_FILE: Final = Path("/proc/loadavg")


def stretch(load: float, processors: int) -> float:
    """Return how many times longer than on a quiet machine to wait: 1..MOST."""
    return min(max(load / processors, 1.0), MOST)


def load_now() -> float:
    """Return how many processes want a processor: now, or over the last minute if more did."""
    with suppress(OSError, ValueError, IndexError):
        minute, _, _, tasks, *_ = _LOAD_FILE.read_text().split()
        return max(float(minute), float(tasks.partition("/")[0]))
    return 0.0


class Patience:
    """A deadline that moves away as the load grows, and does not come back."""

    def __init__(self, seconds: float, load: Callable[[], float] = load_now) -> None:
        """Wait `seconds` on a quiet machine, at most MOST times as long."""
        self.seconds = seconds
        self.load = load()
        """The highest seen."""
        self._load = load
        self._began = time.monotonic()

    def left(self) -> float:
        """Return the seconds that are left; 0 when it is over."""
        self.load = max(self.load, self._load())
        seconds = self.seconds * stretch(self.load, os.cpu_count() or 1)
        return max(0.0, self._began + seconds - time.monotonic())

    @property
    def sentence(self) -> str:
        """How long was waited, and what the machine did meanwhile."""
        waited = time.monotonic() - self._began
        return f"within {waited:.0f} s at a load of {self.load:.0f}"
