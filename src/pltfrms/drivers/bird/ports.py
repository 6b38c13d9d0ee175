"""The seam to the routing daemon."""

from collections.abc import Mapping
from typing import Protocol

from pltfrms.model.running.machine import BfdState, BgpState
from pltfrms.model.running.state import OutsideTable


class Bird(Protocol):
    """The routing daemon of this machine."""

    async def apply(self, config: str, *, revert_after_seconds: int = 0) -> str:
        """Check `config` with BIRD's own parser, swap it in atomically, tell BIRD.

        Returns one sentence: what was done. Works while BIRD is down: the file is in place
        for its next start. A config equal to the present one changes nothing.

        With `revert_after_seconds` it is on trial: BIRD itself goes back to what it ran before
        unless `confirm` comes in time, and the file in place stays the old one until then.

        Raises:
            InvariantError: BIRD refuses the text; the present configuration stays.
        """
        ...

    async def confirm(self) -> None:
        """Keep the configuration that is on trial; nothing if there is none.

        Raises:
            UnavailableError: BIRD does not answer.
            ConflictError: it has reverted already.
        """
        ...

    async def revert(self) -> str:
        """Go back to what ran before the trial at once; return one sentence what was done."""
        ...

    async def running(self) -> str:
        """Return the text that BIRD runs, as it was given to `apply`; `` if not known."""
        ...

    async def sessions(self) -> tuple[BgpState, ...]:
        """Return the BGP sessions with their counts; UnavailableError if BIRD is silent."""
        ...

    async def caches(self) -> tuple[BgpState, ...]:
        """Return the sessions with RPKI caches; UnavailableError if BIRD is silent."""
        ...

    async def liveness(self) -> frozenset[BfdState]:
        """Return the BFD sessions; UnavailableError if BIRD is silent."""
        ...

    async def find_ways(self) -> None:
        """Let OSPF compute its routes anew; UnavailableError if BIRD is silent."""
        ...

    async def outside(self, own_asn: int) -> tuple[OutsideTable, ...]:
        """Return what is known of ways to the outside, in IPv4 and IPv6, exactly counted.

        Of routes it counts those in use that lead somewhere and bear large community
        `own_asn:1:3` to `own_asn:1:7`. UnavailableError if BIRD is silent.
        """
        ...

    async def rejects(self, own_asn: int) -> Mapping[str, Mapping[int, int]]:
        """Return per session how many routes are refused, by number of the reason.

        The number is that of large community `own_asn:15:N` on the refused routes.
        UnavailableError if BIRD is silent.
        """
        ...
