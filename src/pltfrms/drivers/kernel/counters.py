"""What the kernel has counted on the network devices of this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FILE: Final = Path("/proc/self/net/dev")
"""Of our own network namespace, unlike /sys/class/net, which is of who mounted it."""
_HEAD_LINES: Final = 2
_SENT: Final = 8
"""Columns: eight numbers of what was received, then of what was sent; bytes come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteCounts:
    """Bytes since a device was made, as 64-bit numbers."""

    received: int
    sent: int


def byte_counts(file: Path = _FILE) -> Mapping[str, ByteCounts]:
    """Return the counts of all devices by name; or OSError."""
    found: dict[str, ByteCounts] = {}
    for line in file.read_text().splitlines()[_HEAD_LINES:]:
        name, _, numbers = line.rpartition(":")
        columns = numbers.split()
        found[name.strip()] = ByteCounts(received=int(columns[0]), sent=int(columns[_SENT]))
    return found
