"""Files and directories that are nobody's business but ours: they may have passwords in them.

The directory of all state may be passed by everybody, but not looked into: BIRD and instances,
which may be other users, have theirs in it. All that we write there is for us alone.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PRIVATE_FILE: Final = 0o600
PRIVATE_DIRECTORY: Final = 0o700
PASSED_DIRECTORY: Final = 0o711
_OTHERS: Final = 0o077


def make_directory(path: Path, mode: int = PRIVATE_DIRECTORY) -> None:
    """Make a directory with exactly this mode, also if it is there with another one.

    Parents that are missing get the usual mode.

    Raises:
        OSError: it cannot be made.
    """
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o7777 != mode:
        path.chmod(mode)


def others_may(path: Path) -> bool:
    """Return whether anybody but its owner may do something with a file; OSError."""
    return bool(path.stat().st_mode & _OTHERS)


def hide_files(directory: Path) -> None:
    """Take from everybody else what they may do with the files of a directory.

    Raises:
        OSError: a file is not ours.
    """
    for path in directory.iterdir():
        mode = path.lstat().st_mode
        if path.is_file() and not path.is_symlink() and mode & _OTHERS:
            path.chmod(PRIVATE_FILE)


def copy_directory(source: Path, target: Path) -> None:
    """Copy what a directory has, so that at no moment anybody else may read it.

    Raises:
        OSError: there is something at `target` already, or the disk refuses.
    """
    target.mkdir(mode=PRIVATE_DIRECTORY)
    for path in source.iterdir():
        if path.is_dir():
            copy_directory(path, target / path.name)
        else:
            fresh = target / path.name
            fresh.touch(PRIVATE_FILE, exist_ok=False)
            with path.open("rb") as old, fresh.open("wb") as new:
                shutil.copyfileobj(old, new)


def replace_file(path: Path, value: bytes) -> None:
    """Replace a private file atomically and durably.

    Whatever goes wrong, the old file stays, and nothing is left of the new one. After a power
    cut either of them is there.

    Raises:
        OSError: the disk refuses.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        _write(fresh, value)
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    sync_directory(path.parent)  # else the rename itself may be lost


@contextlib.contextmanager
def locked(directory: Path, *, wait: bool = True) -> Iterator[None]:
    """Keep all others meanwhile from what they would do to a directory under this lock.

    Raises:
        BlockingIOError: another process has it, and this one does not `wait`.
        OSError: there is no such directory.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def sync_directory(path: Path) -> None:
    """Make what happened to the names in a directory outlive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(path: Path, value: bytes) -> None:
    path.unlink(missing_ok=True)  # of a process that ended; it may have had another mode
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, flags, PRIVATE_FILE), "wb") as file:
        file.write(value)
        file.flush()
        os.fsync(file.fileno())
