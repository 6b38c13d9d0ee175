"""Answers Prometheus over HTTP, by TLS where the machine has an identity.

One question a connection, no body, and an answer that is made at most once a second: who asks
can take little. Nobody gets anything without the token of a reader whom the platform names; as
long as it names none, nobody listens.
"""

import asyncio
import socket
import ssl
import time
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv6Address
from typing import Final

import h11
import structlog

from pltfrms.agent.scraped.exposition import CONTENT_TYPE
from pltfrms.drivers.listening import HANDSHAKE_SECONDS, Watched, bind6
from pltfrms.drivers.log import SpareLog
from pltfrms.model.network.readers import METRICS_PORT, MetricsReader, reader_of

PATH: Final = "/metrics"
LINES_MAX: Final = 16
LINES_EACH: Final = 4
"""Connections at once, and of one address."""
_HEAD_BYTES: Final = 8192
_SECONDS: Final = 10.0
"""In which a question is asked and its answer taken."""
_FRESH_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 2.0
_PLAIN: Final = "text/plain; charset=utf-8"
_SCHEME: Final = "bearer "
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsDoor:
    """Where metrics are told, and to whom."""

    address: IPv6Address
    readers: Callable[[], tuple[MetricsReader, ...]]
    """Those of the platform now; none: nobody listens."""
    tls: ssl.SSLContext | None = None
    """None: plainly."""


@dataclass(slots=True)
class _Lines:
    """Lets in few at once, before hands are shaken by TLS."""

    _open: set[tuple[str, int]] = field(default_factory=set)
    _of: Counter[str] = field(default_factory=Counter)

    def comes(self, _line: socket.socket, client: tuple[str, int]) -> bool:
        """Return whether somebody may connect."""
        if len(self._open) >= LINES_MAX or self._of[client[0]] >= LINES_EACH:
            return False
        self._open.add(client)
        self._of[client[0]] += 1
        return True

    def goes(self, client: tuple[str, int]) -> None:
        """Note that somebody has left."""
        self._open.discard(client)
        self._of[client[0]] -= 1
        if not self._of[client[0]]:
            del self._of[client[0]]


class MetricsServer:
    """Tells the metrics of this machine."""

    def __init__(self, door: MetricsDoor, text: Callable[[], str]) -> None:
        """Make the `text` when it is asked for."""
        self._door = door
        self._text = text
        self._said = SpareLog(_log.warning, time.monotonic)
        self._made: tuple[float, bytes] | None = None

    async def run(self) -> None:
        """Listen for ever, while there are readers."""
        last = ""
        while True:
            if self._door.readers():
                try:
                    await self._listen_while_wanted()
                    last = ""
                except OSError as error:
                    if str(error) != last:
                        _log.warning("metrics are not told", error=str(error))
                    last = str(error)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _listen_while_wanted(self) -> None:
        door = self._door
        bound = Watched.by(_Lines(), bind6(str(door.address), METRICS_PORT))
        patience = HANDSHAKE_SECONDS if door.tls else None
        async with await asyncio.start_server(
            self._serve, sock=bound, ssl=door.tls, ssl_handshake_timeout=patience
        ):
            _log.info("metrics are told", address=str(door.address), port=METRICS_PORT)
            while door.readers():  # noqa: ASYNC110 - a target is no event here
                await asyncio.sleep(_LOOK_SECONDS)
        _log.info("metrics are told no more: the platform names no reader")

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                words = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
                status, kind, content = await self._answer(words, reader, writer)
                head = h11.Response(
                    status_code=status,
                    headers=[
                        ("Content-Type", kind),
                        ("Content-Length", str(len(content))),
                        ("Connection", "close"),
                    ],
                )
                for event in (head, h11.Data(content), h11.EndOfMessage()):
                    writer.write(words.send(event) or b"")
                await writer.drain()
        except (OSError, TimeoutError, EOFError, h11.ProtocolError, asyncio.CancelledError):
            writer.transport.abort()  # a cancelled one, too: see `LookingGlass.serve`
        finally:
            writer.close()

    async def _answer(
        self, words: h11.Connection, reader: StreamReader, writer: StreamWriter
    ) -> tuple[HTTPStatus, str, bytes]:
        try:
            asked = await _head(words, reader)
        except h11.RemoteProtocolError as error:
            return HTTPStatus.BAD_REQUEST, _PLAIN, f"not HTTP: {error}\n".encode()
        if asked.method != b"GET" or asked.target.partition(b"?")[0] != PATH.encode():
            return HTTPStatus.NOT_FOUND, _PLAIN, f"here is GET {PATH} only\n".encode()
        if not reader_of(self._door.readers(), _token(asked)):
            client = (writer.get_extra_info("peername") or ("",))[0]
            self._said.say("metrics refused", client, client=client)
            return HTTPStatus.FORBIDDEN, _PLAIN, b"show the token of a metrics reader\n"
        return HTTPStatus.OK, CONTENT_TYPE, self._metrics()

    def _metrics(self) -> bytes:
        now = time.monotonic()
        if self._made is None or now - self._made[0] >= _FRESH_SECONDS:
            self._made = now, self._text().encode()
        return self._made[1]


async def _head(words: h11.Connection, reader: StreamReader) -> h11.Request:
    while not isinstance(event := words.next_event(), h11.Request):
        part = await reader.read(_HEAD_BYTES)
        if not part:
            raise EOFError
        words.receive_data(part)
    return event


def _token(asked: h11.Request) -> str:
    """Return the token that a question shows (RFC 6750, section 2.1); empty: none."""
    for name, value in asked.headers:
        text = value.decode("latin-1")
        if name == b"authorization" and text.lower().startswith(_SCHEME):
            return str(text[len(_SCHEME) :].strip())
    return ""
