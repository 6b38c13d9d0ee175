"""HTTP/1.1 to one controller, over connections that are kept.

A client that can do all of HTTP costs an agent 8 MB, and for each heartbeat more time than all
else that it does in a second.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlencode, urlsplit

import h11

from pltfrms.drivers.controlplane.asking import (
    CONNECT_SECONDS,
    Request,
    SilentError,
    base_url,
    sentence_of,
    socket_of,
)

_IDLE_SECONDS: Final = 4.0
"""Idle connections are closed before uvicorn does it (5 s), so that no request meets that."""
_READ_BYTES: Final = 1 << 16
_GOOD: Final = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a controller answered."""

    where: str
    """The URL that was asked."""
    status: int
    content: bytes

    @property
    def good(self) -> bool:
        """Whether it is a success."""
        return self.status in _GOOD


@dataclass(slots=True)
class _Line:
    """A connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    words: h11.Connection
    idle_since: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether the next question may be asked here."""
        fresh = time.monotonic() - self.idle_since < _IDLE_SECONDS
        return fresh and not self.reader.at_eof() and not self.writer.is_closing()


class Lines:
    """The connections to one controller; as many as questions at the same time."""

    def __init__(self, endpoint: str) -> None:
        """Connect when first asked; UsageError if it is not an endpoint."""
        self._base = base_url(endpoint)
        self._socket = socket_of(endpoint)
        self._parts = urlsplit(self._base)
        self._idle: list[_Line] = []

    async def ask(self, request: Request) -> Reply:
        """Return what the controller answers.

        Raises:
            SilentError: nothing, or nothing that can be read.
        """
        line = await self._line()
        kept = False
        try:
            async with asyncio.timeout(request.answer_seconds):
                parts = [line.words.send(event) or b"" for event in self._question(request)]
                line.writer.write(b"".join(parts))
                head = await _next(line)
            async with asyncio.timeout(request.answer_seconds):  # a target may be long
                content = await _content(line)
            kept = line.words.our_state is h11.DONE is line.words.their_state
        except TimeoutError as error:
            raise SilentError(f"no answer within {request.answer_seconds:g} s") from error
        except (OSError, h11.ProtocolError) as error:
            raise SilentError(sentence_of(error)) from error
        finally:
            if kept:
                line.words.start_next_cycle()
                line.idle_since = time.monotonic()
                self._idle.append(line)
            else:
                line.writer.close()
        status = head.status_code if isinstance(head, h11.Response) else 0
        where = f"{self._base}{_path(request)}"
        return Reply(where=where, status=status, content=content)

    async def close(self) -> None:
        """Release connections."""
        lines, self._idle = self._idle, []
        for line in lines:
            line.writer.close()
        for line in lines:
            with contextlib.suppress(OSError):
                await line.writer.wait_closed()

    async def _line(self) -> _Line:
        while self._idle:
            line = self._idle.pop()
            if line.usable:
                return line
            line.writer.close()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._connected()
        except OSError as error:  # or the time is over
            words = f"nobody to connect to ({sentence_of(error)})"
            raise SilentError(words, sent=False) from error

    async def _connected(self) -> _Line:
        if self._socket:
            ends = await asyncio.open_unix_connection(self._socket)
        else:
            host, port = self._parts.hostname, self._parts.port or 80
            ends = await asyncio.open_connection(host, port)
        return _Line(*ends, h11.Connection(h11.CLIENT))

    def _question(self, request: Request) -> tuple[h11.Event, ...]:
        body = request.body or b""
        target = f"{self._parts.path}{_path(request)}"
        headers = [("Host", self._parts.netloc), ("Content-Length", str(len(body)))]
        if body:
            headers.append(("Content-Type", "application/json"))
        begin = h11.Request(method=request.method, target=target, headers=headers)
        return (begin, h11.Data(body), h11.EndOfMessage())


def _path(request: Request) -> str:
    return request.path + (f"?{urlencode(request.parameters)}" if request.parameters else "")


async def _next(line: _Line) -> h11.Event:
    """Return what the controller says next; ProtocolError if that is not HTTP."""
    while (event := line.words.next_event()) is h11.NEED_DATA:
        line.words.receive_data(await line.reader.read(_READ_BYTES))
    return cast("h11.Event", event)


async def _content(line: _Line) -> bytes:
    content = bytearray()
    while isinstance(event := await _next(line), h11.Data):
        content += event.data
    return bytes(content)
