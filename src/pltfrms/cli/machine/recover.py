"""`recover`: when a majority of the store's members is lost for good."""

from pathlib import Path
from typing import Any

import click

from pltfrms.cli.shared.options import Command
from pltfrms.drivers.ports import Directories

_STANDARD = Directories()
_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command(cls=Command)
@click.option("--backup", type=_FILE, metavar="FILE", help="No member has data left.")
@click.option("--key", type=_FILE, metavar="FILE", help="The private key that opens backups.")
@click.option("--set-back", is_flag=True, help="Although machines have heard of later commits.")
@click.option(
    "--without", multiple=True, metavar="MACHINE", help="It is gone for good; repeatable."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--config", type=_DIRECTORY, default=_STANDARD.config, hidden=True)
@click.option("--state", type=_DIRECTORY, default=_STANDARD.state, hidden=True)
def recover(*, config: Path, state: Path, **wishes: Any) -> None:
    """Recover a store that lost its majority.

    For good, that is: members that come back need no recovery. Run it on the controller whose
    data is the newest, or with a backup, while etcd is stopped there. It goes on as the only
    member, and the others join anew. Nothing is decided before you have run this a second time,
    when all machines have said what they heard, but those that are gone for good (`--without`).
    It is refused while a majority answers, and may be repeated whenever it broke off.

    Example: pltfrms recover
    """
    from pltfrms.cli.machine import recovering  # noqa: PLC0415 - not for a help

    places = Directories(config=config, state=state)
    recovering.recover(places, recovering.Wishes(**wishes))
