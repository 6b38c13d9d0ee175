"""`backup`: on a controller's machine, beside the controller or without it."""

from pathlib import Path

import click

from pltfrms.cli.shared.options import Command, LazyGroup
from pltfrms.drivers.ports import Directories

_STANDARD = Directories()
_PATH = click.Path(path_type=Path)
_config = click.option(
    "--config", type=_PATH, default=_STANDARD.config, help="Directory of the configuration."
)
_state = click.option(
    "--state", type=_PATH, default=_STANDARD.state, help="Directory with backups/."
)
_KEY_HELP = "The private key that opens backups."


@click.group(cls=LazyGroup)
def backup() -> None:
    """Keep what is wanted, and put it back.

    Example: pltfrms backup list
    """


@backup.command("key", cls=Command)
@click.argument("directory", type=_PATH)
@click.option("--name", default="platform", help="Of the platform, for people.")
def make(directory: Path, name: str) -> None:
    """Make the key of backups, and its certificate.

    Example: pltfrms backup key /root/safe
    """
    from pltfrms.cli.machine import backing_up  # noqa: PLC0415 - 0.5 s, not for a help

    backing_up.make(directory, name)


@backup.command("now", cls=Command)
@_config
@_state
def take_now(config: Path, state: Path) -> None:
    """Take a backup now.

    Example: pltfrms backup now
    """
    from pltfrms.cli.machine import backing_up  # noqa: PLC0415 - as above

    backing_up.take_now(Directories(config=config, state=state))


@backup.command("list", cls=Command)
@_state
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
def list_all(state: Path, *, as_json: bool) -> None:
    """List the backups that this machine keeps.

    Example: pltfrms backup list
    """
    from pltfrms.cli.machine import backing_up  # noqa: PLC0415 - as above

    backing_up.list_all(Directories(state=state), as_json=as_json)


@backup.command("verify", cls=Command)
@click.argument("file", type=_PATH, required=False)
@_config
@_state
@click.option("--key", type=_PATH, help=_KEY_HELP)
def verify(file: Path | None, config: Path, state: Path, key: Path | None) -> int:
    """Say whether backups are whole.

    With the key, whether all of them can be read. Without FILE: all that are kept here.

    Example: pltfrms backup verify --key /root/safe/backup.key
    """
    from pltfrms.cli.machine import backing_up  # noqa: PLC0415 - as above

    return backing_up.verify(Directories(config=config, state=state), file, key)


@backup.command("restore", cls=Command)
@click.argument("file", type=_PATH)
@_config
@_state
@click.option("--key", type=_PATH, required=True, help=_KEY_HELP)
@click.option("--past", type=click.IntRange(0), default=0, help="Commit to be past, too.")
@click.option("--replace", is_flag=True, help="Although the store has services.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def put_back(  # noqa: PLR0913 - as many as the command has options
    file: Path, config: Path, state: Path, key: Path, past: int, *, replace: bool, yes: bool
) -> None:
    """Put a backup into a store that has lost its data.

    Example: pltfrms backup restore FILE --key /root/safe/backup.key
    """
    from pltfrms.cli.machine import backing_up  # noqa: PLC0415 - as above

    places = Directories(config=config, state=state)
    backing_up.put_back(places, file, key, past, replace=replace, yes=yes)
