"""When an agent that no controller answered asks again. Pure."""

from typing import Final
from zlib import crc32

_SECONDS: Final = (0.25, 0.5, 1.0)
"""After one failure, two, and more. A lease lives for several of them."""
_LEAST, _MOST = 0.75, 1.5
"""Part of the time, at least and at most."""


def retry_seconds(machine: str, failures: int) -> float:
    """Return how long a machine waits after so many failures in a row.

    Each machine and each failure has another part of the time: machines that a busy controller
    sent away together do not come back together.
    """
    share = crc32(f"{machine} {failures}".encode()) / 2**32
    return _SECONDS[min(failures, len(_SECONDS)) - 1] * (_LEAST + share * (_MOST - _LEAST))
