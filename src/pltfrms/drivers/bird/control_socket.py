"""One conversation over BIRD's control socket."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

from pltfrms.drivers.kept_http import TlsEnd
from pltfrms.errors import UnavailableError

_TIMEOUT_SECONDS = 10.0
"""For one answer of BIRD, which usually takes less than a millisecond."""
_POLL_SECONDS = 0.05
_POLLS = 100
_CODE = re.compile(r"(\d{4})([ -])(.*)")
_LAST_LINE = re.compile(rb"^\d{4} [^\n]*\n", re.MULTILINE)
_CHUNK_BYTES = 65_536
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class BirdReply:
    """The answer to one command: lines with their codes, and the code of the last one."""

    lines: tuple[tuple[int, str], ...]
    code: int

    def texts(self, code: int) -> tuple[str, ...]:
        """Return the lines of one code."""
        return tuple(text for line_code, text in self.lines if line_code == code)

    @property
    def last(self) -> str:
        """The text of the last line."""
        return self.lines[-1][1]


class BirdConnection:
    """A greeted connection; see `bird_connection`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk over these streams."""
        self._reader = reader
        self._writer = writer

    async def ask(self, command: str) -> BirdReply:
        """Return BIRD's whole answer to one command."""
        self._writer.write(f"{command}\n".encode())
        await self._writer.drain()
        return await self.read()

    async def ask_all(self, commands: Sequence[str]) -> tuple[BirdReply, ...]:
        """Return the answers to some commands, sent all at once: one way there and back."""
        self._writer.write("".join(f"{command}\n" for command in commands).encode())
        await self._writer.drain()
        return tuple([await self.read() for _ in commands])

    async def stream(self, command: str) -> AsyncIterator[bytes]:
        """Yield BIRD's answer to one command as it comes, in pieces that end anywhere."""
        self._writer.write(f"{command}\n".encode())
        await self._writer.drain()
        line = b""
        while True:
            chunk = await self._reader.read(_CHUNK_BYTES)
            if not chunk:
                raise EOFError("BIRD closed the connection")
            yield chunk
            seen = line + chunk
            if _LAST_LINE.search(seen):
                return
            line = seen[seen.rfind(b"\n") + 1 :]

    async def finish(self) -> str:
        """Wait, but not for ever, until BIRD has carried out what it is working on."""
        for _ in range(_POLLS):
            if (await self.ask("show status")).last != "Reconfiguration in progress":
                return "reconfigured"
            await asyncio.sleep(_POLL_SECONDS)
        return "BIRD still works on it"

    async def read(self) -> BirdReply:
        """Read one whole answer: `NNNN-text` and ` text` go on, `NNNN text` is the last."""
        lines: list[tuple[int, str]] = []
        code = 0
        while True:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                raise EOFError("BIRD closed the connection")
            text = line.decode(errors="replace").rstrip("\n")
            if text.startswith("+"):  # news nobody asked for
                continue
            coded = _CODE.match(text)
            if coded is None:
                lines.append((code, text.removeprefix(" ")))
                continue
            code = int(coded[1])
            lines.append((code, coded[3]))
            if coded[2] == " ":
                return BirdReply(tuple(lines), code)


def bird_connection(
    socket: Path,
) -> contextlib.AbstractAsyncContextManager[BirdConnection]:
    """Open a greeted connection to BIRD. Any failure inside becomes UnavailableError.

    What is done inside must be done within ten seconds.
    """
    opening = asyncio.open_unix_connection(str(socket))
    return _greeted(opening, f"BIRD at {socket}", _TIMEOUT_SECONDS)


def remote_connection(
    address: IPv6Address, port: int, seconds: float, tls: TlsEnd | None = None
) -> contextlib.AbstractAsyncContextManager[BirdConnection]:
    """Open a greeted connection to the looking glass of another machine.

    Any failure inside becomes UnavailableError; all must be done within `seconds`.
    """
    opening = asyncio.open_connection(
        str(address),
        port,
        ssl=tls.context if tls else None,
        server_hostname=tls.name if tls else None,
    )
    return _greeted(opening, f"the looking glass at [{address}]:{port}", seconds)


@contextlib.asynccontextmanager
async def greeted_streams(
    address: str, port: int, tls: TlsEnd, seconds: float, line_bytes: int
) -> AsyncIterator[_Streams]:
    """Open a connection to the looking glass of another machine, for as long as it is wanted.

    It is greeted within `seconds`. Any failure inside becomes UnavailableError.
    """
    writer, whose = None, f"the looking glass at [{address}]:{port}"
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(
                address, port, ssl=tls.context, server_hostname=tls.name, limit=line_bytes
            )
            await BirdConnection(reader, writer).read()
        yield reader, writer
    except (OSError, EOFError, TimeoutError, ValueError) as error:
        what = str(error) or type(error).__name__
        raise UnavailableError(f"no answer from {whose}: {what}") from error
    finally:
        if writer is not None:
            writer.close()


@contextlib.asynccontextmanager
async def _greeted(
    opening: Awaitable[_Streams], whose: str, seconds: float
) -> AsyncIterator[BirdConnection]:
    writer = None
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await opening
            connection = BirdConnection(reader, writer)
            await connection.read()
            yield connection
    except (OSError, EOFError, TimeoutError, ValueError) as error:
        what = str(error) or type(error).__name__
        raise UnavailableError(f"no answer from {whose}: {what}") from error
    finally:
        if writer is not None:
            writer.close()
