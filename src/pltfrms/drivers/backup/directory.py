"""A directory that keeps the newest backups."""

import asyncio
from pathlib import Path

from pltfrms.drivers.backup.ports import BackupName
from pltfrms.drivers.private import make_directory, replace_file
from pltfrms.errors import NotFoundError, UsageError

KEPT = 72
"""Backups, one an hour: of three days."""
KEPT_BYTES = 500_000_000


class DirectoryVault:
    """`ports.Vault` as files for us alone."""

    def __init__(self, path: Path, most: int = KEPT, most_bytes: int = KEPT_BYTES) -> None:
        """Keep so many, of so many bytes together; the newest one always."""
        self._path = path
        self._most = most
        self._most_bytes = most_bytes

    def names(self) -> tuple[BackupName, ...]:
        """See `ports.Vault`."""
        found: list[BackupName] = []
        for path in self._path.iterdir() if self._path.is_dir() else ():
            try:
                found.append(BackupName.of(path.name))
            except UsageError:
                continue  # somebody else's
        return tuple(sorted(found))

    def read(self, name: BackupName) -> str:
        """See `ports.Vault`."""
        try:
            return (self._path / str(name)).read_text()
        except FileNotFoundError:
            raise NotFoundError(f"there is no backup {self._path / str(name)}") from None

    async def write(self, name: BackupName, sealed: str) -> None:
        """See `ports.Vault`. Room is made before, so that a small disk is enough.

        A slow disk keeps nobody else waiting.
        """
        await asyncio.to_thread(self._write, name, sealed)

    def _write(self, name: BackupName, sealed: str) -> None:
        make_directory(self._path)
        names = list(self.names())
        sizes = {each: (self._path / str(each)).stat().st_size for each in names}
        room = self._most_bytes - len(sealed)
        while names and (len(names) >= self._most or sum(sizes.values()) > room):
            oldest = names.pop(0)
            del sizes[oldest]
            (self._path / str(oldest)).unlink(missing_ok=True)
        replace_file(self._path / str(name), sealed.encode())
