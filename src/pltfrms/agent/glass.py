"""The looking glass that every machine offers: to itself, and to our other machines."""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv6Address, IPv6Network, ip_address
from pathlib import Path

import structlog

from pltfrms.drivers.glass import LookingGlass
from pltfrms.drivers.listening import bind6
from pltfrms.model.topology import GLASS_PORT

SOCKET_NAME = "bird-readonly.ctl"
_AGAIN_SECONDS = 1.0
_EVERYBODY = 0o666
_log = structlog.get_logger()


async def run_glass(
    runtime: Path, address: IPv6Address, bird: Path, infrastructure: IPv6Network
) -> None:
    """Serve for ever what the BIRD behind `bird` may be asked by anybody.

    On a Unix socket in `runtime`, and by TCP on `address`, there only for clients whose
    addresses are in `infrastructure`.
    """
    glass = LookingGlass(bird)

    async def listen_here() -> asyncio.Server:
        path = runtime / SOCKET_NAME
        limit = glass.limits.command_bytes
        server = await asyncio.start_unix_server(glass.serve, path, limit=limit)
        path.chmod(_EVERYBODY)
        return server

    async def listen_there() -> asyncio.Server:
        bound = bind6(str(address), GLASS_PORT)
        limit = glass.limits.command_bytes
        return await asyncio.start_server(serve_ours, sock=bound, limit=limit)

    async def serve_ours(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = writer.get_extra_info("peername")
        if client and ip_address(client[0].partition("%")[0]) in infrastructure:
            await glass.serve(reader, writer)
        else:
            writer.close()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_keep("here", listen_here))
        tasks.create_task(_keep("network", listen_there))


async def _keep(name: str, listen: Callable[[], Awaitable[asyncio.Server]]) -> None:
    """Listen for ever, again after it could not be."""
    last = ""
    while True:
        try:
            async with await listen() as server:
                _log.info("looking glass open", listener=name)
                await server.serve_forever()
        except OSError as error:
            if str(error) != last:
                _log.warning("looking glass closed", listener=name, error=str(error))
            last = str(error)
        await asyncio.sleep(_AGAIN_SECONDS)
