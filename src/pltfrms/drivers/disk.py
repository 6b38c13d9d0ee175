"""What an agent remembers across restarts and reboots."""

import os
from pathlib import Path

from pltfrms.drivers.private import PASSED_DIRECTORY, hide_files, make_directory, replace_file
from pltfrms.errors import UsageError


class DirectoryDisk:
    """`ports.Disk` as files of one directory, for us alone."""

    def __init__(self, path: Path) -> None:
        """Make the directory if it is not there; hide what others may read there."""
        make_directory(path, PASSED_DIRECTORY)
        hide_files(path)
        self._path = path

    def read(self, name: str) -> bytes | None:
        """See `ports.Disk`."""
        try:
            return (self._path / _checked(name)).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, value: bytes) -> None:
        """See `ports.Disk`. After a power cut either the old or the new document is there."""
        replace_file(self._path / _checked(name), value)

    def late(self, name: str) -> bool:
        """See `ports.Disk`: a write is done or refused."""
        _checked(name)
        return False


class MemoryDisk:
    """The twin of `DirectoryDisk`, for tests and simulation.

    Tests set `refuses_writing` and `refuses_reading` to the error (`errno`) that all calls get.
    """

    def __init__(self) -> None:
        """Start empty, and well."""
        self.documents: dict[str, bytes] = {}
        self.refuses_writing = 0
        self.refuses_reading = 0

    def read(self, name: str) -> bytes | None:
        """See `ports.Disk`."""
        if self.refuses_reading and name in self.documents:
            raise OSError(self.refuses_reading, os.strerror(self.refuses_reading))
        return self.documents.get(_checked(name))

    def write(self, name: str, value: bytes) -> None:
        """See `ports.Disk`."""
        if self.refuses_writing:
            raise OSError(self.refuses_writing, os.strerror(self.refuses_writing))
        self.documents[_checked(name)] = value

    def late(self, name: str) -> bool:
        """See `ports.Disk`."""
        _checked(name)
        return False


def _checked(name: str) -> str:
    if not name or name.startswith(".") or "/" in name:
        raise UsageError(f"{name!r} is no name of a document: no `/`, no leading dot")
    return name
