"""Limits of cpu and memory, with cgroup v2 where the machine has it."""

import contextlib
from pathlib import Path
from typing import Final

from pltfrms.model.running.machine import InstanceSpec

INSTANCES_UNIT: Final = Path(
    "pltfrms.slice", "pltfrms-instances.slice", "pltfrms-instances.service"
)
"""The group that a service manager leaves to us: what is in it does not end with the agent."""
_CONTROLLERS: Final = ("cpu", "memory")
_PERIOD_US = 100_000


class CgroupLimits:
    """One cgroup per instance, named after its allocation.

    Below the group of `INSTANCES_UNIT` where that runs, also without any limit; else below
    `<root>/pltfrms`, where limits can be enforced.
    """

    def __init__(self, root: Path = Path("/sys/fs/cgroup")) -> None:
        """Look whether the tree at `root` can do it, and make our part of it."""
        self._root = root
        self._ours = root / "pltfrms"
        self._why_not = ""
        self._look()

    def sentence(self) -> str:
        """Say how limits are enforced, or why not."""
        if self._why_not:
            return f"not enforced: {self._why_not}"
        return f"enforced by cgroup v2 below {self._ours}"

    def confine(self, spec: InstanceSpec, pid: int) -> None:
        """Put an instance's init, with all it will start, under the limits of its spec.

        Raises:
            OSError: the kernel refuses.
        """
        self._look()  # the service manager's unit may be another one by now
        if self._why_not and not self._is_given:
            return
        group = self._ours / spec.allocation
        group.mkdir(exist_ok=True)
        if not self._why_not:
            (group / "memory.max").write_text(str(spec.memory_bytes))
            (group / "cpu.max").write_text(f"{round(spec.cpu * _PERIOD_US)} {_PERIOD_US}")
        (group / "cgroup.procs").write_text(str(pid))

    def release(self, allocation: str) -> None:
        """Remove the cgroup of an instance that has ended; the next start reuses a busy one."""
        for place in (self._root / INSTANCES_UNIT, self._root / "pltfrms"):
            with contextlib.suppress(OSError):
                (place / allocation).rmdir()

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
            for group in groups:
                (group / "cgroup.subtree_control").write_text("+cpu +memory")
        except OSError as error:
            return f"cannot make {self._ours}: {error.strerror}"
        return ""
