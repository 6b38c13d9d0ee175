"""Secrets over HTTP, as `model.messages.secrets` documents it. No answer has a value in it."""

from fastapi import FastAPI, Request, Response

from pltfrms.api.bounds.bodies import JSON, body_of, json_of
from pltfrms.api.routes.rights import asked_of
from pltfrms.codec import encode
from pltfrms.controller.asked.secrets import Secrets
from pltfrms.model.messages.secrets import SecretChange, SecretsKeyChange, SecretView


def add_secret_routes(app: FastAPI, secrets: Secrets) -> None:
    """Answer for secrets."""

    @app.get("/v1/secrets")
    async def every() -> Response:
        """Return all secrets, without values."""
        found = await secrets.all()
        return Response(encode(found, tuple[SecretView, ...]), media_type=JSON)

    @app.post("/v1/secrets")
    async def change(request: Request) -> Response:
        """Give a secret a value."""
        wanted = await body_of(SecretChange, request)
        return json_of(await secrets.change(wanted, asked_of(request)))

    @app.delete("/v1/secrets/{name}")
    async def delete(name: str, request: Request, by: str = "", why: str = "") -> Response:
        """Remove a secret that nobody uses."""
        return json_of(await secrets.delete(name, asked_of(request, by, why)))

    @app.post("/v1/secrets-key")
    async def rotate_key(request: Request) -> Response:
        """Seal all secrets to another key of the controllers."""
        wanted = await body_of(SecretsKeyChange, request)
        return json_of(await secrets.rotate_key(wanted, asked_of(request)))


def add_keyring_route(app: FastAPI, secrets: Secrets) -> None:
    """Answer controllers that have not got the key."""

    @app.get("/v1/identity/secrets")
    async def keyring() -> Response:
        """Return what opens secrets."""
        return json_of(secrets.keyring())
