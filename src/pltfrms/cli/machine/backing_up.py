"""What the commands of `backup` do: not loaded for their help."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from pltfrms.api.store.backing_up import CERTIFICATE, backups_of, vault_of
from pltfrms.cli.shared.output import bad, good, write_json, write_line, write_table
from pltfrms.cli.shared.specs import load_platform
from pltfrms.controller.keeping.backups import read_backup, restore
from pltfrms.drivers.backup.ports import BackupName
from pltfrms.drivers.backup.sealing import OpensslSeal, make_key
from pltfrms.drivers.identity.store_files import StoreFiles
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.drivers.store.ports import Store
from pltfrms.errors import NotFoundError, UsageError
from pltfrms.model.messages.backup import IntentBackup
from pltfrms.render.etcd import etcd_endpoints

_T = TypeVar("_T")
_WRONG = 4


def make(directory: Path, name: str) -> None:
    """Make a key and its certificate in a directory."""
    key, certificate = asyncio.run(make_key(directory, name))
    write_line(f"{key}: opens backups; keep it away from the platform's machines")
    write_line(f"{certificate}: copy it to {Directories().config / CERTIFICATE} of controllers")


def take_now(directories: Directories) -> None:
    """Take a backup, and write where it is."""
    config, kept = directories.config, directories.state / "backups"

    async def work(store: Store, name: str) -> BackupName:
        backups = backups_of(store, name, directories)
        if backups is None:
            raise UsageError(
                f"{config / CERTIFICATE} is missing: it seals backups; see `pltfrms backup key`"
            )
        return await backups.now()

    try:
        name = _with_store(directories, work)
    except OSError as error:
        raise UsageError(f"{kept}: {error.strerror}") from error
    write_line(f"{kept / str(name)}")


def list_all(directories: Directories, *, as_json: bool) -> None:
    """Write what a machine keeps."""
    names = vault_of(directories).names()
    if as_json:
        write_json([str(name) for name in names], list[str])
        return
    rows = [(_when(n.taken_ms), str(n.revision), n.platform, str(n)) for n in names]
    if not rows:
        raise NotFoundError(f"there are no backups in {directories.state / 'backups'}")
    write_table(("taken", "commit", "platform", "file"), rows)


def verify(directories: Directories, file: Path | None, key: Path | None) -> int:
    """Write of each backup, or of one, whether it is whole; return the exit code."""
    directory = directories.state / "backups"
    kept = [directory / str(name) for name in vault_of(directories).names()]
    files = [file] if file else kept
    if not files:
        raise NotFoundError(f"there are no backups in {directory}")
    wrong = 0
    for path in files:
        try:
            _sealed(path)
            opened = open_backup(path, directories.config, key) if key else None
        except UsageError as error:
            wrong += 1
            write_line(f"{path}: {bad(str(error))}")
        else:
            said = f"{len(opened.entries)} documents" if opened else "whole"
            write_line(f"{path}: {good(said)}")
    return _WRONG if wrong else 0


def put_back(
    directories: Directories, file: Path, key: Path, past: int, *, replace: bool, yes: bool
) -> None:
    """Put a backup into the store, and write what is next."""
    kept = open_backup(file, directories.config, key)
    documents = f"{len(kept.entries)} documents"
    write_line(f"{kept.platform}, {_when(kept.taken_ms)}, commit {kept.revision}: {documents}")
    if not yes:
        click.confirm("Make this what is wanted?", abort=True)

    async def work(store: Store, _name: str) -> int:
        now_ms = time.time_ns() // 1_000_000
        return await restore(store, kept, now_ms, past=past, despite_data=replace)

    commit = _with_store(directories, work)
    write_line(f"restored as commit {commit}")
    write_line(
        "Machines that have heard of a later commit keep what they have. Apply your files as "
        "they are now, then look at `pltfrms status`."
    )


def _sealed(path: Path) -> str:
    """Return what a file has; UsageError if that is not what was written."""
    name = BackupName.of(path.name)
    try:
        sealed = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot be read: {error}") from error
    if not name.fits(sealed):
        raise UsageError("damaged: its checksum is not the one in its name")
    return sealed


def open_backup(path: Path, config: Path, key: Path | None) -> IntentBackup:
    """Return the backup of a file; UsageError if it is not whole, or the key is another."""
    sealed = _sealed(path)
    certificate = (key.with_suffix(".crt") if key else None) or config / CERTIFICATE
    if not certificate.exists():
        certificate = config / CERTIFICATE
    return read_backup(asyncio.run(OpensslSeal(certificate, key).open(sealed)))


def _with_store(directories: Directories, work: Callable[[Store, str], Awaitable[_T]]) -> _T:
    """Return what is done with the store that the controller of this machine uses."""
    config, files = directories.config, StoreFiles(directories.state)
    platform = load_platform(config / "platform.yaml")
    try:
        name = (config / "machine").read_text().strip()
    except OSError as error:
        raise UsageError(f"{config / 'machine'}: {error.strerror}") from error

    async def run() -> _T:
        endpoints = etcd_endpoints(platform, name, secure=files.there)
        store = EtcdStore(endpoints, tls=files.context)
        try:
            return await work(store, name)
        finally:
            await store.close()

    return asyncio.run(run())


def _when(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
