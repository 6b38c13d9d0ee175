"""Have a machine run a command in one of its instances, over the line of its looking glass."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final, Protocol

from pltfrms.codec import decode, encode
from pltfrms.drivers.bird.control_socket import greeted_streams
from pltfrms.drivers.glass.client import GlassMachine
from pltfrms.drivers.kept_http import TlsEnd
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.messages.commands import CommandPart, WantedCommand
from pltfrms.model.network.topology import GLASS_PORT

_CONNECT_SECONDS: Final = 3.0
_SILENT_SECONDS: Final = 15.0
"""Several times as long as a node may say nothing."""
_LINE_BYTES: Final = 1 << 18


class RemoteRunner(Protocol):
    """Somebody who can have machines run commands."""

    def run(self, place: GlassMachine, command: WantedCommand) -> AsyncGenerator[CommandPart]:
        """Yield what a command says in an instance of a machine, and how it ended.

        Raises:
            UnavailableError: the machine does not answer, or not any more.
        """
        ...


class CommandClient:
    """`RemoteRunner` of our machines. They obey who shows a controller's certificate."""

    def __init__(self, tls: Callable[[str], TlsEnd] | None, port: int = GLASS_PORT) -> None:
        """`tls` says whom to expect as a machine; nothing is opened."""
        self._tls = tls
        self._port = port

    async def run(
        self, place: GlassMachine, command: WantedCommand
    ) -> AsyncGenerator[CommandPart]:
        """See `RemoteRunner`."""
        if self._tls is None:
            raise UnavailableError("without certificates no node obeys")
        text = encode(command)
        end = self._tls(place.machine)
        opening = greeted_streams(
            str(place.address), self._port, end, _CONNECT_SECONDS, _LINE_BYTES
        )
        async with opening as (reader, writer):
            writer.write(b"run %d\n%s" % (len(text), text))
            while True:
                async with asyncio.timeout(_SILENT_SECONDS):
                    line = await reader.readline()
                part = _part(line, place.machine)
                yield part
                if part.is_last:
                    return


def _part(line: bytes, machine: str) -> CommandPart:
    """Return what a line says; a reply of a looking glass means that it knows no commands."""
    if not line.endswith(b"\n"):
        raise UnavailableError(f"{machine} fell silent: how it ended is not known")
    try:
        return decode(CommandPart, line)
    except UsageError as error:
        said = line[:80].decode(errors="replace").strip()
        raise UnavailableError(f"{machine} runs no commands: {said}") from error
