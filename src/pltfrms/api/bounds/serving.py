"""uvicorn with TLS on one socket, and plainly on the others."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import cast

import structlog
import uvicorn

from pltfrms.api.bounds.lanes import Doors
from pltfrms.api.bounds.shares import Lane
from pltfrms.controller.asked.identities import Identities
from pltfrms.controller.asked.own_identity import OwnIdentity
from pltfrms.controller.planning.loop import Controller
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.identity.store_files import StoreFiles
from pltfrms.drivers.identity.tls import client_context, load_identity, server_context
from pltfrms.drivers.kept_http import TlsEnd
from pltfrms.drivers.listening import HANDSHAKE_SECONDS, Watched
from pltfrms.drivers.log import SpareLog
from pltfrms.errors import TooManyError
from pltfrms.model.identity.words import machine_server_name

_log = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """Answers by TLS on the first socket, if it has a context for that."""

    def __init__(
        self, config: uvicorn.Config, doors: Doors, tls: ssl.SSLContext | None = None
    ) -> None:
        """Answer plainly without `tls`."""
        super().__init__(config)
        self.tls = tls
        self._doors = doors

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        if self.tls is None or not sockets:
            await super().startup(sockets)
            return
        public, *local = sockets
        await super().startup(local)
        self.servers.append(
            await asyncio.get_running_loop().create_server(
                self._protocol,
                sock=Watched.by(_Porter(self._doors), public),
                ssl=self.tls,
                backlog=self.config.backlog,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        )

    def _protocol(self) -> asyncio.Protocol:
        make = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
        return make(self.config, self.server_state, self.lifespan.state)


@dataclass(frozen=True, slots=True)
class _Porter:
    """Counts connections by TLS from their very beginning, and how often somebody connects."""

    doors: Doors

    def comes(self, line: socket.socket, client: tuple[str, int]) -> bool:
        """Return whether somebody may connect now."""
        caller = self.doors.callers.behind(client)
        try:
            self.doors.shares.pay(caller, Lane.CONNECT)
        except TooManyError:
            return False
        return self.doors.connections.comes(line, client, caller)

    def goes(self, client: tuple[str, int]) -> None:
        """Note that somebody has left, perhaps before hands were shaken."""
        self.doors.connections.goes(client)


@dataclass(frozen=True, slots=True)
class ControllerIdentity:
    """What a controller has whose machine has an identity."""

    tls: ssl.SSLContext
    identities: Identities
    own: OwnIdentity
    end: Callable[[str], TlsEnd]
    """Whom to expect as a machine, when it is asked."""
    store: StoreFiles
    said: SpareLog
    """Who was refused, in the log."""

    async def run(self) -> None:
        """Know who is who, and keep the own certificate young, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.identities.run())
            group.create_task(self.own.run())


def make_identity(
    controller: Controller, file: IdentityFile, random: Random
) -> ControllerIdentity:
    """Return what a controller answers with by TLS; UsageError if a file cannot be used."""
    # 10 MB, for those alone who have an identity.
    from pltfrms.drivers.identity.authority import Authority, AuthorityFile  # noqa: PLC0415

    own, unix_ms = file.read(), controller.clock.unix_ms
    authority = AuthorityFile(file.directory.parent).read()
    signer = Authority(own.platform, own.roots, authority, unix_ms)
    identities = Identities(controller, signer, random)
    said = SpareLog(_log.warning, controller.clock.monotonic)
    tls = server_context(file, lambda why: said.say("certificate refused", why, why=why))
    asking = client_context(file, identities.why_void)

    def follow() -> None:
        load_identity(tls, file)
        load_identity(asking, file)

    return ControllerIdentity(
        tls=tls,
        identities=identities,
        own=OwnIdentity(file, signer, identities, controller.clock, follow),
        store=StoreFiles(file.directory.parent),
        said=said,
        end=lambda name: TlsEnd(asking, machine_server_name(own.platform, name)),
    )
