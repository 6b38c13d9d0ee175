"""`join`: wait until this replica has what the others have, then let all be as the file says.

It is the same in each replica, so it may run in any, at any time, as often as one likes.
"""

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pltfrms_postgres.hand_over import leader_of
from pltfrms_postgres.passwords import is_kept, verifier_of
from pltfrms_postgres.replica import OwnReplica, RefusedError, run_hook

_PATIENCE_S: Final = 540.0
"""Less than the platform waits, so that we can say what it was."""
_PAUSE_S: Final = 1.0
_HEARD_S: Final = 3.0
"""Some rounds of Patroni: then it knows what has to start anew for new settings."""
_TELL_S: Final = 30.0
_SALT: Final = 16
_DONE: Final = 200
_ALONE: Final = "SELECT pg_advisory_lock(8008);\n"
"""Replicas that join at once make nothing twice."""


def join(here: Path) -> str:
    """Wait, then agree on settings, and make users and databases that are missing."""
    users = {path.name[5:]: path.read_text().strip() for path in here.glob("secrets/user-*")}
    replica = OwnReplica(here)
    end = time.monotonic() + _PATIENCE_S
    _wait(replica, end)
    _agree(replica)
    leader = _wait(replica, end)
    server = None if leader["name"] == replica.name else leader
    kept = _kept(replica.tell(server, "SELECT rolname, rolpassword FROM pg_authid;", _TELL_S))
    policy = replica.policy
    wanted = {name: users[name] for name in policy["users"]}
    script = made_by(wanted, kept, policy["databases"])
    replica.tell(server, script, _TELL_S)
    if server:
        return f"follows {leader['name']}"
    return f"is primary{_begin_backups(replica) if 'backup' in policy else ''}"


def _begin_backups(replica: OwnReplica) -> str:
    """Have what backups need in their place, so that the log goes there; return why not.

    That it cannot be is no reason to keep anything else waiting: each backup tries it as well.
    """
    stanza = f"--stanza={replica.told['scope']}"
    command = ("/usr/bin/pgbackrest", f"--config={replica.home}/run/backup.conf", stanza)
    try:
        subprocess.run(
            (*command, "stanza-create"),
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TELL_S,
        )
    except subprocess.CalledProcessError as error:
        return f", and its log cannot be sent to its backups: {error.stdout.strip()[-300:]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f", and its log cannot be sent to its backups: {error}"
    return ""


def _wait(replica: OwnReplica, end: float) -> dict[str, Any]:
    """Return the primary, as soon as we are it, or stream from it."""
    while True:
        cluster = replica.look("/cluster")
        states: dict[str, dict[str, Any]] = {each["name"]: each for each in cluster["members"]}
        leader, own = leader_of(cluster), states.get(replica.name, {})
        if leader and (leader == replica.name or own.get("state") == "streaming"):
            return states[leader]
        if time.monotonic() > end:
            state = own.get("state") or "not known"
            raise RefusedError(f"{leader or 'nobody'} is primary, and this replica is {state}")
        time.sleep(_PAUSE_S)


def _agree(replica: OwnReplica) -> None:
    """Have the settings of our version, also those that a server takes when it starts.

    A replica with fewer connections than its primary would stop to follow it.
    """
    patch = patch_of(replica.look("/config"), replica.told["bootstrap"]["dcs"])
    if patch:
        _have_done(replica, "PATCH", "/config", patch)
        time.sleep(_HEARD_S)
    own = replica.look("/patroni")
    if own.get("pending_restart") and own["role"] == "replica":
        _have_done(replica, "POST", "/restart", {})


def _have_done(replica: OwnReplica, method: str, path: str, body: object) -> None:
    status, text = replica.ask(method, path, body, _TELL_S)
    if status != _DONE:
        raise RefusedError(f"Patroni answers {path} with {status}: {text.strip()[:300]}")


def patch_of(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is to change in what the replicas agree on; empty: nothing.

    Settings of PostgreSQL that are not wanted go; what else somebody has agreed on stays, such
    as a pause.
    """
    own = {name: value for name, value in wanted.items() if name != "postgresql"}
    patch = {name: value for name, value in own.items() if current.get(name) != value}
    now, then = current.get("postgresql") or {}, wanted["postgresql"]
    inner = {
        name: value
        for name, value in then.items()
        if name != "parameters" and now.get(name) != value
    }
    parameters = _changes(now.get("parameters") or {}, then["parameters"])
    if parameters:
        inner["parameters"] = parameters
    return {**patch, "postgresql": inner} if inner else patch


def _changes(now: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    gone = dict.fromkeys(name for name in now if name not in then)
    return {**gone, **{name: value for name, value in then.items() if now.get(name) != value}}


def _kept(rows: str) -> dict[str, str]:
    """Return what the server keeps of the password of each user."""
    return dict(row.split("|", 1) for row in rows.splitlines())


def made_by(
    users: Mapping[str, str], kept: Mapping[str, str], databases: Mapping[str, str]
) -> str:
    """Return what makes those that are missing, and passwords that are other ones.

    Names have been looked at where the file was read: letters, digits and hyphens.
    """
    script = _ALONE
    for name, password in users.items():
        missing = f"WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}')"
        script += f"SELECT 'CREATE ROLE \"{name}\" LOGIN' {missing} \\gexec\n"
        try:
            known = is_kept(password, kept.get(name, ""))
            verifier = verifier_of(password, os.urandom(_SALT))
        except ValueError as error:
            raise RefusedError(f"the password of {name} {error}") from error
        if not known:
            script += f"ALTER ROLE \"{name}\" LOGIN PASSWORD '{verifier}';\n"
    for name, owner in databases.items():
        missing = f"WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{name}')"
        script += f'SELECT \'CREATE DATABASE "{name}" OWNER "{owner}"\' {missing} \\gexec\n'
    return script


if __name__ == "__main__":
    run_hook(join)
