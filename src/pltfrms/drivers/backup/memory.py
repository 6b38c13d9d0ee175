"""Twins of what keeps backups, for tests and simulation."""

import base64
from collections.abc import Callable

from pltfrms.drivers.backup.ports import BackupName
from pltfrms.errors import NotFoundError, UsageError


class MemoryVault:
    """`ports.Vault` in memory. Tests set `broken` to the error that all calls get."""

    def __init__(self, most: int = 48) -> None:
        """Keep so many."""
        self._most = most
        self.kept: dict[BackupName, str] = {}
        self.broken: Callable[[], OSError | None] = lambda: None

    def names(self) -> tuple[BackupName, ...]:
        """See `ports.Vault`."""
        self._fail()
        return tuple(sorted(self.kept))

    def read(self, name: BackupName) -> str:
        """See `ports.Vault`."""
        self._fail()
        if name not in self.kept:
            raise NotFoundError(f"there is no backup {name}")
        return self.kept[name]

    async def write(self, name: BackupName, sealed: str) -> None:
        """See `ports.Vault`."""
        self._fail()
        self.kept[name] = sealed
        for old in sorted(self.kept)[: -self._most]:
            del self.kept[old]

    def _fail(self) -> None:
        if error := self.broken():
            raise error


class MemorySeal:
    """`ports.Seal` that hides nothing, but is not readable at first sight."""

    async def close(self, text: str) -> str:
        """See `ports.Seal`."""
        return base64.b64encode(text.encode()).decode()

    async def open(self, sealed: str) -> str:
        """See `ports.Seal`."""
        try:
            return base64.b64decode(sealed, validate=True).decode()
        except ValueError:
            raise UsageError("it was not sealed for this key, or is damaged") from None
