"""Where a controller's backups go: what its directories say."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pltfrms.controller.keeping.backups import Backups
from pltfrms.drivers.backup.directory import DirectoryVault
from pltfrms.drivers.backup.ports import BackupName, BackupPlace
from pltfrms.drivers.backup.s3 import S3Place
from pltfrms.drivers.backup.s3_file import read_s3_bucket
from pltfrms.drivers.backup.sealing import OpensslSeal
from pltfrms.drivers.backup.sftp import SftpPlace
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.store.ports import Store
from pltfrms.errors import PltfrmsError, UnavailableError, UsageError

CERTIFICATE: Final = "backup.crt"
"""In the directory of the configuration; without it there are no backups."""
OUTSIDE: Final = "backup.sftp"
"""Beside it: one line, USER@HOST:DIRECTORY."""
BUCKET: Final = "backup.s3"
"""Beside it: see `s3_file`."""


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
    outside = _outside(directories.config)
    seal = OpensslSeal(certificate)
    return Backups(store, SystemClock(), name, vault_of(directories), seal, outside)


def _outside(config: Path) -> BackupPlace | None:
    """Return the place outside, or all of them as one; None: there is none."""
    kinds: tuple[tuple[str, Callable[[Path], BackupPlace]], ...] = (
        (OUTSIDE, lambda path: SftpPlace(path.read_text().strip())),
        (BUCKET, lambda path: S3Place(read_s3_bucket(path))),
    )
    places: list[BackupPlace] = []
    for name, read in kinds:
        path = config / name
        try:
            places.append(read(path))
        except FileNotFoundError:
            continue
        except (UsageError, OSError, UnicodeDecodeError) as error:
            places.append(_Nowhere(f"{path}: {error}"))
    return _All(places) if places else None


class _All:
    """Several places outside: each gets every backup."""

    def __init__(self, places: Sequence[BackupPlace]) -> None:
        self._places = places

    async def send(self, name: BackupName, sealed: str) -> None:
        """Send it to each, whatever becomes of it at the others."""
        wrong: list[str] = []
        for place in self._places:
            try:
                await place.send(name, sealed)
            except (PltfrmsError, OSError) as error:
                wrong.append(str(error))
        if wrong:
            raise UnavailableError("; ".join(wrong))


class _Nowhere:
    """A place outside that its file does not say."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def send(self, name: BackupName, sealed: str) -> None:
        """Refuse it."""
        raise UnavailableError(f"{name} of {len(sealed)} bytes: {self._why}")
