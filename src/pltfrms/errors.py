"""Every error that a caller may meet, as one tree.

PltfrmsError                 exit  HTTP
├── UsageError                  2   400   the words of the caller are wrong
│   ├── SpecError               2   422   a spec file is wrong; carries every problem found
│   └── TooLargeError           2   413   a request is larger than any sound one
├── NotFoundError               2   404   the named thing does not exist
├── ForbiddenError              4   403   who asks may not do that
├── ConflictError               4   409   the world changed since the caller looked
│   ├── TwoPeopleError          4   409   a second operator must approve it
│   └── WentBackError           6   409   a new version failed, and the old one is back
├── UnavailableError            5   503   somebody we need does not answer; nothing was changed
│   ├── TooManyError            5   429   the caller asks for more than its share
│   ├── LaterError              5   503   it is done for others first; says when to come again
│   └── UnclearError            5   503   nobody knows whether it is done
│       ├── VersionError        5   503   somebody answers in words of another version
│       └── StoreFullError      5   503   the store has no room for a write
└── InvariantError             70   500   a bug of ours
"""

from dataclasses import dataclass
from typing import ClassVar, Self


class PltfrmsError(Exception):
    """Base of all errors of this package; `exit_code` is the CLI's, `status_code` is HTTP's."""

    exit_code: ClassVar[int] = 70
    status_code: ClassVar[int] = 500


class UsageError(PltfrmsError):
    """The caller asked for something that makes no sense as said."""

    exit_code = 2
    status_code = 400


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a spec: what, where, what to do."""

    file: str
    line: int
    """1-based; 0 if the problem belongs to the file as a whole."""
    where: str
    """Dotted path inside the document, such as `replicas.per_datacenter`."""
    what: str
    hint: str = ""

    def __str__(self) -> str:
        """Return `file:line: where: what (hint)`."""
        hint = f" ({self.hint})" if self.hint else ""
        where = f"{self.where}: " if self.where else ""
        return f"{self.file}:{self.line}: {where}{self.what}{hint}"


class SpecError(UsageError):
    """A spec is refused; `problems` has every problem found, sorted by file and line."""

    status_code = 422

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        """Keep the problems and use them as the message."""
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[Problem, ...]]]:
        """Let it travel between processes."""
        return type(self), (self.problems,)


class TooLargeError(UsageError):
    """A request is larger than any sound one; it was not read."""

    status_code = 413


class NotFoundError(PltfrmsError):
    """The named thing does not exist."""

    exit_code = 2
    status_code = 404


class ForbiddenError(PltfrmsError):
    """Who asks may not do that, or does not show who it is."""

    exit_code = 4
    status_code = 403


class ConflictError(PltfrmsError):
    """The world changed since the caller looked; look again and repeat."""

    exit_code = 4
    status_code = 409


class TwoPeopleError(ConflictError):
    """A second operator must approve it."""


class WentBackError(ConflictError):
    """A new version was not good enough or called off, and the service went back."""

    exit_code = 6


class UnavailableError(PltfrmsError):
    """Somebody we need (store, controller, daemon) does not answer."""

    exit_code = 5
    status_code = 503


class TooManyError(UnavailableError):
    """The caller asks for more than its share; ask again after `retry_seconds`."""

    status_code = 429

    def __init__(self, message: str, retry_seconds: int = 1) -> None:
        """Keep for how many whole seconds the caller should wait."""
        super().__init__(message)
        self.retry_seconds = retry_seconds


class LaterError(UnavailableError):
    """It is done for as many as can be at once; come again after `retry_seconds`."""

    def __init__(self, message: str, retry_seconds: float = 1.0) -> None:
        """Keep for how long the caller should wait."""
        super().__init__(message)
        self.retry_seconds = retry_seconds


class UnclearError(UnavailableError):
    """What was asked for may be done or not: look at the present state before repeating it."""


class VersionError(UnclearError):
    """Somebody we need answers what this version does not understand."""


class StoreFullError(UnclearError):
    """The store has no room for a write, and takes none until there is."""


class InvariantError(PltfrmsError):
    """Our own rules are broken: a bug."""
