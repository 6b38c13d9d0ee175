"""`secret`: values that services are given and nobody else. None is ever shown."""

import base64
import sys
from typing import BinaryIO
from urllib.parse import quote

import click

from pltfrms.cli.shared.complete import complete_secrets
from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import (
    echo,
    good,
    moment_text,
    write_json,
    write_line,
    write_table,
)
from pltfrms.cli.shared.routing import WHY, asking_user
from pltfrms.model.messages.secrets import (
    SecretChange,
    SecretReply,
    SecretsKeyChange,
    SecretsKeyReply,
    SecretVerb,
    SecretView,
)
from pltfrms.model.services.secrets import SECRET_BYTES_MAX

_NAME = click.argument("name", shell_complete=complete_secrets)
_FILE = click.option(
    "--file",
    type=click.File("rb"),
    default="-",
    help="Where the value is; by default standard input.",
)
_YES = click.option("--yes", is_flag=True, help="Do not ask.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")


@click.group(cls=LazyGroup)
def secret() -> None:
    """Give services values that nobody else sees.

    A service names them in `run: {secrets: ...}`. Values come from standard input or a file,
    never from the command line, and are never shown again.

    Example: pltfrms secret list
    """


@secret.command("set")
@click.argument("name")
@_FILE
@WHY
@_JSON
@pass_settings
def set_secret(
    settings: Settings, name: str, *, file: BinaryIO, why: str, as_json: bool
) -> None:
    """Make a secret with the value that is read.

    Refused if there is one of that name: `rotate` gives it another value.

    Example: printf %s "$PASSWORD" | pltfrms secret set db-password
    """
    value = _value(file)
    _change(settings, SecretVerb.SET, name, value, why, as_json=as_json)


@secret.command("rotate")
@_NAME
@_FILE
@_YES
@WHY
@_JSON
@pass_settings
def rotate(
    settings: Settings, name: str, *, file: BinaryIO, yes: bool, why: str, as_json: bool
) -> None:
    """Give a secret another value.

    Services that use it with `on_change: restart`, which is usual, get a new version for it,
    by stages: see `pltfrms rollout`.

    Example: pltfrms secret rotate db-password --file new.txt --yes
    """
    value = _value(file)
    if not yes:
        _require_somebody()
        views = connect(settings).get("/v1/secrets", {}, tuple[SecretView, ...])
        users = [user for each in views if each.note.name == name for user in each.users]
        names = ", ".join(users) or "nobody"
        click.confirm(f"Give {name} another value? It is used by {names}.", abort=True)
    _change(settings, SecretVerb.ROTATE, name, value, why, as_json=as_json)


@secret.command("list")
@_JSON
@pass_settings
def list_secrets(settings: Settings, *, as_json: bool) -> None:
    """List secrets: how old their values are, and who uses them.

    Example: pltfrms secret list
    """
    found = connect(settings).get("/v1/secrets", {}, tuple[SecretView, ...])
    if as_json:
        write_json(found, tuple[SecretView, ...])
        return
    cells = [
        (
            each.note.name,
            str(each.note.version),
            moment_text(each.note.changed_ms),
            each.note.by or "-",
            ", ".join(each.users) or "-",
        )
        for each in found
    ]
    if not cells:
        echo("no secret; try: pltfrms secret set NAME")
        return
    write_table(("name", "value", "since", "by", "used by"), cells)


@secret.command("delete")
@_NAME
@_YES
@WHY
@_JSON
@pass_settings
def delete(settings: Settings, name: str, *, yes: bool, why: str, as_json: bool) -> None:
    """Delete a secret with all its values.

    Refused while a service or a job uses it, or may go back to a version that does.

    Example: pltfrms secret delete db-password --yes
    """
    if not yes:
        _require_somebody()
        click.confirm(f"Delete secret {name}? Its value cannot be had again.", abort=True)
    _say(
        connect(settings).change(
            "DELETE",
            f"/v1/secrets/{quote(name, safe='')}",
            SecretReply,
            parameters={"by": asking_user(), "why": why},
        ),
        as_json=as_json,
    )


@secret.command("rotate-key")
@_YES
@WHY
@_JSON
@pass_settings
def rotate_key(settings: Settings, *, yes: bool, why: str, as_json: bool) -> None:
    """Have controllers make another key, and seal secrets to it.

    Do it when a controller was taken out, or may have been read by others. No service notices.

    Example: pltfrms secret rotate-key --yes --why "fra-c1 was replaced"
    """
    if not yes:
        _require_somebody()
        click.confirm("Seal all secrets to another key?", abort=True)
    reply = connect(settings).change(
        "POST", "/v1/secrets-key", SecretsKeyReply, SecretsKeyChange(by=asking_user(), why=why)
    )
    if as_json:
        write_json(reply)
        return
    echo(good(f"sealed anew: {len(reply.sealed)}"))
    for name in reply.lost:
        write_line(
            f"{name} is opened by no key of this controller; unless it gets one from another "
            f"(status says so until then): pltfrms secret rotate {name}"
        )


def _value(file: BinaryIO) -> bytes:
    """Return what a file has; a person who types it would show it on the screen."""
    if file.isatty():
        hint = "write it to a file, or: printf %s ... | pltfrms secret set NAME"
        raise click.UsageError(f"the value would be seen on this screen: {hint}")
    value = file.read(SECRET_BYTES_MAX + 1)
    if not 0 < len(value) <= SECRET_BYTES_MAX:
        raise click.UsageError(f"a value has 1 to {SECRET_BYTES_MAX} bytes")
    return value


def _require_somebody() -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: say --yes to do it without asking")


def _change(
    settings: Settings, verb: SecretVerb, name: str, value: bytes, why: str, *, as_json: bool
) -> None:
    change = SecretChange(
        verb=verb,
        name=name,
        value=base64.b64encode(value).decode(),
        by=asking_user(),
        why=why,
    )
    _say(connect(settings).change("POST", "/v1/secrets", SecretReply, change), as_json=as_json)


def _say(reply: SecretReply, *, as_json: bool) -> None:
    if reply.warning:
        echo(f"note: {reply.warning}", err=True)
    if as_json:
        write_json(reply)
        return
    for line in reply.changes:
        write_line(f"{line.action} {line.about}: {line.detail}")
    echo(good(f"done, revision {reply.revision}"))
