"""The agent's client of the controllers' HTTP API (`model.api`).

Any controller can answer. The client asks the one that answered last, else the next.
"""

import ssl
import time
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import quote

import httpx2

from pltfrms import codec
from pltfrms.drivers.controlplane.asking import (
    CONNECT_SECONDS,
    LONG_POLL_MARGIN_SECONDS,
    Attempts,
    Request,
    base_url,
    not_understood,
    said_of,
    socket_of,
)
from pltfrms.drivers.failover import Failover
from pltfrms.errors import UsageError, VersionError
from pltfrms.model.api import Heartbeat, HeartbeatReply
from pltfrms.model.plan import Target, TargetNews

_T = TypeVar("_T")

_HEARTBEAT_SECONDS = 1.5
_HOME_AFTER_SECONDS = 30.0
"""An agent that had to go to a farther controller tries the nearest again this often."""
_IDLE_SECONDS = 4.0
"""Idle connections are closed before uvicorn does it (5 s), so that no request meets that."""
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class HttpControlPlane:
    """`ports.ControlPlane` of an agent.

    Whatever a controller answers but a success means "ask the next one", and so does what
    this version does not understand; UnavailableError says what each of them said.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        """Take base URLs, nearest first; connects when first used."""
        self._failover = Failover(
            urls, monotonic=time.monotonic, home_after_seconds=_HOME_AFTER_SECONDS
        )
        self._clients = {url: _async_client(url) for url in urls}

    async def heartbeat(self, heartbeat: Heartbeat) -> HeartbeatReply:
        """Say that the machine lives."""
        request = Request(
            method="POST",
            path="/v1/heartbeats",
            body=codec.encode(heartbeat),
            answer_seconds=_HEARTBEAT_SECONDS,
        )
        return await self._ask(request, lambda response: _decoded(HeartbeatReply, response))

    async def target(self, current: Target, after: int, wait_ms: int) -> Target | None:
        """Return another target than `current`, of a newer generation than `after`.

        Waits up to `wait_ms` for it; else None. The platform travels only if it is another.

        Raises:
            VersionError: there is a newer one, which this version does not understand fully.
            UnavailableError: no controller answers.
        """
        request = Request(
            method="GET",
            path=f"/v1/targets/{quote(current.machine, safe='')}",
            parameters={
                "after": str(after),
                "wait_ms": str(wait_ms),
                "made_of": current.made_of,
                "platform": str(current.platform_revision),
            },
            answer_seconds=wait_ms / 1000 + LONG_POLL_MARGIN_SECONDS,
        )
        return await self._ask(request, lambda response: _target(response, current))

    async def close(self) -> None:
        """Release connections."""
        for client in self._clients.values():
            await client.aclose()

    async def _ask(self, request: Request, read: Callable[[httpx2.Response], _T]) -> _T:
        attempts = Attempts(self._failover, request)
        for endpoint in self._failover.order():
            try:
                client = self._clients[endpoint]
                response = await client.send(_built(client, request))
                if response.is_success:
                    answer = read(response)
                    self._failover.answered(endpoint)
                    return answer
                said = said_of(str(response.url), response.status_code, response.content)
                attempts.refused(endpoint, said)
            except httpx2.RequestError as error:
                attempts.broke(
                    endpoint, _sentence(error), sent=not isinstance(error, _NOT_SENT)
                )
            except VersionError as error:
                attempts.refused(endpoint, error)
        raise attempts.failure()


# ---- requests and answers ------------------------------------------------------------------


def _built(client: httpx2.AsyncClient, request: Request) -> httpx2.Request:
    return client.build_request(
        request.method,
        request.path,
        params=request.parameters,
        content=request.body,
        headers={"Content-Type": "application/json"} if request.body else {},
        timeout=httpx2.Timeout(request.answer_seconds, connect=CONNECT_SECONDS),
    )


def _target(response: httpx2.Response, current: Target) -> Target | None:
    """Return a target; who understands a part of it only would do something else.

    A controller of a release that sent whole targets only says the same as news.
    """
    if response.status_code == httpx2.codes.NO_CONTENT:
        return None
    target = _decoded(TargetNews, response, codec.decode_fully).target(current)
    if target is None:
        wrong = UsageError("a target without its platform, which is not the one here")
        raise not_understood(str(response.url), wrong)
    return target


def _decoded(
    kind: type[_T],
    response: httpx2.Response,
    decode: Callable[[type[_T], bytes], _T] = codec.decode,
) -> _T:
    try:
        return decode(kind, response.content)
    except UsageError as error:
        raise not_understood(str(response.url), error) from error


def _sentence(error: Exception) -> str:
    return str(error) or type(error).__name__


# ---- connections ---------------------------------------------------------------------------


def _no_certificates() -> ssl.SSLContext:
    """Return a TLS context that trusts nobody: quick to make, and we speak plain HTTP."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _async_client(endpoint: str) -> httpx2.AsyncClient:
    transport = httpx2.AsyncHTTPTransport(
        verify=_no_certificates(),
        uds=socket_of(endpoint),
        limits=httpx2.Limits(keepalive_expiry=_IDLE_SECONDS),
    )
    return httpx2.AsyncClient(base_url=base_url(endpoint), transport=transport, trust_env=False)
