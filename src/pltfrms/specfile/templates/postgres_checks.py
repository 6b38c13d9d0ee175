"""What makes no sense in `postgres:`, by itself and on a platform."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.services.hooks import HookMoment
from pltfrms.model.services.replicas import replicas_of
from pltfrms.model.services.service import ServiceSpec
from pltfrms.specfile.findings import Finding, Where, check_name, nearest
from pltfrms.specfile.shapes.postgres import ParameterValue, PostgresShape
from pltfrms.specfile.templates.patroni import ROLES
from pltfrms.specfile.templates.postgres import users_of

_HERE: Final = ("postgres",)
_PARAMETER: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}(?:\.[a-z_][a-z0-9_]{0,62})?\Z")
_OURS: Final = frozenset(
    {
        *("cluster_name", "config_file", "data_directory", "external_pid_file", "hba_file"),
        *("hot_standby", "ident_file", "listen_addresses", "port", "primary_conninfo"),
        *("primary_slot_name", "restore_command", "synchronous_standby_names"),
        *("unix_socket_directories", "wal_log_hints", "fsync", "full_page_writes"),
    }
)
"""What the template or Patroni sets, and what loses data."""
_OUR_KINDS: Final = ("ssl", "archive_", "recovery_")
_PORT: Final = r"(6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3})"
_PLACES: Final = {
    "endpoint": (re.compile(rf"https://[A-Za-z0-9.-]{{1,253}}(:{_PORT})?"), "https://HOST"),
    "bucket": (re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"), "the name of a bucket"),
    "region": (re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}"), "a region, such as us-east-1"),
    "prefix": (re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]{0,200}"), "such as postgres"),
    "ca": (re.compile(r"(/[A-Za-z0-9._/-]{1,200})?"), "a file, such as /etc/ssl/ours.pem"),
    "keep": (re.compile(r"[1-9][0-9]{0,3}"), "a number from 1 to 9999"),
}
"""What is said of backups, and goes into a file of lines."""
_LONGEST: Final = 1000
_MOST: Final = 100
_LOCAL: Final = frozenset({"off", "local", "false", "no", "0"})
_DATABASES: Final = ("postgres", "template0", "template1")
_RESERVED: Final = (*ROLES, *("public", "none", "authority", "ca", "store", "backup", "cipher"))
"""Names of users that mean something else to PostgreSQL, or to the secrets of the service."""


def postgres_findings(words: PostgresShape) -> Iterator[Finding]:
    """Yield everything that is wrong with a database by itself."""
    for name, value in words.parameters.items():
        yield from _check_parameter((*_HERE, "parameters", name), name, value)
    yield from _check_inside(words)
    yield from _check_backups(words)
    if words.failover == "fast" and words.durability == "async":
        what = "fast with durability async: the old primary may acknowledge what is lost then"
        yield Finding((*_HERE, "failover"), what, "durability quorum or strict, or patient")
    for field in ("promote", "prefer", "users"):
        yield from _check_twice((*_HERE, field), getattr(words, field))
    for index, name in enumerate(words.prefer):
        if words.promote and name not in words.promote:
            what = f"{name} is preferred, and none of promote"
            yield Finding((*_HERE, "prefer", index), what, "add it there, or leave it out here")


def _check_inside(words: PostgresShape) -> Iterator[Finding]:
    """Find what is wrong with what is made in a database."""
    for name, database in words.databases.items():
        where: Where = (*_HERE, "databases", name)
        yield from check_name(where, name)
        if name in _DATABASES:
            yield Finding(where, f"{name} is there anyway", "take another name")
        yield from _check_user((*where, "owner"), database.owner)
    for index, name in enumerate(words.users):
        yield from _check_user((*_HERE, "users", index), name)
    for field, count in (("databases", len(words.databases)), ("users", len(users_of(words)))):
        if count >= _MOST:
            yield Finding((*_HERE, field), f"has {count}, fewer than {_MOST} fit")


def _check_backups(words: PostgresShape) -> Iterator[Finding]:
    """Find what is no place of backups, or nothing to begin with."""
    if words.backup:
        for name, (form, such_as) in _PLACES.items():
            value = getattr(words.backup, name)
            if not form.fullmatch(str(value)):
                yield Finding((*_HERE, "backup", name), f"{value!r} is not {such_as}")
    if words.restore:
        yield from check_name((*_HERE, "restore", "service"), words.restore.service)
        if not words.backup:
            what = "where the backups are is not said"
            yield Finding((*_HERE, "restore"), what, "say it as backup")


def _check_twice(where: Where, names: list[str]) -> Iterator[Finding]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Finding((*where, index), f"{name} is in the list twice", "names are unique")


def _check_parameter(where: Where, name: str, value: ParameterValue) -> Iterator[Finding]:
    text = str(value).lower()
    if not _PARAMETER.match(name):
        what = f"{name[:70]!r} is not the name of a setting"
        yield Finding(where, what, "such as max_connections, in small letters")
    elif name in _OURS or name.startswith(_OUR_KINDS):
        what = f"{name} is not for you to set: the others would not find it, or lose data"
        yield Finding(where, what, "leave it out")
    elif name == "synchronous_commit" and text in _LOCAL:
        what = f"{text} acknowledges what no other replica has"
        yield Finding(where, what, "durability: async says that for all")
    if len(text) > _LONGEST or not text.isprintable():
        yield Finding(where, "is no value of a setting", f"one line, at most {_LONGEST} signs")


def _check_user(where: Where, name: str) -> Iterator[Finding]:
    yield from check_name(where, name)
    if name in _RESERVED or name.startswith("pg-"):
        yield Finding(where, f"{name} means something else", "take another name")


def postgres_findings_here(
    words: PostgresShape, spec: ServiceSpec, platform: Platform
) -> Iterator[Finding]:
    """Yield what is wrong with a database on this platform."""
    wanted = {name: count for name, count in replicas_of(platform, spec).items() if count}
    for field in ("promote", "prefer"):
        names: list[str] = getattr(words, field)
        for index, name in enumerate(names):
            if name not in wanted:
                what = f"there are no replicas in {name!r}"
                yield Finding((*_HERE, field, index), what, nearest(name, wanted), name)
    if words.durability == "strict" and sum(wanted.values()) == 1:
        what = "with one replica there is no other one to have it: nothing could be written"
        yield Finding((*_HERE, "durability"), what, "have more replicas, or say quorum")
    yield from _check_elections(words, wanted, platform)
    electable = {name: wanted[name] for name in words.promote or wanted if name in wanted}
    hands_over = HookMoment.HAND_OVER in {each.moment for each in spec.hooks}
    if hands_over and sum(electable.values()) == 1:
        what = "one replica alone may become primary here, and could hand over to nobody"
        hint = f"say promote: [{next(iter(electable))}]: then it is replaced without that"
        yield Finding((*_HERE, "promote"), what, hint)


def postgres_notes(
    words: PostgresShape, spec: ServiceSpec, platform: Platform
) -> Iterator[Finding]:
    """Yield what is no mistake, but may be one."""
    count = sum(replicas_of(platform, spec).values())
    if count == 1 and words.durability == "quorum":
        what = "with one replica nobody else has what is acknowledged"
        yield Finding((*_HERE, "durability"), what, "right if it may be lost with its node")
    if count == 2 and words.durability == "strict":  # noqa: PLR2004 (as it says)
        what = "with two replicas the loss of one stops all writes"
        yield Finding((*_HERE, "durability"), what, "right if none may ever be lost")


def _check_elections(
    words: PostgresShape, wanted: dict[str, int], platform: Platform
) -> Iterator[Finding]:
    """Find primaries in several datacenters where the loss of one leaves nobody to elect.

    Who is primary is decided by a majority of the controllers.
    """
    here = [name for name in wanted if name in (words.promote or wanted)]
    at = Counter(each.datacenter for each in platform.machines_of(Role.CONTROLLER))
    total = sum(at.values())
    fatal = [name for name in here if 2 * (total - at[name]) <= total]
    if len(here) > 1 and fatal:
        one = fatal[0]
        what = (
            f"a primary is to be elected in {' or '.join(here)}, but {one} has {at[one]} of"
            f" {total} controllers: without it there is no majority, and whether it is lost or"
            " only cut off, nobody could tell"
        )
        hint = f"have controllers at a third place as well, or say promote: [{one}]"
        yield Finding((*_HERE, "promote"), what, hint)
