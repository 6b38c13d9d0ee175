"""Names of network interfaces, which the kernel keeps to 15 characters."""

import hashlib
from typing import Final

_MOST: Final = 15
_DIGITS: Final = 5


def short_interface(name: str) -> str:
    """Return a name as it is, or, if it is too long, its beginning and digits made from all."""
    if len(name) <= _MOST:
        return name
    digits = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    return f"{name[: _MOST - _DIGITS - 1].rstrip('.-')}-{digits}"
