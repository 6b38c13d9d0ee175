"""Who is let in over the network. Whoever comes by this machine's Unix socket may do all."""

from collections.abc import MutableMapping
from typing import Any

import structlog
from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pltfrms.api.bodies import JSON
from pltfrms.codec import encode
from pltfrms.controller.identities import Identities
from pltfrms.drivers.identity.tls import shown_by
from pltfrms.errors import ForbiddenError, PltfrmsError
from pltfrms.model.messages.api import ErrorBody

CERTIFICATE = "certificate"
"""Of the state of a connection by TLS: what the other end shows, or nothing."""
_MACHINE = "machine"

_log = structlog.get_logger(__name__)


class Guarded:
    """Lets in what may be asked by who asks, before anything of it is read."""

    def __init__(self, app: ASGIApp, identities: Identities) -> None:
        """Pass on to `app`."""
        self._app = app
        self._identities = identities

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["scheme"] == "https":
            refusal = self._judged(scope)
            if refusal:
                await _answer(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _judged(self, scope: Scope) -> PltfrmsError | None:
        state: MutableMapping[str, Any] = scope["state"]
        shown = shown_by(state.get(CERTIFICATE))
        method, path = scope["method"], scope["path"]
        try:
            access = self._identities.access(method, path, shown)
        except PltfrmsError as error:
            return error
        state[_MACHINE] = access.machine
        if not access.refusal:
            return None
        _log.warning(
            "refused",
            client=(scope.get("client") or ("",))[0],
            machine=access.machine,
            method=method,
            path=path,
            why=access.refusal,
        )
        return ForbiddenError(access.refusal)


def require_own(request: Request, *machines: str) -> None:
    """Raise ForbiddenError if a machine speaks as another one."""
    asking = str(getattr(request.state, _MACHINE, ""))
    for machine in machines:
        if asking and asking != machine:
            _log.warning("refused", machine=asking, why=f"it speaks as {machine}")
            raise ForbiddenError(f"{asking} may not speak as {machine}")


def _answer(error: PltfrmsError) -> Response:
    body = ErrorBody(error=type(error).__name__, message=str(error), nothing_done=True)
    return Response(encode(body), status_code=error.status_code, media_type=JSON)
