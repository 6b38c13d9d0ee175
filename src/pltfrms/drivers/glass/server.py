"""The looking glass of a machine: BIRD's own protocol, for looking only.

`birdc` and everything else that speaks to BIRD's control socket can speak to it. Each command
goes to BIRD on a connection of its own that BIRD itself keeps from changing anything, so a
client that hangs holds nothing of BIRD's. Some commands we answer ourselves, as BIRD would.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from pltfrms.drivers.bird.control_socket import BirdConnection, bird_connection
from pltfrms.errors import UnavailableError, UsageError

_GREETING = b"0001 BIRD looking glass ready.\n"
_RESTRICTED = 16
"""BIRD's answer to `restrict`; `birdc -r` waits for it too."""
_RESTRICTED_ALREADY = b"0016 Access restricted\n"
_DENIED = "8007 Access denied"
_RUN = re.compile(r"run ([0-9]{1,5})")
_OWN = 1900
"""Code of our own answers; BIRD has none near it."""
_OWN_COLUMNS = 4000
"""Clients need not take long lines."""
_TOO_LONG = b"8000 Reply too long; ask for less\n"

# A filter that comes with a command may loop, and write to BIRD's log: only plain words.
_BARE = r"(?i:(?!\S*(?:where|filter(?!ed\b))))[A-Za-z0-9_.:/-]+"
_QUOTED = r"'[A-Za-z0-9_.:-]+'|\"[A-Za-z0-9_.:*?-]+\""
# Of all expressions only this one: what RPKI says of a prefix and its origin.
_ROA_CHECK = r"eval roa_check\(rpki[46], [0-9a-f.:]+/[0-9]+, [0-9]+\)"
_LOG_OF_RUN = r"show logs [a-z][a-z0-9-]*@[0-9]+ lines [0-9]+(?: after [0-9.]+)?"
_ALLOWED = re.compile(rf"show(?: +(?:{_BARE}|{_QUOTED}))+ *|{_ROA_CHECK}|{_LOG_OF_RUN}")


PrivateAnswer = Callable[[str], Awaitable[str | None]]
"""Answers a command of those who come over the network, or says None."""
Runner = Callable[[bytes], AsyncGenerator[bytes]]
"""Does what a document wants, and yields lines about it until it is done, however long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlassLimits:
    """How much clients may ask for."""

    clients: int = 4
    """At once, whichever way they come."""
    command_bytes: int = 512
    answer_bytes: int = 8 * 1024 * 1024
    command_seconds: float = 10.0
    taking_seconds: float = 60.0
    """Who takes nothing for so long of what a command says has left."""
    idle_seconds: float = 300.0


class LookingGlass:
    """Answers clients from the BIRD behind `socket`."""

    def __init__(
        self,
        socket: Path,
        limits: GlassLimits | None = None,
        own: Callable[[str], str | None] | None = None,
    ) -> None:
        """Remember where BIRD is; nothing is opened.

        `own` gets every command first, and returns the answer (one line of text), or None if
        the command is BIRD's. It may raise UsageError and UnavailableError.
        """
        self.limits = limits or GlassLimits()
        self._own = own
        self._socket = socket
        self._clients = 0

    async def serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        private: PrivateAnswer | None = None,
        runner: Runner | None = None,
    ) -> None:
        """Serve one client to its end; `private` answers what only some clients may ask.

        And `runner` does what they want: `run SIZE`, and so many bytes. The reader must have
        been made with `limits.command_bytes` as its limit.
        """
        self._clients += 1
        try:
            if self._clients > self.limits.clients:
                writer.write(f"{_DENIED}: {self.limits.clients} clients already\n".encode())
            else:
                await self._converse(reader, writer, private, runner)
            writer.close()
        except (OSError, TimeoutError, UnavailableError, asyncio.CancelledError):
            # What it has not taken, it will not take any more. A cancelled task ends here like
            # any other, or asyncio of Python 3.11 would log it as a bug.
            writer.transport.abort()
        finally:
            self._clients -= 1
            writer.close()

    async def _converse(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        private: PrivateAnswer | None,
        runner: Runner | None,
    ) -> None:
        writer.write(_GREETING)
        while True:
            try:
                async with asyncio.timeout(self.limits.idle_seconds):
                    line = await reader.readline()
            except ValueError:
                writer.write(b"9000 Command too long\n")
                return
            command = line.decode(errors="replace").strip()
            if not line.endswith(b"\n") or command in {"quit", "exit"}:
                return
            if runner and (size := _RUN.fullmatch(command)):
                await self._run(reader, writer, runner, int(size[1]))
                return
            async with asyncio.timeout(self.limits.command_seconds):
                if not await self._answer(command, writer, private):
                    return

    async def _answer(
        self, command: str, writer: asyncio.StreamWriter, private: PrivateAnswer | None
    ) -> bool:
        """Answer one command; return whether the client may ask on."""
        if command == "restrict":
            writer.write(_RESTRICTED_ALREADY)
        elif not may_ask(command):
            writer.write(f"{_DENIED}\n".encode())
        elif answer := await self._answer_ourselves(command, private):
            writer.write(answer)
        else:
            return await self._pass_on(command, writer)
        await writer.drain()
        return True

    async def _run(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        runner: Runner,
        size: int,
    ) -> None:
        """Do what a client wants, for as long as he is there; he keeps nobody from looking."""
        async with asyncio.timeout(self.limits.command_seconds):
            try:
                wanted = await reader.readexactly(size)
            except asyncio.IncompleteReadError:
                return

        async def pass_on() -> None:
            async with aclosing(runner(wanted)) as lines:
                async for line in lines:
                    writer.write(line)
                    async with asyncio.timeout(self.limits.taking_seconds):
                        await writer.drain()

        self._clients -= 1
        doing = asyncio.ensure_future(pass_on())
        left = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({doing, left}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._clients += 1
            left.cancel()
            doing.cancel()
            await asyncio.gather(doing, left, return_exceptions=True)

    async def _answer_ourselves(self, command: str, private: PrivateAnswer | None) -> bytes:
        """Return the whole answer, or nothing if BIRD is to be asked."""
        try:
            text = await private(command) if private else None
            if text is None and self._own:
                text = self._own(command)
        except UsageError as error:
            return f"9001 {error}\n".encode()
        except UnavailableError as error:
            return f"8004 {error}\n".encode()
        if text is None:
            return b""
        answer = "".join(_framed(text)).encode()
        return answer if len(answer) <= self.limits.answer_bytes else _TOO_LONG

    async def _pass_on(self, command: str, writer: asyncio.StreamWriter) -> bool:
        left = self.limits.answer_bytes
        try:
            async with bird_connection(self._socket) as bird:
                await _restrict(bird)
                async for chunk in bird.stream(command):
                    if len(chunk) > left:
                        last_line = chunk[:left].rfind(b"\n") + 1
                        writer.write((chunk[:last_line] or b"\n") + _TOO_LONG)
                        return False
                    left -= len(chunk)
                    writer.write(chunk)
                    await writer.drain()
        except UnavailableError as error:
            if left < self.limits.answer_bytes:  # the client has the first half of an answer
                raise
            writer.write(f"8004 {error}\n".encode())
        return True


def _framed(text: str) -> Iterator[str]:
    """Yield one line of text as lines of a BIRD reply; a client joins them without anything."""
    yield f"{_OWN}-{text[:_OWN_COLUMNS]}\n"
    for start in range(_OWN_COLUMNS, len(text), _OWN_COLUMNS):
        yield f" {text[start : start + _OWN_COLUMNS]}\n"
    yield "0000 \n"


async def _restrict(bird: BirdConnection) -> None:
    """Let BIRD itself refuse on this connection whatever would change something."""
    reply = await bird.ask("restrict")
    if reply.code != _RESTRICTED:
        raise UnavailableError(f"BIRD does not restrict itself: {reply.last}")


def may_ask(command: str) -> bool:
    """Return whether a command only looks, and cannot keep BIRD busy for long."""
    return _ALLOWED.fullmatch(command) is not None
