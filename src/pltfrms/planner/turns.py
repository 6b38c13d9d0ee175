"""Whose turn it is to put its wanted routing policy in force: one edge after the other.

Every controller decides this alone, from what edges report. An order that all of them share
makes an old view harmless: it names an edge that has had its turn already.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pltfrms.model.state import Contact, MachineStatus, RoutingState, RoutingStatus, Snapshot
from pltfrms.model.topology import Platform, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The one edge that may change its policy now, and why it or why nobody."""

    machine: str = ""
    """Empty: nobody."""
    reason: str


class _Standing(StrEnum):
    DONE = "done"
    DUE = "due"
    TRYING = "trying"
    REVERTED = "reverted"
    UNCLEAR = "unclear"
    """It may be trying something, for all we know."""
    AWAY = "away"
    """Out of contact for so long that it is not trying anything any more."""


def routing_turn(
    platform: Platform,
    wanted: Mapping[str, str],
    statuses: Mapping[str, MachineStatus],
    snapshot: Snapshot,
) -> Turn:
    """Return which edge may put its wanted policy in force now.

    `wanted` has the fingerprint by edge; edges that are missing there do not count. Contact
    and interventions are those of `snapshot`; `statuses` may be newer than it.
    """
    freeze = snapshot.interventions.freeze
    if freeze:
        return Turn(reason=f"an operator has frozen the network: {freeze.why or 'no reason'}")
    order = [edge for edge in _in_order(platform) if edge in wanted]
    standings = {
        edge: _standing(platform, snapshot, edge, _routing(statuses, edge), wanted[edge])
        for edge in order
    }
    for standing in (_Standing.REVERTED, _Standing.TRYING, _Standing.UNCLEAR, _Standing.DUE):
        for edge in order:
            if standings[edge] is standing:
                return _turn(edge, standing, _routing(statuses, edge))
    away = [edge for edge in order if standings[edge] is _Standing.AWAY]
    if away:
        return Turn(reason=f"nobody else is left; out of contact: {', '.join(away)}")
    return Turn(reason="every edge runs what is wanted")


def _turn(edge: str, standing: _Standing, routing: RoutingStatus) -> Turn:
    if standing is _Standing.REVERTED:
        detail = f": {routing.detail}" if routing.detail else ""
        return Turn(reason=f"{edge} tried what is wanted and went back to what was{detail}")
    if standing is _Standing.UNCLEAR:
        return Turn(reason=f"it is not known what {edge} does now")
    if standing is _Standing.TRYING:
        return Turn(machine=edge, reason=f"{edge} is trying a new policy")
    return Turn(machine=edge, reason=f"{edge} is the next in order")


def _in_order(platform: Platform) -> list[str]:
    """Return our edges: the least harm is done where the fewest sessions are."""
    edges = [edge for edge in platform.machines_of(Role.EDGE) if not edge.external]
    sessions = {edge.name: len(platform.sessions_of(edge.name)) for edge in edges}
    by_datacenter: dict[str, int] = {}
    for edge in edges:
        count = by_datacenter.get(edge.datacenter, 0) + sessions[edge.name]
        by_datacenter[edge.datacenter] = count
    edges.sort(
        key=lambda edge: (
            by_datacenter[edge.datacenter],
            platform.datacenter(edge.datacenter).id,
            sessions[edge.name],
            edge.id,
        )
    )
    return [edge.name for edge in edges]


def _routing(statuses: Mapping[str, MachineStatus], edge: str) -> RoutingStatus:
    status = statuses.get(edge)
    return status.routing if status else RoutingStatus()


def _standing(
    platform: Platform, snapshot: Snapshot, edge: str, routing: RoutingStatus, wanted: str
) -> _Standing:
    contact = snapshot.contact(edge)
    away = contact is Contact.LOST and _reverted_since(platform, snapshot, edge)
    if routing.state is RoutingState.REVERTED and routing.wanted == wanted:
        return _Standing.REVERTED
    # Who is lost while it tries what is wanted may be lost because of it.
    if routing.state is RoutingState.TRYING and (routing.wanted == wanted or not away):
        return _Standing.TRYING
    if routing.state is RoutingState.CONFIRMED and routing.running == wanted:
        return _Standing.DONE
    if away:
        return _Standing.AWAY
    known = contact is Contact.PRESENT and routing.running
    return _Standing.DUE if known else _Standing.UNCLEAR


_MARGIN: Final = 2
"""Clocks and reports are late; a policy that was not confirmed is surely gone after so many
times its time limit."""


def _reverted_since(platform: Platform, snapshot: Snapshot, edge: str) -> bool:
    """Return whether a lost edge has been away so long that any try of it has ended.

    It may have been given its turn just before it was lost, and not have said so.
    """
    seconds = snapshot.machines[edge].since_seconds
    return seconds >= _MARGIN * platform.timers.confirm_seconds
