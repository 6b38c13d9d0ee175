"""What instances see of the machine's disks, found so that no symbolic link leads elsewhere."""

import os
import stat
from contextlib import ExitStack
from pathlib import PurePosixPath

from pltfrms.errors import UnavailableError
from pltfrms.model.services.storage import Storage


def host_binds(storage: Storage | None) -> dict[str, str]:
    """Return paths of the machine by where a container sees them.

    Raises:
        UnavailableError: one is not there, has a symbolic link in it, or is neither a file nor
            a directory, such as the socket of a daemon.
    """
    found = storage.host_paths if storage else ()
    for each in found:
        _require_plain(each.source)
    return {each.path: each.source for each in found}


def _require_plain(path: str) -> None:
    with ExitStack() as held:
        here = _open("/", held)
        for part in PurePosixPath(path).parts[1:]:
            try:
                here = _open(part, held, here)
            except OSError as error:
                raise UnavailableError(f"{path} of this machine: {error.strerror}") from error
            if stat.S_ISLNK(os.fstat(here).st_mode):
                raise UnavailableError(f"{path} of this machine: {part} is a symbolic link")
        mode = os.fstat(here).st_mode
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            raise UnavailableError(f"{path} of this machine is neither a file nor a directory")


def _open(name: str, held: ExitStack, above: int | None = None) -> int:
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    held.callback(os.close, found)
    return found
