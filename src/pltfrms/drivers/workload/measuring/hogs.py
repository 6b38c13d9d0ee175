"""Who takes so much of its machine that somebody should know: seen from outside, in a sentence.

Limits keep such an instance from its neighbours, or it fails by itself; here is said why.
It has no numbers that change while nothing else does: each other sentence is news.
"""

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from pltfrms.drivers.workload.instance.instance_files import InstanceFiles
from pltfrms.drivers.workload.instance.limits import PIDS_MAX
from pltfrms.model.running.machine import Instance

_NEARLY: Final = 0.9
"""Of what it may have."""
_FEWEST_OPEN: Final = 200
"""Files: who may have less has said so."""
_ENDED: Final = 256
"""So many processes that have ended, and wait for who has started them, are no accident."""
_LOOKED_AT: Final = 64
"""Processes whose files are counted, of one instance."""
_LOG_SECONDS: Final = 60.0
"""An instance whose whole log is younger says more than anybody could read."""
_FULL: Final = 0.9
"""Share of a disk from which on it is asked who fills it."""
_FILLS: Final = 0.1
"""Share of the disk with which one does."""
_FILLING: Final = "has more than a tenth of the disk, which is nearly full"
_MEASURING: Final = 0.05
"""Share of the time in which it is measured."""
_BLOCK: Final = 512
_OPEN_FILES: Final = re.compile(r"^Max open files +([0-9]+)", re.MULTILINE)


class Hogs:
    """What instances take, as of the last look."""

    def __init__(self, files: InstanceFiles) -> None:
        """Look at nobody yet."""
        self._files = files
        self._filling: frozenset[str] = frozenset()
        self._measure_at = 0.0
        """Monotonic seconds; before that nobody's directory is measured again."""
        self.named: Mapping[str, str] = {}
        """A sentence for each instance that takes too much; nothing for others."""

    def look(self, running: Mapping[str, Instance]) -> None:
        """Look at all of them."""
        self._measure(running)
        found: dict[str, str] = {}
        for name, instance in running.items():
            if instance.pid == os.getpid():
                continue  # others start it, and nothing here is known to be its own
            processes = _processes(instance.pid)
            said = (
                *_crowd(processes),
                *_descriptors(processes[:_LOOKED_AT]),
                *_flood(self._files.log_lasts(name)),
                *((_FILLING,) if name in self._filling else ()),
            )
            if said:
                found[name] = "; ".join(said)
        self.named = found

    def _measure(self, running: Iterable[str]) -> None:
        """Look who fills the disk: as long as that takes by the files there, so not always."""
        began = time.monotonic()
        if began < self._measure_at:
            return
        self._filling = frozenset(n for n in running if _fills(self._files.directory(n)))
        took = time.monotonic() - began
        self._measure_at = began + took / _MEASURING


def _processes(pid: int) -> list[Path]:
    """Return all processes of an instance, as its own /proc has them."""
    place = Path(f"/proc/{pid}/root/proc")
    with suppress(OSError):
        names = os.listdir(place)  # noqa: PTH208 - most of them are no processes
        return [place / each for each in names if each.isdigit()]
    return []


def _crowd(processes: list[Path]) -> Iterator[str]:
    if len(processes) < min(_ENDED, _NEARLY * PIDS_MAX):
        return
    ended = sum(map(_has_ended, processes))
    if ended >= _ENDED:
        yield f"does not wait for its processes: more than {_ENDED} have ended"
    elif len(processes) >= _NEARLY * PIDS_MAX:
        yield f"has nearly all of the {PIDS_MAX} processes that it may have"


def _has_ended(process: Path) -> bool:
    with suppress(OSError):
        return (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False


def _descriptors(processes: list[Path]) -> Iterator[str]:
    for process in processes:
        with suppress(OSError):
            count = _open_files(process)
            if count < _FEWEST_OPEN:
                continue
            most = _OPEN_FILES.search((process / "limits").read_text())
            if most and count >= _NEARLY * int(most[1]):
                yield f"has nearly all of the {most[1]} files and connections that it may have"
                return


def _open_files(process: Path) -> int:
    """Return how many files a process has open; since Linux 6.2 that is said without a list."""
    place = process / "fd"
    return place.stat().st_size or len(os.listdir(place))  # noqa: PTH208 - only how many


def _flood(log_seconds: float | None) -> Iterator[str]:
    if log_seconds is not None and log_seconds < _LOG_SECONDS:
        yield "says so much that its log has less than the last minute"


def _fills(directory: Path) -> bool:
    with suppress(OSError):
        disk = os.statvfs(directory)
        full = disk.f_bavail <= (1 - _FULL) * disk.f_blocks
        return full and sum(_sizes(directory)) >= _FILLS * disk.f_blocks * disk.f_frsize
    return False


def _sizes(directory: Path) -> Iterator[int]:
    for place, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                yield os.lstat(os.path.join(place, name)).st_blocks * _BLOCK  # noqa: PTH118 - many
