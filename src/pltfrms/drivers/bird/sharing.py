"""What BIRD, which may run as a user of its own, shares with us, and with nobody else."""

import contextlib
import functools
import grp
import os
from pathlib import Path
from typing import Final

from pltfrms.drivers.private import PRIVATE_DIRECTORY, PRIVATE_FILE, make_directory

_GROUP: Final = "bird"
"""As distributions call it. Without it BIRD is root, like us."""
_READ_BY_GROUP: Final = 0o040
_PASSED_BY_GROUP: Final = 0o010
_WRITTEN_BY_GROUP: Final = 0o070


def share_directory(path: Path, *, written: bool = False) -> None:
    """Make a directory that BIRD may pass, or one that it may write into.

    Raises:
        OSError: there can be no such directory.
    """
    group = _group()
    if group is None:
        make_directory(path)
        return
    may = _WRITTEN_BY_GROUP if written else _PASSED_BY_GROUP
    make_directory(path, PRIVATE_DIRECTORY | may)
    with contextlib.suppress(PermissionError):  # in a test that is not root
        os.chown(path, -1, group)


def open_shared(path: Path) -> int:
    """Make a file that we write and BIRD reads, and return its descriptor.

    Raises:
        OSError: it is there already, or cannot be made.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    group = _group()
    if group is not None:
        with contextlib.suppress(PermissionError):  # in a test that is not root
            os.fchown(file, -1, group)
            os.fchmod(file, PRIVATE_FILE | _READ_BY_GROUP)
    return file


@functools.cache
def _group() -> int | None:
    try:
        return grp.getgrnam(_GROUP).gr_gid
    except KeyError:
        return None
