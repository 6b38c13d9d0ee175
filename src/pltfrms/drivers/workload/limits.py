"""Limits of cpu and memory, with cgroup v2 where the machine has it."""

import contextlib
from pathlib import Path
from typing import Final

from pltfrms.model.running.machine import InstanceSpec

_CONTROLLERS: Final = ("cpu", "memory")
_PERIOD_US = 100_000


class CgroupLimits:
    """One cgroup per instance, `<root>/pltfrms/<allocation>`."""

    def __init__(self, root: Path = Path("/sys/fs/cgroup")) -> None:
        """Look whether the tree at `root` can do it, and make our part of it."""
        self._ours = root / "pltfrms"
        self._why_not = self._enable(root)

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
        if self._why_not:
            return
        group = self._ours / spec.allocation
        group.mkdir(exist_ok=True)
        (group / "memory.max").write_text(str(spec.memory_bytes))
        (group / "cpu.max").write_text(f"{round(spec.cpu * _PERIOD_US)} {_PERIOD_US}")
        (group / "cgroup.procs").write_text(str(pid))

    def release(self, allocation: str) -> None:
        """Remove the cgroup of an instance that has ended; the next start reuses a busy one."""
        if not self._why_not:
            with contextlib.suppress(OSError):
                (self._ours / allocation).rmdir()

    def _enable(self, root: Path) -> str:
        """Make our part of the tree; return `` or why there cannot be one."""
        try:
            available = (root / "cgroup.controllers").read_text().split()
        except OSError:
            available = []
        if not set(_CONTROLLERS) <= set(available):
            return f"no cgroup v2 tree with cpu and memory at {root}"
        try:
            self._ours.mkdir(exist_ok=True)
            for group in (root, self._ours):
                (group / "cgroup.subtree_control").write_text("+cpu +memory")
        except OSError as error:
            return f"cannot make {self._ours}: {error.strerror}"
        return ""
