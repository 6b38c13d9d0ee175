"""Questions over HTTP/1.1: a POST of JSON and its answer, over connections that stay open.

Each heartbeat of each machine is one question to etcd. A client that can do all of HTTP takes
as much processor for it as the rest of a heartbeat does (0.5 ms); h11 below it a third of that.
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import h11

_READ_BYTES: Final = 1 << 16


class NotSentError(Exception):
    """The server certainly did not do what was asked."""


class BrokenError(Exception):
    """The server may have done what was asked."""


class _Connection(NamedTuple):
    reader: StreamReader
    writer: StreamWriter
    words: h11.Connection


class Posts:
    """A client of some servers."""

    def __init__(
        self, headers: Mapping[str, str], connect_timeout_seconds: float, at_once: int
    ) -> None:
        """Connect when asked; of more than `at_once` questions the others wait."""
        self._headers = [*headers.items(), ("Content-Type", "application/json")]
        self._connect_timeout_seconds = connect_timeout_seconds
        self._turns = asyncio.Semaphore(at_once)
        self._idle: dict[str, list[_Connection]] = {}

    async def ask(
        self, server: str, path: str, body: bytes, seconds: float
    ) -> tuple[int, bytes]:
        """Return status code and body of the answer; `server` is like `http://[fd00::1]:2379`.

        Raises:
            NotSentError, BrokenError: there is no answer in `seconds`, or it is not HTTP.
        """
        headers = [("Host", urlsplit(server).netloc), ("Content-Length", str(len(body)))]
        question = h11.Request(method="POST", target=path, headers=headers + self._headers)
        sent = False
        try:
            async with asyncio.timeout(seconds), self._turns, self._lent(server) as connection:
                sent = True
                return await _asked(connection, question, body)
        except (OSError, h11.ProtocolError) as error:
            kind = BrokenError if sent else NotSentError
            raise kind(str(error) or f"no answer in {seconds:.1f} s") from error

    async def close(self) -> None:
        """End the connections that nobody uses."""
        for connections in self._idle.values():
            for connection in connections:
                connection.writer.close()
        self._idle.clear()

    @asynccontextmanager
    async def _lent(self, server: str) -> AsyncIterator[_Connection]:
        """Lend a connection; it is ended if what it is lent for fails."""
        connection = self._known(server) or await self._connected(server)
        try:
            yield connection
            if connection.words.our_state is h11.DONE is connection.words.their_state:
                connection.words.start_next_cycle()
                self._idle.setdefault(server, []).append(connection)
            else:
                connection.writer.close()
        except BaseException:
            connection.writer.transport.abort()
            raise

    def _known(self, server: str) -> _Connection | None:
        """Return a connection that is open and that nobody uses."""
        idle = self._idle.get(server, [])
        while idle:
            connection = idle.pop()
            if not connection.reader.at_eof() and not connection.writer.is_closing():
                return connection
            connection.writer.close()
        return None

    async def _connected(self, server: str) -> _Connection:
        at = urlsplit(server)
        async with asyncio.timeout(self._connect_timeout_seconds):
            streams = await asyncio.open_connection(at.hostname, at.port)
        return _Connection(*streams, h11.Connection(h11.CLIENT))


async def _asked(
    connection: _Connection, question: h11.Request, body: bytes
) -> tuple[int, bytes]:
    """Return status code and body of the answer to a question."""
    reader, writer, words = connection
    events = (question, h11.Data(body), h11.EndOfMessage())
    writer.write(b"".join(words.send(event) or b"" for event in events))
    status, answer = 0, bytearray()
    while True:
        match words.next_event():
            case h11.NEED_DATA:
                words.receive_data(await reader.read(_READ_BYTES))
            case h11.Response(status_code=status):
                pass
            case h11.Data(data=data):
                answer += data
            case _:  # the end of the message; all else is an error that h11 raises
                return status, bytes(answer)
