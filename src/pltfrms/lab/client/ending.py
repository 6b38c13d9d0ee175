"""End a lab, whatever state its processes are in."""

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pltfrms.errors import UnavailableError
from pltfrms.lab.processes.patience import Patience
from pltfrms.lab.processes.processes import OWN_NICE
from pltfrms.lab.rundir import KEEPER_NAME, LabInfo, directory_of, remove_if_dead

DOWN_SECONDS: Final = 10.0
"""On a quiet machine; see `Patience`."""
_KEEPER_SECONDS: Final = 2.0
"""After the capsule's end its keeper only removes a directory: if it is late, we do."""
_LOOK_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.002
_MOST_NAMES: Final = 5


def end_lab(info: LabInfo) -> float:
    """End a lab; return the seconds until nothing of it was left.

    Asks none of its processes: the kernel ends all of them with the first one, also those that
    are stopped.

    Raises:
        UnavailableError: the kernel does not let go of it; names the processes.
    """
    started = time.monotonic()
    patience = Patience(DOWN_SECONDS)
    with _in_a_hurry():
        _end_capsule(info, patience)
        _remove_rest(info, patience)
    return time.monotonic() - started


def _end_capsule(info: LabInfo, patience: Patience) -> None:
    with suppress(ProcessLookupError):
        watch = os.pidfd_open(info.root_pid)
        try:
            if not directory_of(info.name).exists():
                return  # the lab is gone, and the pid may be another's
            signal.pidfd_send_signal(watch, signal.SIGKILL)
            while not select.select((watch,), (), (), _LOOK_SECONDS)[0]:
                if not patience.left():
                    raise UnavailableError(_still_there(info, patience))
        finally:
            os.close(watch)


def _remove_rest(info: LabInfo, patience: Patience) -> None:
    path = directory_of(info.name)
    ours_at = time.monotonic() + _KEEPER_SECONDS
    while path.exists():
        remove_if_dead(path)
        if time.monotonic() > ours_at:
            _kill_keeper(info)
        if not patience.left():
            raise UnavailableError(_still_there(info, patience))
        time.sleep(_POLL_SECONDS)


def _kill_keeper(info: LabInfo) -> None:
    with suppress(OSError):
        watch = os.pidfd_open(info.keeper_pid)
        try:
            # Read after the pid is held: it cannot become another's between the two.
            process = Path("/proc", str(info.keeper_pid))
            is_keeper = (process / "comm").read_text().strip() == KEEPER_NAME
            words = (process / "cmdline").read_bytes().split(b"\0")
            if is_keeper and info.name.encode() in words:
                signal.pidfd_send_signal(watch, signal.SIGKILL)
        finally:
            os.close(watch)


def _still_there(info: LabInfo, patience: Patience) -> str:
    left = list(_descendants(info.root_pid))
    names = ", ".join(left[:_MOST_NAMES]) + (", ..." if len(left) > _MOST_NAMES else "")
    return (
        f"the lab {info.name} was killed but did not end {patience.sentence}: "
        f"{names or 'its keeper'} did not go; see {directory_of(info.name)}"
    )


def _descendants(root: int) -> Iterator[str]:
    """Yield name, pid and state of a process and all that it has begun, as the host counts."""
    children: dict[int, list[int]] = {}
    words: dict[int, str] = {}
    for path in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError, ValueError):
            lines = path.read_text().splitlines()
            said = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            pid, parent = int(said["Pid"]), int(said["PPid"])
            words[pid] = f"{said['Name']} (pid {pid}, {said['State']})"
            children.setdefault(parent, []).append(pid)
    todo = [root] if root in words else []
    while todo:
        pid = todo.pop()
        todo += children.get(pid, [])
        yield words[pid]


@contextmanager
def _in_a_hurry() -> Iterator[None]:
    """Be served before others that want the processors."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, min(before, OWN_NICE))
    try:
        yield
    finally:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, before)
