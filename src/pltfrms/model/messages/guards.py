"""What guards say of a change, and what a change does to routing, in words and as data."""

from dataclasses import dataclass
from enum import StrEnum


class Guard(StrEnum):
    """The guards that judge a change before it is applied."""

    LAST_ANNOUNCER = "last_announcer"
    """No change may take the last announcement of an aggregate away."""
    ANNOUNCE_FLOOR = "announce_floor"
    """Every aggregate stays announced from a minimum of datacenters."""
    SHRINK_GUARD = "shrink_guard"
    """One change may take away only a share of all announcements."""
    EMPTY_IS_ERROR = "empty_is_error"
    """A list that becomes empty is a mistake until somebody says otherwise."""
    HEADROOM = "headroom"
    """Nothing is moved to where there is no room for it."""
    N1_ADMISSION = "n1_admission"
    """All that is wanted fits in after the loss of any one node or datacenter."""
    MAINTENANCE_LOCK = "maintenance_lock"
    """One failure domain at a time is taken out of use on purpose."""
    ROA = "roa"
    """Nothing new is announced that RPKI says we may not announce."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A guard says no."""

    guard: Guard
    about: str
    """Such as an aggregate or a peer."""
    sentence: str
    """Why, with the numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A guard cannot say yes or no, or has something to remark: nothing is refused."""

    guard: Guard
    about: str
    sentence: str
    """What is not known."""


class Effect(StrEnum):
    """How much a change of routing disturbs."""

    RESET = "session reset"
    """The BGP session is closed and opened again."""
    MOVES = "moves traffic"
    COSMETIC = "cosmetic"
    """Nobody outside notices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingChange:
    """One difference that a neighbour sees."""

    session: str
    """`transit1@fra-e1`; `backbone` for links."""
    what: str
    """`-198.51.100.0/24`, `+198.51.100.0/24 prepend x2`, `password changed`."""
    effect: Effect
