"""Records of instances: how an agent knows what the one before it has started.

<runtime>/instances/ALLOCATION.json        Record, from before the command runs until the end
<runtime>/instances/ALLOCATION.json.torn   what was left of one whose instance had ended

A record that was torn is no loss while its instance runs: we know it, or its init says it all.
"""

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pltfrms import codec
from pltfrms.drivers.private import replace_file
from pltfrms.drivers.workload.instance.found import FoundInit, find_init
from pltfrms.drivers.workload.ports import MendedRecord, RecordReport
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.running.machine import Instance

KEPT_TORN: Final = 10
"""Of all allocations together."""
_NAMED: Final = 3
_NOBODY: Final = 0
"""Pid in the record that stands for a torn one of an instance that has ended."""
_OTHERS: Final = -1
"""Pid in the record of what others start: who that is, is theirs."""
_DEVICE: Final = re.compile(rb'"device":"([^"]+)"')
_DEAD_STATES: Final = {"Z", "X"}
_START_TICKS_FIELD = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A started instance, as the next agent finds it."""

    allocation: str
    pid: int
    start_ticks: int
    """When the process started, in clock ticks since boot: tells a reused pid."""
    device: str
    """Empty if it is not known; only of an instance that has ended."""
    fingerprint: str
    unit: str = ""
    """As `Adopted.unit`."""
    stop_grace_ms: int = 5000
    """As `Instance.stop_grace_ms`."""

    @property
    def is_adopted(self) -> bool:
        """Whether others start and stop it."""
        return self.pid == _OTHERS

    @property
    def instance(self) -> Instance:
        """The instance in the words of the model."""
        return Instance(
            allocation=self.allocation,
            pid=os.getpid() if self.is_adopted else self.pid,
            device=self.device,
            fingerprint=self.fingerprint,
            unit=self.unit,
            stop_grace_ms=self.stop_grace_ms,
        )

    @property
    def alive(self) -> bool:
        """Whether that very process still runs; of what is adopted, whether we lead to it."""
        if self.is_adopted:
            return has_device(self.device)
        return start_ticks(self.pid) == self.start_ticks

    def open(self) -> int:
        """Return a pidfd of exactly that process; ProcessLookupError if it is gone."""
        pidfd = os.pidfd_open(self.pid)
        if not self.alive:
            os.close(pidfd)
            raise ProcessLookupError(self.pid)
        return pidfd


def adopted_record(allocation: str, device: str, fingerprint: str, unit: str) -> Record:
    """Return the record of what others start."""
    return Record(
        allocation=allocation,
        pid=_OTHERS,
        start_ticks=0,
        device=device,
        fingerprint=fingerprint,
        unit=unit,
    )


def has_device(device: str) -> bool:
    """Return whether there is a network device of that name."""
    try:
        socket.if_nametoindex(device)
    except OSError:
        return False
    return True


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it does not run."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name, in parentheses, may contain anything; field 3 follows its last one.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in _DEAD_STATES else int(fields[_START_TICKS_FIELD - 3])


class Records:
    """The records of all instances of a machine."""

    def __init__(self, runtime: Path) -> None:
        """Do not touch the disk yet."""
        self._runtime = runtime
        self._directory = runtime / "instances"
        self._known: dict[str, Record] = {}
        """As they were last read or written; no disk can take these from us."""
        self._wrong: dict[str, str] = {}
        """What is wrong with the record of an allocation now."""
        self._mended: list[MendedRecord] = []

    def report(self) -> RecordReport:
        """See `ports.Workload.records`."""
        mended, self._mended = tuple(self._mended), []
        wrong = [self._wrong[name] for name in sorted(self._wrong)]
        more = [f"and {len(wrong) - _NAMED} more"] if len(wrong) > _NAMED else []
        return RecordReport(wrong="; ".join(wrong[:_NAMED] + more), mended=mended)

    def every(self) -> tuple[Record, ...]:
        """Return all records, sorted by allocation; some may be of instances that ended."""
        names = sorted(path.name.removesuffix(".json") for path in self._paths("*.json"))
        self._wrong = {name: self._wrong[name] for name in names if name in self._wrong}
        self._known = {name: self._known[name] for name in names if name in self._known}
        return tuple(record for name in names if (record := self._read(name)))

    def remember(self, record: Record) -> None:
        """Keep a record, atomically."""
        self._known[record.allocation] = record
        self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_file(self._path(record.allocation), codec.encode(record))

    def check(self, allocation: str) -> None:
        """Make sure that we can know whether an allocation runs.

        Raises:
            UnavailableError: its record is there and cannot be read.
        """
        path = self._path(allocation)
        if self._read(allocation) is None and path.exists():
            raise UnavailableError(
                f"{allocation} may be running: its record {path} cannot be read;"
                " end what runs of it, and remove that file"
            )

    def recall(self, instance: Instance) -> Record | None:
        """Return the record of exactly this instance, running or not."""
        record = self._read(instance.allocation)
        return record if record and record.instance.pid == instance.pid else None

    def forget(self, record: Record) -> bool:
        """Drop a record, unless it is not there or the allocation has a newer one.

        A torn one is set aside.
        """
        if self.recall(record.instance) != record:
            return False
        if record.pid == _NOBODY:
            self._set_aside(record.allocation)
        else:
            self.forget_allocation(record.allocation)
        return True

    def forget_allocation(self, allocation: str) -> None:
        """Drop the record of an allocation that failed to start."""
        self._known.pop(allocation, None)
        self._path(allocation).unlink(missing_ok=True)

    def _paths(self, pattern: str) -> Iterator[Path]:
        return self._directory.glob(pattern)

    def _path(self, allocation: str) -> Path:
        return self._directory / f"{allocation}.json"

    # ---- reading ---------------------------------------------------------------------------

    def _read(self, allocation: str) -> Record | None:
        """Read a record, or make one of what the instance's own init says.

        None if it is not there, or is not given by the disk, or the init does not say enough.
        """
        text, record = b"", None
        try:
            text = self._path(allocation).read_bytes()
            record = codec.decode(Record, text)
        except FileNotFoundError:
            pass
        except UsageError as error:
            return self._instead_of(allocation, text, str(error))
        except OSError as error:
            return self._instead_of(allocation, None, str(error))
        self._wrong.pop(allocation, None)
        if record is not None:
            self._known[allocation] = record
        return record

    def _instead_of(self, allocation: str, torn: bytes | None, why: str) -> Record | None:
        """Return what to go by in place of a record; `torn` is all that the disk has of it."""
        known_before = self._known.get(allocation)
        if known_before is not None and known_before.alive:
            return self._anew(known_before, why)
        try:
            init = find_init(allocation, self._runtime)
            ticks = start_ticks(init.pid) if init else None
            known = init == find_init(allocation, self._runtime)  # else the pid is another's
        except OSError as error:
            self._doubt(allocation, f"{why}; and what runs is not known: {error}")
            return None
        if init is None and known and torn is not None:
            device = _DEVICE.search(torn)
            return _of_nobody(allocation, device[1].decode() if device else "")
        if init is None or ticks is None or not known or not init.device:
            self._doubt(allocation, why)
            return None
        return self._anew(_record_of(allocation, init, ticks), why)

    def _doubt(self, allocation: str, why: str) -> None:
        self._wrong[allocation] = (
            f"the record of {allocation} cannot be read ({why}): it is neither started nor"
            f" stopped; end what runs of it, and remove {self._path(allocation)}"
        )

    def _anew(self, record: Record, why: str) -> Record:
        name = record.allocation
        try:
            self.remember(record)
        except OSError as error:  # it is made again when it is asked for
            self._wrong[name] = (
                f"the record of {name} cannot be read ({why}), nor written anew ({error}):"
                " it is known from what runs"
            )
        else:
            self._wrong.pop(name, None)
            detail = f"written anew, from what runs, as it could not be read: {why}"
            self._mended.append(MendedRecord(allocation=name, detail=detail))
        return record

    def _set_aside(self, allocation: str) -> None:
        """Keep what is left of a record where a person can look at it."""
        path = self._path(allocation)
        aside = path.with_name(f"{path.name}.torn")
        try:
            path.replace(aside)
        except OSError:
            path.unlink(missing_ok=True)
        self._wrong.pop(allocation, None)
        detail = f"torn, and nothing of it runs: set aside as {aside}"
        self._mended.append(MendedRecord(allocation=allocation, detail=detail))
        with contextlib.suppress(OSError):
            torn = sorted(self._paths("*.torn"), key=lambda each: each.stat().st_mtime)
            for old in torn[:-KEPT_TORN]:
                old.unlink(missing_ok=True)


def _record_of(allocation: str, init: FoundInit, ticks: int) -> Record:
    return Record(
        allocation=allocation,
        pid=init.pid,
        start_ticks=ticks,
        device=init.device,
        fingerprint=init.fingerprint,
        stop_grace_ms=init.stop_grace_ms,
    )


def _of_nobody(allocation: str, device: str) -> Record:
    return Record(
        allocation=allocation, pid=_NOBODY, start_ticks=0, device=device, fingerprint=""
    )
