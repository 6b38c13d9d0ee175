"""How machines join, renew their certificates and come back, over HTTP.

GET  /v1/identity/roots                  -> Roots
POST /v1/identity/tokens     TokenAsk    -> TokenReply
POST /v1/identity/join       JoinAsk     -> Certified
POST /v1/identity/renewal    RenewalAsk  -> Certified, of the machine that TLS knows
POST /v1/identity/leave      LeaveAsk    -> LeaveAsk, of the machine that TLS knows
POST /v1/identity/nonce      TokenAsk    -> NonceReply, for the machine that is named
POST /v1/identity/return     ReturnAsk   -> Certified
GET  /v1/identity/store                  -> StoreAuthority, for controllers alone
"""

from fastapi import FastAPI, Request, Response

from pltfrms.api.bounds.bodies import body_of, json_of
from pltfrms.api.routes.guarding import require_own
from pltfrms.api.routes.rights import asked_of
from pltfrms.controller.asked.identities import Identities
from pltfrms.drivers.identity.store_files import StoreFiles
from pltfrms.model.identity.words import (
    JoinAsk,
    LeaveAsk,
    RenewalAsk,
    ReturnAsk,
    StoreAuthority,
    TokenAsk,
)


def add_identity_routes(app: FastAPI, identities: Identities) -> None:
    """Answer who wants a certificate or a token."""

    @app.get("/v1/identity/roots")
    async def roots() -> Response:
        """Return whom our machines trust."""
        return json_of(identities.roots())

    @app.post("/v1/identity/tokens")
    async def make_token(request: Request) -> Response:
        """Make a token with which a machine joins once."""
        ask = await body_of(TokenAsk, request)
        return json_of(await identities.make_token(ask, asked_of(request, ask.by)))

    @app.post("/v1/identity/join")
    async def join(request: Request) -> Response:
        """Take a machine in that has a token."""
        ask = await body_of(JoinAsk, request)
        return json_of(await identities.join(ask, asked_of(request).origin))

    @app.post("/v1/identity/renewal")
    async def renew(request: Request) -> Response:
        """Give a machine a younger certificate."""
        ask = await body_of(RenewalAsk, request)
        require_own(request, ask.machine)
        return json_of(await identities.renew(ask))

    @app.post("/v1/identity/leave")
    async def leave(request: Request) -> Response:
        """Make void what a machine has that leaves."""
        ask = await body_of(LeaveAsk, request)
        require_own(request, ask.machine)
        await identities.leave(ask, asked_of(request).origin)
        return json_of(ask)

    @app.post("/v1/identity/nonce")
    async def nonce(request: Request) -> Response:
        """Say what a machine is to sign that comes back."""
        ask = await body_of(TokenAsk, request)
        return json_of(identities.nonce(ask.machine))

    @app.post("/v1/identity/return")
    async def give_back(request: Request) -> Response:
        """Give a machine a certificate again whose own has expired."""
        return json_of(await identities.give_back(await body_of(ReturnAsk, request)))


def add_store_route(app: FastAPI, store: StoreFiles) -> None:
    """Answer controllers whose member of the store has nothing to show."""

    @app.get("/v1/identity/store")
    async def store_authority() -> Response:
        """Return what members of the store show."""
        return json_of(StoreAuthority(authority=store.offered()))
