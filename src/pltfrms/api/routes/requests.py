"""Change requests over HTTP.

GET  /v1/requests                 -> list[ChangeRequest]
POST /v1/requests                 Signed -> RequestReply
GET  /v1/requests/{id}            -> RequestReply
POST /v1/requests/{id}/approval   Approval -> RequestReply
POST /v1/requests/{id}/withdrawal Withdrawal -> ChangeRequest
"""

from fastapi import FastAPI, Request, Response

from pltfrms.api.bounds.bodies import JSON, body_of, json_of
from pltfrms.api.routes.rights import asked_of
from pltfrms.codec import encode
from pltfrms.controller.asked.requests import Requests
from pltfrms.model.messages.requests import Approval, ChangeRequest, Signed, Withdrawal


def add_request_routes(app: FastAPI, requests: Requests) -> None:
    """Answer for change requests."""

    @app.get("/v1/requests")
    async def every() -> Response:
        """Return all requests that have not expired, without their texts."""
        found = await requests.all()
        return Response(encode(found, tuple[ChangeRequest, ...]), media_type=JSON)

    @app.post("/v1/requests")
    async def ask(request: Request) -> Response:
        """Keep a change until a second operator approves it."""
        return json_of(await requests.open(await body_of(Signed, request), asked_of(request)))

    @app.get("/v1/requests/{number}")
    async def show(number: str) -> Response:
        """Return a request, and what it would do now."""
        return json_of(await requests.show(number))

    @app.post("/v1/requests/{number}/approval")
    async def approve(number: str, request: Request) -> Response:
        """Do it, because a second operator says yes."""
        approval = await body_of(Approval, request)
        return json_of(await requests.approve(number, approval.signature, asked_of(request)))

    @app.post("/v1/requests/{number}/withdrawal")
    async def withdraw(number: str, request: Request) -> Response:
        """Close it without doing it."""
        withdrawal = await body_of(Withdrawal, request)
        return json_of(await requests.withdraw(number, withdrawal, asked_of(request)))
