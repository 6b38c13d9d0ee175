"""Read what instances said, also those that have ended, from the files of their logs."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pltfrms.drivers.workload.instance.instance_files import KEPT_LOGS
from pltfrms.errors import UsageError
from pltfrms.model.messages.glass import InstanceLog

LINES_MAX: Final = 5000
_BYTES: Final = 1 << 20
"""Of all logs in one answer; each has its share."""
_LOGS_MAX: Final = 32
"""The newest in one answer."""
_LINE_MAX: Final = 10_000
_NAME: Final = re.compile(r"[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*\.[0-9]+-[0-9]+|@[0-9]+)?")
_POSITION: Final = re.compile(r"([0-9]{1,20})\.([0-9]{1,20})")


class LogReader:
    """The logs of the instances of this machine."""

    def __init__(self, directory: Path) -> None:
        """Do not touch the disk yet."""
        self._directory = directory

    def read(self, name: str, lines: int, after: str = "") -> tuple[InstanceLog, ...]:
        """Return the last lines of an allocation, or of each of a service, the newest first.

        With a position, what was said `after` it, in whole lines.

        Raises:
            UsageError: that is no name, or no position.
        """
        position = _POSITION.fullmatch(after)
        if not (match := _NAME.fullmatch(name)) or (after and position is None):
            raise UsageError(f"say: show logs ALLOCATION lines N after POSITION, not {name!r}")
        paths = self._directory.glob(f"{name}.log" if match[1] else f"{name}.*.log")
        found = sorted(_times(paths), reverse=True)[:_LOGS_MAX]
        most = _BYTES // max(1, len(found))
        lines = min(lines, LINES_MAX)
        return tuple(
            _after(path, said_ms, int(position[1]), int(position[2]), most)
            if position
            else _tail(path, said_ms, lines, most)
            for said_ms, path in found
        )


def _times(paths: Iterator[Path]) -> Iterator[tuple[int, Path]]:
    for path in paths:
        try:
            yield path.stat().st_mtime_ns // 1_000_000, path
        except FileNotFoundError:
            continue


def _tail(path: Path, said_ms: int, lines: int, most: int) -> InstanceLog:
    """Return the last lines; one that is not whole yet comes again after the position."""
    text, position = b"", ""
    for part, state in _parts(path):
        if not position:
            torn = _torn(_end_of(part, state.st_size, _LINE_MAX), state.st_size)
            position = f"{state.st_ino}.{state.st_size - torn}"
        if len(text) >= most or text.count(b"\n") >= lines + bool(lines):
            break
        text = _end_of(part, state.st_size, most - len(text)) + text
    return _log(path, said_ms, text.splitlines()[-lines:] if lines else [], position)


def _after(path: Path, said_ms: int, number: int, at: int, most: int) -> InstanceLog:
    """Return whole lines after a position; if that part is gone, of all that there is."""
    texts: list[bytes] = []
    newest = 0, 0
    for part, state in _parts(path):
        newest = newest if texts else (state.st_ino, state.st_size)
        known = state.st_ino == number and at <= state.st_size
        new = state.st_size - at if known else state.st_size
        texts.append(_end_of(part, state.st_size, min(new, most)))
        if known:
            break
    text = b"".join(reversed(texts))
    torn = _torn(text, newest[1])
    whole = text[: len(text) - torn][-most:]
    position = f"{newest[0]}.{newest[1] - torn}"
    return _log(path, said_ms, whole.splitlines(), position)


def _torn(text: bytes, size: int) -> int:
    """Return how much of the end of a part of some size is no whole line yet."""
    torn = len(text) - (text.rfind(b"\n") + 1)
    return 0 if torn >= _LINE_MAX or torn > size else torn


def _end_of(part: int, size: int, most: int) -> bytes:
    start = max(0, size - most)
    return os.pread(part, size - start, start)


def _parts(path: Path) -> Iterator[tuple[int, os.stat_result]]:
    """Yield a descriptor and the state of each part, the newest first."""
    for each in (path, *(Path(f"{path}.{n}") for n in range(1, KEPT_LOGS + 1))):
        try:
            part = os.open(each, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return
        try:
            yield part, os.fstat(part)
        finally:
            os.close(part)


def _log(path: Path, said_ms: int, lines: list[bytes], position: str) -> InstanceLog:
    return InstanceLog(
        allocation=path.name.removesuffix(".log"),
        lines=tuple(line[:_LINE_MAX].decode(errors="replace") for line in lines),
        position=position,
        said_ms=said_ms,
    )
