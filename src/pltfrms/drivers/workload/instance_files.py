"""What the `process` runtime keeps in files: records of instances, how they ended, logs.

<runtime>/instances/ALLOCATION.json   Record, from before the command runs until the end
<runtime>/instances/ALLOCATION.exit   one sentence how the last instance ended
<state>/instances/ALLOCATION/         working directory with the files of the spec
<log>/instances/ALLOCATION.log        output; older parts are .log.1 (newest) to .log.3
"""

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from pltfrms import codec
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.private import replace_file
from pltfrms.drivers.workload.found import find_init
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.machine import Instance, InstanceSpec

KEPT_LOGS: Final = 3
_REST_SECONDS: Final = 600
"""Longer than anybody who is to be started again waits for it."""
_DEAD_STATES: Final = {"Z", "X"}
_START_TICKS_FIELD = 22
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A started instance, as the next agent finds it."""

    allocation: str
    pid: int
    start_ticks: int
    """When the process started, in clock ticks since boot: tells a reused pid."""
    device: str
    fingerprint: str

    @property
    def instance(self) -> Instance:
        """The instance in the words of the model."""
        return Instance(
            allocation=self.allocation,
            pid=self.pid,
            device=self.device,
            fingerprint=self.fingerprint,
        )

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return start_ticks(self.pid) == self.start_ticks


def fingerprint_of(spec: InstanceSpec) -> str:
    """Return what `Instance.fingerprint` is for instances started from `spec`."""
    return hashlib.sha256(codec.encode(spec)).hexdigest()[:16]


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it does not run."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name, in parentheses, may contain anything; field 3 follows its last one.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in _DEAD_STATES else int(fields[_START_TICKS_FIELD - 3])


class InstanceFiles:
    """The files of all instances of a machine."""

    def __init__(self, directories: Directories) -> None:
        """Do not touch the disk yet."""
        self._runtime = directories.runtime / "instances"
        self._state = directories.state / "instances"
        self._log = directories.log / "instances"

    # ---- records ---------------------------------------------------------------------------

    def records(self) -> tuple[Record, ...]:
        """Return all records, sorted by allocation; some may be of instances that ended."""
        paths = sorted(self._runtime.glob("*.json"))
        return tuple(record for path in paths if (record := self._read(path)))

    def _read(self, path: Path) -> Record | None:
        """Read a record, or make one of what the instance's own init says.

        None if it is not there, or is of nothing that runs, or its init does not say enough.
        """
        try:
            return codec.decode(Record, path.read_bytes())
        except FileNotFoundError:
            return None
        except (UsageError, OSError) as error:
            words = {"path": str(path), "why": str(error)}
            is_torn = isinstance(error, UsageError)
        allocation = path.name.removesuffix(".json")
        try:
            init = find_init(allocation)
            ticks = start_ticks(init.pid) if init else None
            known = init == find_init(allocation)  # else the pid may be another's by now
        except OSError as error:
            _log.warning("instance_record_unreadable", processes=str(error), **words)
            return None
        if init is None or ticks is None or not known:
            if is_torn and init is None:
                _log.warning("instance_record_removed", **words)  # nothing of it runs
                path.unlink(missing_ok=True)
            return None
        if not init.device:
            _log.warning("instance_record_unreadable", **words)
            return None
        record = Record(
            allocation=allocation,
            pid=init.pid,
            start_ticks=ticks,
            device=init.device,
            fingerprint=init.fingerprint,
        )
        _log.warning("instance_record_made_anew", **words)
        with contextlib.suppress(OSError):  # it is made again when it is asked for
            self.remember(record)
        return record

    def remember(self, record: Record) -> None:
        """Keep a record, atomically."""
        replace_file(self._runtime / f"{record.allocation}.json", codec.encode(record))

    def check(self, allocation: str) -> None:
        """Make sure that we can know whether an allocation runs.

        Raises:
            UnavailableError: its record is there and cannot be read.
        """
        path = self._runtime / f"{allocation}.json"
        if self._read(path) is None and path.exists():
            raise UnavailableError(
                f"{allocation} is not started, because it may run already: its record {path}"
                " cannot be read; end what runs of it, and remove that file"
            )

    def recall(self, instance: Instance) -> Record | None:
        """Return the record of exactly this instance, running or not."""
        record = self._read(self._runtime / f"{instance.allocation}.json")
        return record if record and record.pid == instance.pid else None

    def forget(self, record: Record) -> bool:
        """Drop a record, unless it is not there or the allocation has a newer one."""
        if self.recall(record.instance) != record:
            return False
        self.forget_allocation(record.allocation)
        return True

    def forget_allocation(self, allocation: str) -> None:
        """Drop the record of an allocation that failed to start."""
        (self._runtime / f"{allocation}.json").unlink(missing_ok=True)

    # ---- one instance ----------------------------------------------------------------------

    def prepare(self, spec: InstanceSpec) -> Path:
        """Write the files of the spec; return the working directory.

        Raises:
            UsageError: a file's name leads out of the directory.
        """
        for parent in (self._runtime, self._log):
            parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        directory = self._state / spec.allocation
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        for name, text in spec.files:
            path = directory / name
            if not path.resolve().is_relative_to(directory.resolve()):
                raise UsageError(
                    f"{spec.allocation}: file {name!r} is not inside its directory"
                )
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o644)
        self.exit_file(spec.allocation).unlink(missing_ok=True)
        return directory

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
            if path.exists() and path.stat().st_size > max_bytes:
                os.truncate(path, 0)

    def remove_leftovers(
        self, running: Collection[str], older_than: float, max_bytes: int
    ) -> None:
        """Remove all of allocations that do not run and last said something long ago.

        `older_than` is in seconds since 1970; of the others, the logs of the newest stay, up
        to `max_bytes`. Allocation ids are never used again, so nobody misses their files; they
        are kept for a while for those who ask what happened.
        """
        logs = [(path.stat().st_mtime, path) for path in self._log.glob("*.log")]
        kept = 0
        for said_at, path in sorted(logs, reverse=True):
            allocation = path.name.removesuffix(".log")
            if allocation in running:
                continue
            parts = [path, *(_older(path, number) for number in range(1, KEPT_LOGS + 1))]
            kept += sum(part.stat().st_size for part in parts if part.exists())
            may_start_again = said_at > time.time() - _REST_SECONDS
            if said_at > older_than and (kept <= max_bytes or may_start_again):
                continue
            shutil.rmtree(self._state / allocation, ignore_errors=True)
            self.exit_file(allocation).unlink(missing_ok=True)
            for part in reversed(parts):
                part.unlink(missing_ok=True)


def _older(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
