"""The operator's client of the controllers' HTTP API (`model.messages.api`).

Made of the standard library alone, because every command starts with it: importing an HTTP
library and pydantic takes longer than the question.
"""

import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, RemoteDisconnected
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar
from urllib.parse import quote, urlsplit

from pltfrms import codec
from pltfrms.drivers.controlplane.asking import (
    CONNECT_SECONDS,
    LONG_POLL_MARGIN_SECONDS,
    Attempts,
    ControllerAnswer,
    Request,
    base_url,
    is_secure,
    not_understood,
    said_of,
    socket_of,
)
from pltfrms.drivers.failover import (
    CLOSED_BY_TLS,
    Failover,
    SilentError,
    refused_by_tls,
    sentence_of,
)
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.messages.api import (
    Change,
    Event,
    InterventionChange,
    InterventionReply,
    PlanPreview,
    RolloutChange,
    ServiceHistory,
    SnapshotView,
)
from pltfrms.model.messages.audit import AuditPage
from pltfrms.model.messages.requests import (
    Approval,
    ChangeRequest,
    RequestReply,
    Signed,
    Withdrawal,
)
from pltfrms.model.running.volumes import Volume

if TYPE_CHECKING:
    from pltfrms.drivers.controlplane.raw_answer import RawAnswer

TIMEOUT_SECONDS: Final = 10.0
"""How long a question may take, over all controllers."""
_SLOW_SECONDS: Final = 1.0
"""One that did not answer in time before gets only so long, and is asked last."""
PATIENCE_SECONDS: Final = 4.0
"""While controllers answer that nothing is done, they are asked again for so long: a store that
elects a leader, or has just lost one, is back by then."""
_AGAIN_SECONDS: Final = 0.3
_SAY_AFTER_SECONDS: Final = 1.0
_SAY_EVERY_SECONDS: Final = 2.0

_T = TypeVar("_T")


class OperatorClient:
    """What the CLI asks controllers; synchronous.

    An endpoint is `http(s)://[ADDRESS]:7480` or `unix:/path/to/controller.sock`. An error that
    a controller answers is raised here as the same class (a SpecError as UsageError), except
    UnavailableError: then the next one is asked. A question takes no longer than
    `timeout_seconds` (and the time that it asks to wait for): of what is left, each controller
    but the last gets half.

    All methods raise UnavailableError when no endpoint answers. After that, the outcome of
    `apply`, `delete_service` and `intervene` is unknown if the message says so.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        timeout_seconds: float = TIMEOUT_SECONDS,
        on_wait: Callable[[str], None] = lambda _line: None,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        tls: Callable[[socket.socket], socket.socket] | None = None,
        token: str = "",
    ) -> None:
        """Connect when asked; UsageError if an endpoint is not one.

        `on_wait` is told, now and then, whom the client is waiting for. For
        `patience_seconds` it asks again whoever says that nothing is done. `tls` shakes hands
        where an endpoint is `https`. `token` says who asks, if he has logged in.
        """
        for endpoint in endpoints:
            base_url(endpoint)
            if is_secure(endpoint) and not tls:
                raise UsageError(f"{endpoint} wants an identity, and there is none here")
        self._tls = tls
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._failover = Failover(endpoints, monotonic=time.monotonic)
        self._endpoints = tuple(dict.fromkeys(endpoints))
        self._timeout_seconds = timeout_seconds
        self._patience_seconds = min(patience_seconds, timeout_seconds)
        self._on_wait = on_wait
        self._slow: set[str] = set()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Keep nothing."""

    # ---- the verbs of the API --------------------------------------------------------------

    def snapshot(self) -> SnapshotView:
        """Return the whole state; if no controller knows all of it, what was known last."""
        request = self._request("GET", "/v1/snapshot", parameters={"stale": "true"})
        return self._ask(request, SnapshotView, _age)

    def plan(self, change: Change) -> PlanPreview:
        """Return what a change would do."""
        request = self._request("POST", "/v1/plan", body=codec.encode(change))
        return self._ask(request, PlanPreview)

    def apply(self, change: Change) -> PlanPreview:
        """Make a change; ConflictError if `change.revision` is not the last one any more."""
        return self.change("POST", "/v1/apply", PlanPreview, change)

    def history(self, name: str) -> ServiceHistory:
        """Return the versions of a service that are kept; NotFoundError if there is none."""
        path = f"/v1/services/{quote(name, safe='')}/versions"
        return self._ask(self._request("GET", path), ServiceHistory)

    def change_rollout(self, change: RolloutChange) -> PlanPreview:
        """Pause, resume, promote, abort or undo; ConflictError if that cannot be done now."""
        return self.change("POST", "/v1/rollouts", PlanPreview, change)

    def delete_service(self, name: str, by: str = "", why: str = "") -> PlanPreview:
        """Delete a service; NotFoundError if there is none of that name."""
        path = f"/v1/services/{quote(name, safe='')}"
        return self.change("DELETE", path, PlanPreview, parameters={"by": by, "why": why})

    def release_volume(
        self, volume: str, by: str = "", why: str = "", *, give_up: bool = False
    ) -> Volume:
        """Have a volume deleted, or given up; NotFoundError, or ConflictError if it is used."""
        path = f"/v1/volumes/{quote(volume, safe='')}/release"
        said = {"by": by, "why": why, "give_up": "true" if give_up else ""}
        return self.change("POST", path, Volume, parameters=said)

    def intervene(self, change: InterventionChange) -> InterventionReply:
        """Do something to the network for a while, or only look if it is a dry run.

        NotFoundError if what it names is not there, ConflictError if a guard forbids it.
        """
        body = codec.encode(change)
        path = "/v1/interventions"
        request = self._request("POST", path, body=body, writes=not change.dry_run)
        return self._ask(request, InterventionReply)

    def request(self, asked: Signed) -> RequestReply:
        """Ask for a change that a second operator must approve."""
        return self.change("POST", "/v1/requests", RequestReply, asked)

    def requests(self) -> list[ChangeRequest]:
        """Return the change requests that have not expired, oldest first."""
        return self._ask(self._request("GET", "/v1/requests"), list[ChangeRequest])

    def requested(self, request: str) -> RequestReply:
        """Return a change request, and what it would do now; NotFoundError."""
        path = f"/v1/requests/{quote(request, safe='')}"
        return self._ask(self._request("GET", path), RequestReply)

    def approve(self, request: str, approval: Approval) -> RequestReply:
        """Have a change done that another operator asked for."""
        return self._close(request, "approval", approval, RequestReply)

    def withdraw(self, request: str, withdrawal: Withdrawal) -> ChangeRequest:
        """Close a request without doing it."""
        return self._close(request, "withdrawal", withdrawal, ChangeRequest)

    def events(
        self, after: int, wait_ms: int = 0, limit: int = 1000, *, stale: bool = False
    ) -> list[Event]:
        """Return events of a sequence > `after`, oldest first, waiting up to `wait_ms`.

        With `stale` also while no controller reaches the store: what was known last.
        """
        wanted = {"after": str(after), "wait_ms": str(wait_ms), "limit": str(limit)}
        parameters = {**wanted, **({"stale": "true"} if stale else {})}
        request = self._request("GET", "/v1/events", parameters=parameters)
        holds = wait_ms / 1000
        seconds = request.answer_seconds + holds
        asked = replace(request, answer_seconds=seconds, holds_seconds=holds)
        return self._ask(asked, list[Event])

    def audit(self, after: int, limit: int) -> AuditPage:
        """Return what operators did, by records with numbers > `after`.

        They are read fully or not at all: without a part of it a record has another hash.
        """
        parameters = {"after": str(after), "limit": str(limit)}
        request = self._request("GET", "/v1/audit", parameters=parameters)
        return self._ask(request, AuditPage)

    def get(self, path: str, parameters: Mapping[str, str], kind: type[_T]) -> _T:
        """Return the word of type `kind` that a controller answers to a question."""
        return self._ask(self._request("GET", path, parameters=parameters), kind)

    def post(self, path: str, word: object, kind: type[_T]) -> _T:
        """Return the word of type `kind` that a controller answers to another word."""
        return self._ask(self._request("POST", path, body=codec.encode(word)), kind)

    def raw(
        self,
        path: str,
        headers: Mapping[str, str],
        parameters: Mapping[str, str] | None = None,
        word: object = None,
    ) -> "RawAnswer":
        """Return what a controller answers to a question, as it comes, to be closed.

        With a word it does what that says, which no other controller is asked for then.

        Raises:
            UnavailableError: nobody answers.
            PltfrmsError: what a controller answers, and no other one would mend.
        """
        body = None if word is None else codec.encode(word)
        method, writes = ("GET", False) if body is None else ("POST", True)
        request = self._request(method, path, parameters=parameters, body=body, writes=writes)
        attempts = Attempts(self._failover, request)
        for endpoint in self._failover.order():
            try:
                return self._begin(endpoint, request, headers)
            except SilentError as error:
                attempts.broke(endpoint, str(error), sent=error.sent)
                if writes and error.sent:
                    break
            except UnavailableError as error:
                attempts.refused(endpoint, error)
        raise attempts.failure()

    def _begin(
        self, endpoint: str, request: Request, headers: Mapping[str, str]
    ) -> "RawAnswer":
        from pltfrms.drivers.controlplane.raw_answer import RawAnswer  # noqa: PLC0415 - few do

        connection = self._connect(endpoint)
        try:
            path = f"{urlsplit(base_url(endpoint)).path.rstrip('/')}{request.target}"
            connection.sock.settimeout(request.answer_seconds)
            said = {**headers, **self._headers}
            connection.request(request.method, path, request.body, said)
            response = connection.getresponse()
            refused = response.status >= HTTPStatus.BAD_REQUEST
            content = response.read() if refused else b""
        except (OSError, HTTPException) as error:
            connection.close()
            raise SilentError(sentence_of(error), sent=True) from error
        self._failover.answered(endpoint)
        if refused:
            connection.close()
            raise said_of(endpoint, response.status, content)
        return RawAnswer(connection, response)

    def change(
        self,
        method: str,
        path: str,
        kind: type[_T],
        word: object = None,
        parameters: Mapping[str, str] | None = None,
    ) -> _T:
        """Change something; return the word of type `kind` that a controller answers."""
        body = None if word is None else codec.encode(word)
        said = {name: text for name, text in (parameters or {}).items() if text}
        request = self._request(method, path, parameters=said, body=body, writes=True)
        return self._ask(request, kind)

    def health(self) -> dict[str, str]:
        """Return, for every endpoint, `` while it is healthy, else one sentence why not."""
        request = self._request("GET", "/healthz")
        return {endpoint: self._health(endpoint, request) for endpoint in self._endpoints}

    def close(self) -> None:
        """Keep nothing; every question has a connection of its own."""

    # ---- one question over several controllers ---------------------------------------------

    def _request(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str] | None = None,
        body: bytes | None = None,
        writes: bool = False,
    ) -> Request:
        return Request(
            method=method,
            path=path,
            parameters=parameters or {},
            body=body,
            answer_seconds=self._timeout_seconds,
            writes=writes,
        )

    def _close(self, request: str, how: str, word: object, kind: type[_T]) -> _T:
        path = f"/v1/requests/{quote(request, safe='')}/{how}"
        return self.change("POST", path, kind, word)

    def _health(self, endpoint: str, request: Request) -> str:
        try:
            answer = self._send(endpoint, request, LONG_POLL_MARGIN_SECONDS)
        except SilentError as error:
            return str(error)
        return "" if answer.good else str(said_of(endpoint, answer.status, answer.content))

    def _ask(
        self, request: Request, kind: type[_T], age: Callable[[_T], float] = lambda _: 0.0
    ) -> _T:
        """Return the first answer of age 0, else the youngest.

        Raises:
            UnavailableError: nobody answers in time.
            PltfrmsError: what a controller answers, and no other one would mend.
        """
        began = time.monotonic()
        until = began + self._patience_seconds
        while True:
            attempts = Attempts(self._failover, request)
            found = self._ask_all(request, kind, age, attempts, began + request.answer_seconds)
            if found:
                return min(found, key=age)
            failure = attempts.failure()
            if not attempts.refused_for_now or time.monotonic() >= until:
                raise failure
            self._on_wait(f"asking again: {failure}")
            time.sleep(_AGAIN_SECONDS)

    def _ask_all(
        self,
        request: Request,
        kind: type[_T],
        age: Callable[[_T], float],
        attempts: Attempts,
        deadline: float,
    ) -> list[_T]:
        """Ask one after the other until one answers something of age 0; return the answers."""
        found: list[_T] = []
        order = sorted(self._failover.order(), key=lambda endpoint: endpoint in self._slow)
        for number, endpoint in enumerate(order):
            seconds = self._share(deadline, len(order) - number, hurry=bool(found))
            answer = self._try(endpoint, request, seconds, attempts)
            if answer is None:
                continue
            found.append(_decoded(kind, answer))
            if not age(found[-1]):
                break
        return found

    def _share(self, deadline: float, left: int, *, hurry: bool) -> float:
        """Return how long the next of `left` controllers may take."""
        remaining = max(deadline - time.monotonic(), _SAY_AFTER_SECONDS / 10)
        share = remaining / 2 if left > 1 else remaining
        return min(share, _SLOW_SECONDS) if hurry else share

    def _try(
        self, endpoint: str, request: Request, seconds: float, attempts: Attempts
    ) -> ControllerAnswer | None:
        """Return the good answer of one controller; None if the next one is to be asked."""
        if endpoint in self._slow:
            seconds = min(seconds, _SLOW_SECONDS)
        try:
            answer = self._send(endpoint, request, seconds)
        except SilentError as error:
            if error.sent:
                self._slow.add(endpoint)
            attempts.broke(endpoint, str(error), sent=error.sent)
            return None
        self._slow.discard(endpoint)
        if answer.good:
            self._failover.answered(endpoint)
            return answer
        said = said_of(answer.where, answer.status, answer.content)
        if isinstance(said, UnavailableError):
            attempts.refused(endpoint, said)
            return None
        self._failover.answered(endpoint)
        raise attempts.final(said)

    def _send(self, endpoint: str, request: Request, seconds: float) -> ControllerAnswer:
        connection = self._connect(endpoint)
        try:
            path = f"{urlsplit(base_url(endpoint)).path.rstrip('/')}{request.target}"
            kind = {"Content-Type": "application/json"} if request.body else {}
            headers = {**self._headers, **kind}
            connection.sock.settimeout(seconds)
            connection.request(request.method, path, request.body, headers)
            self._await(endpoint, connection.sock, seconds, request.holds_seconds)
            with connection.getresponse() as response:
                return ControllerAnswer(
                    where=f"{endpoint}{request.path}",
                    status=response.status,
                    content=response.read(),
                )
        except TimeoutError as error:
            raise SilentError(f"no answer within {seconds:.3g} s") from error
        except RemoteDisconnected as error:
            words = CLOSED_BY_TLS if is_secure(endpoint) else sentence_of(error)
            raise SilentError(words) from error
        except (OSError, HTTPException) as error:
            raise SilentError(sentence_of(error), sent=not refused_by_tls(error)) from error
        finally:
            connection.close()

    def _connect(self, endpoint: str) -> HTTPConnection:
        connection = _connected(endpoint)
        try:
            if self._tls and is_secure(endpoint):
                connection.sock = self._tls(connection.sock)
        except OSError as error:
            connection.close()
            raise SilentError(sentence_of(error), sent=False) from error
        return connection

    def _await(self, endpoint: str, sock: socket.socket, seconds: float, holds: float) -> None:
        """Return when the answer begins; TimeoutError if it does not in time."""
        started = time.monotonic()
        say_at = holds + _SAY_AFTER_SECONDS
        while True:
            waited = time.monotonic() - started
            if waited >= seconds:
                raise TimeoutError
            if waited >= say_at:
                say_at += _SAY_EVERY_SECONDS
                self._on_wait(f"waiting for {endpoint}: {waited:.0f} s of {seconds:.3g} s")
            if select.select((sock,), (), (), min(seconds, say_at) - waited)[0]:
                return


# ---- connections ---------------------------------------------------------------------------


class _UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("controller", timeout=CONNECT_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(CONNECT_SECONDS)
        self.sock.connect(self._path)


def _connected(endpoint: str) -> HTTPConnection:
    path = socket_of(endpoint)
    parts = urlsplit(base_url(endpoint))
    connection = (
        _UnixConnection(path)
        if path
        else HTTPConnection(parts.hostname or "", parts.port, timeout=CONNECT_SECONDS)
    )
    try:
        connection.connect()
    except OSError as error:
        connection.close()
        raise SilentError(f"nobody to connect to ({sentence_of(error)})", sent=False) from error
    return connection


def _age(view: SnapshotView) -> float:
    """Return how far it is from what is; 0 if nothing is missing or old."""
    return view.stale_seconds + len(view.problems)


def _decoded(kind: type[_T], answer: ControllerAnswer) -> _T:
    read = codec.decode_fully if kind is AuditPage else codec.read
    try:
        return read(kind, answer.content)
    except UsageError as error:
        raise not_understood(answer.where, error) from error
