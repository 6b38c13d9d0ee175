"""The HTTP API of a controller, as `pltfrms.model.messages.api` documents it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from pltfrms import __version__
from pltfrms.api.bounds.bodies import JSON, body_of, json_of
from pltfrms.api.bounds.callers import Callers
from pltfrms.api.bounds.connections import OF_STRANGERS, Connections
from pltfrms.api.bounds.lanes import Doors, Lanes
from pltfrms.api.bounds.refusals import refusal
from pltfrms.api.bounds.serving import ControllerIdentity
from pltfrms.api.bounds.shares import HEARTBEATS, TARGETS, Shares
from pltfrms.api.metrics import Metrics
from pltfrms.api.routes.answers import SnapshotAnswers, TargetAnswers
from pltfrms.api.routes.balancer import add_balancer_routes
from pltfrms.api.routes.beats import HeartbeatReader, asking
from pltfrms.api.routes.commands import add_command_routes
from pltfrms.api.routes.discovery import add_discovery_route
from pltfrms.api.routes.glass import add_glass_routes
from pltfrms.api.routes.guarding import Guarded, require_own
from pltfrms.api.routes.hiding import without_passwords
from pltfrms.api.routes.identity import add_identity_routes, add_store_route
from pltfrms.api.routes.jobs import add_job_routes
from pltfrms.api.routes.logins import add_login_routes
from pltfrms.api.routes.logs import add_log_routes
from pltfrms.api.routes.pictures import add_picture_routes
from pltfrms.api.routes.requests import add_request_routes
from pltfrms.api.routes.rights import Rights, asked_of
from pltfrms.api.routes.secrets import add_keyring_route, add_secret_routes
from pltfrms.api.routes.straight import Straight, plainly_asked
from pltfrms.api.routes.vantage import add_vantage_routes
from pltfrms.api.routes.verdicts import Verdicts
from pltfrms.codec import decode, encode
from pltfrms.controller.asked.commands import CommandDesk
from pltfrms.controller.asked.jobs import JobDesk
from pltfrms.controller.asked.logins import Logins
from pltfrms.controller.asked.operations import Operations
from pltfrms.controller.asked.requests import Requests
from pltfrms.controller.asked.secrets import Secrets
from pltfrms.drivers.glass.client import Glass
from pltfrms.drivers.glass.running import RemoteRunner
from pltfrms.drivers.operators.ports import Signatures
from pltfrms.errors import (
    InvariantError,
    NotFoundError,
    PltfrmsError,
    UnavailableError,
    UsageError,
)
from pltfrms.model.messages.api import (
    Change,
    Event,
    InterventionChange,
    RolloutChange,
    UnreadHeartbeat,
)

WAIT_MS_MAX = 60_000
"""Longest long poll: longer ones only keep dead connections."""
EVENTS_MAX = 1000

_TEXT_MAX = 200
_TARGET_COUNTS = {"after": 1 << 60, "wait_ms": WAIT_MS_MAX, "platform": 1 << 60}
_TARGET_TEXTS = {"made_of": 1 << 14, "key": _TEXT_MAX}
"""What a machine says that asks for its target: how much at most, and how long."""

After = Annotated[int, Query(ge=0)]
WaitMs = Annotated[int, Query(ge=0, le=WAIT_MS_MAX)]
Limit = Annotated[int, Query(ge=1, le=EVENTS_MAX)]
Text = Annotated[str, Query(max_length=_TEXT_MAX)]


def make_app(
    operations: Operations,
    glass: Glass | None = None,
    signatures: Signatures | None = None,
    doors: Doors | None = None,
    known: ControllerIdentity | None = None,
    runner: RemoteRunner | None = None,
) -> FastAPI:
    """Return the application that answers for one controller.

    Without glass not for routes, without a runner not for commands, and without signatures not
    for change requests and logins. Who may ask how much, `doors` say; without them, doors of
    its own. With an identity, who comes by TLS may ask only what is his.
    """
    app = FastAPI(
        title="PLTFRMS controller",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    doors = doors or doors_of(operations)
    logins = Logins(operations, signatures) if signatures else None
    _add_agent_routes(app, operations, logins)  # the first to be added, the last to be asked
    app.add_middleware(Rights, controller=operations.controller, logins=logins)
    app.add_middleware(Lanes, doors=doors)
    _add_error_handlers(app)
    verdicts = Verdicts(operations)
    _add_operator_routes(app, operations, verdicts)
    _add_service_routes(app, operations)
    add_picture_routes(app, operations, verdicts)
    _add_health_routes(app, operations, doors, verdicts)
    add_discovery_route(app, operations)
    if glass:
        add_glass_routes(app, operations, glass)
        add_balancer_routes(app, operations, glass)
        add_log_routes(app, operations, glass)
    if signatures and logins:
        add_request_routes(app, Requests(operations, signatures))
        add_login_routes(app, logins)
    if runner:
        add_command_routes(app, CommandDesk(operations, secure=known is not None), runner)
    secrets = Secrets(operations, secure=known is not None)
    add_secret_routes(app, secrets)
    if known:
        add_identity_routes(app, known.identities)
        add_store_route(app, known.store)
        add_keyring_route(app, secrets)
        app.add_middleware(
            Guarded, identities=known.identities, shares=doors.shares, said=known.said
        )
    return app


def _add_agent_routes(app: FastAPI, operations: Operations, logins: Logins | None) -> None:
    answers, reader = TargetAnswers(), HeartbeatReader(operations)
    add_vantage_routes(app, operations, logins)

    @app.post(HEARTBEATS)
    async def heartbeat(request: Request) -> Response:
        """Note that a machine lives."""
        text = await request.body()
        try:
            beat = reader.read(text, asking(request))
        except UsageError:
            unread = decode(UnreadHeartbeat, text)
            sources = (event.source for event in unread.events)
            require_own(request, str(unread.status.get("machine")), *sources)
            return json_of(await operations.heartbeat_unread(unread))
        require_own(request, beat.status.machine, *(event.source for event in beat.events))
        return json_of(await operations.heartbeat(beat))

    @app.get(TARGETS + "{machine}")
    async def target(
        machine: str,
        after: After = 0,
        wait_ms: WaitMs = 0,
        made_of: str | None = None,
        platform: After = 0,
        key: Text = "",
    ) -> Response:
        """Return a target newer than generation `after`, or 204.

        Who says what it has (`made_of`, and `platform`, a revision) gets `TargetNews`, and
        only if its target is another one; else `Target`.
        """
        found = await operations.target(machine, after, wait_ms, made_of or "", key)
        if found is None:
            return Response(status_code=HTTPStatus.NO_CONTENT)
        answer = found.plain() if made_of is None else found.news(platform)
        return Response(answers.text_of(answer), media_type=JSON)

    async def straight_target(request: Request) -> Response | None:
        machine = request.scope["path"].rpartition("/")[2]
        said = plainly_asked(request, _TARGET_COUNTS, _TARGET_TEXTS)
        return None if said is None or not machine else await target(machine, **said)

    straight = {("POST", HEARTBEATS): heartbeat, ("GET", TARGETS): straight_target}
    app.add_middleware(Straight, answers=straight)


def _add_operator_routes(app: FastAPI, operations: Operations, verdicts: Verdicts) -> None:
    answers = SnapshotAnswers()

    @app.get("/v1/snapshot")
    async def snapshot(*, stale: bool = False) -> Response:
        """Return the whole state; with `stale` also while the store does not answer."""
        view = without_passwords(operations.snapshot(stale=stale))
        view = replace(view, redundancy=await verdicts.of(view))
        text = await answers.text_of(view, operations.controller.aside)
        return Response(text, media_type=JSON)

    @app.post("/v1/plan")
    async def plan(request: Request) -> Response:
        """Say what a change would do."""
        return json_of(await operations.plan(await body_of(Change, request)))

    @app.post("/v1/apply")
    async def apply(request: Request) -> Response:
        """Make a change."""
        change = await body_of(Change, request)
        return json_of(await operations.apply(change, asked=asked_of(request)))

    @app.post("/v1/interventions")
    async def intervene(request: Request) -> Response:
        """Drain, freeze or blackhole, or end it."""
        change = await body_of(InterventionChange, request)
        return json_of(await operations.intervene(change, asked=asked_of(request)))

    @app.get("/v1/audit")
    async def audit(after: After = 0, limit: Limit = 100) -> Response:
        """Return what operators did, by records with numbers > `after`."""
        return json_of(await operations.audit(after, limit))

    @app.get("/v1/events")
    async def events(
        after: After = 0, wait_ms: WaitMs = 0, limit: Limit = 100, *, stale: bool = False
    ) -> Response:
        """Return events after a sequence; with `stale` also while the store is away."""
        found = await operations.events(after, wait_ms, limit, stale=stale)
        return Response(encode(found, tuple[Event, ...]), media_type=JSON)


def _add_service_routes(app: FastAPI, operations: Operations) -> None:
    add_job_routes(app, JobDesk(operations))

    @app.delete("/v1/services/{name}")
    async def delete_service(
        name: str, request: Request, by: Text = "", why: Text = ""
    ) -> Response:
        """Delete a service."""
        return json_of(await operations.delete(name, asked_of(request, by, why)))

    @app.post("/v1/rollouts")
    async def change_rollout(request: Request) -> Response:
        """Pause, resume, promote, abort or undo a rollout."""
        change = await body_of(RolloutChange, request)
        return json_of(await operations.change_rollout(change, asked_of(request)))

    @app.post("/v1/volumes/{volume}/release")
    async def release_volume(
        volume: str, request: Request, by: Text = "", why: Text = "", *, give_up: bool = False
    ) -> Response:
        """Have a volume deleted that nobody uses; or give up one whose node is lost."""
        asked = asked_of(request, by, why)
        return json_of(await operations.release_volume(volume, asked, give_up=give_up))

    @app.get("/v1/services/{name}/versions")
    async def history(name: str) -> Response:
        """Return the versions of a service that are kept."""
        return json_of(await operations.history(name))


def doors_of(operations: Operations, strangers: int = OF_STRANGERS) -> Doors:
    """Return doors that know the machines of a controller's platform.

    So many strangers may be connected.
    """
    controller = operations.controller
    callers = Callers(lambda: controller.platform)
    view = controller.view
    connections = Connections(callers, strangers, view.given_up, view.answered)
    return Doors(callers, Shares(controller.clock.monotonic), connections)


def _add_health_routes(
    app: FastAPI, operations: Operations, doors: Doors, verdicts: Verdicts
) -> None:
    metrics = Metrics(operations.controller, doors, operations.vantages)

    @app.get("/healthz")
    async def healthz() -> Response:
        """Answer 200 while the store answers."""
        operations.require_store()
        idle = operations.controller.why_idle
        text = f"ok; but {idle}\n" if idle else "ok\n"
        return Response(text, media_type="text/plain")

    @app.get("/readyz")
    async def readyz() -> Response:
        """Answer 200 while this controller decides."""
        if idle := operations.controller.why_idle:
            raise UnavailableError(idle)
        return Response("ok\n", media_type="text/plain")

    @app.get("/metrics")
    async def prometheus() -> Response:
        """Return the metrics in Prometheus' text format."""
        return Response(metrics.text(await verdicts.now()), media_type=metrics.media_type)


def _add_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(PltfrmsError, _handler(_as_it_is))
    app.add_exception_handler(RequestValidationError, _handler(_as_usage_error))
    app.add_exception_handler(HTTPException, _handler(_as_not_found))
    app.add_exception_handler(HTTPStatus.NOT_FOUND, _handler(_as_not_found))
    app.add_exception_handler(HTTPStatus.METHOD_NOT_ALLOWED, _handler(_as_not_found))
    app.add_exception_handler(Exception, _handler(_as_bug))


def _handler(
    judge: Callable[[Exception], PltfrmsError],
) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(_request: Request, error: Exception) -> Response:
        return refusal(judge(error))

    return handle


def _as_it_is(error: Exception) -> PltfrmsError:
    return error if isinstance(error, PltfrmsError) else InvariantError(str(error))


def _as_usage_error(error: Exception) -> PltfrmsError:
    wrong = error.errors() if isinstance(error, RequestValidationError) else ()
    words = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in wrong]
    return UsageError("; ".join(words) or str(error))


def _as_not_found(error: Exception) -> PltfrmsError:
    return NotFoundError(f"there is no such resource: {error}")


def _as_bug(error: Exception) -> PltfrmsError:
    return InvariantError(f"a bug: {type(error).__name__}: {error}")
