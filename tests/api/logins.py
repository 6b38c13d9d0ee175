"""Operators with roles, who log in over HTTP; in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx2
from fastapi import FastAPI

from pltfrms.api.app import make_app
from pltfrms.api.bounds.serving import ControllerIdentity
from pltfrms.api.routes.parts import add_part_routes
from pltfrms.codec import decode, encode
from pltfrms.controller.asked.parts import PartsDesk
from pltfrms.drivers.glass.client import Glass
from pltfrms.drivers.glass.running import RemoteRunner
from pltfrms.drivers.identity.store_files import StoreFiles
from pltfrms.drivers.operators.memory import MemorySignatures, memory_signature
from pltfrms.drivers.store.ports import Gateway
from pltfrms.model.messages.logins import LOGIN_NAMESPACE, LoginAsk, LoginChallenge, LoginReply
from pltfrms.model.network.topology import Operator, OperatorRole, Platform
from tests.controller.cluster import Cluster
from tests.controller.test_network import PLATFORM as BARE
from tests.simulation.virtual import run_virtual
from tests.strategies import make_public_key

PEOPLE = {
    "vic": OperatorRole.VIEWER,
    "dan": OperatorRole.DEPLOYER,
    "oli": OperatorRole.OPERATOR,
    "ada": OperatorRole.ADMIN,
}
KEYS = {name: make_public_key(name) for name in (*PEOPLE, "eve")}
OPERATORS = tuple(
    Operator(
        name=name,
        keys=(KEYS[name],),
        role=role,
        services=("web", "shop-*") if role is OperatorRole.DEPLOYER else (),
    )
    for name, role in PEOPLE.items()
)
WITH_ROLES = replace(BARE, operators=OPERATORS)


class Desk:
    """What operators sit at."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.app = self.make(0)
        self.client = self.over("192.0.2.7")
        self.local = self.over("")
        self.tokens: dict[str, str] = {}

    def make(self, seat: int) -> FastAPI:
        operations = list(self.cluster.seats.values())[seat].operations
        assert operations
        app = make_app(
            operations,
            cast("Glass", object()),
            MemorySignatures(),
            runner=cast("RemoteRunner", object()),
            known=cast(
                "ControllerIdentity",
                SimpleNamespace(
                    identities=None, store=StoreFiles(Path("/nonexistent")), said=None
                ),
            ),
        )
        gateway = cast("Gateway", object())
        add_part_routes(app, PartsDesk(operations.controller, gateway, secure=False))
        return app

    def over(self, address: str, app: FastAPI | None = None) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(
            app or self.app, raise_app_exceptions=False, client=(address, 7)
        )
        return httpx2.AsyncClient(transport=transport, base_url="http://c")

    async def log_in(self, name: str, key: str = "") -> httpx2.Response:
        said = decode(LoginChallenge, (await self.client.get("/v1/login")).content)
        key = key or KEYS[name]
        signature = memory_signature(said.text, key, LOGIN_NAMESPACE)
        ask = LoginAsk(text=said.text, seal=said.seal, key=key, signature=signature)
        return await self.client.post("/v1/login", content=encode(ask))

    async def headers(self, name: str) -> dict[str, str]:
        if name not in self.tokens:
            reply = await self.log_in(name)
            assert reply.status_code == 200, reply.text
            self.tokens[name] = decode(LoginReply, reply.content).token
        return {"Authorization": f"Bearer {self.tokens[name]}"}

    async def ask(
        self, name: str, method: str, path: str, body: object = None
    ) -> httpx2.Response:
        content = b"" if body is None else encode(body)
        headers = await self.headers(name)
        return await self.client.request(method, path, content=content, headers=headers)


def at_the_desk(
    story: Callable[[Desk], Awaitable[None]], platform: Platform = WITH_ROLES
) -> None:
    async def run() -> None:
        cluster = Cluster(platform)
        cluster.start()
        await cluster.until(lambda: len(cluster.stored().leases) == 15, 10)
        await asyncio.ensure_future(story(Desk(cluster)))
        cluster.require_alive()

    run_virtual(run())
