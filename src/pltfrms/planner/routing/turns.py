"""Whose turn it is to put its wanted routing policy in force: one edge after the other.

Every controller decides this alone, from what edges report: of which platform they have heard
(the generation of their target), what they want to run by it, and what they run. An order that
all of them share makes an old view harmless: it names an edge that has had its turn already.
What an edge wants is not computed here, for an agent of another version renders otherwise.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.running.state import (
    Contact,
    MachineStatus,
    RoutingState,
    RoutingStatus,
    Snapshot,
)


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
    UNHEARD = "unheard"
    """It has not heard of the platform yet, and may still try an older one."""
    AWAY = "away"
    """Out of contact for so long that it is not trying anything any more."""
    NEW = "new"
    """It has never been in contact, so nobody has ever given it a turn."""


def wants_turn(routing: RoutingStatus) -> bool:
    """Return whether an edge that says so may be given a turn at all, whatever others say."""
    done = routing.state is RoutingState.CONFIRMED and routing.running == routing.wanted
    return bool(routing.wanted) and not done


def routing_turn(
    snapshot: Snapshot,
    statuses: Mapping[str, MachineStatus],
    needed: int,
    never_heard: AbstractSet[str] = frozenset(),
) -> Turn:
    """Return which edge may put what it wants in force now.

    `needed` is the generation of the first target with the present platform. Platform, contact
    and interventions are those of `snapshot`; `statuses` may be newer than it. `never_heard`
    are machines that have never reported, not even what cannot be read here.
    """
    freeze = snapshot.interventions.freeze
    if freeze:
        return Turn(reason=f"an operator has frozen the network: {freeze.why or 'no reason'}")
    order = _in_order(snapshot.platform)
    known = {edge: statuses.get(edge, MachineStatus(machine=edge)) for edge in order}
    new = {edge for edge in never_heard - statuses.keys() if _is_judged(snapshot, edge)}
    standings = {
        edge: _Standing.NEW if edge in new else _standing(snapshot, known[edge], needed)
        for edge in order
    }
    for standing in _PRECEDENCE:
        for edge in order:
            if standings[edge] is standing:
                return _turn(edge, standing, known[edge].routing)
    left = [
        f"{what}: {', '.join(edges)}"
        for standing, what in _PASSED_OVER
        if (edges := [edge for edge in order if standings[edge] is standing])
    ]
    if left:
        return Turn(reason=f"nobody else is left; {'; '.join(left)}")
    return Turn(reason="every edge runs what is wanted")


_PRECEDENCE: Final = (
    _Standing.REVERTED,
    _Standing.TRYING,
    _Standing.UNCLEAR,
    _Standing.UNHEARD,
    _Standing.DUE,
)
_PASSED_OVER: Final = (
    (_Standing.AWAY, "out of contact"),
    (_Standing.NEW, "not in contact yet"),
)


def _turn(edge: str, standing: _Standing, routing: RoutingStatus) -> Turn:
    if standing is _Standing.REVERTED:
        detail = f": {routing.detail}" if routing.detail else ""
        return Turn(reason=f"{edge} tried what is wanted and went back to what was{detail}")
    if standing is _Standing.UNCLEAR:
        return Turn(reason=f"it is not known what {edge} does now")
    if standing is _Standing.UNHEARD:
        return Turn(reason=f"{edge} has not heard of the present platform yet")
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


def _standing(snapshot: Snapshot, status: MachineStatus, needed: int) -> _Standing:
    routing, contact = status.routing, snapshot.contact(status.machine)
    away = contact is Contact.LOST and _reverted_since(snapshot, status.machine)
    heard = status.generation >= needed
    if routing.state is RoutingState.REVERTED and heard:
        return _Standing.REVERTED
    # Who is lost while it tries what is wanted may be lost because of it.
    if routing.state is RoutingState.TRYING and (heard or not away):
        return _Standing.TRYING
    if heard and routing.state is RoutingState.CONFIRMED and _runs_what_it_wants(routing):
        return _Standing.DONE
    if away:
        return _Standing.AWAY
    # It may have heard of a later platform than we; who does not say what it wants has failed
    # to find that out.
    later = status.generation > snapshot.revision
    if contact is not Contact.PRESENT or later or not (routing.running and routing.wanted):
        return _Standing.UNCLEAR
    return _Standing.DUE if heard else _Standing.UNHEARD


def _is_judged(snapshot: Snapshot, edge: str) -> bool:
    """Return whether a controller has looked for long enough to say that it hears no edge."""
    view = snapshot.machines.get(edge)
    if view is None or view.contact is Contact.PRESENT:
        return False
    return view.contact is Contact.LOST or bool(view.why)


def _runs_what_it_wants(routing: RoutingStatus) -> bool:
    return bool(routing.wanted) and routing.running == routing.wanted


_MARGIN: Final = 2
"""Clocks and reports are late; a policy that was not confirmed is surely gone after so many
times its time limit."""


def _reverted_since(snapshot: Snapshot, edge: str) -> bool:
    """Return whether a lost edge has been away so long that any try of it has ended.

    It may have been given its turn just before it was lost, and not have said so.
    """
    seconds = snapshot.machines[edge].since_seconds
    return seconds >= _MARGIN * snapshot.platform.timers.confirm_seconds
