"""The versions that a service had: what it was before, for people and for the way back."""

from dataclasses import dataclass
from typing import Final

from pltfrms.model.services.service import Service

VERSIONS_KEPT: Final = 20
"""Of each service, the present one among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceVersion:
    """A service as it was when its next version took its place."""

    service: Service


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHistory:
    """The versions of one service that are kept."""

    versions: tuple[ServiceVersion, ...]
    """Newest first; the first one is the present one."""
    problems: tuple[str, ...] = ()
    """One sentence for each that cannot be read."""
