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

from pltfrms.controller.identities import Identities
from pltfrms.controller.loop import Controller
from pltfrms.controller.own_identity import OwnIdentity
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.identity.tls import client_context, load_identity, server_context
from pltfrms.drivers.kept_http import TlsEnd
from pltfrms.model.identity.words import machine_server_name

HANDSHAKE_SECONDS = 5.0
"""Who connects and says nothing is sent away."""

_log = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """Answers by TLS on the first socket, if it has a context for that."""

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext | None = None) -> None:
        """Answer plainly without `tls`."""
        super().__init__(config)
        self.tls = tls

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
                sock=public,
                ssl=self.tls,
                backlog=self.config.backlog,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        )

    def _protocol(self) -> asyncio.Protocol:
        make = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
        return make(self.config, self.server_state, self.lifespan.state)


@dataclass(frozen=True, slots=True)
class ControllerIdentity:
    """What a controller has whose machine has an identity."""

    tls: ssl.SSLContext
    identities: Identities
    own: OwnIdentity
    end: Callable[[str], TlsEnd]
    """Whom to expect as a machine, when it is asked."""

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
    tls = server_context(file, lambda why: _log.warning("certificate refused", why=why))
    asking = client_context(file, identities.why_void)

    def follow() -> None:
        load_identity(tls, file)
        load_identity(asking, file)

    return ControllerIdentity(
        tls=tls,
        identities=identities,
        own=OwnIdentity(file, signer, identities, controller.clock, follow),
        end=lambda name: TlsEnd(asking, machine_server_name(own.platform, name)),
    )
