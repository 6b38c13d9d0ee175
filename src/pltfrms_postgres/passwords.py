"""Passwords as PostgreSQL keeps them (SCRAM-SHA-256, RFC 5803): no server sees one plainly."""

import base64
import hashlib
import hmac
import re
from typing import Final

_ROUNDS: Final = 4096
_KEPT: Final = re.compile(r"SCRAM-SHA-256\$(\d{1,8}):([A-Za-z0-9+/=]+)\$[A-Za-z0-9+/=:]+\Z")


def verifier_of(password: str, salt: bytes, rounds: int = _ROUNDS) -> str:
    """Return what a server keeps of a password; ValueError: clients may write it otherwise."""
    if not password or not (password.isascii() and password.isprintable()):
        raise ValueError("is empty, or has other than the printable characters of ASCII")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    client = hashlib.sha256(_mac(salted, b"Client Key")).digest()
    salt64, stored, server = (
        base64.b64encode(each).decode() for each in (salt, client, _mac(salted, b"Server Key"))
    )
    return f"SCRAM-SHA-256${rounds}:{salt64}${stored}:{server}"


def is_kept(password: str, kept: str) -> bool:
    """Return whether a server that keeps this knows the password already."""
    match = _KEPT.match(kept)
    if match is None:
        return False
    salt = base64.b64decode(match[2])
    return hmac.compare_digest(verifier_of(password, salt, int(match[1])), kept)


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")
