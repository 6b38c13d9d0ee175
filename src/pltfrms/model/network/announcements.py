"""What every edge would announce to every peer if all is healthy. Pure.

The renderer writes these into BIRD's filters, `plan` shows how they change, the guards count
them: one function for all, so that what is shown is what is done.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.interventions import DrainPhase, Interventions
from pltfrms.model.network.peering import Peer, Session
from pltfrms.model.network.topology import Platform
from pltfrms.model.network.traffic import Community, Override

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One aggregate on one session."""

    session: str
    """`transit1@fra-e1`, or `transit1:2@fra-e1`."""
    edge: str
    datacenter: str
    peer: str
    prefix: Prefix
    announce: bool = True
    prepend: int = 0
    med: int | None = None
    no_export: bool = False
    communities: tuple[Community, ...] = ()
    drain: DrainPhase = DrainPhase.NONE

    @property
    def visible(self) -> bool:
        """Whether the peer gets it."""
        return self.announce and self.drain is not DrainPhase.WITHDRAWN


def announcements(
    platform: Platform, interventions: Interventions, now_ms: int
) -> tuple[Announcement, ...]:
    """Return one announcement per session and aggregate of its families, in spec order.

    What a datacenter does not announce at all has none there.
    """
    return tuple(
        announcement
        for edge in dict.fromkeys(s.edge for peer in platform.peers for s in peer.sessions)
        for announcement in announcements_of(platform, edge, interventions, now_ms)
    )


def announcements_of(
    platform: Platform, edge: str, interventions: Interventions, now_ms: int
) -> Iterator[Announcement]:
    """Yield the announcements of one edge; KeyError if the platform has none of the name."""
    me = platform.machine(edge)
    sessions = zip(platform.session_names(edge), platform.sessions_of(edge), strict=True)
    for name, (peer, session) in sessions:
        families = {ours.version for ours in session.ours}
        drain = interventions.drain_of(peer.name, me, session.interface, now_ms)
        overrides = overrides_of(platform, peer, session, now_ms)
        for aggregate in platform.aggregates_of(me.datacenter):
            if aggregate.prefix.version not in families:
                continue
            fitting = [each for each in overrides if each.prefix in {None, aggregate.prefix}]
            yield Announcement(
                session=f"{name}@{edge}",
                edge=edge,
                datacenter=me.datacenter,
                peer=peer.name,
                prefix=aggregate.prefix,
                announce=_last([each.announce for each in fitting], default=True),
                prepend=_last([each.prepend for each in fitting], default=0),
                med=_last([each.med for each in fitting], default=None),
                no_export=_last([each.no_export for each in fitting], default=False),
                communities=tuple(
                    dict.fromkeys(c for each in fitting for c in each.communities)
                ),
                drain=drain,
            )


def floor_of(platform: Platform, prefix: Prefix) -> int:
    """Return from how many datacenters an aggregate must be announced.

    One that only some datacenters may announce cannot be announced from more.
    """
    only = {
        len(each.only) for each in platform.aggregates if each.prefix == prefix and each.only
    }
    return min({platform.guards.announce_floor, *only})


def overrides_of(
    platform: Platform, peer: Peer, session: Session, now_ms: int
) -> tuple[Override, ...]:
    """Return the overrides that hold on a session now, in spec order."""
    datacenter = platform.machine(session.edge).datacenter
    return tuple(
        each
        for each in platform.traffic
        if each.holds(now_ms)
        and each.peer in {"", peer.name}
        and each.kind in {None, peer.kind}
        and each.datacenter in {"", datacenter}
        and each.edge in {"", session.edge}
    )


def preference_of(platform: Platform, peer: Peer, session: Session, now_ms: int) -> int:
    """Return the local preference of the routes that a session brings."""
    said = [each.preference for each in overrides_of(platform, peer, session, now_ms)]
    own = peer.preference if session.preference is None else session.preference
    return _last(said, default=own)


def _last(values: list[_T | None], *, default: _T) -> _T:
    return next((value for value in reversed(values) if value is not None), default)
