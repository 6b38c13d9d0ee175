"""How operators log in, over HTTP.

GET  /v1/login                -> LoginChallenge
POST /v1/login     LoginAsk   -> LoginReply
"""

from fastapi import FastAPI, Request, Response

from pltfrms.api.bounds.bodies import body_of, json_of
from pltfrms.api.routes.rights import asked_of
from pltfrms.controller.asked.logins import Logins
from pltfrms.model.messages.logins import LoginAsk


def add_login_routes(app: FastAPI, logins: Logins) -> None:
    """Answer who wants to log in."""

    @app.get("/v1/login")
    async def challenge() -> Response:
        """Say what an operator is to sign."""
        return json_of(await logins.challenge())

    @app.post("/v1/login")
    async def login(request: Request) -> Response:
        """Give a token to who has signed it."""
        ask = await body_of(LoginAsk, request)
        return json_of(await logins.login(ask, asked_of(request).origin))
