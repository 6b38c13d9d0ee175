"""How this machine's member of the store begins: with its data, anew, or added. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from pltfrms.model.messages.store import MemberData, StoreMember, StoreMembers


class Start(StrEnum):
    """What to do."""

    DATA = "data"
    """Start with what is on disk."""
    NEW = "new"
    """Make the store, together with its first members."""
    JOIN = "join"
    """Start as the learner that was added for this machine."""
    ASK = "ask"
    """Ask the members to be added, and look again."""
    WAIT = "wait"
    """Look again: what is needed is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartDecision:
    """What to do, and why."""

    start: Start
    why: str
    lost: str = ""
    """The number of the member whose data is lost."""
    obsolete: bool = False
    """What is on disk is not of this machine's member, or of none: put it aside first."""
    members: tuple[StoreMember, ...] = ()
    """Whom it joins, with itself."""


_NOBODY: Final = (
    "there is no data, and no member of the store answers: it may be there, so none is made."
    " Start the other members; if this platform has never run, tell this machine with whom it"
    " makes the store"
)

_STRANGERS: Final = (
    "its data is here; who answers is of another store, and is not believed. If that one is "
    "the platform's, move this data away; else stop the etcd there"
)


def decide_start(
    peer: str, heard: Sequence[StoreMembers], *, data: MemberData | None, may_begin: bool
) -> StartDecision:
    """Return how the member begins that others reach at `peer`.

    `heard`: who the members are, of each store that answers; empty: nobody does. `data`: whose
    data is here; None: there is none. `may_begin`: this machine was told to make the store, and
    has not tried yet.
    """
    known = data.store if data else ""
    believed = [each for each in heard if known in ("", each.store)]
    if len(believed) > 1:
        why = "members of several stores answer: stop the etcd of all that are not of this one"
        return StartDecision(start=Start.DATA if data else Start.WAIT, why=why)
    if believed:
        return _among(believed[0].members, peer, data, may_begin=may_begin)
    if data:
        return StartDecision(start=Start.DATA, why=_STRANGERS if heard else "its data is here")
    if may_begin:
        return StartDecision(start=Start.NEW, why="the store is made")
    return StartDecision(start=Start.WAIT, why=_NOBODY)


def _among(
    listed: Sequence[StoreMember], peer: str, data: MemberData | None, *, may_begin: bool
) -> StartDecision:
    host = urlsplit(peer).hostname
    me = next((each for each in listed if urlsplit(each.peer).hostname == host), None)
    there = data is not None
    if me is None:
        why = "it waits to be added, which is done when the platform has it as a controller"
        return StartDecision(start=Start.ASK, why=why, obsolete=there)
    if data and data.number == me.number:  # also if it has ended before it said its name
        return StartDecision(start=Start.DATA, why="its data is here")
    if me.learner and not me.started:
        members = tuple(listed)
        return StartDecision(
            start=Start.JOIN, why="it was added", obsolete=there, members=members
        )
    if data and not data.number:
        return StartDecision(start=Start.DATA, why="its data is here")
    if not me.started and may_begin and not there:
        return StartDecision(start=Start.NEW, why="the store is made")
    why = "its data is lost: it waits to be removed and added anew"
    return StartDecision(start=Start.ASK, why=why, lost=me.number, obsolete=there)
