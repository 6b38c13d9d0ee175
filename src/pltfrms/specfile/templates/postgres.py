"""`postgres:` -> the service that it stands for, as anybody could have written it himself."""

import json
from typing import Any, Final, TypeVar

from pltfrms.model.services.secrets import Generate
from pltfrms.specfile.findings import Where
from pltfrms.specfile.shapes.postgres import PostgresServiceShape, PostgresShape
from pltfrms.specfile.shapes.probe import (
    EpochShape,
    LivenessShape,
    ProbeShape,
    RoleShape,
    TlsShape,
)
from pltfrms.specfile.shapes.secret import SecretShape, StoreShape
from pltfrms.specfile.shapes.service import (
    AnsweredShape,
    HooksShape,
    InstanceHookShape,
    RunShape,
    ServiceShape,
    VolumeShape,
)
from pltfrms.specfile.templates.patroni import API_PORT, HOME, PORT, patroni_configuration

_T = TypeVar("_T", LivenessShape, ProbeShape, RoleShape)
_PROGRAMS: Final = "/usr/lib/pltfrms-postgres/bin"
_SEGMENTS: Final = 64 * 1024 * 1024
"""What may wait for its place in backups, at least: some segments of a log."""
_HAND_OVER_MS: Final = 60_000
_JOIN_MS: Final = 600_000
_SAME: Final = (
    "service",
    "replicas",
    "egress",
    "aggregate",
    "addresses",
    "group",
    "labels",
    "capacity",
    "rollout",
)
"""Fields that mean in a database what they mean in any service."""
_STANDS_FOR: Final[dict[Where, Where]] = {
    ("volumes", "data", "size"): ("postgres", "size"),
    ("volumes", "data", "lost_after"): ("postgres", "lost_after"),
    ("run", "cpu"): ("postgres", "cpu"),
    ("run", "memory"): ("postgres", "memory"),
    ("ports", 0, "clients"): ("postgres", "clients"),
    ("roles", "reader"): ("postgres", "reader"),
    ("run", "secrets"): ("postgres", "users"),
    ("run", "files", "patroni.json"): ("postgres", "parameters"),
}
"""Where something stands in what is written out, and of what in the file it was made."""


def users_of(words: PostgresShape) -> tuple[str, ...]:
    """Return who is made in a database, each once: owners first."""
    owners = [each.owner for each in words.databases.values()]
    return tuple(dict.fromkeys((*owners, *words.users)))


def written_out(shape: PostgresServiceShape) -> ServiceShape:
    """Return the service that a file with `postgres:` means."""
    words = shape.postgres
    return ServiceShape.model_construct(
        **{name: getattr(shape, name) for name in _SAME},
        run=_run(shape.service, words),
        ports=[AnsweredShape.model_construct(port=f"{PORT}/tcp", clients=words.clients)],
        probe=_asked(
            ProbeShape, "/readiness", interval=1000, timeout=2000, fall=3, grace=_JOIN_MS
        ),
        liveness=_asked(
            LivenessShape, "/liveness", interval=2000, timeout=5000, fall=3, grace=120_000
        ),
        roles={
            "writer": _asked(
                RoleShape,
                "/primary",
                body='"role": "primary"',
                epoch=EpochShape.model_construct(field="timeline"),
            ),
            "reader": _asked(
                RoleShape, f"/replica?lag={words.reader.max_lag}", timeout=1000, shared=True
            ),
        },
        volumes={
            "data": VolumeShape.model_construct(
                path=HOME, size=words.size, lost_after=words.lost_after
            )
        },
        hooks=_hooks(shape),
    )


def place_in(where: Where) -> Where:
    """Return where in the file stands what a finding about the written service is about."""
    for length in range(len(where), 0, -1):
        if where[:length] in _STANDS_FOR:
            return _STANDS_FOR[where[:length]]
    return where if where[:1] and where[0] in _SAME else ("postgres",)


def _run(service: str, words: PostgresShape) -> RunShape:
    policy: dict[str, object] = {
        "promote": words.promote,
        "prefer": words.prefer,
        "databases": {name: each.owner for name, each in words.databases.items()},
        "users": users_of(words),
    }
    users = {f"{service}-{user}": _password(f"user-{user}") for user in users_of(words)}
    if words.backup:
        queue = max(_SEGMENTS, words.size // 4)
        policy["backup"] = {**words.backup.model_dump(), "queue": queue}
    if words.restore:
        policy["restore"] = {"service": words.restore.service}
    return RunShape.model_construct(
        process=[f"{_PROGRAMS}/start"],
        files={
            "patroni.json": _text(patroni_configuration(service, words)),
            "postgres.json": _text(policy),
        },
        secrets={
            f"{service}-authority": SecretShape.model_construct(
                file="authority.pem", generate=Generate.AUTHORITY
            ),
            f"{service}-store": _password("store"),
            **_secrets_of_backups(service, words),
            **users,
        },
        store=StoreShape.model_construct(
            secret=f"{service}-store", end_leases=words.failover == "fast"
        ),
        cpu=words.cpu,
        memory=words.memory,
    )


def _secrets_of_backups(service: str, words: PostgresShape) -> dict[str, SecretShape]:
    """Return who we are where backups are, and what opens them, of each service concerned."""
    services = {service} if words.backup else set()
    services |= {words.restore.service} if words.restore else set()
    return {
        f"{each}-{name}": SecretShape.model_construct(file=f"{each}-{name}")
        for each in sorted(services)
        for name in ("backup", "cipher")
    }


def _hooks(shape: PostgresServiceShape) -> HooksShape:
    """Return its hooks; who alone may be primary could hand over to nobody, for ever."""
    alone = _electable(shape) == 1
    return HooksShape.model_construct(
        hand_over=None if alone else _hook("hand-over", _HAND_OVER_MS),
        join=_hook("join", _JOIN_MS),
    )


def _electable(shape: PostgresServiceShape) -> int | None:
    """Return how many replicas may become primary; None: that depends on the platform."""
    named = shape.replicas.__pydantic_extra__ or {}
    each = shape.replicas.per_datacenter or 0
    promote, datacenters = shape.postgres.promote, shape.replicas.datacenters
    if each and not (promote or datacenters):
        return None
    places = {*promote} or {*named, *datacenters}
    return sum(named.get(name, each) for name in places)


def _asked(kind: type[_T], path: str, **said: Any) -> _T:
    """Return a question to Patroni, from within its own instance."""
    tls = TlsShape.model_construct(verify=False)
    return kind.model_construct(http=path, port=API_PORT, tls=tls, **said)


def _password(file: str) -> SecretShape:
    return SecretShape.model_construct(file=file, generate=Generate.PASSWORD)


def _hook(program: str, timeout_ms: int) -> InstanceHookShape:
    return InstanceHookShape.model_construct(run=[f"{_PROGRAMS}/{program}"], timeout=timeout_ms)


def _text(document: object) -> str:
    return json.dumps(document, indent=1, ensure_ascii=True) + "\n"
