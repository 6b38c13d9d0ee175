"""One request to the controllers, and what became of it where it was sent."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

from pltfrms import codec, errors
from pltfrms.drivers.failover import Failover
from pltfrms.errors import (
    ConflictError,
    InvariantError,
    LaterError,
    NotFoundError,
    PltfrmsError,
    SpecError,
    UnavailableError,
    UnclearError,
    UsageError,
    VersionError,
)
from pltfrms.model.messages.api import ErrorBody

CONNECT_SECONDS = 0.4
LONG_POLL_MARGIN_SECONDS = 2.0
"""A controller that has not answered a long poll this long after its time counts as dead."""
_UNIX = "unix:"
_SERVER_ERRORS = 500
_LATER_MS_MAX = 30_000
"""However long a controller sends somebody away: others are asked then."""
_SHOWN = 2
"""Different problems in the sentence that ends a command, each of so many letters at most."""
_LETTERS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of a controller."""

    method: str
    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    answer_seconds: float
    """How long one controller may take; the operator's client: how long all may take."""
    holds_seconds: float = 0.0
    """How long of that a controller is asked to wait before it says that there is nothing."""
    writes: bool = False
    """Doing it twice can be told from doing it once."""

    @property
    def target(self) -> str:
        """The path, with the parameters behind it."""
        return self.path + (f"?{urlencode(self.parameters)}" if self.parameters else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerAnswer:
    """What a controller answered."""

    where: str
    """The URL that was asked."""
    status: int
    content: bytes

    @property
    def good(self) -> bool:
        """Whether it is a success."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


class Attempts:
    """What became of one request at the endpoints it was sent to so far."""

    def __init__(self, failover: Failover, request: Request) -> None:
        """Tell `failover` who does not answer."""
        self._failover = failover
        self._request = request
        self._problems: list[tuple[str, str]] = []
        self._perhaps_done_by = ""
        self._silent = self._refused = False
        self._not_understood: list[str] = []

    def broke(self, endpoint: str, problem: str, *, sent: bool) -> None:
        """Note that `endpoint` did not answer; `sent`: it may have heard the question."""
        self._silent = True
        self._failed(endpoint, problem, perhaps_done=sent)

    def refused(self, endpoint: str, error: PltfrmsError) -> None:
        """Note that `endpoint` cannot do it, or says what this version does not understand.

        Nothing is done, unless it cannot tell.
        """
        if isinstance(error, VersionError):
            self._not_understood.append(str(error))
        self._refused = True
        perhaps_done = isinstance(error, UnclearError | InvariantError)
        self._failed(endpoint, str(error), perhaps_done=perhaps_done)

    def final(self, error: PltfrmsError) -> PltfrmsError:
        """Return what to raise for an error that no other controller would mend.

        After a write that another controller has perhaps done, "conflict" and "not found"
        may be its own traces: the outcome is unknown.
        """
        if self._perhaps_done_by and isinstance(error, ConflictError | NotFoundError):
            return UnclearError(
                f"{self._perhaps_done_by} did not answer but perhaps did it; the next "
                f"controller says: {error}. Look at the present state, then repeat if needed"
            )
        return error

    @property
    def refused_for_now(self) -> bool:
        """Whether somebody said that it cannot do it, and nobody has perhaps done it."""
        return self._refused and not self._perhaps_done_by and not self._not_understood

    def failure(self) -> UnavailableError:
        """Return what to raise when nobody could do it: one sentence, and a note of each.

        It is a VersionError if somebody could, and was not understood.
        """
        if self._not_understood:
            return VersionError("; ".join(sorted(self._not_understood)))
        counts = Counter(_cut(problem) for _, problem in self._problems)
        first = {_cut(problem): endpoint for endpoint, problem in reversed(self._problems)}
        said = "; ".join(
            f"{problem} ({f'{count} of them' if count > 1 else first[problem]})"
            for problem, count in counts.most_common(_SHOWN)
        )
        verb = "answers" if self._silent else "can do it"
        error = self._kind()(f"no controller {verb}: {said}. {self._advice()}")
        for endpoint, problem in self._problems:
            error.add_note(f"{endpoint}: {problem}")
        return error

    def _kind(self) -> type[UnavailableError]:
        return UnclearError if self._perhaps_done_by else UnavailableError

    def _advice(self) -> str:
        if self._perhaps_done_by:
            return "It may or may not be done: look, then repeat if needed"
        if self._request.writes:
            return "Nothing is done"
        if self._silent:
            return "Check that a controller runs and is reachable from here"
        return "Try again later"

    def _failed(self, endpoint: str, problem: str, *, perhaps_done: bool) -> None:
        self._failover.failed(endpoint)
        self._problems.append((endpoint, problem))
        if perhaps_done and self._request.writes:
            self._perhaps_done_by = endpoint


def said_of(where: str, status: int, content: bytes) -> PltfrmsError:
    """Return the error that a controller's answer means; `where` is the asked URL."""
    try:
        body = codec.read(ErrorBody, content)
    except UsageError:
        what = f"{where}: HTTP {status}: {content[:200].decode(errors='replace')}"
        return UnclearError(what) if status >= _SERVER_ERRORS else InvariantError(what)
    if body.retry_ms:
        return LaterError(body.message, min(body.retry_ms, _LATER_MS_MAX) / 1000)
    kind = getattr(errors, body.error, None)
    if kind is SpecError:
        return UsageError(body.message)
    if kind is UnavailableError and not body.nothing_done:
        return UnclearError(body.message)
    if isinstance(kind, type) and issubclass(kind, PltfrmsError):
        return kind(body.message)
    return InvariantError(f"{body.error}: {body.message}")


def not_understood(where: str, error: UsageError) -> VersionError:
    """Return what to raise for an answer that this version cannot read."""
    return VersionError(
        f"{where} answers what this version does not understand: {error}. "
        "Run the same version everywhere"
    )


def base_url(endpoint: str) -> str:
    """Return the base URL to use for an endpoint; UsageError if it is not one."""
    if endpoint.startswith(f"{_UNIX}/"):
        return "http://controller"
    try:
        parts = urlsplit(endpoint)
        _ = parts.port  # raises what urlsplit let pass
    except ValueError as error:
        raise _not_an_endpoint(endpoint) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise _not_an_endpoint(endpoint)
    return endpoint


def is_secure(endpoint: str) -> bool:
    """Return whether an endpoint is to be asked by TLS."""
    return endpoint.startswith("https:")


def socket_of(endpoint: str) -> str | None:
    """Return the path of an endpoint that is a Unix socket, else None."""
    return endpoint.removeprefix(_UNIX) if endpoint.startswith(_UNIX) else None


def _not_an_endpoint(endpoint: str) -> UsageError:
    return UsageError(
        f"{endpoint!r} is not a controller endpoint; "
        "write http://[ADDRESS]:7480, https://[ADDRESS]:7480 or unix:/path/to/controller.sock"
    )


def _cut(problem: str) -> str:
    """Return a problem that is not too long, if need be without its details in brackets."""
    if len(problem) > _LETTERS:
        problem = problem.partition(" (")[0]
    return problem if len(problem) <= _LETTERS else f"{problem[:_LETTERS]}…"
