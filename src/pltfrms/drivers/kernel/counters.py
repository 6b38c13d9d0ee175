"""What the kernel has counted on the network devices of this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FILE: Final = Path("/proc/self/net/dev")
"""Of our own network namespace, unlike /sys/class/net, which is of who mounted it."""
_HEAD_LINES: Final = 2
_SENT: Final = 8
"""Columns: eight numbers of what was received, then of what was sent: bytes, packets, errors,
dropped."""
_ERRORS: Final = 2
_DROPPED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteCounts:
    """Bytes since a device was made, as 64-bit numbers; and packets that were lost there."""

    received: int
    sent: int
    received_lost: int = 0
    sent_lost: int = 0


def byte_counts(file: Path = _FILE) -> Mapping[str, ByteCounts]:
    """Return the counts of all devices by name; or OSError."""
    found: dict[str, ByteCounts] = {}
    for line in file.read_text().splitlines()[_HEAD_LINES:]:
        name, _, numbers = line.rpartition(":")
        columns = [int(number) for number in numbers.split()]
        sent = columns[_SENT:]
        found[name.strip()] = ByteCounts(
            received=columns[0],
            sent=sent[0],
            received_lost=columns[_ERRORS] + columns[_DROPPED],
            sent_lost=sent[_ERRORS] + sent[_DROPPED],
        )
    return found
