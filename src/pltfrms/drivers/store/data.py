"""Whose data a directory of etcd has: what etcd writes at the beginning of each log file.

A log file is a row of records: 8 bytes with the length (little-endian; the upper byte says how
much is padding), then a message of Protocol Buffers: type, checksum, data. The checksum is
CRC-32C (RFC 3720, B.4) of all data up to there; the first record says how it begins, the second
one has the numbers of member and store (etcd: `wal/decoder.go`, the same in 3.4 and 3.5).
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pltfrms.model.messages.store import MemberData

_HEAD_BYTES = 4096
_LENGTH_MASK = (1 << 56) - 1
_METADATA, _CHECKSUM = 1, 4
_TYPE_FIELD, _CHECKSUM_FIELD, _DATA_FIELD = 1, 2, 3
_NUMBER_FIELD, _STORE_FIELD = 1, 2
_VARINT, _BYTES = 0, 2
_CASTAGNOLI = 0x82F63B78
_ALL_ONES = 0xFFFFFFFF


def read_data(directory: Path) -> MemberData | None:
    """Return whose data a directory has; None if etcd would find none there.

    Raises:
        OSError: that cannot be read.
    """
    logs = sorted((directory / "member" / "wal").glob("*.wal"))
    if not logs:
        return None
    with logs[-1].open("rb") as log:
        head = log.read(_HEAD_BYTES)
    try:
        return _metadata(head)
    except IndexError:
        return MemberData()


def in_use(directory: Path) -> bool:
    """Return whether an etcd runs with the data of a directory.

    Raises:
        OSError: that cannot be read.
    """
    try:
        with _database(directory).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def user_of(directory: Path) -> int | None:
    """Return the process that runs with the data of a directory; None: none is known.

    By its lock, as the kernel tells: command lines say less, as the same path may be another
    place for another process.

    Raises:
        OSError: that cannot be read.
    """
    try:
        found = _database(directory).stat()
    except FileNotFoundError:
        return None
    major, minor = os.major(found.st_dev), os.minor(found.st_dev)
    place = f"{major:02x}:{minor:02x}:{found.st_ino}"
    for line in Path("/proc/locks").read_text().splitlines():
        match line.split():
            case [_, "FLOCK", _, _, process, where, *_] if where == place:
                return int(process) or None
    return None


def _database(directory: Path) -> Path:
    return directory / "member" / "snap" / "db"


def _metadata(head: bytes) -> MemberData:
    """Return what the second record says; IndexError if it is not whole."""
    first, at = _record(head, 0)
    second, _at = _record(head, at)
    data = second.get(_DATA_FIELD)
    kinds = (first.get(_TYPE_FIELD), second.get(_TYPE_FIELD))
    began, checksum = first.get(_CHECKSUM_FIELD, 0), second.get(_CHECKSUM_FIELD, 0)
    if kinds != (_CHECKSUM, _METADATA) or not isinstance(data, bytes):
        return MemberData()
    if not isinstance(began, int) or _crc32c(began, data) != checksum:
        return MemberData()
    known = dict(_fields(data))
    number, store = known.get(_NUMBER_FIELD), known.get(_STORE_FIELD)
    return MemberData(number=str(number or ""), store=str(store or ""))


def _record(head: bytes, at: int) -> tuple[Mapping[int, int | bytes], int]:
    """Return the fields of a record, and where the next one begins."""
    length = int.from_bytes(head[at : at + 8], "little")
    size = length & _LENGTH_MASK
    padding = length >> 56 & 7 if length >> 63 else 0
    return dict(_fields(head[at + 8 : at + 8 + size])), at + 8 + size + padding


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field; IndexError if the message is not whole."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        value, at = _varint(message, at)
        if key & 7 == _VARINT:
            yield key >> 3, value
        elif key & 7 == _BYTES:
            yield key >> 3, message[at : at + value]
            at += value
        else:
            raise IndexError(key)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not message[at - 1] & 0x80:
            return value, at


def _crc32c(crc: int, data: bytes) -> int:
    crc ^= _ALL_ONES
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
    return crc ^ _ALL_ONES
