"""A way around the framework's ways for what every machine asks all the time.

To find a route, look for what its function wants and prepare for what it may raise costs more
than to take a heartbeat.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pltfrms.api.bounds.refusals import refusal
from pltfrms.errors import PltfrmsError

StraightAnswer = Callable[[Request], Awaitable[Response | None]]
_DIGITS = 18


class Straight:
    """Has functions answer what is asked all the time, and passes on everything else."""

    def __init__(self, app: ASGIApp, answers: Mapping[tuple[str, str], StraightAnswer]) -> None:
        """Stand right before `app`, which has the same functions at the same paths.

        They are by method and path; one that ends with a slash is without its last part. What
        a function returns None for, `app` has to look at.
        """
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one question."""
        function = self._function(scope)
        if function is None:
            await self._app(scope, receive, send)
            return
        try:
            answer = await function(Request(scope, receive))
        except PltfrmsError as error:
            answer = refusal(error)
        await (answer or self._app)(scope, receive, send)

    def _function(self, scope: Scope) -> StraightAnswer | None:
        if scope["type"] != "http":
            return None
        method, path = scope["method"], scope["path"]
        found = self._answers.get((method, path))
        return found or self._answers.get((method, path[: path.rfind("/") + 1]))


def plainly_asked(
    request: Request, counts: Mapping[str, int], texts: Mapping[str, int]
) -> dict[str, Any] | None:
    """Return what follows the question mark, where that is as we ask it; else None.

    Of `counts` it says how large each may be, of `texts` how long.
    """
    said: dict[str, Any] = {}
    query = request.scope["query_string"].decode("latin-1")
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in texts and len(value) <= texts[name]:
            said[name] = value
        elif (
            name in counts
            and len(value) <= _DIGITS
            and value.isascii()
            and value.isdecimal()
            and int(value) <= counts[name]
        ):
            said[name] = int(value)
        else:
            return None
    return said
