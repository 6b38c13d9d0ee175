"""The archive of what the outside said to us: MRT files that BIRD writes, one per hour."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pltfrms.drivers.bird.sharing import share_directory

MOST_FILES: Final = 48
MOST_BYTES: Final = 1024**3


class MrtArchive:
    """A directory of MRT files, kept small: the oldest ones go first."""

    def __init__(
        self,
        directory: Path = Path("/var/lib/pltfrms/mrt"),
        most_files: int = MOST_FILES,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Remember where it is."""
        self._directory = directory
        self._most_files = most_files
        self._most_bytes = most_bytes

    def file(self, now_ms: int) -> str:
        """Return the file for an instant (Unix time), in a directory that is there.

        BIRD refuses a configuration whose file it cannot open.

        Raises:
            OSError: there can be no such directory.
        """
        share_directory(self._directory, written=True)
        hour = datetime.fromtimestamp(now_ms / 1000, UTC)
        return str(self._directory / f"{hour:%Y-%m-%dT%H}.mrt")

    def prune(self, now_ms: int) -> None:
        """Delete the oldest files until the rest is small enough; never the present one.

        Raises:
            OSError: they cannot be deleted.
        """
        present = Path(self.file(now_ms))
        files = sorted(self._directory.glob("*.mrt"), reverse=True)  # names sort by time
        count, size = 0, 0
        for file in files:
            count, size = count + 1, size + file.stat().st_size
            if file != present and (count > self._most_files or size > self._most_bytes):
                file.unlink()


class NoArchive:
    """The twin of `MrtArchive`, for tests: names, and no files."""

    def __init__(self) -> None:
        """Start unpruned."""
        self.pruned = 0

    def file(self, now_ms: int) -> str:
        """See `MrtArchive.file`."""
        return f"/archive/{now_ms // 3_600_000}.mrt"

    def prune(self, now_ms: int) -> None:
        """Count."""
        del now_ms
        self.pruned += 1
