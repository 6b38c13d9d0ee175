"""Who asks, and whether the roles of the platform let him ask that."""

from collections.abc import MutableMapping
from typing import Any, Final

import structlog
from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from pltfrms.api.bounds.refusals import refusal
from pltfrms.controller.asked.logins import Logins
from pltfrms.controller.asked.vantage_tokens import (
    VantageClaim,
    VantageTokens,
    is_of_vantage,
)
from pltfrms.controller.planning.loop import Controller
from pltfrms.controller.records.auditing import NOBODY, Asked
from pltfrms.drivers.log import SpareLog
from pltfrms.errors import ForbiddenError, NotFoundError, PltfrmsError, UnavailableError
from pltfrms.model.network.readers import is_of_reader, reader_of
from pltfrms.model.network.topology import Operator
from pltfrms.planner.identity.roles import Known, need_of, roles_hold, why_not_asked

CONTROLLER: Final = "controller"
"""Of the state of a question by TLS: the controller whose certificate is shown, or nothing."""
VANTAGE: Final = "vantage"
"""Likewise: what the token of a vantage point says."""
_ASKED: Final = "asked"
_LOCAL: Final = "local socket"
_HEADER: Final = b"authorization"
_SCHEME: Final = "bearer "

_log = structlog.get_logger(__name__)


class Rights:
    """Finds out who asks, and lets in what his role allows."""

    def __init__(self, app: ASGIApp, controller: Controller, logins: Logins | None) -> None:
        """Pass on to `app`; the platform's roles are those that `controller` knows."""
        self._app = app
        self._view = controller.view
        self._said = SpareLog(_log.warning, controller.clock.monotonic)
        self._logins = logins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            try:
                await self._judge(scope)
            except PltfrmsError as error:
                await refusal(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _judge(self, scope: Scope) -> None:
        method, path = scope["method"], scope["path"]
        need = need_of(method, path)
        if need is None:
            raise NotFoundError(f"there is no such resource: {method} {path}")
        platform, origin = self._view.platform, (scope.get("client") or ("",))[0] or _LOCAL
        token, operator = token_of(scope), None
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        controller = str(state.get(CONTROLLER, ""))
        if is_of_vantage(token):
            state[VANTAGE], known = await self._which(token), Known.VANTAGE
        elif is_of_reader(token):
            self._require_reader(token)
            known = Known.METRICS
        elif token:
            operator = await self._who(token)
            known = Known.LOGIN
        elif controller:
            known = Known.CERTIFICATE
        else:
            known = Known.ROOT if origin == _LOCAL else Known.NOBODY
        why = why_not_asked(need, known, operator, platform)
        if why:
            self._said.say(
                "refused",
                f"{origin} {why}",
                client=origin,
                operator=operator.name if operator else "",
                method=method,
                path=path,
                why=why,
            )
            raise ForbiddenError(why)
        holds = platform is not None and roles_hold(platform)
        state[_ASKED] = Asked(
            by=operator.name if operator else "",
            proved="" if known is Known.ROOT and not holds else known,
            origin=f"{origin}, root of {controller}" if controller else origin,
        )

    async def _which(self, token: str) -> VantageClaim:
        if self._logins is None:
            raise ForbiddenError("no vantage point from outside is known here")
        return await VantageTokens(self._logins).who(token)

    def _require_reader(self, token: str) -> None:
        platform = self._view.platform
        if platform is None:
            raise UnavailableError("the store holds no platform yet; try again soon")
        if not reader_of(platform.readers, token):
            raise ForbiddenError(f"{platform.name} names no metrics reader with this token")

    async def _who(self, token: str) -> Operator:
        if self._logins is None:
            raise ForbiddenError("nobody logs in here")
        return await self._logins.who(token)


def token_of(scope: Scope) -> str:
    """Return the token that a request shows (RFC 6750, section 2.1); empty: none."""
    for name, value in scope["headers"]:
        text = value.decode("latin-1") if name == _HEADER else ""
        if text.lower().startswith(_SCHEME):
            return str(text[len(_SCHEME) :].strip())
    return ""


def asked_of(request: Request, by: str = "", why: str = "") -> Asked:
    """Return who asks, and from where; `by` is what he says himself."""
    asked = getattr(request.state, _ASKED, NOBODY)
    return Asked(by=asked.by or by, proved=asked.proved, origin=asked.origin, why=why)
