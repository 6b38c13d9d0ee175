"""Traffic engineering as data: what changes an announcement, where, and until when."""

from dataclasses import dataclass

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.peering import PeerKind

Community = tuple[int, ...]
"""Two numbers (RFC 1997) or three (RFC 8092)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A deviation from announcing every aggregate everywhere as it is.

    It holds where all of its conditions hold; an empty condition always does. What is None
    is left as it was.
    """

    prefix: Prefix | None = None
    """An aggregate."""
    peer: str = ""
    kind: PeerKind | None = None
    datacenter: str = ""
    edge: str = ""
    announce: bool | None = None
    prepend: int | None = None
    """So many times our ASN is put before the path, in addition to once."""
    med: int | None = None
    no_export: bool | None = None
    communities: tuple[Community, ...] = ()
    """Added to the announcement, in addition to those of other overrides."""
    preference: int | None = None
    """Local preference of the routes that we learn there; says nothing of announcements."""
    until_ms: int = 0
    """Unix time; from then on it does not count. 0: no end."""
    why: str = ""

    def holds(self, now_ms: int) -> bool:
        """Return whether it still counts."""
        return not self.until_ms or now_ms < self.until_ms
