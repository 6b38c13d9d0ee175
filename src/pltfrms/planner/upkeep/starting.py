"""How this machine's member of the store begins: with its data, anew, or added. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from pltfrms.model.messages.store import StoreMember


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
    """What is on disk is of a member that was removed: put it aside first."""


_NOBODY: Final = (
    "there is no data, and no member of the store answers: it may be there, so none is made."
    " Start the other members; if this platform has never run, tell this machine with whom it"
    " makes the store"
)


def decide_start(
    peer: str, listed: Sequence[StoreMember] | None, *, has_data: bool, may_begin: bool
) -> StartDecision:
    """Return how the member begins that others reach at `peer`.

    `listed` are the members, as one says that has just read what all agree on; None: nobody
    did. `may_begin`: this machine was told to make the store, and has not tried yet.
    """
    if listed is not None:
        return _among(listed, peer, has_data=has_data, may_begin=may_begin)
    if has_data:
        return StartDecision(start=Start.DATA, why="its data is here")
    if may_begin:
        return StartDecision(start=Start.NEW, why="the store is made")
    return StartDecision(start=Start.WAIT, why=_NOBODY)


def _among(
    listed: Sequence[StoreMember], peer: str, *, has_data: bool, may_begin: bool
) -> StartDecision:
    host = urlsplit(peer).hostname
    me = next((each for each in listed if urlsplit(each.peer).hostname == host), None)
    if me is None:
        why = "it waits to be added, which is done when the platform has it as a controller"
        return StartDecision(start=Start.ASK, why=why, obsolete=has_data)
    if me.learner and not me.started:
        return StartDecision(start=Start.JOIN, why="it was added", obsolete=has_data)
    if has_data:
        return StartDecision(start=Start.DATA, why="its data is here")
    if not me.started and may_begin:
        return StartDecision(start=Start.NEW, why="the store is made")
    why = "its data is lost: it waits to be removed and added anew"
    return StartDecision(start=Start.ASK, why=why, lost=me.number)
