"""Commands that are run inside instances before what is planned is done to them."""

from dataclasses import dataclass
from enum import StrEnum


class HookMoment(StrEnum):
    """When a hook is run."""

    HAND_OVER = "hand_over"
    """Before who has a role that one alone may have is ended, or its node goes down."""
    JOIN = "join"
    """When an instance is ready for the first time."""
    LEAVE = "leave"
    """Before a replica is ended for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceHook:
    """A command, and how long it may take. Who fails it stays as it is, and is asked again."""

    moment: HookMoment
    command: tuple[str, ...]
    timeout_ms: int = 60_000
