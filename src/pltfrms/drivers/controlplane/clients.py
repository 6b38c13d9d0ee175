"""Clients of the controllers' HTTP API (`model.api`): of agents, and of the operator.

Any controller can answer. Both clients ask the one that answered last, else the next.
"""

import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote, urlsplit

import httpx2

from pltfrms import codec, errors
from pltfrms.drivers.failover import Failover
from pltfrms.errors import (
    ConflictError,
    InvariantError,
    NotFoundError,
    PltfrmsError,
    SpecError,
    UnavailableError,
    UnclearError,
    UsageError,
)
from pltfrms.model.api import (
    Change,
    ErrorBody,
    Event,
    Heartbeat,
    HeartbeatReply,
    InterventionChange,
    InterventionReply,
    PlanPreview,
    SnapshotView,
)
from pltfrms.model.plan import Target
from pltfrms.model.requests import (
    Approval,
    ChangeRequest,
    RequestReply,
    Signed,
    Withdrawal,
)

_T = TypeVar("_T")

_CONNECT_SECONDS = 0.4
_HEARTBEAT_SECONDS = 1.5
_LONG_POLL_MARGIN_SECONDS = 2.0
"""A controller that has not answered a long poll this long after its time counts as dead."""
_OPERATOR_SECONDS = 10.0
_HOME_AFTER_SECONDS = 30.0
"""An agent that had to go to a farther controller tries the nearest again this often."""
_IDLE_SECONDS = 4.0
"""Idle connections are closed before uvicorn does it (5 s), so that no request meets that."""
_UNIX = "unix:"
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    method: str
    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    answer_seconds: float = _OPERATOR_SECONDS
    writes: bool = False
    """Doing it twice can be told from doing it once."""


class HttpControlPlane:
    """`ports.ControlPlane` of an agent.

    Whatever a controller answers but a success means "ask the next one"; UnavailableError
    says what each of them said.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        """Take base URLs, nearest first; connects when first used."""
        self._failover = Failover(
            urls, monotonic=time.monotonic, home_after_seconds=_HOME_AFTER_SECONDS
        )
        self._clients = {url: _async_client(url) for url in urls}

    async def heartbeat(self, heartbeat: Heartbeat) -> HeartbeatReply:
        """Say that the machine lives."""
        request = _Request(
            method="POST",
            path="/v1/heartbeats",
            body=codec.encode(heartbeat),
            answer_seconds=_HEARTBEAT_SECONDS,
        )
        return _decoded(HeartbeatReply, await self._ask(request))

    async def target(self, machine: str, after: int, wait_ms: int) -> Target | None:
        """Return a target newer than generation `after`, waiting up to `wait_ms`; else None."""
        request = _Request(
            method="GET",
            path=f"/v1/targets/{quote(machine, safe='')}",
            parameters={"after": str(after), "wait_ms": str(wait_ms)},
            answer_seconds=wait_ms / 1000 + _LONG_POLL_MARGIN_SECONDS,
        )
        response = await self._ask(request)
        if response.status_code == httpx2.codes.NO_CONTENT:
            return None
        return _decoded(Target, response)

    async def close(self) -> None:
        """Release connections."""
        for client in self._clients.values():
            await client.aclose()

    async def _ask(self, request: _Request) -> httpx2.Response:
        attempts = _Attempts(self._failover, request)
        for endpoint in self._failover.order():
            try:
                client = self._clients[endpoint]
                response = await client.send(_built(client, request))
            except httpx2.RequestError as error:
                attempts.broke(endpoint, error)
                continue
            if response.is_success:
                self._failover.answered(endpoint)
                return response
            attempts.refused(endpoint, _said(response))
        raise attempts.failure()


class OperatorClient:
    """What the CLI asks controllers; synchronous.

    An endpoint is `http://[ADDRESS]:7480` or `unix:/path/to/controller.sock`. An error that
    a controller answers is raised here as the same class (a SpecError as UsageError), except
    UnavailableError: then the next one is asked.

    All methods raise UnavailableError when no endpoint answers. After that, the outcome of
    `apply`, `delete_service` and `intervene` is unknown.
    """

    def __init__(self, endpoints: Sequence[str]) -> None:
        """Connect when first used; UsageError if an endpoint is not one."""
        self._failover = Failover(endpoints, monotonic=time.monotonic)
        self._clients = {endpoint: _client(endpoint) for endpoint in endpoints}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release connections."""
        self.close()

    def snapshot(self) -> SnapshotView:
        """Return the whole state; what was known last if no controller reaches the store."""
        try:
            answer = self._ask(_Request(method="GET", path="/v1/snapshot"))
        except UnavailableError:
            stale = {"stale": "true"}
            answer = self._ask(_Request(method="GET", path="/v1/snapshot", parameters=stale))
        return _decoded(SnapshotView, answer)

    def plan(self, change: Change) -> PlanPreview:
        """Return what a change would do."""
        body = codec.encode(change)
        return _decoded(
            PlanPreview, self._ask(_Request(method="POST", path="/v1/plan", body=body))
        )

    def apply(self, change: Change) -> PlanPreview:
        """Make a change; ConflictError if `change.revision` is not the last one any more."""
        body = codec.encode(change)
        request = _Request(method="POST", path="/v1/apply", body=body, writes=True)
        return _decoded(PlanPreview, self._ask(request))

    def delete_service(self, name: str) -> PlanPreview:
        """Delete a service; NotFoundError if there is none of that name."""
        path = f"/v1/services/{quote(name, safe='')}"
        request = _Request(method="DELETE", path=path, writes=True)
        return _decoded(PlanPreview, self._ask(request))

    def intervene(self, change: InterventionChange) -> InterventionReply:
        """Do something to the network for a while, or only look if it is a dry run.

        NotFoundError if what it names is not there, ConflictError if a guard forbids it.
        """
        request = _Request(
            method="POST",
            path="/v1/interventions",
            body=codec.encode(change),
            writes=not change.dry_run,
        )
        return _decoded(InterventionReply, self._ask(request))

    def request(self, asked: Signed) -> RequestReply:
        """Ask for a change that a second operator must approve."""
        request = _Request(
            method="POST", path="/v1/requests", body=codec.encode(asked), writes=True
        )
        return _decoded(RequestReply, self._ask(request))

    def requests(self) -> list[ChangeRequest]:
        """Return the change requests that have not expired, oldest first."""
        answer = self._ask(_Request(method="GET", path="/v1/requests"))
        return _decoded(list[ChangeRequest], answer)

    def requested(self, request: str) -> RequestReply:
        """Return a change request, and what it would do now; NotFoundError."""
        path = f"/v1/requests/{quote(request, safe='')}"
        return _decoded(RequestReply, self._ask(_Request(method="GET", path=path)))

    def approve(self, request: str, approval: Approval) -> RequestReply:
        """Have a change done that another operator asked for."""
        return _decoded(RequestReply, self._close(request, "approval", approval))

    def withdraw(self, request: str, withdrawal: Withdrawal) -> ChangeRequest:
        """Close a request without doing it."""
        return _decoded(ChangeRequest, self._close(request, "withdrawal", withdrawal))

    def _close(self, request: str, how: str, word: object) -> httpx2.Response:
        path = f"/v1/requests/{quote(request, safe='')}/{how}"
        body = codec.encode(word)
        return self._ask(_Request(method="POST", path=path, body=body, writes=True))

    def events(self, after: int, wait_ms: int = 0, limit: int = 1000) -> list[Event]:
        """Return events of a sequence > `after`, oldest first, waiting up to `wait_ms`."""
        request = _Request(
            method="GET",
            path="/v1/events",
            parameters={"after": str(after), "wait_ms": str(wait_ms), "limit": str(limit)},
            answer_seconds=wait_ms / 1000 + _OPERATOR_SECONDS,
        )
        return _decoded(list[Event], self._ask(request))

    def get(self, path: str, parameters: Mapping[str, str], kind: type[_T]) -> _T:
        """Return the word of type `kind` that a controller answers to a question."""
        request = _Request(method="GET", path=path, parameters=parameters)
        return _decoded(kind, self._ask(request))

    def health(self) -> dict[str, str]:
        """Return, for every endpoint, `` while it is healthy, else one sentence why not."""
        request = _Request(
            method="GET", path="/healthz", answer_seconds=_LONG_POLL_MARGIN_SECONDS
        )
        return {endpoint: self._health(endpoint, request) for endpoint in self._clients}

    def close(self) -> None:
        """Release connections."""
        for client in self._clients.values():
            client.close()

    def _health(self, endpoint: str, request: _Request) -> str:
        try:
            response = self._send(endpoint, request)
        except httpx2.RequestError as error:
            return _sentence(error)
        return "" if response.is_success else str(_said(response))

    def _ask(self, request: _Request) -> httpx2.Response:
        attempts = _Attempts(self._failover, request)
        for endpoint in self._failover.order():
            try:
                response = self._send(endpoint, request)
            except httpx2.RequestError as error:
                attempts.broke(endpoint, error)
                continue
            if response.is_success:
                self._failover.answered(endpoint)
                return response
            said = _said(response)
            if not isinstance(said, UnavailableError):
                self._failover.answered(endpoint)
                raise attempts.final(said)
            attempts.refused(endpoint, said)
        raise attempts.failure()

    def _send(self, endpoint: str, request: _Request) -> httpx2.Response:
        _check_socket(endpoint)
        client = self._clients[endpoint]
        return client.send(_built(client, request))


class _Attempts:
    """What became of one request at the endpoints it was sent to so far."""

    def __init__(self, failover: Failover, request: _Request) -> None:
        self._failover = failover
        self._request = request
        self._problems: list[str] = []
        self._perhaps_done_by = ""

    def broke(self, endpoint: str, error: httpx2.RequestError) -> None:
        """Note that the connection to `endpoint` failed."""
        self._failed(endpoint, _sentence(error), sent=not isinstance(error, _NOT_SENT))

    def refused(self, endpoint: str, error: PltfrmsError) -> None:
        """Note that `endpoint` cannot do it."""
        sent = isinstance(error, UnclearError)
        self._failed(endpoint, f"{type(error).__name__}: {error}", sent=sent)

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

    def failure(self) -> UnavailableError:
        """Return what to raise when nobody answered."""
        unknown = "It may or may not be done. " if self._perhaps_done_by else ""
        kind = UnclearError if self._perhaps_done_by else UnavailableError
        return kind(
            f"no controller answers ({'; '.join(self._problems)}). {unknown}"
            "Check that a controller runs and that its address is reachable from here"
        )

    def _failed(self, endpoint: str, problem: str, *, sent: bool) -> None:
        self._failover.failed(endpoint)
        self._problems.append(f"{endpoint}: {problem}")
        if sent and self._request.writes:
            self._perhaps_done_by = endpoint


# ---- requests and answers ------------------------------------------------------------------


def _built(client: httpx2.Client | httpx2.AsyncClient, request: _Request) -> httpx2.Request:
    return client.build_request(
        request.method,
        request.path,
        params=request.parameters,
        content=request.body,
        headers={"Content-Type": "application/json"} if request.body else {},
        timeout=httpx2.Timeout(request.answer_seconds, connect=_CONNECT_SECONDS),
    )


def _decoded(kind: type[_T], response: httpx2.Response) -> _T:
    try:
        return codec.decode(kind, response.content)
    except UsageError as error:
        raise UnavailableError(
            f"{response.url} answers what this version does not understand: {error}. "
            "Run the same version everywhere"
        ) from error


def _said(response: httpx2.Response) -> PltfrmsError:
    """Return the error that a controller's answer means."""
    try:
        body = codec.decode(ErrorBody, response.content)
    except UsageError:
        what = f"{response.url}: HTTP {response.status_code}: {response.text[:200]}"
        return UnclearError(what) if response.is_server_error else InvariantError(what)
    kind = getattr(errors, body.error, None)
    if kind is SpecError:
        return UsageError(body.message)
    if kind is UnavailableError and not body.nothing_done:
        return UnclearError(body.message)
    if isinstance(kind, type) and issubclass(kind, PltfrmsError):
        return kind(body.message)
    return InvariantError(f"{body.error}: {body.message}")


def _sentence(error: Exception) -> str:
    return str(error) or type(error).__name__


# ---- connections ---------------------------------------------------------------------------


def _base_url(endpoint: str) -> str:
    """Return the base URL to use for an endpoint; UsageError if it is not one."""
    if endpoint.startswith(f"{_UNIX}/"):
        return "http://controller"
    try:
        parts = urlsplit(endpoint)
        _ = parts.port  # raises what urlsplit let pass
    except ValueError as error:
        raise _not_an_endpoint(endpoint) from error
    if parts.scheme != "http" or not parts.hostname:
        raise _not_an_endpoint(endpoint)
    return endpoint


def _not_an_endpoint(endpoint: str) -> UsageError:
    return UsageError(
        f"{endpoint!r} is not a controller endpoint; "
        "write http://[ADDRESS]:7480 or unix:/path/to/controller.sock"
    )


def _socket(endpoint: str) -> str | None:
    return endpoint.removeprefix(_UNIX) if endpoint.startswith(_UNIX) else None


def _check_socket(endpoint: str) -> None:
    """Raise ConnectError if nobody listens on a Unix socket.

    httpcore2 2.16 would say so too, but leaks the socket when it cannot connect.
    """
    if path := _socket(endpoint):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_CONNECT_SECONDS)
            try:
                probe.connect(path)
            except OSError as error:
                raise httpx2.ConnectError(str(error)) from error


def _no_certificates() -> ssl.SSLContext:
    """Return a TLS context that trusts nobody: quick to make, and we speak plain HTTP."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _limits() -> httpx2.Limits:
    return httpx2.Limits(keepalive_expiry=_IDLE_SECONDS)


def _async_client(endpoint: str) -> httpx2.AsyncClient:
    transport = httpx2.AsyncHTTPTransport(
        verify=_no_certificates(), uds=_socket(endpoint), limits=_limits()
    )
    return httpx2.AsyncClient(
        base_url=_base_url(endpoint), transport=transport, trust_env=False
    )


def _client(endpoint: str) -> httpx2.Client:
    transport = httpx2.HTTPTransport(
        verify=_no_certificates(), uds=_socket(endpoint), limits=_limits()
    )
    return httpx2.Client(base_url=_base_url(endpoint), transport=transport, trust_env=False)
