"""The two words of a certificate that Python's `ssl` does not tell: who signed it, and its key.

Only of certificates that OpenSSL has verified, or that are our own (RFC 5280, 4.1; X.690).
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_COMMON_NAME: Final = b"\x55\x04\x03"
_ISSUER, _KEY = 3, 6
"""Places in a certificate of version 3: version, serial number, algorithm, issuer, life,
subject, key."""
_LONG: Final = 0x80


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateWords:
    """What a certificate says; empty: nothing that we know."""

    issuer: str = ""
    """Common name of who has signed it."""
    public_key: str = ""
    """SubjectPublicKeyInfo, in base64."""


def read_words(der: bytes) -> CertificateWords:
    """Return what a certificate says; one that is not of version 3 says nothing."""
    try:
        (whole,) = _values(der)
        said, *_ = _values(whole)
        return CertificateWords(
            issuer=_common_name(list(_values(said))[_ISSUER]),
            public_key=base64.b64encode(list(_items(said))[_KEY]).decode(),
        )
    except (ValueError, IndexError):
        return CertificateWords()


def _common_name(name: bytes) -> str:
    parts = [list(_values(pair)) for group in _values(name) for pair in _values(group)]
    if len(parts) != 1 or parts[0][0] != _COMMON_NAME:
        return ""
    return parts[0][1].decode()


def _values(der: bytes) -> Iterator[bytes]:
    """Yield what each item of a sequence holds."""
    for item in _items(der):
        yield item[_head(item, 0)[0] :]


def _items(der: bytes) -> Iterator[bytes]:
    """Yield each item of a sequence, with its head."""
    at = 0
    while at < len(der):
        _start, end = _head(der, at)
        yield der[at:end]
        at = end


def _head(der: bytes, at: int) -> tuple[int, int]:
    """Return where an item's value begins, and where it ends."""
    length = der[at + 1]
    if length < _LONG:
        return at + 2, at + 2 + length
    start = at + 2 + length - _LONG
    return start, start + int.from_bytes(der[at + 2 : start], "big")
