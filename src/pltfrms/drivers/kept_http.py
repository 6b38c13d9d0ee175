"""HTTP/1.1 to one server, over connections that are kept: h11 speaks, asyncio carries.

A client that can do all of HTTP costs an agent 8 MB, and takes 0.5 ms of processor for a
question where this takes a third: a heartbeat is one question to a controller, which makes it
one to the store.
"""

import asyncio
import contextlib
import ssl
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

import h11

from pltfrms.drivers.failover import CLOSED_BY_TLS, SilentError, refused_by_tls, sentence_of

_IDLE_SECONDS: Final = 4.0
"""Idle connections are closed before uvicorn does it (5 s), so that no question meets that."""
_READ_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class TlsEnd:
    """Whom we expect at the other end, and what we show."""

    context: ssl.SSLContext
    name: str
    """Which its certificate must have."""


@dataclass(frozen=True, slots=True)
class HttpQuestion:
    """What is asked of a server."""

    method: str
    path: str
    """With what follows a question mark."""
    body: bytes = b""
    kind: str = "application/json"
    """What the body is."""
    token: str = ""
    """By which who asks is known (RFC 6750, section 2.1); empty: by nothing, or by TLS."""


@dataclass(slots=True)
class _Line:
    """A connection."""

    reader: StreamReader
    writer: StreamWriter
    words: h11.Connection
    idle_since: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether the next question may be asked here."""
        fresh = time.monotonic() - self.idle_since < _IDLE_SECONDS
        return fresh and not self.reader.at_eof() and not self.writer.is_closing()


class KeptHttp:
    """The connections to one server; as many as questions at the same time."""

    def __init__(
        self,
        base_url: str,
        connect_seconds: float,
        *,
        socket: str | None = None,
        headers: Mapping[str, str] | None = None,
        tls: TlsEnd | None = None,
    ) -> None:
        """Connect when first asked, to a Unix socket if there is one; ValueError: no URL.

        With `tls` by TLS, whatever the URL says.
        """
        self._parts = urlsplit(base_url)
        usual = 443 if self._parts.scheme == "https" else 80
        self._address = (self._parts.hostname, self._parts.port or usual)
        self._socket = socket
        self._headers = [("Host", self._parts.netloc), *(headers or {}).items()]
        self._connect_seconds = connect_seconds
        self._tls = tls
        self._idle: list[_Line] = []
        self._keeps = True

    async def ask(
        self, question: HttpQuestion, seconds: float, more_seconds: float = 0.0
    ) -> tuple[int, bytes]:
        """Return status code and content of the answer.

        It has begun within `seconds`, and is whole within `more_seconds` more.

        Raises:
            SilentError: there is none, or it is not HTTP.
        """
        line = await self._line(seconds)
        kept = False
        try:
            async with asyncio.timeout(seconds) as limit:
                parts = [line.words.send(event) or b"" for event in self._events(question)]
                line.writer.write(b"".join(parts))
                head = await _next(line)
                limit.reschedule((limit.when() or 0.0) + more_seconds)
                content = await _content(line)
            kept = line.words.our_state is h11.DONE is line.words.their_state
        except TimeoutError as error:
            raise SilentError(f"no answer within {seconds:.3g} s") from error
        except (OSError, h11.ProtocolError) as error:
            closed = self._tls and line.reader.at_eof()
            words = CLOSED_BY_TLS if closed else sentence_of(error)
            raise SilentError(words, sent=not refused_by_tls(error)) from error
        finally:
            if kept and self._keeps:
                line.words.start_next_cycle()
                line.idle_since = time.monotonic()
                self._idle.append(line)
            else:
                line.writer.transport.abort()
        return head.status_code if isinstance(head, h11.Response) else 0, content

    def drop(self) -> None:
        """Begin to end the connections that nobody uses, and keep no more."""
        self._keeps = False
        for line in self._idle:
            line.writer.close()
        self._idle = []

    async def close(self) -> None:
        """End the connections that nobody uses."""
        lines, self._idle = self._idle, []
        for line in lines:
            line.writer.close()
        for line in lines:
            with contextlib.suppress(OSError):
                await line.writer.wait_closed()

    async def _line(self, seconds: float) -> _Line:
        while self._idle:
            line = self._idle.pop()
            if line.usable:
                return line
            line.writer.close()
        try:
            async with asyncio.timeout(min(self._connect_seconds, seconds)):
                return await self._connected()
        except OSError as error:  # or the time is over
            words = f"nobody to connect to ({sentence_of(error)})"
            raise SilentError(words, sent=False) from error

    async def _connected(self) -> _Line:
        if self._socket:
            ends = await asyncio.open_unix_connection(self._socket)
        else:
            tls = self._tls
            ends = await asyncio.open_connection(
                *self._address,
                ssl=tls.context if tls else None,
                server_hostname=tls.name if tls else None,
            )
        return _Line(*ends, h11.Connection(h11.CLIENT))

    def _events(self, question: HttpQuestion) -> tuple[h11.Event, ...]:
        headers = [*self._headers, ("Content-Length", str(len(question.body)))]
        if question.body:
            headers.append(("Content-Type", question.kind))
        if question.token:
            headers.append(("Authorization", f"Bearer {question.token}"))
        target = f"{self._parts.path}{question.path}"
        begin = h11.Request(method=question.method, target=target, headers=headers)
        return (begin, h11.Data(question.body), h11.EndOfMessage())


async def _next(line: _Line) -> h11.Event:
    """Return what the server says next; ProtocolError if that is not HTTP."""
    while (event := line.words.next_event()) is h11.NEED_DATA:
        line.words.receive_data(await line.reader.read(_READ_BYTES))
    return cast("h11.Event", event)


async def _content(line: _Line) -> bytes:
    content = bytearray()
    while isinstance(event := await _next(line), h11.Data):
        content += event.data
    return bytes(content)
