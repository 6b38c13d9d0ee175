"""Limits of cpu, memory and processes: cgroup v2, or v1 where only that has controllers."""

import contextlib
import errno
import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pltfrms.model.running.machine import InstanceSpec
from pltfrms.model.services.storage import IoLimits

INSTANCES_UNIT: Final = Path(
    "pltfrms.slice", "pltfrms-instances.slice", "pltfrms-instances.service"
)
"""The group that a service manager leaves to us: what is in it does not end with the agent."""
_CONTROLLERS: Final = ("cpu", "memory")
_PIDS: Final = "pids"
_IO: Final = "io"
PIDS_MAX: Final = 4096
"""Processes and threads of an instance; a fork bomb takes no more of the machine's."""
_PERIOD_US: Final = 100_000
_LEAST_US: Final = 1000
"""The kernel refuses to give less of a period."""
_OOM_KILLS: Final = re.compile(r"^oom_kill ([0-9]+)$", re.MULTILINE)
_OWN_LIMIT: Final = re.compile(r"^oom ([0-9]+)$", re.MULTILINE)
"""How often it has met its own limit, and not one above."""
_ITS_OWN: Final = "it went over its memory"
_OF_ALL: Final = "the machine, or all instances together, had no more memory"
_SECOND_US: Final = 1_000_000
_TRIES: Final = 4
_LEAVES_SECONDS: Final = 0.005
_JOIN: Final = 'while [ "$1" != -- ]; do echo $$ > "$1"; shift; done; shift; exec "$@"'


class CgroupLimits:
    """One cgroup per instance, named after its allocation.

    Below the group of `INSTANCES_UNIT` where that runs, also without any limit; else below
    `<root>/pltfrms`, where limits can be enforced; else in v1 groups below those we are in.
    """

    def __init__(
        self,
        root: Path = Path("/sys/fs/cgroup"),
        state: Path = Path("/"),
        devices: Path = Path("/sys/dev/block"),
    ) -> None:
        """Look whether the tree at `root` can do it, and make our part of it.

        What is limited of disks is the one that has `state`, which `devices` knows.
        """
        self._root = root
        self._state = state
        self._devices = devices
        self._ours = root / "pltfrms"
        self._why_not = ""
        self._old = _VersionOne(root)
        self._look()

    def sentence(self) -> str:
        """Say how limits are enforced, or why not."""
        if self._why_not and self._old.works:
            return "enforced by cgroup v1, in groups of our own"
        if self._why_not:
            return f"not enforced: {self._why_not}"
        return f"enforced by cgroup v2 below {self._ours}"

    def confine(self, spec: InstanceSpec, pid: int) -> None:
        """Put an instance's init, with all it will start, under the limits of its spec.

        Raises:
            OSError: the kernel refuses.
        """
        self._look()  # the service manager's unit may be another one by now
        if self._why_not:
            self._old.confine(spec, pid)
        if self._why_not and not self._is_given:
            return
        group = self._ours / spec.allocation
        group.mkdir(exist_ok=True)
        if not self._why_not:
            (group / "memory.max").write_text(str(spec.memory_bytes))
            (group / "cpu.max").write_text(f"{_quota_us(spec)} {_PERIOD_US}")
            if (group / "pids.max").exists():
                (group / "pids.max").write_text(str(PIDS_MAX))
            if spec.io is not None or _read(group / "io.max"):
                self._limit_io(group, spec.io or IoLimits())
        (group / "cgroup.procs").write_text(str(pid))

    def io_free(self, allocation: str) -> str:
        """Return why what an instance does to the disk has no limit; empty: it has one."""
        if self._why_not:
            return "disks are limited by cgroup v2 only, and it has no cpu and memory here"
        disk = disk_of(self._state, self._devices)
        if not disk:
            return f"{self._state} is on no disk that the kernel has as one"
        limited = f"{disk} " in _read(self._ours / allocation / "io.max")
        return "" if limited else f"cgroup v2 has no io at {self._ours}, or none for {disk}"

    def _limit_io(self, group: Path, io: IoLimits) -> None:
        """Limit it if that is possible; if not, `io_free` says so, and it runs."""
        limits = (
            *(("rbps", io.read_bytes), ("wbps", io.write_bytes)),
            *(("riops", io.reads), ("wiops", io.writes)),
        )
        said = " ".join(f"{name}={most or 'max'}" for name, most in limits)
        disk = disk_of(self._state, self._devices)
        if disk and (group / "io.max").exists():
            with contextlib.suppress(OSError):
                (group / "io.max").write_text(f"{disk} {said}")

    def cpu_seconds(self, allocation: str) -> float | None:
        """Return the processor seconds that an instance has used; None: nobody counts here."""
        try:
            words = (self._ours / allocation / "cpu.stat").read_text().split()
        except OSError:
            return None
        return int(words[1]) / _SECOND_US if words[:1] == ["usage_usec"] else None

    def release(self, allocation: str) -> None:
        """Remove the cgroup of an instance that has ended; the next start reuses a busy one."""
        for place in (self._root / INSTANCES_UNIT, self._root / "pltfrms"):
            _remove(place / allocation)
        with contextlib.suppress(OSError):
            (self._root / "pltfrms").rmdir()  # after the last one
        self._old.release(allocation)

    def want_of_memory(self, allocation: str) -> str:
        """Return for want of whose memory the kernel has ended a process of it; empty: none.

        Of v1 it is not known, and its own.
        """
        events = (
            self._root / INSTANCES_UNIT / allocation / "memory.events",
            self._root / "pltfrms" / allocation / "memory.events",
            self._old.group("memory", allocation) / "memory.oom_control",
        )
        killed = [said for said in map(_read, events) if _count(_OOM_KILLS, said)]
        if not killed:
            return ""
        its_own = any(_count(_OWN_LIMIT, said) != 0 for said in killed)
        return _ITS_OWN if its_own else _OF_ALL

    @property
    def _is_given(self) -> bool:
        return self._ours == self._root / INSTANCES_UNIT

    def _look(self) -> None:
        given = self._root / INSTANCES_UNIT
        if given.is_dir():
            self._ours = given
            self._why_not = self._enable(given, (given,))
        else:
            self._ours = self._root / "pltfrms"
            self._why_not = self._enable(self._root, (self._root, self._ours))

    def _enable(self, above: Path, groups: tuple[Path, ...]) -> str:
        """Make our part of the tree; return `` or why there cannot be one."""
        try:
            available = (above / "cgroup.controllers").read_text().split()
        except OSError:
            available = []
        if not set(_CONTROLLERS) <= set(available):
            return f"no cgroup v2 tree with cpu and memory at {above}"
        try:
            self._ours.mkdir(exist_ok=True)
            wanted = [*_CONTROLLERS, *(each for each in (_PIDS, _IO) if each in available)]
            for group in groups:
                (group / "cgroup.subtree_control").write_text(" ".join(f"+{w}" for w in wanted))
        except OSError as error:
            return f"cannot make {self._ours}: {error.strerror}"
        return ""


class _VersionOne:
    """Groups of our own, each below the one that we are in: what limits us limits them too."""

    def __init__(self, root: Path) -> None:
        above = own_groups()
        self._groups = {
            name: root / name / above.get(name, "").lstrip("/") / "pltfrms"
            for name in (*_CONTROLLERS, _PIDS)
        }

    @property
    def works(self) -> bool:
        return all(os.access(group.parent, os.W_OK) for group in self._groups.values())

    def group(self, controller: str, allocation: str) -> Path:
        return self._groups[controller] / allocation

    def confine(self, spec: InstanceSpec, pid: int) -> None:
        """Put an instance into its groups; OSError if the kernel refuses."""
        if not self.works:
            return
        limits: Mapping[str, tuple[tuple[str, int], ...]] = {
            "cpu": (
                ("cpu.cfs_period_us", _PERIOD_US),
                ("cpu.cfs_quota_us", _quota_us(spec)),
            ),
            "memory": (("memory.limit_in_bytes", spec.memory_bytes),),
            _PIDS: (("pids.max", PIDS_MAX),),
        }
        for controller, values in limits.items():
            group = self.group(controller, spec.allocation)
            group.mkdir(parents=True, exist_ok=True)
            for name, value in values:
                _limit(group / name, value)
            (group / "cgroup.procs").write_text(str(pid))

    def release(self, allocation: str) -> None:
        for controller, above in self._groups.items():
            _remove(self.group(controller, allocation))
            with contextlib.suppress(OSError):
                above.rmdir()  # after the last one


def disk_of(path: Path, devices: Path) -> str:
    """Return `major:minor` of the whole disk that has `path`; empty: there is no such disk."""
    try:
        number = path.stat().st_dev
        place = (devices / f"{os.major(number)}:{os.minor(number)}").resolve(strict=True)
        whole = place.parent if (place / "partition").exists() else place
        return (whole / "dev").read_text().strip()
    except OSError:
        return ""


def _remove(group: Path) -> None:
    """Remove a group; who was in it a moment ago may still be leaving it."""
    for _ in range(_TRIES):
        try:
            group.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                return
            time.sleep(_LEAVES_SECONDS)
        else:
            return


def _quota_us(spec: InstanceSpec) -> int:
    return max(round(spec.cpu * _PERIOD_US), _LEAST_US)


def _limit(file: Path, value: int) -> None:
    """Set a limit; more cpu than a group above has is refused, and would change nothing."""
    try:
        file.write_text(str(value))
    except OSError as error:
        if (file.name, error.errno) != ("cpu.cfs_quota_us", errno.EINVAL):
            raise


def own_groups() -> dict[str, str]:
    """Return the v1 group that we are in, by controller (cgroups(7))."""
    every = _memberships("self")
    return {name: path for names, path in every for name in names.split(",") if name}


def groups_of(
    pid: int, allocation: str, root: Path = Path("/sys/fs/cgroup")
) -> tuple[Path, ...]:
    """Return the groups of ours that an instance is in, by its process; perhaps none."""
    every = _memberships(str(pid))
    ours = ((names, path) for names, path in every if path.endswith(f"/{allocation}"))
    return tuple(root / names / path.lstrip("/") for names, path in ours)


def within(groups: Iterable[Path], command: Iterable[str]) -> tuple[str, ...]:
    """Return what runs a command inside these groups, as far as they take it."""
    files = [str(group / "cgroup.procs") for group in groups]
    return ("sh", "-c", _JOIN, "sh", *files, "--", *command) if files else tuple(command)


def _memberships(process: str) -> list[tuple[str, str]]:
    """Return (controllers, path) of each tree that a process is in; none if it is gone."""
    try:
        lines = Path(f"/proc/{process}/cgroup").read_text().splitlines()
    except OSError:
        return []
    return [(names, path) for _, names, path in (line.split(":", 2) for line in lines)]


def _read(events: Path) -> str:
    try:
        return events.read_text()
    except OSError:
        return ""


def _count(event: re.Pattern[str], said: str) -> int | None:
    found = event.search(said)
    return int(found[1]) if found else None
