"""Renew secrets of an instance. Run: `python -I -S instance_secrets.py DIRECTORY`.

In the mount namespace of the instance, by the agent, which says as JSON what is to be in which
file, in base64. Each has what it had or all that is new: never a part. Standard library only,
as `instance_init.py`.
"""

from __future__ import annotations

import binascii
import ctypes
import json
import os
import sys
from pathlib import Path

_NEWNS = 0x20000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 32, 0x1000, 0x4000, 0x40000
_LIBC = ctypes.CDLL(None, use_errno=True)


def main(place: str, files: dict[str, str]) -> None:
    """Write what is new, where we alone can: to the instance it stays read-only."""
    _check(_LIBC.unshare(_NEWNS), "unshare")
    _mount("/", _MS_REC | _MS_PRIVATE)
    _mount(place, _MS_REMOUNT | _MS_BIND | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    for name, text in files.items():
        _replace(place, name, binascii.a2b_base64(text))


def _replace(place: str, name: str, value: bytes) -> None:
    """Put a file in the place of one, with its owner and mode."""
    path, fresh = Path(place, name), Path(place, f".{os.getpid()}.new")
    before = path.lstat()
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(value)
        os.fchown(fd, before.st_uid, before.st_gid)
        os.fchmod(fd, before.st_mode & 0o777)
    fresh.rename(path)


def _mount(where: str, flags: int) -> None:
    _check(_LIBC.mount(None, where.encode(), None, flags, None), f"mount {where}")


def _check(result: int, what: str) -> None:
    if result:
        raise OSError(f"{what}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    try:
        main(sys.argv[1], json.load(sys.stdin))
    except OSError as problem:
        sys.exit(str(problem))
