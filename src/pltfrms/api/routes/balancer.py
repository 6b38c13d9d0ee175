"""The balancers of our machines over HTTP, as their looking glasses show them.

GET /v1/balancers                        -> BalancerAnswers, of all edges and nodes of ours
GET /v1/balancers/{machine}              -> BalancerView; 503 if the machine is silent
GET /v1/balancers/{machine}/row?service=ID&row=N
                                         -> list of addresses: what the kernel has in that row
They work also while the store is away, with the platform that was known last.
"""

import asyncio
from ipaddress import IPv6Address
from typing import Annotated

from fastapi import FastAPI, Query, Response

from pltfrms.api.routes.glass import place_of, platform_of
from pltfrms.codec import encode
from pltfrms.controller.asked.operations import Operations
from pltfrms.drivers.glass.client import Glass, GlassMachine
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.glass import BalancerAnswers
from pltfrms.model.running.balancer import ROWS, BalancerView

_JSON = "application/json"
_AT_ONCE = 64
"""Connections to machines at one time, whoever asks for all of them."""

ServiceId = Annotated[int, Query(ge=1, le=65_535)]
Row = Annotated[int, Query(ge=0, lt=ROWS)]


def add_balancer_routes(app: FastAPI, operations: Operations, glass: Glass) -> None:
    """Answer questions about balancers by asking machines through `glass`."""
    turns = asyncio.Semaphore(_AT_ONCE)

    @app.get("/v1/balancers")
    async def balancers() -> Response:
        """Return the balancers of all edges and nodes, and who is silent."""
        platform = platform_of(operations)
        places = [
            place_of(platform, machine.name) for machine in platform.managed if machine.forwards
        ]
        asked = await asyncio.gather(*(_ask(glass, place, turns) for place in places))
        named = {place.machine: said for place, said in zip(places, asked, strict=True)}
        answers = BalancerAnswers(
            balancers=tuple(said for said in named.values() if not isinstance(said, str)),
            silent={name: said for name, said in named.items() if isinstance(said, str)},
        )
        return Response(encode(answers), media_type=_JSON)

    @app.get("/v1/balancers/{machine}")
    async def balancer(machine: str) -> Response:
        """Return the balancer of a machine."""
        place = place_of(platform_of(operations), machine)
        return Response(encode(await glass.balancer(place)), media_type=_JSON)

    @app.get("/v1/balancers/{machine}/row")
    async def balancer_row(machine: str, service: ServiceId, row: Row) -> Response:
        """Return what the kernel of a machine has in a row of a service's table."""
        place = place_of(platform_of(operations), machine)
        found = await glass.balancer_row(place, service, row)
        return Response(encode(found, tuple[IPv6Address, ...]), media_type=_JSON)


async def _ask(
    glass: Glass, place: GlassMachine, turns: asyncio.Semaphore
) -> BalancerView | str:
    try:
        async with turns:
            return await glass.balancer(place)
    except UnavailableError as error:
        return str(error)
