"""What the `process` runtime keeps in files beside records: how instances ended, logs.

<runtime>/instances/ALLOCATION.exit   one sentence how the last instance ended
<state>/instances/ALLOCATION/         working directory with the files of the spec
<log>/instances/ALLOCATION.log        output; older parts are .log.1 (newest) to .log.3
"""

import base64
import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from pltfrms import codec
from pltfrms.drivers.ports import Directories
from pltfrms.errors import UsageError
from pltfrms.model.running.machine import InstanceSpec
from pltfrms.model.services.secrets import Generate

KEPT_LOGS: Final = 3
_LOG_NAME: Final = re.compile(r"(.+)\.log(\.\w+)?")
_REST_SECONDS: Final = 600
"""Longer than anybody who is to be started again waits for it."""

_SAYS_NOTHING: Final = (
    b',"elsewhere":[]}',
    b',"io":null}',
    b',"lifetime_ms":0}',
    b',"role_addresses":[]}',
    b',"volume_made":false}',
    b',"live":[]}',
    b',"modes":[]}',
    b',"binary":[]}',
    b',"secrets":[]}',
    b',"ports":null}',
    b',"adopted":null}',
    b',"volume":""}',
    b',"storage":null}',
    b',"container":null}',
    b',"outgoing":null}',
)
"""At the end: what versions of us before there was such a thing did not write."""

_NOTHING: Final = Generate.NOTHING
_NOT_GENERATED: Final = b',"generate":""'
"""Of a secret; no text of a spec has it in it, since its quotes are escaped there."""


def fingerprint_of(spec: InstanceSpec) -> str:
    """Return what `Instance.fingerprint` is for instances started from `spec`.

    Everybody on the machine may see it: of secrets it has which value was asked for, and
    nothing of the value.
    """
    uses = tuple(
        replace(each, version=0, about="", sealed="", use=replace(each.use, generate=_NOTHING))
        for each in spec.secrets
    )
    text = codec.encode(
        replace(spec, outgoing=None, ports=None, volume_made=False, secrets=uses, live=())
    )
    for words in _SAYS_NOTHING:
        if text.endswith(words):
            text = text.removesuffix(words) + b"}"
    return hashlib.sha256(text.replace(_NOT_GENERATED, b"")).hexdigest()[:16]


class InstanceFiles:
    """The files of all instances of a machine."""

    def __init__(self, directories: Directories) -> None:
        """Do not touch the disk yet."""
        self._runtime = directories.runtime / "instances"
        self._state = directories.state / "instances"
        self._log = directories.log / "instances"

    # ---- one instance ----------------------------------------------------------------------

    def prepare(self, spec: InstanceSpec) -> Path:
        """Write the files of the spec; return the working directory.

        Raises:
            UsageError: a file's name leads out of the directory.
        """
        for parent in (self._runtime, self._log):
            parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        directory = self.directory(spec.allocation)
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        modes = dict(spec.modes)
        for name, content in _contents(spec):
            path = self._inside(spec, name)
            path.write_bytes(content)
            path.chmod(modes.get(name, 0o644))
        self.rewrite(spec)
        self.exit_file(spec.allocation).unlink(missing_ok=True)
        return directory

    def rewrite(self, spec: InstanceSpec) -> bool:
        """Make the files that change while it runs as the spec has them, each at once.

        Return whether one was another.

        Raises:
            UsageError: a file's name leads out of the directory.
        """
        changed = False
        for name, text in spec.live:
            path = self._inside(spec, name)
            if path.is_file() and path.read_bytes() == text.encode():
                continue
            changed = True
            unread = path.with_name(f".{path.name}.new")
            unread.write_text(text)
            unread.chmod(0o644)
            unread.replace(path)
        return changed

    def _inside(self, spec: InstanceSpec, name: str) -> Path:
        """Return where a file of the spec is to be; its directory is there."""
        directory = self.directory(spec.allocation)
        path = directory / name
        if not path.resolve().is_relative_to(directory.resolve()):
            raise UsageError(f"{spec.allocation}: file {name!r} is not inside its directory")
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        return path

    def directory(self, allocation: str) -> Path:
        """Return where the files of its spec are."""
        return self._state / allocation

    def exit_file(self, allocation: str) -> Path:
        """Return where the instance's init says how the command ended."""
        return self._runtime / f"{allocation}.exit"

    def how_it_ended(self, allocation: str) -> str:
        """Return the sentence of the last end."""
        try:
            return self.exit_file(allocation).read_text()
        except FileNotFoundError:
            return "killed together with its init process"

    def log_file(self, allocation: str) -> Path:
        """Return where the instance's init writes what the command says."""
        return self._log / f"{allocation}.log"

    def open_log(self, allocation: str) -> int:
        """Return a descriptor that appends to the instance's log, for what its init says."""
        path = self.log_file(allocation)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def log_lasts(self, allocation: str) -> float | None:
        """Return how many seconds of its log are sure to be kept; None: all of it."""
        try:
            oldest = _older(self.log_file(allocation), KEPT_LOGS)
            return max(0.0, time.time() - oldest.stat().st_mtime)
        except FileNotFoundError:
            return None

    # ---- housekeeping ----------------------------------------------------------------------

    def rotate_log(self, allocation: str, max_bytes: int) -> None:
        """If a log is longer than `max_bytes`, move the end of it to `.1`, `.1` to `.2`, ...

        By copying and truncating, because an instance may have the file open for good. Its
        writes go to the end, wherever that is by then (O_APPEND); what it writes between
        the copy and the truncation is lost.
        """
        path = self.log_file(allocation)
        try:
            with path.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                if size <= max_bytes:
                    return
                for number in range(KEPT_LOGS - 1, 0, -1):
                    with contextlib.suppress(FileNotFoundError):
                        _older(path, number).replace(_older(path, number + 1))
                log.seek(size - max_bytes)
                _older(path, 1).write_bytes(log.read(max_bytes))
        except FileNotFoundError:
            return
        finally:
            # Also if there is no room for the copy: then it is all the more urgent.
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_size > max_bytes:
                    os.truncate(path, 0)

    def remove_leftovers(
        self, running: Collection[str], older_than: float, max_bytes: int
    ) -> None:
        """Remove all of allocations that do not run and last said something long ago.

        `older_than` is in seconds since 1970; of the others, the logs of the newest stay, up
        to `max_bytes`. Allocation ids are never used again, so nobody misses their files; they
        are kept for a while for those who ask what happened.
        """
        kept = 0
        ended = self._logs(besides=running)
        for allocation in sorted(ended, key=lambda name: ended[name].said_at, reverse=True):
            logs = ended[allocation]
            kept += logs.bytes
            may_start_again = logs.said_at > time.time() - _REST_SECONDS
            if logs.said_at > older_than and (kept <= max_bytes or may_start_again):
                continue
            shutil.rmtree(self._state / allocation, ignore_errors=True)
            self.exit_file(allocation).unlink(missing_ok=True)
            for part in logs.paths:
                part.unlink(missing_ok=True)

    def _logs(self, *, besides: Collection[str]) -> dict[str, "_Logs"]:
        """Return all logs by allocation, except of those: theirs are renamed at any time."""
        found: dict[str, _Logs] = {}
        for path in self._log.glob("*.log*"):
            name = _LOG_NAME.fullmatch(path.name)
            if name is None or name[1] in besides:
                continue
            with contextlib.suppress(FileNotFoundError):
                found.setdefault(name[1], _Logs()).add(path, path.stat())
        return {allocation: logs for allocation, logs in found.items() if logs.paths}


def _contents(spec: InstanceSpec) -> Iterator[tuple[str, bytes]]:
    yield from ((name, text.encode()) for name, text in spec.files)
    yield from ((name, base64.b64decode(text)) for name, text in spec.binary)


@dataclass(slots=True)
class _Logs:
    """All parts of the log of one allocation."""

    paths: list[Path] = field(default_factory=list)
    said_at: float = 0.0
    """Seconds since 1970."""
    bytes: int = 0

    def add(self, path: Path, found: os.stat_result) -> None:
        self.paths.append(path)
        self.said_at = max(self.said_at, found.st_mtime)
        self.bytes += found.st_size


def _older(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
