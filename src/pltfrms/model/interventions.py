"""What an operator does to the network for a while, without changing what it is.

Kept in the store beside the platform, so that applying spec files does not undo it.
"""

from dataclasses import dataclass
from enum import StrEnum

from pltfrms.model.addresses import Prefix


class DrainPhase(StrEnum):
    """How far the drain of a session is."""

    NONE = "none"
    SHUTDOWN = "shutdown"
    """Both sides are told to prefer other paths (RFC 8326); nothing is withdrawn."""
    WITHDRAWN = "withdrawn"
    """Nothing is announced and nothing is accepted; the session stays up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Take the traffic away from sessions with the outside, and keep them up."""

    peer: str = ""
    edge: str = ""
    interface: str = ""
    """What is not empty must fit: `peer` alone is all its sessions, `peer` and `edge` those
    of one edge, `edge` and `interface` a port with everybody behind it, `edge` alone all."""
    since_ms: int
    wait_ms: int
    """From the first phase to the second."""
    why: str = ""
    by: str = ""

    @property
    def about(self) -> str:
        """What is drained, in words: `transit1`, `transit1@fra-e1`, `fra-e1/x-ixp1`."""
        if self.peer:
            return f"{self.peer}@{self.edge}" if self.edge else self.peer
        return f"{self.edge}/{self.interface}" if self.interface else self.edge


@dataclass(frozen=True, slots=True, kw_only=True)
class Blackhole:
    """Ask the peers that speak blackhole to drop what goes to an address of ours."""

    prefix: Prefix
    """A /32 or /128 inside an aggregate."""
    until_ms: int
    """Unix time of its end; every blackhole has one."""
    why: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """Nothing of ours changes a route, whatever happens, until somebody ends it."""

    since_ms: int
    why: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interventions:
    """All of them."""

    freeze: Freeze | None = None
    drains: tuple[Drain, ...] = ()
    blackholes: tuple[Blackhole, ...] = ()

    def drain_of(self, peer: str, edge: str, interface: str, now_ms: int) -> DrainPhase:
        """Return how far the drain of a session is; the furthest, if several fit."""
        phase = DrainPhase.NONE
        for drain in self.drains:
            fits = (
                drain.peer in {"", peer}
                and drain.edge in {"", edge}
                and drain.interface in {"", interface}
            )
            if fits and now_ms - drain.since_ms >= drain.wait_ms:
                return DrainPhase.WITHDRAWN
            if fits:
                phase = DrainPhase.SHUTDOWN
        return phase
