"""The looking glass over HTTP: what our machines know of routes and sessions.

GET /v1/routes/{machine}?prefix=PREFIX&session=NAME&filtered=BOOL&exported=NAME
                                         -> list[RouteView]; 503 if the machine is silent
GET /v1/routes?prefix=PREFIX&machine=NAME&...   -> RouteAnswers, of all edges or those named;
                                            404 if all answer and none has such a session
GET /v1/sessions/{machine}/{name}        -> SessionText; 503 if the machine is silent
They work also while the store is away, with the platform that was known last.
"""

import asyncio
from collections.abc import Iterable
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Response

from pltfrms.codec import encode
from pltfrms.controller.asked.operations import Operations
from pltfrms.drivers.glass.client import Glass, GlassMachine, RouteQuestion, route_commands
from pltfrms.errors import NotFoundError, UnavailableError
from pltfrms.model.messages.glass import RouteAnswers, RouteView
from pltfrms.model.network.topology import Platform, Role

_JSON = "application/json"

Question = Annotated[RouteQuestion, Depends(RouteQuestion)]
Machines = Annotated[tuple[str, ...], Query()]


def add_glass_routes(app: FastAPI, operations: Operations, glass: Glass) -> None:
    """Answer questions about routes and sessions by asking machines through `glass`."""

    @app.get("/v1/routes/{machine}")
    async def routes_of_one(machine: str, question: Question) -> Response:
        """Return the paths that a machine has to a prefix or address."""
        found = await glass.routes(place_of(platform_of(operations), machine), question)
        return Response(encode(found, tuple[RouteView, ...]), media_type=_JSON)

    @app.get("/v1/routes")
    async def routes_of_all(question: Question, machine: Machines = ()) -> Response:
        """Return the paths that all edges, or the machines named, have to a prefix."""
        route_commands(question)  # says what is wrong with it before anybody is asked
        platform = platform_of(operations)
        places = [place_of(platform, name) for name in machine or _edges(platform)]
        return Response(encode(await _ask_all(glass, places, question)), media_type=_JSON)

    @app.get("/v1/sessions/{machine}/{name}")
    async def session(machine: str, name: str) -> Response:
        """Return what a machine's BIRD says of a session."""
        place = place_of(platform_of(operations), machine)
        return Response(encode(await glass.session(place, name)), media_type=_JSON)


def platform_of(operations: Operations) -> Platform:
    """Return the platform, as it was known last."""
    return operations.snapshot(stale=True).snapshot.platform


def _edges(platform: Platform) -> Iterable[str]:
    return (edge.name for edge in platform.machines_of(Role.EDGE) if not edge.external)


def place_of(platform: Platform, name: str) -> GlassMachine:
    """Return where to look into a machine; NotFoundError if it has no looking glass of ours."""
    try:
        machine = platform.machine(name)
    except KeyError:
        known = ", ".join(each.name for each in platform.machines)
        raise NotFoundError(f"there is no machine {name!r}; there are: {known}") from None
    if machine.external:
        raise NotFoundError(f"others manage {name}: it has no looking glass of ours")
    return GlassMachine(machine=name, address=platform.loopback6(machine), asn=platform.asn)


async def _ask_all(
    glass: Glass, places: Iterable[GlassMachine], question: RouteQuestion
) -> RouteAnswers:
    """Ask them at once.

    Raises:
        NotFoundError: all of them answer, and none has such a session.
    """

    async def ask(
        place: GlassMachine,
    ) -> tuple[RouteView, ...] | NotFoundError | UnavailableError:
        try:
            return await glass.routes(place, question)
        except (NotFoundError, UnavailableError) as error:
            return error

    by_name = {place.machine: place for place in places}
    named = dict(zip(by_name, await asyncio.gather(*map(ask, by_name.values())), strict=True))
    unknown = [each for each in named.values() if isinstance(each, NotFoundError)]
    if unknown and len(unknown) == len(named):
        raise unknown[0]
    return RouteAnswers(
        routes=tuple(r for each in named.values() if isinstance(each, tuple) for r in each),
        silent={
            n: str(each) for n, each in named.items() if isinstance(each, UnavailableError)
        },
    )
