"""When an agent that no controller answered asks again. Pure."""

from typing import Final
from zlib import crc32

from pltfrms.errors import LaterError

_SECONDS: Final = (0.25, 0.5, 1.0)
"""After one failure, two, and more. A lease lives for several of them."""
_LEAST, _MOST = 0.75, 1.5
"""Part of the time, at least and at most."""
LATER_SHARE_MAX: Final = 0.2
"""By how much longer than it was told a machine waits at most."""


def retry_seconds(machine: str, failures: int) -> float:
    """Return how long a machine waits after so many failures in a row.

    Each machine and each failure has another part of the time: machines that a busy controller
    sent away together do not come back together.
    """
    part = _LEAST + _share(machine, failures) * (_MOST - _LEAST)
    return _SECONDS[min(failures, len(_SECONDS)) - 1] * part


def again_seconds(machine: str, failures: int, error: Exception) -> float:
    """Return how long a machine waits that was refused by this error: never less than told."""
    usual = retry_seconds(machine, failures)
    if not isinstance(error, LaterError):
        return usual
    return max(usual, error.retry_seconds * (1 + LATER_SHARE_MAX * _share(machine, failures)))


def _share(machine: str, failures: int) -> float:
    return crc32(f"{machine} {failures}".encode()) / 2**32
