"""What the processes of an instance have done, from their own /proc."""

import os
from pathlib import Path
from typing import Final

_TIMES: Final = slice(11, 15)
"""After the name: its own time for users and in the kernel, and that of children that ended."""

_TABLE_LINES: Final = 2
"""Names, and numbers."""


def cpu_seconds_of(pid: int) -> float | None:
    """Return the processor seconds that an instance has used, by its init; None: not known.

    Of what nobody waited for when it ended, nothing is left to count.
    """
    try:
        processes = list(Path(f"/proc/{pid}/root/proc").iterdir())
    except OSError:
        return None
    found = [_ticks(process / "stat") for process in processes if process.name.isdigit()]
    known = [ticks for ticks in found if ticks is not None]
    return sum(known) / os.sysconf("SC_CLK_TCK") if known else None


def _ticks(stat: Path) -> int | None:
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return None  # it has just ended
    return sum(map(int, fields[_TIMES]))


def accepted_of(pid: int) -> int | None:
    """Return how many TCP connections an instance has accepted, by its init; None: not known.

    The kernel counts them for the network namespace, of both address families together.
    """
    return _counted(pid, "Tcp:", "PassiveOpens")


def arrived_of(pid: int) -> int | None:
    """Return how many connections an instance has accepted, and datagrams of UDP it was given.

    Like `accepted_of`.
    """
    found = accepted_of(pid), _counted(pid, "Udp:", "InDatagrams"), _datagrams6(pid)
    known = [each for each in found if each is not None]
    return sum(known) if len(known) == len(found) else None


def _counted(pid: int, table: str, name: str) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/net/snmp").read_text().splitlines()
    except OSError:
        return None
    said = [line.split() for line in lines if line.startswith(table)]
    counts = dict(zip(*said, strict=True)) if len(said) == _TABLE_LINES else {}
    return int(counts[name]) if name in counts else None


def _datagrams6(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/net/snmp6").read_text().splitlines()
    except OSError:
        return None
    counts = dict(line.split() for line in lines)
    return int(counts["Udp6InDatagrams"]) if "Udp6InDatagrams" in counts else None
