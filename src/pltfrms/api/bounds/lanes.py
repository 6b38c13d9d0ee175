"""Lets questions in by lanes, before anything of the application runs.

A question gets its seat when all of it has come, and keeps it until its answer is taken: who
sends or reads slowly holds none that others need.
"""

import asyncio
import re
from collections.abc import Awaitable
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pltfrms.api.bounds.callers import Caller, Callers
from pltfrms.api.bounds.connections import Connections
from pltfrms.api.bounds.refusals import as_etcd, refusal
from pltfrms.api.bounds.shares import BODY_BYTES_MAX, HEARTBEATS, PARTS, TARGETS, Lane, Shares
from pltfrms.errors import PltfrmsError

_PACED_BYTES: Final = 1 << 16
"""Larger answers count as taken when the client has read them, but for so much."""
_REFUSED: Final = {
    HTTPStatus.BAD_REQUEST: "no sense",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "not there",
    HTTPStatus.UNPROCESSABLE_ENTITY: "no sense",
}
_LARGE: Final = ("/v1/snapshot", "/v1/view", "/v1/plan", "/v1/routes", "/v1/balancers")


@dataclass(frozen=True, slots=True)
class Doors:
    """Who may come in, shared by all that listens."""

    callers: Callers
    shares: Shares
    connections: Connections


class Lanes:
    """The ASGI application with bounds around it."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        """Let into `app` whom `doors` let in."""
        self._app = app
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one question, or say why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller, lane, shares = self._caller(scope), lane_of(scope), self._doors.shares
        with ExitStack() as holding:
            try:
                holding.enter_context(shares.arriving(caller, lane, _length(scope)))
                body = await self._whole(lane, receive)
                if body is None:
                    return
                holding.enter_context(shares.seat(caller, lane))
            except PltfrmsError as error:
                answer = as_etcd(error) if lane is Lane.PART else refusal(error)
                await answer(scope, receive, send)
                return
            question = _Question(body, receive)
            running = self._app(scope, question.receive, _paced(self._counted(lane, send)))
            if lane is Lane.WAIT or _WHILE_THERE.fullmatch(scope["path"]):
                await question.until_gone(running)
            else:
                await running

    def _counted(self, lane: Lane, send: Send) -> Send:
        """Return a `send` that counts what is refused for what it says."""

        async def counted(message: Message) -> None:
            if reason := _REFUSED.get(message.get("status", 0)):
                self._doors.shares.note(lane, reason)
            await send(message)

        return counted

    def _caller(self, scope: Scope) -> Caller:
        known: Caller | None = scope.get("state", {}).get("caller")
        return known or self._doors.callers.behind(scope.get("client"))

    async def _whole(self, lane: Lane, receive: Receive) -> bytes | None:
        """Return the whole body; None if the client is gone."""
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > BODY_BYTES_MAX[lane]:
                self._doors.shares.too_large(lane)
        return bytes(body)


_WHILE_THERE: Final = re.compile(rf"/v1/services/[^/]+/exec|{PARTS}watch")
"""What goes on for as long as who asked for it is there."""


def lane_of(scope: Scope) -> Lane:
    """Return the lane of a question."""
    path: str = scope["path"]
    if path == HEARTBEATS:
        return Lane.HEARTBEAT
    waits = path == "/v1/events" and b"wait_ms" in scope.get("query_string", b"")
    if waits or path == "/v1/stream" or path.startswith(TARGETS):
        return Lane.WAIT
    if path.startswith(PARTS) or path == "/version":
        return Lane.PART
    return Lane.LARGE if path.startswith(_LARGE) else Lane.OTHER


class _Question:
    """A question that has come, whose client may go."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def receive(self) -> Message:
        """Return the body, then what else the client does."""
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def until_gone(self, running: Awaitable[None]) -> None:
        """Wait until it is answered, but no longer than the client does."""
        answering = asyncio.ensure_future(running)
        leaving = asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                await answering
        finally:
            answering.cancel()
            leaving.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _length(scope: Scope) -> int:
    """Return how many bytes the body has, as far as that is said."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _paced(send: Send) -> Send:
    """Return a `send` that returns after a large answer when the client has read most of it."""

    async def paced(message: Message) -> None:
        body = message.get("body", b"")
        if len(body) > _PACED_BYTES and not message.get("more_body"):
            await send({**message, "more_body": True})
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    return paced
