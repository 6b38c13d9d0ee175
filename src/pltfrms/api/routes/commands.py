"""Commands in instances over HTTP, as `model.messages.commands` documents it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from fastapi import FastAPI, Request, Response

from pltfrms.api.bounds.bodies import body_of
from pltfrms.api.routes.glass import place_of
from pltfrms.api.routes.pictures import Sent
from pltfrms.api.routes.rights import asked_of
from pltfrms.codec import encode
from pltfrms.controller.asked.commands import AllowedCommand, CommandDesk
from pltfrms.drivers.glass.running import RemoteRunner
from pltfrms.errors import PltfrmsError, UnavailableError
from pltfrms.model.messages.commands import CommandPart, WantedCommand

_LINES: Final = "application/x-ndjson"
_AT_ONCE: Final = 8
"""Through one controller: each has a connection of its own."""


def add_command_routes(app: FastAPI, desk: CommandDesk, runner: RemoteRunner) -> None:
    """Have nodes run what operators may have run."""
    running: set[int] = set()
    endings: set[asyncio.Future[None]] = set()

    async def lines(allowed: AllowedCommand) -> AsyncGenerator[bytes]:
        last: CommandPart | None = None
        try:
            if len(running) >= _AT_ONCE:
                raise UnavailableError(f"{_AT_ONCE} commands are under way here; try again")
            running.add(id(allowed))
            place = place_of(allowed.platform, allowed.node)
            async with aclosing(runner.run(place, allowed.command)) as parts:
                async for part in parts:
                    last = part if part.is_last else None
                    yield encode(part) + b"\n"
        except PltfrmsError as error:
            last = CommandPart(failure=str(error))
            yield encode(last) + b"\n"
        finally:
            running.discard(id(allowed))
            # Who hangs up has each wait of ours cancelled; it is written down all the same.
            ending = asyncio.ensure_future(desk.end(allowed, last))
            endings.add(ending)
            ending.add_done_callback(endings.discard)
            await asyncio.shield(ending)

    @app.post("/v1/services/{name}/exec")
    async def run(name: str, request: Request) -> Response:
        """Run a command in an instance, and send what it says."""
        wanted = await body_of(WantedCommand, request)
        allowed = await desk.allow(name, wanted, asked_of(request, wanted.by, wanted.why))
        return Sent(lines(allowed), _LINES)
