"""Where a controller's backups go: what its directories say."""

from pathlib import Path
from typing import Final

from pltfrms.controller.keeping.backups import Backups
from pltfrms.drivers.backup.directory import DirectoryVault
from pltfrms.drivers.backup.ports import BackupName, BackupPlace
from pltfrms.drivers.backup.sealing import OpensslSeal
from pltfrms.drivers.backup.sftp import SftpPlace
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.store.ports import Store
from pltfrms.errors import UnavailableError, UsageError

CERTIFICATE: Final = "backup.crt"
"""In the directory of the configuration; without it there are no backups."""
OUTSIDE: Final = "backup.sftp"
"""Beside it: one line, USER@HOST:DIRECTORY."""


def vault_of(directories: Directories) -> DirectoryVault:
    """Return where a machine keeps backups."""
    return DirectoryVault(directories.state / "backups")


def backups_of(store: Store, name: str, directories: Directories) -> Backups | None:
    """Return the backups of controller `name`; None without a certificate to seal them.

    A place outside that is none is told each time: it must keep no controller from starting.
    """
    certificate = directories.config / CERTIFICATE
    if not certificate.exists():
        return None
    outside = _outside(directories.config / OUTSIDE)
    seal = OpensslSeal(certificate)
    return Backups(store, SystemClock(), name, vault_of(directories), seal, outside)


def _outside(path: Path) -> BackupPlace | None:
    try:
        return SftpPlace(path.read_text().strip())
    except FileNotFoundError:
        return None
    except (UsageError, OSError, UnicodeDecodeError) as error:
        return _Nowhere(f"{path}: {error}")


class _Nowhere:
    """A place outside that its file does not say."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def send(self, name: BackupName, sealed: str) -> None:
        """Refuse it."""
        raise UnavailableError(f"{name} of {len(sealed)} bytes: {self._why}")
