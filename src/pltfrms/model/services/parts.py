"""A part of the platform's store that the instances of one service may use.

It is asked at the gates (`gates`): the controllers, which answer as etcd would.
"""

from dataclasses import dataclass
from typing import Final

PARTS: Final = "/pltfrms-parts/"
"""Below it are all parts, each by the name of its service. Backups have none of it."""
PART_LEASES: Final = "/pltfrms-part-leases/"
"""Below it is, by service and number, which lease is of which part; each key has that lease."""
STORE_FILE: Final = "store.json"
"""Where the part of an instance is, in its directory; of a container, in /run/pltfrms."""
ROOTS_FILE: Final = "store-roots.pem"
"""Whom it believes there, where controllers answer by TLS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUse:
    """How the instances of a service use its part of the store."""

    secret: str
    """Its value is the password; one of those that the instances are given."""
    end_leases: bool = False
    """Whether leases of an instance end when it is known to be dead, before their time."""


def part_of(service: str) -> str:
    """Return what all keys of a service's part begin with."""
    return f"{PARTS}{service}/"


def leases_of(service: str) -> str:
    """Return below which key the leases of a part are noted."""
    return f"{PART_LEASES}{service}/"
