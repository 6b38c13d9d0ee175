"""Show an instance directories of volumes. Run: `python -I -S instance_mounts.py FROM TO ...`.

In the mount namespace of the instance, by its pid 1. Standard library only, as
`instance_init.py`. No symbolic link is followed, neither on the way to a directory nor on that
to its place; what is missing of the place is made.
"""

from __future__ import annotations

import ctypes
import os
import sys

_MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND = 2, 4, 32, 0x1000
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
_LIBC = ctypes.CDLL(None, use_errno=True)


def main(words: list[str]) -> None:
    """Mount each of FROM at its TO."""
    for source, target in zip(words[::2], words[1::2], strict=True):
        _bind(_walk(source, make=False), _walk(target, make=True), target)


def _bind(what: int, where: int, target: str) -> None:
    _mount(f"/proc/self/fd/{what}", f"/proc/self/fd/{where}", _MS_BIND)
    mounted = _walk(target, make=False)
    flags = _MS_NOSUID | _MS_NODEV | _MS_REMOUNT | _MS_BIND
    _mount("", f"/proc/self/fd/{mounted}", flags)


def _mount(source: str, target: str, flags: int) -> None:
    if _LIBC.mount(source.encode() or None, target.encode(), None, flags, None):
        raise OSError(f"mount: {os.strerror(ctypes.get_errno())}")


def _walk(path: str, *, make: bool) -> int:
    """Open a directory, part by part from the root on."""
    here = os.open("/", _DIRECTORY)
    for part in filter(None, path.split("/")):
        try:
            here = _step(part, here, make=make)
        except OSError as error:
            raise OSError(f"{path}: {part}: {error.strerror}") from error
    return here


def _step(part: str, above: int, *, make: bool) -> int:
    try:
        return os.open(part, _DIRECTORY, dir_fd=above)
    except FileNotFoundError:
        if not make:
            raise
    os.mkdir(part, 0o755, dir_fd=above)
    return os.open(part, _DIRECTORY, dir_fd=above)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as problem:
        sys.exit(str(problem))
