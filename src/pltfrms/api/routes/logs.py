"""What instances of a service said, over HTTP, as the looking glasses of their nodes show it.

GET /v1/services/{name}/logs?lines=N            -> LogAnswers, of all its allocations
GET /v1/services/{name}/logs?instance=ID&after=POSITION
                                                -> of one of them, also after it has ended
GET /v1/services/{name}/logs?ended=true         -> also of those that are no more, where it runs
They work also while the store is away, with the allocations that were known last.
"""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import accumulate
from typing import Annotated

from fastapi import FastAPI, Query, Response

from pltfrms.api.routes.glass import place_of
from pltfrms.codec import encode
from pltfrms.controller.asked.operations import Operations
from pltfrms.drivers.glass.client import Glass, GlassMachine
from pltfrms.errors import NotFoundError, UnavailableError, UsageError
from pltfrms.model.messages.glass import InstanceLog, LogAnswers
from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import JobRun
from pltfrms.model.services.replicas import replicas_of
from pltfrms.planner.jobs.asking import job_of
from pltfrms.planner.jobs.deciding import newest

_AT_ONCE = 64
"""Connections to machines at one time, whoever asks for logs."""
_LINES_MAX = 5000
_LINES_TOGETHER = 50_000
"""Of each instance fewer are asked for, where many nodes are asked."""
_TEXT_TOGETHER = 8 << 20
"""Characters of an answer; each node has its share, of which its newest lines stay."""

Lines = Annotated[int, Query(ge=0, le=_LINES_MAX)]
Instance = Annotated[str, Query(max_length=200)]
Position = Annotated[str, Query(pattern=r"^([0-9]{1,20}\.[0-9]{1,20})?$")]
_PLACE = re.compile(r"[a-z][a-z0-9-]*\.[0-9]+-[0-9]+")
"""What stands behind the name of a service in that of an instance."""


def add_log_routes(app: FastAPI, operations: Operations, glass: Glass) -> None:
    """Answer questions about logs by asking nodes through `glass`."""
    turns = asyncio.Semaphore(_AT_ONCE)

    @app.get("/v1/services/{name}/logs")
    async def logs(
        name: str,
        instance: Instance = "",
        lines: Lines = 50,
        after: Position = "",
        *,
        ended: bool = False,
    ) -> Response:
        """Return what instances of a service said, and who is silent."""
        snapshot = operations.snapshot(stale=True).snapshot
        places = [
            place_of(snapshot.platform, node)
            for node in _nodes(snapshot, name, instance, ended=ended)
        ]
        asked, nodes = instance or name, max(1, len(places))
        lines = min(lines, _LINES_TOGETHER // nodes)
        answers = await asyncio.gather(
            *(_ask(glass, place, turns, asked, lines, after) for place in places)
        )
        named = {place.machine: said for place, said in zip(places, answers, strict=True)}
        shown = [
            _newest(each, _TEXT_TOGETHER // nodes // len(said))
            for said in named.values()
            if not isinstance(said, str)
            for each in said
            if ended or instance or each.allocation in snapshot.allocations
        ]
        return Response(
            encode(
                LogAnswers(
                    logs=tuple(sorted(shown, key=lambda each: each.allocation)),
                    silent={n: said for n, said in named.items() if isinstance(said, str)},
                )
            ),
            media_type="application/json",
        )

    _add_job_logs(app, operations, glass, turns)


def _add_job_logs(
    app: FastAPI, operations: Operations, glass: Glass, turns: asyncio.Semaphore
) -> None:
    @app.get("/v1/jobs/{name}/logs")
    async def job_logs(
        name: str, run: Instance = "", lines: Lines = 50, after: Position = ""
    ) -> Response:
        """Return what a run of a job said, by default the last one that had a node."""
        snapshot = operations.snapshot(stale=True).snapshot
        wanted = _run_of(snapshot, name, run)
        place = place_of(snapshot.platform, wanted.node)
        said = await _ask(glass, place, turns, wanted.id, lines, after)
        answers = (
            LogAnswers(logs=(), silent={place.machine: said})
            if isinstance(said, str)
            else LogAnswers(logs=tuple(_newest(each, _TEXT_TOGETHER) for each in said))
        )
        return Response(encode(answers), media_type="application/json")


def _run_of(snapshot: Snapshot, name: str, run: str) -> JobRun:
    job = job_of(snapshot, name)
    runs = (each for each in snapshot.runs.values() if each.job == job.name and each.node)
    found = newest(each for each in runs if run in {"", each.id})
    if found is None:
        raise NotFoundError(f"{run or name} has not been on any node")
    return found


def _nodes(snapshot: Snapshot, service: str, instance: str, *, ended: bool) -> Iterable[str]:
    """Return the nodes that may have such logs; NotFoundError if there is no such service."""
    spec = snapshot.service(service).spec
    name, _, rest = instance.partition(".")
    if instance and (name != service or not _PLACE.fullmatch(rest)):
        raise UsageError(
            f"{instance!r} is not an instance of {service}, such as {service}.fra.1-1; see: "
            f"pltfrms service show {service}"
        )
    here = [each for each in snapshot.allocations.values() if each.service == service]
    if allocation := snapshot.allocations.get(instance):
        return [allocation.node]
    if not ended and not instance:
        return dict.fromkeys(each.node for each in here)
    wanted = {rest.partition(".")[0]} if rest else {*replicas_of(snapshot.platform, spec)}
    nodes = snapshot.platform.machines_of(Role.NODE)
    return [node.name for node in nodes if node.datacenter in wanted]


def _newest(log: InstanceLog, most: int) -> InstanceLog:
    """Return a log with as many of its last lines as have `most` characters together."""
    sizes = accumulate(len(line) + 1 for line in reversed(log.lines))
    kept = sum(size <= most for size in sizes)
    return replace(log, lines=log.lines[len(log.lines) - kept :])


async def _ask(
    glass: Glass,
    place: GlassMachine,
    turns: asyncio.Semaphore,
    name: str,
    lines: int,
    after: str,
) -> tuple[InstanceLog, ...] | str:
    try:
        async with turns:
            return await glass.logs(place, name, lines, after)
    except UnavailableError as error:
        return str(error)
