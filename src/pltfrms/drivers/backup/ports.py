"""The seams of backups: a place that keeps some, and a seal that one key opens."""

import hashlib
from dataclasses import dataclass
from typing import Final, Protocol, Self

from pltfrms.errors import UsageError

_SUFFIX: Final = ".backup"
_PARTS: Final = 4


@dataclass(frozen=True, slots=True, order=True)
class BackupName:
    """What the name of a kept backup says."""

    taken_ms: int
    revision: int
    checksum: str
    """Of what is kept: the first 32 digits of its SHA-256."""
    platform: str

    def __str__(self) -> str:
        """Return the name of its file."""
        return f"{self.platform}.{self.taken_ms}.{self.revision}.{self.checksum}{_SUFFIX}"

    @classmethod
    def of(cls, name: str) -> Self:
        """Read a file's name; UsageError if it is none of a backup."""
        parts = name.removesuffix(_SUFFIX).split(".")
        if not name.endswith(_SUFFIX) or len(parts) != _PARTS:
            raise UsageError(f"{name} is no backup")
        platform, taken_ms, revision, checksum = parts
        if not (taken_ms.isdecimal() and revision.isdecimal()):
            raise UsageError(f"{name} is no backup")
        return cls(int(taken_ms), int(revision), checksum, platform)

    def fits(self, kept: str) -> bool:
        """Return whether what is kept is what was written."""
        return self.checksum == checksum_of(kept)


def checksum_of(kept: str) -> str:
    """Return the checksum of a sealed backup."""
    return hashlib.sha256(kept.encode()).hexdigest()[:32]


class Vault(Protocol):
    """A place that keeps the newest backups. Every method raises OSError."""

    def names(self) -> tuple[BackupName, ...]:
        """Return what is kept, oldest first."""
        ...

    def read(self, name: BackupName) -> str:
        """Return a backup; NotFoundError if it is not kept."""
        ...

    async def write(self, name: BackupName, sealed: str) -> None:
        """Keep a backup as a whole or not at all, and forget the oldest that are too many."""
        ...


class Seal(Protocol):
    """Makes of a text what only the owner of a key can read. UnavailableError if it cannot."""

    async def close(self, text: str) -> str:
        """Return the sealed text."""
        ...

    async def open(self, sealed: str) -> str:
        """Return what was sealed; UsageError if the key is another, or a letter is."""
        ...


class BackupPlace(Protocol):
    """A place outside of the platform."""

    async def send(self, name: BackupName, sealed: str) -> None:
        """Keep a backup there as a whole or not at all; UnavailableError."""
        ...
