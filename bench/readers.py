"""Simulated readers of `GET /v1/stream`, as browsers with the page: a process of them."""

import asyncio
import contextlib
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

_OF_ONE_HOST = 50
"""A controller gives one address no more seats than 64."""
_AGAIN_SECONDS = 1.0
_READ_BYTES = 1 << 16
_QUESTION = (
    "GET /v1/stream HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n"
    "Accept-Encoding: gzip\r\n\r\n"
)


@dataclass(slots=True)
class Read:
    """What the readers have read since they were asked last."""

    reading: int = 0
    """How many are connected now."""
    bytes: int = 0
    problems: int = 0
    """How often a stream ended, or could not be had."""


def hosts_of(count: int) -> list[str]:
    """Return the addresses that so many readers ask from; this machine must have them."""
    return [f"fd00:beec:{number:x}::1" for number in range(-(-count // _OF_ONE_HOST))]


class Readers:
    """Readers of some controllers, in a process of their own."""

    def __init__(self, controllers: Sequence[tuple[str, int]], count: int) -> None:
        """Have so many read, each from one of these addresses and ports."""
        self._pipe, far_end = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        arguments = (tuple(controllers), count, far_end)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        far_end.close()
        self._count = count

    def lacking(self) -> str:
        """Return how many do not read yet, in words; empty: all do."""
        missing = self._count - self.seen().reading
        return f"{missing} of {self._count} readers do not read" * bool(missing)

    def seen(self) -> Read:
        """Return what they have read, and begin anew."""
        self._pipe.send(None)
        read: Read = self._pipe.recv()
        return read

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()


def _serve(controllers: Sequence[tuple[str, int]], count: int, pipe: Connection) -> None:
    asyncio.run(_Process(controllers, count, pipe).run())


class _Process:
    def __init__(
        self, controllers: Sequence[tuple[str, int]], count: int, pipe: Connection
    ) -> None:
        self._controllers = controllers
        self._count = count
        self._pipe = pipe
        self._read = Read()

    async def run(self) -> None:
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._tell)
        async with asyncio.TaskGroup() as group:
            hosts = hosts_of(self._count)
            for number in range(self._count):
                controller = self._controllers[number % len(self._controllers)]
                group.create_task(self._follow(hosts[number % len(hosts)], *controller))

    def _tell(self) -> None:
        self._pipe.recv()
        self._pipe.send(self._read)
        self._read = Read(reading=self._read.reading)

    async def _follow(self, host: str, address: str, port: int) -> None:
        while True:
            with contextlib.suppress(OSError):
                await self._stream(host, address, port)
            self._read.problems += 1
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _stream(self, host: str, address: str, port: int) -> None:
        reader, writer = await asyncio.open_connection(address, port, local_addr=(host, 0))
        try:
            writer.write(_QUESTION.encode())
            if b" 200 " not in await reader.readline():
                return
            self._read.reading += 1
            try:
                while some := await reader.read(_READ_BYTES):
                    self._read.bytes += len(some)
            finally:
                self._read.reading -= 1
        finally:
            writer.close()
