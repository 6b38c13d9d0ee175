"""Who is let in over the network. Whoever comes by this machine's Unix socket may do all."""

from collections.abc import MutableMapping
from typing import Any

import structlog
from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from pltfrms.api.callers import Caller, CallerKind
from pltfrms.api.refusals import refusal
from pltfrms.controller.identities import Identities
from pltfrms.errors import ForbiddenError, PltfrmsError
from pltfrms.model.identity.words import ShownCertificate

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
            forbidden = self._judged(scope)
            if forbidden:
                await refusal(forbidden)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _judged(self, scope: Scope) -> PltfrmsError | None:
        state: MutableMapping[str, Any] = scope["state"]
        shown: ShownCertificate | None = state.get(CERTIFICATE)
        method, path = scope["method"], scope["path"]
        try:
            access = self._identities.access(method, path, shown)
        except PltfrmsError as error:
            return error
        state[_MACHINE] = access.machine
        if not access.refusal:
            if access.machine:  # wherever it comes from, it has a share of its own
                state["caller"] = Caller(CallerKind.MACHINE, access.machine)
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
