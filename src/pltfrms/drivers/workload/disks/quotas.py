"""Project quotas of xfs and ext4, where the file system is mounted with them.

A directory with all below it is a project. Its number is made from its name, so that nothing
has to be remembered. Where there are no such quotas, nothing is limited.
"""

import ctypes
import fcntl
import os
import struct
from hashlib import blake2b
from typing import Final

_GET_XATTR, _SET_XATTR = 0x801C581F, 0x401C5820
_XATTR: Final = struct.Struct("=IIIII8x")
"""Flags, extent size, extents, project, copy-on-write extent size."""
_INHERIT: Final = 0x200
_QUOTACTL_FD: Final = 443
_PROJECT: Final = 2
_GET, _SET = (0x800007 << 8) | _PROJECT, (0x800008 << 8) | _PROJECT
_QUOTA: Final = struct.Struct("=8QI4x")
"""Hard and soft limit in KiB, bytes, three of inodes, two times; which of them are said."""
_BLOCK_LIMITS: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def limit(directory: int, name: str, size_bytes: int) -> bool:
    """Let a directory take no more than so many bytes; return whether it can be refused."""
    number = _number(name)
    blocks = -(-size_bytes // 1024)
    wanted = _QUOTA.pack(blocks, 0, 0, 0, 0, 0, 0, 0, _BLOCK_LIMITS)
    if _call(directory, _SET, number, ctypes.create_string_buffer(wanted, _QUOTA.size)):
        return False
    try:
        before = fcntl.ioctl(directory, _GET_XATTR, bytes(_XATTR.size))
        flags, extent, extents, _, cow = _XATTR.unpack(before)
        after = _XATTR.pack(flags | _INHERIT, extent, extents, number, cow)
        fcntl.ioctl(directory, _SET_XATTR, after)
    except OSError:
        return False
    return True


def used_bytes(directory: int, name: str) -> int | None:
    """Return how much is in a directory that `limit` has limited; None: it has not."""
    try:
        found = fcntl.ioctl(directory, _GET_XATTR, bytes(_XATTR.size))
    except OSError:
        return None
    number = _number(name)
    said = ctypes.create_string_buffer(_QUOTA.size)
    if _XATTR.unpack(found)[3] != number or _call(directory, _GET, number, said):
        return None
    return int(_QUOTA.unpack(said.raw)[2])


def _number(name: str) -> int:
    """Return the project of a name: none that people number by hand."""
    digest = blake2b(name.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") | 0x4000_0000


def _call(directory: int, command: int, number: int, words: ctypes.Array[ctypes.c_char]) -> int:
    """Return 0, or why the kernel refuses."""
    result = _LIBC.syscall(_QUOTACTL_FD, directory, command, number, words)
    return ctypes.get_errno() or os.EX_OSERR if result else 0
