"""What an operator does to the network for a while, without changing what it is.

Kept in the store beside the platform, so that applying spec files does not undo it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.topology import Machine

LEAD_MS: Final = 2000
"""From the order of a drain to its beginning: first all nodes learn who has the connections
that will come to them (see `Target.guests`)."""


class DrainPhase(StrEnum):
    """How far the drain of a session is."""

    NONE = "none"
    SHUTDOWN = "shutdown"
    """Both sides are told to prefer other paths (RFC 8326); nothing is withdrawn."""
    WITHDRAWN = "withdrawn"
    """Nothing is announced and nothing is accepted; the session stays up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Take away what is at a place, for a while.

    From sessions with the outside the traffic, which stay up; from a node the replicas.
    """

    peer: str = ""
    edge: str = ""
    interface: str = ""
    """What is not empty must fit: `peer` alone is all its sessions, `peer` and `edge` those
    of one edge, `edge` and `interface` a port with everybody behind it, `edge` alone all."""
    datacenter: str = ""
    """All sessions of all edges of a datacenter; alone."""
    node: str = ""
    """All replicas of a node, and no session; alone."""
    since_ms: int
    """Unix time of its beginning; in the future, it is a plan."""
    wait_ms: int
    """From the first phase to the second; a node has no phases."""
    until_ms: int = 0
    """Unix time at which it ends by itself; 0: somebody ends it."""
    why: str = ""
    by: str = ""

    @property
    def about(self) -> str:
        """What is drained, in words.

        `transit1`, `transit1@fra-e1`, `fra-e1/x-ixp1`, `datacenter/fra`, `node/fra-n1`.
        """
        if self.datacenter:
            return f"datacenter/{self.datacenter}"
        if self.node:
            return f"node/{self.node}"
        if self.peer:
            return f"{self.peer}@{self.edge}" if self.edge else self.peer
        return f"{self.edge}/{self.interface}" if self.interface else self.edge

    @property
    def place(self) -> tuple[str, str, str, str, str]:
        """What is drained; two drains of one place are the same drain."""
        return self.peer, self.edge, self.interface, self.datacenter, self.node

    @property
    def instants_ms(self) -> tuple[int, ...]:
        """The Unix times at which it begins, goes into its second phase, and ends."""
        ends = (self.until_ms,) if self.until_ms else ()
        return (self.since_ms, self.since_ms + self.wait_ms, *ends)

    def is_over(self, now_ms: int) -> bool:
        """Return whether it has ended by itself."""
        return 0 < self.until_ms <= now_ms

    def holds(self, now_ms: int) -> bool:
        """Return whether it has begun and not ended."""
        return self.since_ms <= now_ms and not self.is_over(now_ms)

    def overlaps(self, other: "Drain") -> bool:
        """Return whether there is a time at which both hold."""
        return not self.is_over(other.since_ms) and not other.is_over(self.since_ms)

    def fits(self, peer: str, edge: Machine, interface: str) -> bool:
        """Return whether a session of `edge` with the outside is drained, when it holds."""
        return (
            not self.node
            and self.peer in {"", peer}
            and self.edge in {"", edge.name}
            and self.interface in {"", interface}
            and self.datacenter in {"", edge.datacenter}
        )

    def phase(self, now_ms: int) -> DrainPhase:
        """Return how far it is, for the sessions that it fits."""
        if not self.holds(now_ms):
            return DrainPhase.NONE
        due = now_ms - self.since_ms >= self.wait_ms
        return DrainPhase.WITHDRAWN if due else DrainPhase.SHUTDOWN


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
class Release:
    """Lost nodes of a datacenter are dead, however many: their replicas are placed anew."""

    datacenter: str
    nodes: tuple[str, ...] = ()
    """Which ones; who is lost later is braked anew."""
    until_ms: int
    """Unix time from which on the brake on mass changes holds again."""
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
    releases: tuple[Release, ...] = ()

    def drain_of(self, peer: str, edge: Machine, interface: str, now_ms: int) -> DrainPhase:
        """Return how far the drain of a session is; the furthest, if several fit."""
        phases = {
            drain.phase(now_ms) for drain in self.drains if drain.fits(peer, edge, interface)
        }
        if DrainPhase.WITHDRAWN in phases:
            return DrainPhase.WITHDRAWN
        return DrainPhase.SHUTDOWN if DrainPhase.SHUTDOWN in phases else DrainPhase.NONE

    def moves_clients(self, now_ms: int) -> bool:
        """Return whether a drain leads clients elsewhere, or is about to."""
        return any(not drain.node and not drain.is_over(now_ms) for drain in self.drains)

    def released(self, now_ms: int) -> frozenset[str]:
        """Return the datacenters in which the brake on mass changes is released for nodes."""
        return frozenset(each.datacenter for each in self.releases if now_ms < each.until_ms)

    def is_dead(self, node: Machine, now_ms: int) -> bool:
        """Return whether a node is dead if it is lost: an operator says so."""
        return any(
            each.datacenter == node.datacenter
            and node.name in each.nodes
            and now_ms < each.until_ms
            for each in self.releases
        )

    def drained_nodes(self, now_ms: int) -> frozenset[str]:
        """Return the nodes that are drained."""
        return frozenset(
            drain.node for drain in self.drains if drain.node and drain.holds(now_ms)
        )
