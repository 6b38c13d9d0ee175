"""How much cpu the processes of an instance have used, from their own /proc."""

import os
from pathlib import Path
from typing import Final

_TIMES: Final = slice(11, 15)
"""After the name: its own time for users and in the kernel, and that of children that ended."""


def cpu_seconds_of(pid: int) -> float | None:
    """Return the processor seconds that an instance has used, by its init; None: not known.

    Of what nobody waited for when it ended, nothing is left to count.
    """
    ticks = 0
    try:
        processes = list(Path(f"/proc/{pid}/root/proc").iterdir())
    except OSError:
        return None
    for process in processes:
        if process.name.isdigit():
            ticks += _ticks(process / "stat")
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else None


def _ticks(stat: Path) -> int:
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return 0  # it has just ended
    return sum(map(int, fields[_TIMES]))
