"""A controller that answers by TLS on loopback."""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import httpx2
import uvicorn

from pltfrms.api.app import doors_of, make_app
from pltfrms.api.bounds.connections import bounded_by
from pltfrms.api.bounds.serving import ControllerIdentity, Server, make_identity
from pltfrms.api.routes.parts import add_part_routes
from pltfrms.controller.asked.operations import Operations
from pltfrms.controller.asked.parts import PartsDesk
from pltfrms.controller.planning.apart import Apart
from pltfrms.controller.planning.loop import Controller
from pltfrms.controller.records.state import IDENTITIES, PREFIX
from pltfrms.controller.records.values import Values
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.controlplane.agent_client import HttpControlPlane
from pltfrms.drivers.identity.authority import Authority, make_authority
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.identity.keys import make_key, make_request
from pltfrms.drivers.identity.tls import client_context, load_identity
from pltfrms.drivers.kept_http import TlsEnd
from pltfrms.drivers.sealing import CONTROLLERS_KEYS, KeyFile
from pltfrms.drivers.store.memory import MemoryStore
from pltfrms.drivers.store.ports import Gateway
from pltfrms.model.identity.lives import DAY_MS
from pltfrms.model.identity.words import (
    Certified,
    JoinAsk,
    JoinToken,
    ShownCertificate,
    TokenAsk,
    controllers_server_name,
    machine_server_name,
)
from pltfrms.planner.identity.access import why_unsigned
from tests.drivers.identity.authority import PASSPHRASE, Office
from tests.strategies import make_platform

PLATFORM = make_platform({"fra": 2})


def believing(shown: ShownCertificate) -> str:
    """Doubt who is not signed by a controller of the platform."""
    return why_unsigned(shown.issuer, PLATFORM)


ENDLESS = 10.0


class Door:
    """A controller that answers by TLS on loopback, and plainly on a Unix socket."""

    def __init__(
        self, directory: Path, before: "Door | None" = None, gateway: Gateway | None = None
    ) -> None:
        """Begin; or begin again, with the files and the store of `before`.

        With a gateway, services have their parts of what is behind it.
        """
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.now_ms = time.time_ns() // 1_000_000
        self.office: Office = before.office if before else self._office()
        self.file: IdentityFile = before.file if before else self._identity()
        clock = SystemClock()
        self.store: MemoryStore = before.store if before else MemoryStore(clock)
        random = Random(1)  # noqa: S311 - a test's
        self.keys = KeyFile(directory / CONTROLLERS_KEYS)
        apart = Apart(lease_store=self.store, values=Values(self.keys))
        self.controller = Controller(self.store, clock, "fra-c1", PLATFORM, random, apart=apart)
        self.known: ControllerIdentity = make_identity(self.controller, self.file, random)
        self.public = socket.create_server(("127.0.0.1", 0))
        self.port = self.public.getsockname()[1]
        self.local = socket.socket(socket.AF_UNIX)
        (directory / "c.sock").unlink(missing_ok=True)
        self.local.bind(str(directory / "c.sock"))
        self.operations = operations = Operations(self.controller)
        self.doors = doors = doors_of(operations)
        app = make_app(operations, doors=doors, known=self.known)
        if gateway:
            add_part_routes(app, PartsDesk(self.controller, gateway, secure=True))
        config = uvicorn.Config(
            app,
            http=bounded_by(doors.connections),
            log_config=None,
            access_log=False,
            lifespan="off",
        )
        self.server = Server(config, doors, self.known.tls)

    def _office(self) -> Office:
        office = Office(PLATFORM.name, self.now_ms - 100 * DAY_MS)
        office.now_ms = self.now_ms
        return office

    def _identity(self) -> IdentityFile:
        return self.office.identity(self.directory / "c", "fra-c1", controller=True)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def token(self, machine: str) -> JoinToken:
        made = await self.known.identities.make_token(TokenAsk(machine=machine))
        return JoinToken.of(made.token)

    async def join(self, machine: str) -> IdentityFile:
        identities, token = self.known.identities, await self.token(machine)
        key = make_key()
        request = make_request(key, PLATFORM.name, machine)
        ask = JoinAsk(machine=machine, secret=token.secret, request=request)
        made = await identities.join(ask)
        file = IdentityFile(self.directory / machine)
        file.write(key, request, made, self.now_ms)
        await self.seen()
        return file

    async def seen(self) -> None:
        """Wait until what was just written is known."""
        mirrors = {
            IDENTITIES: self.known.identities._mirror,
            PREFIX: self.controller._mirror,
        }
        for prefix, mirror in mirrors.items():
            entries = (await self.store.list(prefix)).entries
            last = max((entry.mod_revision for entry in entries), default=1)
            await mirror.wait_newer(last - 1)

    def signed_at(
        self, then_ms: int, file: IdentityFile, controller: str = "fra-c1"
    ) -> Certified:
        """Return a certificate as a controller made it at another time."""
        pair = make_authority(self.office.root, PASSPHRASE, controller, then_ms)
        signer = Authority(PLATFORM.name, self.office.root.certificate, pair, lambda: then_ms)
        own = file.read()
        return signer.issue(own.request, own.machine, 1, controller="-c" in own.machine)

    def forged(self, machine: str, controller: str) -> IdentityFile:
        """Return what a controller makes that is not in the platform any more."""
        other = Office(PLATFORM.name, self.now_ms)
        other.root = self.office.root
        other.sign_as(controller)
        place = self.directory / "forged"
        return other.identity(place, machine, controller="-c" in machine)

    def show(self, file: IdentityFile) -> None:
        """Answer with another identity from now on."""
        load_identity(self.known.tls, file)

    def agent(
        self, file: IdentityFile, name: str = "fra-c1", *, stranger: bool = False
    ) -> HttpControlPlane:
        context = client_context(file, believing, stranger=stranger)
        end = TlsEnd(context, machine_server_name(PLATFORM.name, name))
        return HttpControlPlane([self.url], {self.url: end})

    async def ask(
        self,
        context: ssl.SSLContext,
        method: str,
        path: str,
        body: bytes = b"",
        token: str = "",
    ) -> httpx2.Response:
        extensions = {"sni_hostname": controllers_server_name(PLATFORM.name)}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx2.AsyncClient(verify=context, headers=headers) as client:
            url = f"{self.url}{path}"
            return await client.request(method, url, content=body, extensions=extensions)


def serve(
    directory: Path,
    story: Callable[[Door], Awaitable[None]],
    before: Door | None = None,
    gateway: Gateway | None = None,
) -> Door:
    async def run() -> Door:
        door = Door(directory, before, gateway)
        tasks = [
            asyncio.create_task(door.controller.run()),
            asyncio.create_task(door.known.run()),
            asyncio.create_task(door.server._serve([door.public, door.local])),
        ]
        async with asyncio.timeout(ENDLESS):
            await door.known.identities._mirror.wait_newer(0)
            await door.seen()
        try:
            await story(door)
        finally:
            door.server.should_exit = True
            await asyncio.gather(tasks[2])
            for task in tasks[:2]:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        return door

    return asyncio.run(run())
