"""How etcd's gateway refuses: by numbers of gRPC, which programs know their errors by."""

from collections.abc import Mapping
from typing import Final

UNKNOWN: Final = 2
INVALID: Final = 3
NOT_FOUND: Final = 5
PERMISSION: Final = 7
EXHAUSTED: Final = 8
UNAVAILABLE: Final = 14
UNAUTHENTICATED: Final = 16
STATUS: Final[Mapping[int, int]] = {
    UNKNOWN: 500,
    INVALID: 400,
    NOT_FOUND: 404,
    PERMISSION: 403,
    EXHAUSTED: 429,
    UNAVAILABLE: 503,
    UNAUTHENTICATED: 401,
}
"""Of HTTP, as the gateway has them."""
LEASE_NOT_FOUND: Final = "etcdserver: requested lease not found"


class PartError(Exception):
    """A service asks what it may not, or cannot have now."""

    def __init__(self, code: int, sentence: str) -> None:
        """Refuse with a number of gRPC."""
        super().__init__(sentence)
        self.code = code
