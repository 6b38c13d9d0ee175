"""Find the processes of an instance from outside its machine.

The agent of a node leaves one file per running instance in its /run; a machine's whole file
system, with its own /proc, is visible below /proc/PID/root of its first process.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

INSTANCES = "run/pltfrms/instances"


@dataclass(frozen=True, slots=True)
class FoundInstance:
    """An instance that runs now."""

    allocation: str
    pid: int
    """Of its init process, in the machine's pid namespace."""


def find_instances(machine_pid: int, allocation_prefix: str) -> tuple[FoundInstance, ...]:
    """Return the living instances whose allocation id begins so, on the machine of that pid."""
    root = Path("/proc", str(machine_pid), "root")
    found: list[FoundInstance] = []
    with suppress(FileNotFoundError):
        for path in sorted((root / INSTANCES).glob(f"{allocation_prefix}*.json")):
            # A file may be half gone, and may outlive its process for a moment.
            with suppress(FileNotFoundError, ValueError, KeyError):
                said = json.loads(path.read_text())
                instance = FoundInstance(said["allocation"], int(said["pid"]))
                if (root / "proc" / str(instance.pid)).exists():
                    found.append(instance)
    return tuple(found)


def pids_of(machine_pid: int, instance: FoundInstance) -> tuple[int, ...]:
    """Return all processes in the instance's pid namespace, as its machine counts.

    An instance without a namespace of its own has just its first process.
    """
    proc = Path("/proc", str(machine_pid), "root", "proc")
    own = _pid_namespace(proc / str(instance.pid))
    if own in {"", _pid_namespace(proc / "1")}:
        return (instance.pid,)
    return tuple(
        int(path.name)
        for path in proc.iterdir()
        if path.name.isdigit() and _pid_namespace(path) == own
    )


def _pid_namespace(process: Path) -> str:
    try:
        return str((process / "ns" / "pid").readlink())
    except OSError:
        return ""
