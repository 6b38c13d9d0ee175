"""Who may read metrics, and nothing else, as `platform.yaml` says it.

The platform says what a token is made of (SHA-256), so that every machine knows it by itself,
and nobody can show it who has read that.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

METRICS_PORT: Final = 7482
"""TCP port at which a machine's agent tells metrics, on its IPv6 loopback address."""
MARK: Final = "metrics"
"""How tokens of readers begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsReader:
    """Somebody who may read metrics, such as a Prometheus."""

    name: str
    sha256: str
    """Of the token, as 64 hexadecimal digits."""


def is_of_reader(token: str) -> bool:
    """Return whether a token says that it is a metrics reader's."""
    return token.startswith(f"{MARK}.")


def fingerprint(token: str) -> str:
    """Return what the platform says of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def reader_of(readers: Iterable[MetricsReader], token: str) -> str:
    """Return whose token it is; empty: nobody's."""
    if not is_of_reader(token):
        return ""
    shown = fingerprint(token)
    found = [each.name for each in readers if hmac.compare_digest(each.sha256, shown)]
    return found[0] if found else ""
