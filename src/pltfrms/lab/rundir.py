"""A lab's directory on the host: its socket, its log, and who it is.

/run/pltfrms/labs/NAME/
    lab.json    who the lab is; there once it has started
    lab.sock    where its daemon listens
    lab.log     what its daemon says
    parts.json  what it was last asked to be rewired to
The keeper holds a lock on the directory for the lab's life, so a directory whose lock is free
belongs to nobody and may go.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pltfrms.codec import encode, read
from pltfrms.errors import ConflictError
from pltfrms.lab.groups import remove_groups
from pltfrms.lab.parts import LabParts

LABS = Path("/run/pltfrms/labs")
PARTS = "parts.json"
"""In a lab's directory: what it was last asked to be rewired to."""
KEEPER_NAME = "lab-keeper"
"""What the process that outlives a capsule calls itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabInfo:
    """A running lab."""

    name: str
    directory: str
    """The operator's directory it was started from."""
    root_pid: int
    """Process 1 of its capsule, as the host counts."""
    started_at: float
    """Unix time, seconds."""
    machines: int
    keeper_pid: int = 0
    """Of the process that removes what the capsule leaves; 0: not known."""
    packages: bool = False
    """Whether machines boot systemd with the package."""
    started_by: str = ""
    """By whom and in which directory, in words; empty: not known."""


def directory_of(name: str) -> Path:
    """Return the run directory of the lab called `name`."""
    return LABS / name


def claim(name: str) -> int:
    """Make the run directory and lock it; return the descriptor that holds the lock.

    Raises:
        ConflictError: a lab of that name is running or being started.
    """
    path = directory_of(name)
    while True:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock(path)
        if lock is None:
            raise ConflictError(
                f"the lab {name} is running already; end it with: pltfrms lab down --lab {name}"
            )
        # Somebody may have removed the directory between our two calls.
        if path.exists() and path.stat().st_ino == os.fstat(lock).st_ino:
            _empty(path)
            remove_groups(name)
            return lock
        os.close(lock)


def write_info(info: LabInfo) -> None:
    """Make the lab known as started."""
    _write(directory_of(info.name) / "lab.json", info)


def write_parts(name: str, parts: LabParts) -> None:
    """Say what a lab is to be rewired to; its daemon and its root read it."""
    _write(directory_of(name) / PARTS, parts)


def _write(path: Path, word: object) -> None:
    draft = path.with_name(f"{path.name}.new")
    draft.write_bytes(encode(word))
    draft.rename(path)


def read_labs() -> Iterator[LabInfo]:
    """Yield every started lab by name; remove what dead ones left."""
    paths = sorted(LABS.iterdir()) if LABS.exists() else []
    for path in paths:
        remove_if_dead(path)
        with suppress(FileNotFoundError):
            yield read(LabInfo, (path / "lab.json").read_bytes())


def remove_if_dead(path: Path) -> None:
    """Remove a run directory whose keeper is gone."""
    lock = _lock(path)
    if lock is not None:
        forget(path)
        os.close(lock)


def forget(path: Path) -> None:
    """Remove a run directory, and before it what its lab has left in the kernel.

    A group that the kernel does not let go of yet keeps it: who looks next removes both.
    """
    if remove_groups(path.name):
        shutil.rmtree(path, ignore_errors=True)


def _lock(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _empty(path: Path) -> None:
    for left in path.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()
