"""Parts of the store over HTTP, as etcd's JSON gateway has it: programs know no other words.

`/version` and `/v3/` are at the root, since programs ask there; what is not here is refused as
any other path that is not there.
"""

import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from starlette.responses import StreamingResponse

from pltfrms.api.bounds.bodies import JSON, body_of, json_of
from pltfrms.api.bounds.refusals import as_etcd
from pltfrms.api.bounds.shares import BODY_BYTES_MAX, Lane
from pltfrms.api.routes.guarding import require_own
from pltfrms.controller.asked.parts import VERSION, PartsDesk
from pltfrms.errors import PltfrmsError
from pltfrms.model.messages.api import LeasesAsk
from pltfrms.planner.parts.refusals import INVALID, STATUS, PartError

LOGIN_BYTES_MAX: Final = 16 * 1024
"""Of what is read of who is not known yet: user and password."""
_Answer = Callable[[str, object], Awaitable[Mapping[str, Any]]]
_TOKEN: Final = "authorization"  # noqa: S105 (the name of a header)


def add_part_routes(app: FastAPI, desk: PartsDesk) -> None:
    """Answer instances of services that have a part of the store."""

    @app.get("/version")
    async def version() -> Response:
        """Say of which etcd the words are."""
        return _json({"etcdserver": VERSION, "etcdcluster": VERSION})

    @app.post("/v3/auth/authenticate")
    async def authenticate(request: Request) -> Response:
        """Give a token for name and password."""

        async def answer() -> Response:
            return _json(desk.login(_said(await request.body(), LOGIN_BYTES_MAX)))

        return await _refusing(answer)

    @app.post("/v3/cluster/member/list")
    async def members(request: Request) -> Response:
        """Say where else to ask."""

        async def answer(_service: str, said: object) -> Mapping[str, Any]:
            return desk.members(said)

        return await _known(request, desk, answer)

    @app.post("/v3/watch")
    async def watch(request: Request) -> Response:
        """Say what changes, as long as the client is there."""

        async def begin() -> Response:
            _, said = await _heard(request, desk)
            answers = desk.watch(_token(request), said)
            first = await anext(answers, None)
            return StreamingResponse(_lines(first, answers), media_type=JSON)

        return await _refusing(begin)

    _add_questions(app, desk)
    _add_leases(app, desk)


def _add_questions(app: FastAPI, desk: PartsDesk) -> None:
    answers: Mapping[str, _Answer] = {
        "kv/range": desk.range,
        "kv/put": desk.put,
        "kv/deleterange": desk.delete_range,
        "kv/txn": desk.txn,
        "lease/keepalive": desk.keep_alive,
        "lease/revoke": desk.revoke,
    }

    def add(method: str, answer: _Answer) -> None:
        async def asked(request: Request) -> Response:
            return await _known(request, desk, answer)

        asked.__doc__ = f"Answer as etcd's {method}, for keys of the part."
        name = method.replace("/", "_")
        app.post(f"/v3/{method}", name=name, operation_id=name)(asked)

    for method, answer in answers.items():
        add(method, answer)


def _add_leases(app: FastAPI, desk: PartsDesk) -> None:
    @app.post("/v3/lease/grant", name="lease_grant", operation_id="lease_grant")
    async def grant(request: Request) -> Response:
        """Answer as etcd's lease/grant, for who asks from where he does."""
        origin = request.client.host if request.client else ""

        async def answer(service: str, said: object) -> Mapping[str, Any]:
            return await desk.grant(service, said, origin)

        return await _known(request, desk, answer)

    @app.post("/v1/leases")
    async def leases(request: Request) -> Response:
        """End leases of an instance that has ended, and return the others."""
        ask = await body_of(LeasesAsk, request)
        require_own(request, ask.machine)
        return json_of(await desk.ends.asked(ask))


async def _known(request: Request, desk: PartsDesk, answer: _Answer) -> Response:
    """Answer who shows a token; of anybody else nothing is read."""

    async def answered() -> Response:
        return _json(await answer(*await _heard(request, desk)))

    return await _refusing(answered)


async def _heard(request: Request, desk: PartsDesk) -> tuple[str, object]:
    """Return who asks, and what, as far as there is room for it; PartError."""
    service, body = desk.who(_token(request)), await request.body()
    desk.weigh(service, len(body))
    return service, _said(body)


async def _refusing(answer: Callable[[], Awaitable[Response]]) -> Response:
    """Answer a question, or refuse it as etcd does."""
    try:
        return await answer()
    except PartError as error:
        return refused(error)
    except PltfrmsError as error:
        return as_etcd(error)


def refused(error: PartError) -> Response:
    """Return how etcd's gateway says an error."""
    said = {"error": str(error), "message": str(error), "code": error.code}
    return _json(said, STATUS[error.code])


async def _lines(
    first: Mapping[str, Any] | None, answers: AsyncGenerator[Mapping[str, Any]]
) -> AsyncGenerator[bytes]:
    """Yield answers, each in a line; what breaks ends it, and the client begins anew."""
    with contextlib.suppress(PltfrmsError, PartError):
        async with contextlib.aclosing(answers):
            if first is not None:
                yield _line(first)
            async for answer in answers:
                yield _line(answer)


def _line(answer: Mapping[str, Any]) -> bytes:
    return json.dumps({"result": answer}, separators=(",", ":")).encode() + b"\n"


def _said(body: bytes, most: int = BODY_BYTES_MAX[Lane.PART]) -> object:
    if len(body) > most:
        raise PartError(INVALID, f"that is longer than {most} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise PartError(INVALID, "that is no JSON") from None


def _token(request: Request) -> str:
    return request.headers.get(_TOKEN, "")


def _json(said: Mapping[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(said, separators=(",", ":")), status, media_type=JSON)
