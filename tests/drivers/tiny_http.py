"""A tiny HTTP server in a thread, that answers as told: a controller for client tests."""

import asyncio
import contextlib
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer, and after how long; DROP closes the connection, HANG keeps it open."""

    status: int = 200
    body: bytes = b""
    after_seconds: float = 0.0


DROP = Answer(status=-1)
HANG = Answer(status=-2)


@dataclass(slots=True)
class TinyServer:
    """What a server is asked (`seen`), and what it answers to everything (`answer`)."""

    endpoint: str
    answer: Answer
    seen: list[Seen] = field(default_factory=list)


@contextlib.contextmanager
def serving(answer: Answer | bytes, unix: str = "") -> Iterator[TinyServer]:
    """Serve on a free port of 127.0.0.1, or on the socket `unix`, until left."""
    made = answer if isinstance(answer, Answer) else Answer(body=answer)
    server = TinyServer(f"unix:{unix}", made)
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    def begin(port: int) -> None:
        server.endpoint = server.endpoint if unix else f"http://127.0.0.1:{port}"
        ready.set()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(_serve(server, unix, begin, stop))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(5)
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)


async def _serve(
    server: TinyServer, unix: str, begin: Callable[[int], None], stop: asyncio.Event
) -> None:
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        connections.add(task)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await _connection(server, reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await writer.wait_closed()
            connections.discard(task)

    if unix:
        listener: asyncio.Server = await asyncio.start_unix_server(connected, unix)
        begin(0)
    else:
        listener = await asyncio.start_server(connected, "127.0.0.1", 0)
        begin(listener.sockets[0].getsockname()[1])
    await stop.wait()
    listener.close()
    left = tuple(connections)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def _connection(server: TinyServer, reader: StreamReader, writer: StreamWriter) -> None:
    while head := await _head(reader):
        method, target, _ = head[0].split(" ")
        lengths = [line[15:] for line in head if line.lower().startswith("content-length:")]
        body = await reader.readexactly(int(lengths[0])) if lengths else b""
        server.seen.append(Seen(method, target, body))
        if server.answer is DROP:
            return
        if server.answer is HANG:
            await asyncio.Event().wait()
        await asyncio.sleep(server.answer.after_seconds)
        writer.write(_response(server.answer))
        await writer.drain()


async def _head(reader: StreamReader) -> list[str]:
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return []
    return raw.decode().split("\r\n")


def _response(answer: Answer) -> bytes:
    phrase = HTTPStatus(answer.status).phrase
    length = (
        ""
        if answer.status == HTTPStatus.NO_CONTENT
        else f"Content-Length: {len(answer.body)}\r\n"
    )
    return f"HTTP/1.1 {answer.status} {phrase}\r\n{length}\r\n".encode() + answer.body
