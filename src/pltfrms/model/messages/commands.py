"""What operators say to have a command run in an instance, and what they are told of it.

POST /v1/services/{name}/exec  WantedCommand -> lines, each a CommandPart; the last is the end
"""

from dataclasses import dataclass
from typing import Final

COMMAND_SECONDS: Final = 600
"""So long a command may take if nothing else is said."""
COMMAND_SECONDS_MAX: Final = 3600
COMMAND_LETTERS_MAX: Final = 6000
"""Of a command with all its words: a record of the audit log takes that, and where it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCommand:
    """What is to be run, and where."""

    allocation: str
    words: tuple[str, ...]
    seconds: int = COMMAND_SECONDS
    by: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPart:
    """Something of what a command says. Without any word: it still runs."""

    output: str = ""
    """In base64, as are its complaints."""
    complaint: str = ""
    status: int | None = None
    """How it ended, as shells count: 128 and more is by a signal."""
    failure: str = ""
    """Why there is no such status, in one sentence."""

    @property
    def is_last(self) -> bool:
        """Whether nothing comes after it."""
        return self.status is not None or bool(self.failure)
