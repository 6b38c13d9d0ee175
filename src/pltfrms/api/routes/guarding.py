"""Who is let in over the network. Whoever comes by this machine's Unix socket may do all."""

from collections.abc import MutableMapping
from typing import Any

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pltfrms.api.bounds.callers import Caller, CallerKind
from pltfrms.api.bounds.connections import CERTIFICATE
from pltfrms.api.bounds.lanes import lane_of
from pltfrms.api.bounds.refusals import refusal
from pltfrms.api.bounds.shares import Lane, Shares
from pltfrms.api.routes.rights import CONTROLLER, token_of
from pltfrms.controller.asked.identities import Identities
from pltfrms.drivers.log import SpareLog
from pltfrms.errors import ForbiddenError, PltfrmsError, TooManyError
from pltfrms.model.identity.words import ShownCertificate

_MACHINE = "machine"
_SAID = "said"


class Guarded:
    """Lets in what may be asked by who asks, before anything of it is read."""

    def __init__(
        self, app: ASGIApp, identities: Identities, shares: Shares, said: SpareLog
    ) -> None:
        """Pass on to `app`; count refusals in `shares`, and say them by `said`."""
        self._app = app
        self._identities = identities
        self._shares = shares
        self._said = said

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["scheme"] == "https":
            forbidden = self._judged(scope)
            if forbidden:
                await self._paid(forbidden, scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _paid(self, forbidden: PltfrmsError, scope: Scope) -> Response:
        """Return the refusal; who is refused all the time has to connect anew for the next."""
        self._shares.note(lane_of(scope), "forbidden")
        try:
            self._shares.pay(scope["state"]["caller"], Lane.OTHER)
        except TooManyError as error:
            answer = refusal(error)
            answer.headers["Connection"] = "close"
            return answer
        return refusal(forbidden)

    def _judged(self, scope: Scope) -> PltfrmsError | None:
        state: MutableMapping[str, Any] = scope["state"]
        shown: ShownCertificate | None = state.get(CERTIFICATE)
        method, path = scope["method"], scope["path"]
        if token_of(scope):  # of an operator, whom `Rights` judges, and who is no machine
            state[_MACHINE] = state[CONTROLLER] = ""
            return None
        try:
            access = self._identities.access(method, path, shown)
        except PltfrmsError as error:
            return error
        state[_MACHINE], state[_SAID] = access.machine, self._said
        state[CONTROLLER] = access.controller
        if not access.refusal:
            if access.machine:  # wherever it comes from, it has a share of its own
                state["caller"] = Caller(CallerKind.MACHINE, access.machine)
            return None
        client, why = (scope.get("client") or ("",))[0], access.refusal
        self._said.say(
            "refused",
            f"{client} {why}",
            client=client,
            machine=access.machine,
            method=method,
            path=path,
            why=why,
        )
        return ForbiddenError(why)


def require_own(request: Request, *machines: str) -> None:
    """Raise ForbiddenError if a machine speaks as another one."""
    asking = str(getattr(request.state, _MACHINE, ""))
    for machine in machines:
        if asking and asking != machine:
            said: SpareLog = getattr(request.state, _SAID)
            why = f"it speaks as {machine}"
            said.say("refused", f"{asking} {why}", machine=asking, why=why)
            raise ForbiddenError(f"{asking} may not speak as {machine}")
