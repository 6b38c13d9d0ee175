"""A connection to an instance, with TLS if the probe says so."""

import asyncio
import contextlib
import functools
import os
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from typing import Final

from pltfrms.model.addresses import Address
from pltfrms.model.running.machine import ProbeAnswer
from pltfrms.model.services.service import Probe

_WORDS_MAX: Final = 100


@contextlib.asynccontextmanager
async def connected(
    connection: socket.socket, probe: Probe, address: Address, protocol: str = ""
) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """Connect, and end the connection at the end; `protocol` is named to TLS (ALPN)."""
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(connection, (str(address), probe.port))
    except OSError as error:  # asyncio says the address in place of what is wrong
        raise OSError(error.errno, os.strerror(error.errno or 0)) from error
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        if probe.tls is not None:
            host = probe.http.host_name if probe.http else ""
            await writer.start_tls(
                _context(probe.tls.ca, protocol, unverified=probe.tls.unverified),
                server_hostname=probe.tls.name or host or str(address),
            )
        yield reader, writer
    finally:
        # Whatever TLS would still like to say: the socket is closed now, its number used again.
        writer.transport.abort()


async def ask_tls(connection: socket.socket, probe: Probe, address: Address) -> ProbeAnswer:
    """Ask for a connection, and for a handshake of TLS if the probe says so."""
    async with connected(connection, probe, address):
        return ProbeAnswer()


def first_words(text: bytes) -> str:
    """Return the beginning of the first line of what an instance says, for people."""
    line = next(filter(None, map(bytes.strip, text.splitlines())), b"")
    words = line[:_WORDS_MAX].decode(errors="replace")
    return "".join(sign if sign.isprintable() else "?" for sign in words)


@functools.lru_cache(maxsize=64)
def _context(ca: str, protocol: str, *, unverified: bool) -> ssl.SSLContext:
    """Return what believes those whom a probe names; to read the system's takes 10 ms.

    One for all names: they belong to a connection.
    """
    context = ssl.create_default_context(cadata=ca or None)
    if unverified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if protocol:
        context.set_alpn_protocols([protocol])
    return context
