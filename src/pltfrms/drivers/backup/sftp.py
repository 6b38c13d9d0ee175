"""A place outside, by OpenSSH's `sftp` with the keys and known hosts of its configuration."""

import asyncio
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pltfrms.drivers.backup.ports import BackupName
from pltfrms.drivers.tool import run_tool
from pltfrms.errors import UsageError

_SECONDS: Final = 120.0
_PLACE: Final = re.compile(
    r"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.@-]*|[A-Za-z0-9_.-]*@?\[[0-9a-fA-F:.]+\])"
    r":(?P<directory>[A-Za-z0-9_./~-]+)\Z"
)


class SftpPlace:
    """`ports.BackupPlace` by `sftp`. Nothing there is deleted: that is up to the place."""

    def __init__(self, place: str) -> None:
        """Send to `USER@HOST:DIRECTORY`; UsageError if it is no such place."""
        found = _PLACE.match(place)
        if found is None or found["directory"].startswith("-"):
            raise UsageError(f"{place!r} is no place for backups; write USER@HOST:DIRECTORY")
        self._host, self._directory = found["host"], found["directory"].rstrip("/") or "/"

    async def send(self, name: BackupName, sealed: str) -> None:
        """See `ports.BackupPlace`."""
        there = f"{self._directory}/{name}"
        with TemporaryDirectory(prefix="pltfrms-") as directory:
            here = await asyncio.to_thread(_written, Path(directory, "backup"), sealed)
            lines = (f'put "{here}" "{there}.part"', f'rename "{there}.part" "{there}"')
            options = ("-oBatchMode=yes", "-oConnectTimeout=10", "-b", "-")
            text = "\n".join((*lines, ""))
            await run_tool("sftp", *options, "--", self._host, text=text, seconds=_SECONDS)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
