"""`context`: the platforms that you have to do with, and which one is meant."""

import sys
from dataclasses import replace
from pathlib import Path

import click

from pltfrms.cli.shared.complete import complete_contexts
from pltfrms.cli.shared.contexts import (
    Context,
    Contexts,
    drop_login,
    kept_login,
    read_contexts,
    write_contexts,
)
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import echo, good, write_json, write_table
from pltfrms.drivers.controlplane.asking import base_url, is_secure
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import UsageError
from pltfrms.model.identity.words import Roots

_NAME = click.argument("name", shell_complete=complete_contexts)
_STATE = Path("/var/lib/pltfrms")


@click.group(cls=LazyGroup)
def context() -> None:
    """Say which platform is meant, of several.

    A context is a name for the controllers of a platform. --context, or PLTFRMS_CONTEXT, names
    one for one command. --controller and --lab come first.

    Example: pltfrms context list
    """


@context.command("list")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
def list_contexts(*, as_json: bool) -> None:
    """List what you know, and as whom you are logged in.

    Example: pltfrms context list
    """
    contexts = read_contexts()
    if as_json:
        write_json(contexts)
        return
    rows = []
    for each in contexts.known:
        login = kept_login(f"context-{each.name}")
        mark = "*" if each.name == contexts.current else ""
        who = login.operator if login else "-"
        rows.append((mark, each.name, each.platform or "-", who, " ".join(each.controllers)))
    write_table(("", "context", "platform", "login", "controllers"), rows)


@context.command("use")
@_NAME
def use(name: str) -> None:
    """Mean a context from now on, where none is said.

    Example: pltfrms context use prod
    """
    contexts = read_contexts()
    contexts.named(name)
    write_contexts(_current(contexts, name))
    echo(good(f"{name} is meant from now on"))


@context.command("add")
@click.argument("name")
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option("--pin", default="", help="SHA-256 of the root's key; `pltfrms context pin`.")
@pass_settings
def add(settings: Settings, name: str, urls: tuple[str, ...], pin: str) -> None:
    """Add a platform by its controllers, or say other ones.

    By https, who answers is believed if its root has the key that --pin says; without it you
    are shown it and asked, as ssh does.

    Example: pltfrms context add prod https://192.0.2.1:7480 https://192.0.2.9:7480
    """
    if not name.replace("-", "").replace(".", "").isalnum():
        raise UsageError(f"{name!r} is no name for a context: letters, digits, - and . only")
    for url in urls:
        base_url(url)
    roots = Roots(platform="", roots="")
    if any(map(is_secure, urls)):
        roots = _trusted([url for url in urls if is_secure(url)], pin, settings)
    new = Context(name=name, controllers=urls, platform=roots.platform, roots=roots.roots)
    contexts = read_contexts().with_context(new)
    write_contexts(contexts if contexts.current else _current(contexts, name))
    drop_login(f"context-{name}")
    echo(good(f"added {name}; to log in there: pltfrms login --context {name}"))


@context.command("remove")
@_NAME
def remove(name: str) -> None:
    """Forget a platform, and your login there.

    Example: pltfrms context remove prod
    """
    write_contexts(read_contexts().without(name))
    drop_login(f"context-{name}")
    echo(good(f"removed {name}"))


@context.command("pin")
@click.option("--state", type=click.Path(path_type=Path), default=_STATE, hidden=True)
def pin(state: Path) -> None:
    """Print the pin of this machine's platform, for `context add`.

    Example: pltfrms context pin
    """
    from pltfrms.drivers.identity.authority import read_certificate  # noqa: PLC0415 - 0.1 s
    from pltfrms.drivers.identity.files import IdentityFile  # noqa: PLC0415 - few need it
    from pltfrms.drivers.identity.keys import pin_of  # noqa: PLC0415 - as above

    echo(pin_of(read_certificate(IdentityFile(state).read().roots)))


def _current(contexts: Contexts, name: str) -> Contexts:
    return replace(contexts, current=name)


def _trusted(urls: list[str], pin: str, settings: Settings) -> Roots:
    """Return the root of who answers, if the operator trusts it."""
    from pltfrms.drivers.identity.authority import (  # noqa: PLC0415 - 0.1 s
        pinned_root,
        read_certificate,
    )
    from pltfrms.drivers.identity.keys import pin_of  # noqa: PLC0415 - as above
    from pltfrms.drivers.identity.tls import doubting_context  # noqa: PLC0415 - few need it

    seconds = settings.timeout_ms / 1000
    with OperatorClient(urls, seconds, tls=doubting_context().wrap_socket) as client:
        heard = client.get("/v1/identity/roots", {}, Roots)
    found = pin_of(read_certificate(heard.roots))
    if not pin:
        if not sys.stdin.isatty():
            raise UsageError(f"nobody can be asked here: say --pin; who answers has {found}")
        echo(f"the root of {heard.platform} has the pin {found};")
        echo("on a controller, `pltfrms context pin` says it, too.")
        click.confirm("Is it the same?", abort=True)
    return replace(heard, roots=pinned_root(heard.roots, pin or found))
