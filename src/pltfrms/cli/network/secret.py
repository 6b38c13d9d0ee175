"""`network make-secret`: what all edges need for WireGuard links."""

import os
import secrets
from pathlib import Path

import click

from pltfrms.cli.shared.options import Command
from pltfrms.cli.shared.output import echo
from pltfrms.errors import ConflictError, UsageError
from pltfrms.model.network.tunnels import BACKBONE_FILE

_DEFAULT = Path("/etc/pltfrms") / BACKBONE_FILE
_BYTES = 32


@click.command("make-secret", cls=Command)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=_DEFAULT,
    show_default=True,
    help="File to make; it must not exist.",
)
def make_secret(output: Path) -> None:
    """Make the secret behind the keys of WireGuard links.

    Copy the file to every edge, for its owner alone (mode 600). Whoever has it can read and
    forge what WireGuard links carry.

    Example: pltfrms network make-secret --output backbone.secret
    """
    text = f"{secrets.token_hex(_BYTES)}\n"
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConflictError(
            f"{output} exists already; with another secret tunnels break until every edge"
            " has it: move the old one away first if that is what you want"
        ) from None
    except OSError as error:
        raise UsageError(f"cannot make {output}: {error.strerror}") from error
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    echo(f"{output}: copy it to /etc/pltfrms/ of every edge, with mode 600")
