"""Questions over HTTP/1.1: a POST of JSON and its answer, over connections that stay open.

Each heartbeat of each machine is one question to etcd. A client that can do all of HTTP takes
as much processor for it as the rest of a heartbeat does.
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

_HEAD_END = b"\r\n\r\n"
_LINE_END = b"\r\n"
_CHUNKED = b"\r\ntransfer-encoding: chunked\r\n"
_CLOSES = b"\r\nconnection: close\r\n"
_LENGTH = b"\r\ncontent-length:"

_Connection = tuple[StreamReader, StreamWriter]


class NotSentError(Exception):
    """The server certainly did not do what was asked."""


class BrokenError(Exception):
    """The server may have done what was asked."""


class Posts:
    """A client of some servers."""

    def __init__(
        self, headers: Mapping[str, str], connect_timeout_seconds: float, at_once: int
    ) -> None:
        """Connect when asked; of more than `at_once` questions the others wait."""
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
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
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {urlsplit(server).netloc}\r\n{self._headers}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        sent = False
        try:
            async with asyncio.timeout(seconds), self._turns, self._lent(server) as connection:
                sent = True
                return await _asked(*connection, head.encode() + body)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            kind = BrokenError if sent else NotSentError
            raise kind(str(error) or f"no answer in {seconds:.1f} s") from error

    async def close(self) -> None:
        """End the connections that nobody uses."""
        for connections in self._idle.values():
            for _, writer in connections:
                writer.close()
        self._idle.clear()

    @asynccontextmanager
    async def _lent(self, server: str) -> AsyncIterator[_Connection]:
        """Lend a connection; it is ended if what it is lent for fails."""
        reader, writer = self._known(server) or await self._connected(server)
        try:
            yield reader, writer
        except BaseException:
            writer.transport.abort()
            raise
        self._idle.setdefault(server, []).append((reader, writer))

    def _known(self, server: str) -> _Connection | None:
        """Return a connection that is open and that nobody uses."""
        idle = self._idle.get(server, [])
        while idle:
            reader, writer = idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return None

    async def _connected(self, server: str) -> _Connection:
        at = urlsplit(server)
        async with asyncio.timeout(self._connect_timeout_seconds):
            return await asyncio.open_connection(at.hostname, at.port)


async def _asked(
    reader: StreamReader, writer: StreamWriter, question: bytes
) -> tuple[int, bytes]:
    """Return status code and body of the answer to a question (RFC 9112, 6 and 7.1)."""
    writer.write(question)
    head = (await reader.readuntil(_HEAD_END)).lower()
    status = int(head.split(b" ", 2)[1])
    if _CHUNKED in head:
        body = await _chunks(reader)
    else:
        length = head.partition(_LENGTH)[2].partition(_LINE_END)[0]
        body = await reader.readexactly(int(length))
    if _CLOSES in head:
        writer.close()
    return status, body


async def _chunks(reader: StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(_LINE_END)).partition(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(len(_LINE_END))
    while await reader.readuntil(_LINE_END) != _LINE_END:
        pass  # a trailer: nothing that we ask for
    return bytes(body)
