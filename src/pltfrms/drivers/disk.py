"""What an agent remembers across restarts and reboots."""

import os
from pathlib import Path

from pltfrms.errors import UsageError


class DirectoryDisk:
    """`ports.Disk` as files of one directory."""

    def __init__(self, path: Path) -> None:
        """Make the directory if it is not there."""
        path.mkdir(parents=True, exist_ok=True)
        self._path = path

    def read(self, name: str) -> bytes | None:
        """See `ports.Disk`."""
        try:
            return (self._path / _checked(name)).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, value: bytes) -> None:
        """See `ports.Disk`. After a power cut either the old or the new document is there."""
        path = self._path / _checked(name)
        fresh = path.with_name(f".{name}.new")
        with fresh.open("wb") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        directory = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)  # else the rename itself may be lost
        finally:
            os.close(directory)


class MemoryDisk:
    """The twin of `DirectoryDisk`, for tests and simulation."""

    def __init__(self) -> None:
        """Start empty."""
        self.documents: dict[str, bytes] = {}

    def read(self, name: str) -> bytes | None:
        """See `ports.Disk`."""
        return self.documents.get(_checked(name))

    def write(self, name: str, value: bytes) -> None:
        """See `ports.Disk`."""
        self.documents[_checked(name)] = value


def _checked(name: str) -> str:
    if not name or name.startswith(".") or "/" in name:
        raise UsageError(f"{name!r} is no name of a document: no `/`, no leading dot")
    return name
