"""HTTP/1.1 to one controller, over connections that are kept (RFC 9112).

As much of it as our own controllers speak. An HTTP library costs an agent more memory than all
of its own code, and for each heartbeat more time than anything else that it does.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode, urlsplit

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
_HEAD_BYTES: Final = 1 << 16
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
                line.writer.write(self._words(request))
                status, head = await _head(line.reader)
            async with asyncio.timeout(request.answer_seconds):  # a target may be long
                content, kept = await _content(line.reader, status, head)
        except TimeoutError as error:
            raise SilentError(f"no answer within {request.answer_seconds:g} s") from error
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise SilentError(sentence_of(error)) from error
        finally:
            if kept:
                line.idle_since = time.monotonic()
                self._idle.append(line)
            else:
                line.writer.close()
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
            ends = await asyncio.open_unix_connection(self._socket, limit=_HEAD_BYTES)
        else:
            host, port = self._parts.hostname, self._parts.port or 80
            ends = await asyncio.open_connection(host, port, limit=_HEAD_BYTES)
        return _Line(*ends)

    def _words(self, request: Request) -> bytes:
        body = request.body or b""
        kind = "Content-Type: application/json\r\n" if body else ""
        head = (
            f"{request.method} {self._parts.path}{_path(request)} HTTP/1.1\r\n"
            f"Host: {self._parts.netloc}\r\n{kind}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def _path(request: Request) -> str:
    return request.path + (f"?{urlencode(request.parameters)}" if request.parameters else "")


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Return the status and the header of an answer, names in small letters; ValueError."""
    text = await reader.readuntil(b"\r\n\r\n")
    first, *lines = text.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(f"not an HTTP answer: {first[:60]!r}")
    pairs = (line.partition(":") for line in lines)
    return int(rest[:3]), {name.lower(): value.strip() for name, _, value in pairs}


async def _content(
    reader: asyncio.StreamReader, status: int, head: dict[str, str]
) -> tuple[bytes, bool]:
    """Return the content of an answer, and whether the next may come on this connection."""
    kept = head.get("connection", "").lower() != "close"
    if status == HTTPStatus.NO_CONTENT:
        return b"", kept
    if "content-length" in head:
        return await reader.readexactly(int(head["content-length"])), kept
    if "transfer-encoding" in head:
        raise ValueError("an answer in chunks, which no controller of ours gives")
    return await reader.read(), False
