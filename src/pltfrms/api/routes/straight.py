"""A way around the framework's ways for the one question that every machine asks each second.

To find a route, look for what its function wants and prepare for what it may raise costs more
than to take a heartbeat.
"""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pltfrms.api.bounds.refusals import refusal
from pltfrms.errors import PltfrmsError


class Straight:
    """Has a function answer what is posted to one path, and passes on everything else."""

    def __init__(
        self, app: ASGIApp, path: str, answer: Callable[[Request], Awaitable[Response]]
    ) -> None:
        """Stand right before `app`, which has the same function at the same path."""
        self._app = app
        self._path = path
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one question."""
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("POST", self._path):
            await self._app(scope, receive, send)
            return
        try:
            answer = await self._answer(Request(scope, receive))
        except PltfrmsError as error:
            answer = refusal(error)
        await answer(scope, receive, send)
