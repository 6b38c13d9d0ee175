"""The volumes of a machine: directories that outlive instances.

<state>/volumes/ID/NAME   what an instance sees
<state>/volumes/ID/.lock  who has it locked uses the volume, or deletes it

All above NAME belongs to root and is ours, so that nobody can put a symbolic link there; NAME
and what is in it is opened without following any. Nothing is deleted but by `remove`.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pltfrms.drivers.workload.disks import quotas
from pltfrms.drivers.workload.ports import VolumeUse
from pltfrms.errors import UnavailableError
from pltfrms.model.services.storage import VolumeSpec

VOLUMES: Final = "volumes"
"""The directory that has them, in that of the machine's state."""
LOCK: Final = ".lock"
GONE: Final = (
    "volume {0} is not on this disk any more: mount what has it; if its data is lost, to begin"
    " with nothing: pltfrms volume release {0} --give-up"
)
_GONE: Final = ".gone-"
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Volumes:
    """`<state>/volumes`."""

    def __init__(self, state: Path) -> None:
        """Do not touch the disk yet."""
        self._root = state / VOLUMES

    def place(self, volume: str) -> Path:
        """Return where a volume has its directories, and its lock."""
        return self._root / volume

    def prepare(
        self, volume: str, wanted: Sequence[VolumeSpec], *, made: bool = False
    ) -> dict[str, str]:
        """Make what is missing of a volume; return its directories by where they are seen.

        What is there stays as it is, also its owner; only its size follows the spec. What was
        `made` has to be there: else its disk is not mounted, or is another one.

        Raises:
            UnavailableError: it is gone, or something else is in its place, such as a
                symbolic link.
        """
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = self.place(volume)
        if made and not place.exists():
            raise UnavailableError(GONE.format(volume))
        try:
            with _opened(self._root) as root, _made(volume, root) as above:
                for each in wanted:
                    with _made(each.name, above, each.owner) as here:
                        quotas.limit(here, f"{volume}/{each.name}", each.size_bytes)
        except OSError as error:
            why = error.strerror or str(error)
            raise UnavailableError(f"volume {volume} in {place}: {why}") from error
        return {each.path: str(place / each.name) for each in wanted}

    def found(self) -> tuple[str, ...]:
        """Return the volumes that are on the disk, also such as nobody knows."""
        with suppress(FileNotFoundError):
            return tuple(sorted(e.name for e in self._root.iterdir() if e.name[0] != "."))
        return ()

    def uses(self) -> dict[str, dict[str, VolumeUse]]:
        """Return how much is in each directory of each volume; it reads all of their inodes."""
        return {volume: dict(self._uses(volume)) for volume in self.found()}

    def remove(self, volume: str) -> None:
        """Delete a volume and all that is in it; nothing happens if it is not there.

        Raises:
            UnavailableError: an instance has it, or the disk refuses.
        """
        gone = self._root / f"{_GONE}{volume}"
        try:
            with _opened(self.place(volume)) as here, _locked(here):
                self.place(volume).rename(gone)
        except FileNotFoundError:
            pass
        except BlockingIOError as error:
            raise UnavailableError(f"an instance has volume {volume}") from error
        except OSError as error:
            raise UnavailableError(f"volume {volume}: {error.strerror}") from error
        shutil.rmtree(gone, ignore_errors=True)
        if gone.exists():
            raise UnavailableError(f"volume {volume}: not all of it could be deleted: {gone}")

    def _uses(self, volume: str) -> Iterator[tuple[str, VolumeUse]]:
        with suppress(OSError), _opened(self.place(volume)) as above:
            for name in sorted(os.listdir(above)):  # noqa: PTH208 - of a descriptor
                with suppress(OSError), _opened(name, above) as here:
                    used = quotas.used_bytes(here, f"{volume}/{name}")
                    limited = used is not None
                    yield name, VolumeUse(used if used is not None else _size(here), limited)


@contextmanager
def _opened(path: str | Path, above: int | None = None) -> Iterator[int]:
    here = os.open(path, _DIRECTORY, dir_fd=above)
    try:
        yield here
    finally:
        os.close(here)


@contextmanager
def _made(name: str, above: int, owner: str = "") -> Iterator[int]:
    """Open a directory, and make it if it is not there."""
    made = False
    with suppress(FileExistsError):
        os.mkdir(name, mode=0o700, dir_fd=above)
        made = True
    with _opened(name, above) as here:
        if made and owner:
            uid, _, gid = owner.partition(":")
            os.fchown(here, int(uid), int(gid or uid))
        yield here


@contextmanager
def _locked(here: int) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    lock = os.open(LOCK, flags, 0o600, dir_fd=here)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def _size(directory: int) -> int:
    """Return what is below a directory on the disk, in bytes."""
    blocks = 0
    for _, names, files, here in os.fwalk(dir_fd=directory, follow_symlinks=False):
        for name in (*names, *files):
            with suppress(FileNotFoundError):
                blocks += os.stat(name, dir_fd=here, follow_symlinks=False).st_blocks
    return blocks * 512
