"""A backup: what is wanted of a platform, as it was at one revision of the store.

It is JSON that people can read. What machines say of themselves, and who lives, is not in it:
they will say so again.
"""

from dataclasses import dataclass
from typing import Final

BACKUP_FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupEntry:
    """A key of the store."""

    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentBackup:
    """All that is wanted."""

    format: int = BACKUP_FORMAT
    platform: str
    """Name of the platform."""
    revision: int
    """Of the last commit that is in it."""
    taken_ms: int
    """Unix time."""
    by: str
    """Who took it."""
    entries: tuple[BackupEntry, ...]
