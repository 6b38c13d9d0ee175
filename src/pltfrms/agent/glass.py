"""The looking glass that every machine offers: to itself, and to our other machines."""

import asyncio
import functools
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from pathlib import Path

import structlog

from pltfrms.codec import encode
from pltfrms.drivers.glass.server import LookingGlass, Runner
from pltfrms.drivers.identity.tls import shown_by
from pltfrms.drivers.listening import HANDSHAKE_SECONDS, Watched, bind6
from pltfrms.drivers.log import SpareLog
from pltfrms.drivers.workload.measuring.log_reading import LINES_MAX, LogReader
from pltfrms.errors import UsageError
from pltfrms.model.messages.glass import InstanceLog
from pltfrms.model.network.topology import GLASS_PORT, Platform
from pltfrms.model.running.balancer import ROWS, BalancerView
from pltfrms.planner.identity.access import may_look

SOCKET_NAME = "bird-readonly.ctl"
_AGAIN_SECONDS = 1.0
_EVERYBODY = 0o666
_LINES_MAX = 32
"""Connections by TLS at once; few of them are served (`GlassLimits`)."""
_BALANCER = re.compile(r"show +balancer(?: +(.*))?")
_ROW = re.compile(r"row +([0-9]{1,5}) +([0-9]{1,5})")
_LOGS = re.compile(r"show +logs +(\S+) +lines +([0-9]{1,6})(?: +after +(\S+))?")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerEye:
    """What of the balancer can be seen. Both may raise UnavailableError."""

    view: Callable[[], BalancerView]
    row: Callable[[int, int], tuple[IPv6Address, ...]]
    """(service id, row) -> what the kernel has there; nothing without the director."""


def look_at_balancer(eye: BalancerEye, command: str) -> str | None:
    """Answer a command about the balancer in JSON; None if the command is about something else.

    `show balancer` -> BalancerView, `show balancer row SERVICE_ID ROW` -> list of addresses.

    Raises:
        UsageError: it is about the balancer, and nothing that we know.
    """
    command = command.strip()
    match = _BALANCER.fullmatch(command)
    if match is None:
        return None
    if not match[1]:
        return encode(eye.view()).decode()
    row = _ROW.fullmatch(match[1])
    if row is None or int(row[2]) >= ROWS:
        raise UsageError(f"say: show balancer row SERVICE_ID ROW (0..{ROWS - 1})")
    return encode(eye.row(int(row[1]), int(row[2])), tuple[IPv6Address, ...]).decode()


async def look_at_logs(reader: LogReader, command: str) -> str | None:
    """Answer a command about what instances said, in JSON; None if it is about something else.

    `show logs SERVICE|ALLOCATION lines N [after POSITION]` -> list of InstanceLog. Of the disk
    nobody waits but who asks.

    Raises:
        UsageError: it names nothing that could have a log.
    """
    match = _LOGS.fullmatch(command.strip())
    if match is None:
        return None
    lines = min(int(match[2]), LINES_MAX)
    found = await asyncio.to_thread(reader.read, match[1], lines, match[3] or "")
    return encode(found, tuple[InstanceLog, ...]).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class GlassNetwork:
    """Who may look over the network."""

    address: IPv6Address
    """Where it is open."""
    clients: IPv6Network
    """Only they are served."""
    tls: ssl.SSLContext | None = None
    """With it, only controllers of `platform` are served."""
    platform: Callable[[], Platform] | None = None


async def run_glass(
    runtime: Path,
    network: GlassNetwork,
    bird: Path,
    balancer: BalancerEye | None = None,
    logs: LogReader | None = None,
    runner: Runner | None = None,
) -> None:
    """Serve for ever what the BIRD behind `bird`, and our balancer, may be asked by anybody.

    On a Unix socket in `runtime`, and by TCP where `network` says. Only there it tells of
    `logs`: not everybody who has an account here may read them. And only for controllers that
    have shown who they are, `runner` does something.
    """
    own = functools.partial(look_at_balancer, balancer) if balancer else None
    private = functools.partial(look_at_logs, logs) if logs else None
    glass, said = LookingGlass(bird, own=own), SpareLog(_log.warning, time.monotonic)

    async def listen_here() -> asyncio.Server:
        path = runtime / SOCKET_NAME
        limit = glass.limits.command_bytes
        server = await asyncio.start_unix_server(glass.serve, path, limit=limit)
        path.chmod(_EVERYBODY)
        return server

    async def listen_there() -> asyncio.Server:
        bound = bind6(str(network.address), GLASS_PORT)
        limit = glass.limits.command_bytes
        if network.tls is None:
            return await asyncio.start_server(serve_ours, sock=bound, limit=limit)
        return await asyncio.start_server(
            serve_ours,
            sock=Watched.by(_Porter(network), bound),
            limit=limit,
            ssl=network.tls,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
        )

    async def serve_ours(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if _may_look(network, writer, said):
            await glass.serve(reader, writer, private, runner if network.tls else None)
        else:
            writer.close()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_keep("here", listen_here))
        tasks.create_task(_keep("network", listen_there))


class _Porter:
    """Lets in some of ours at once, before hands are shaken by TLS."""

    def __init__(self, network: GlassNetwork) -> None:
        self._network = network
        self._clients: set[tuple[str, int]] = set()

    def comes(self, _line: socket.socket, client: tuple[str, int]) -> bool:
        """Return whether somebody may connect."""
        if len(self._clients) >= _LINES_MAX or not _is_ours(self._network, client):
            return False
        self._clients.add(client)
        return True

    def goes(self, client: tuple[str, int]) -> None:
        """Note that somebody has left."""
        self._clients.discard(client)


def _is_ours(network: GlassNetwork, client: tuple[str, int]) -> bool:
    return ip_address(client[0].partition("%")[0]) in network.clients


def _may_look(network: GlassNetwork, writer: asyncio.StreamWriter, said: SpareLog) -> bool:
    client = writer.get_extra_info("peername")
    if not client or not _is_ours(network, client):
        return False
    if network.tls is None or network.platform is None:
        return network.tls is None
    shown = shown_by(writer.get_extra_info("ssl_object"))
    allowed = may_look(shown, network.platform())
    if not allowed:
        uris = shown.uris if shown else ()
        said.say("may not look", f"{client[0]} {uris}", client=client[0], shown=uris)
    return allowed


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
