"""What vantage points see of services, over HTTP.

POST /v1/vantage/reports     VantageReport -> VantageReply, of a machine or who has a token
POST /v1/vantage/tokens      VantageAsk    -> VantageToken, for one outside
GET  /v1/vantage                           -> VantageAnswers
"""

from dataclasses import replace

from fastapi import FastAPI, Request, Response

from pltfrms.api.bounds.bodies import body_of, json_of
from pltfrms.api.routes.guarding import require_own
from pltfrms.api.routes.rights import VANTAGE, asked_of
from pltfrms.codec import decode
from pltfrms.controller.asked.logins import Logins
from pltfrms.controller.asked.operations import Operations
from pltfrms.controller.asked.vantage_tokens import VantageClaim, VantageTokens
from pltfrms.controller.contact.vantages import places_of
from pltfrms.errors import ForbiddenError
from pltfrms.model.running.vantage import VantageAnswers, VantageAsk, VantageReport


def add_vantage_routes(app: FastAPI, operations: Operations, logins: Logins | None) -> None:
    """Hear vantage points; without logins none from outside."""
    vantages = operations.vantages

    @app.post("/v1/vantage/reports")
    async def report(request: Request) -> Response:
        """Hear what a vantage point sees, and say what it is to ask."""
        said = decode(VantageReport, await request.body())
        claim = _require_it(request, said.vantage, operations)
        reply = vantages.take(said, operations.controller.name)
        if claim and logins:
            reply = replace(reply, token=await VantageTokens(logins).younger(claim))
        return json_of(reply)

    @app.get("/v1/vantage")
    async def heard() -> Response:
        """Return what each vantage point said last."""
        return json_of(VantageAnswers(heard=vantages.heard()))

    if logins:

        @app.post("/v1/vantage/tokens")
        async def make_token(request: Request) -> Response:
            """Make a token with which a vantage point outside begins."""
            ask = await body_of(VantageAsk, request)
            made = await VantageTokens(logins).make(ask.vantage, asked_of(request, ask.by))
            return json_of(made)


def _require_it(request: Request, vantage: str, operations: Operations) -> VantageClaim | None:
    """Return the claim of one outside; ForbiddenError if somebody speaks as another."""
    claim: VantageClaim | None = getattr(request.state, VANTAGE, None)
    if claim:
        if claim.vantage != vantage:
            raise ForbiddenError(f"{claim.vantage} may not speak as {vantage}")
        return claim
    require_own(request, vantage)
    platform = operations.controller.view.platform
    if platform and not places_of(platform).get(vantage):
        raise ForbiddenError(
            f"{vantage} is no machine of the platform, and shows no token: "
            f"pltfrms vantage token {vantage}"
        )
    return None
