"""The file system in which maps and programs of the kernel have names."""

import ctypes
import os
import struct
from pathlib import Path
from typing import Final

_LIBC = ctypes.CDLL(None, use_errno=True)
_MAGIC: Final = 0xCAFE4A11
_NOSUID, _NODEV, _NOEXEC = 2, 4, 8


def is_bpffs(directory: Path) -> bool:
    """Return whether a directory is in a bpffs; False if it is not there."""
    answer = ctypes.create_string_buffer(256)
    if _LIBC.statfs(os.fsencode(directory), answer):
        return False
    kind: int = struct.unpack_from("@l", answer)[0]
    return kind == _MAGIC


def mount_bpffs(directory: Path) -> None:
    """Make a directory be a bpffs that only root may enter; OSError if that cannot be.

    What is pinned in it lasts as long as the mount: until the machine, or the namespace that
    stands for one, ends.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if is_bpffs(directory):
        return
    where, flags = os.fsencode(directory), ctypes.c_ulong(_NOSUID | _NODEV | _NOEXEC)
    if _LIBC.mount(b"bpf", where, b"bpf", flags, b"mode=700"):
        code = ctypes.get_errno()
        raise OSError(code, f"mount of a bpffs at {directory}: {os.strerror(code)}")
