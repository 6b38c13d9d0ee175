"""`machine bundle`, `machine replace`, `machine leave`: who comes to a platform, and goes."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pltfrms.cli.machine.identity import with_places
from pltfrms.cli.shared.complete import complete_platform_machines
from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import good, write_json, write_line
from pltfrms.drivers.ports import Directories
from pltfrms.errors import UsageError
from pltfrms.model.network.tunnels import BACKBONE_FILE

if TYPE_CHECKING:
    from pltfrms.model.identity.words import TokenAsk

_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
_FILE = click.Path(path_type=Path, dir_okay=False)
_NAME = click.argument("name", shell_complete=complete_platform_machines)
_SPEC = click.option(
    "--platform",
    "spec",
    type=_FILE,
    metavar="FILE",
    help="The platform (default: /etc/pltfrms/platform.yaml).",
)
_OUTPUT = click.option("--output", type=_FILE, metavar="FILE", help="[default: NAME.bundle]")
_PLACES = ("config", "state", "runtime")
_YES = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command(cls=Command)
@_NAME
@_SPEC
@_OUTPUT
@with_places
@pass_settings
def bundle(
    settings: Settings,
    name: str,
    *,
    spec: Path | None,
    output: Path | None,
    places: Directories,
) -> None:
    """Write all that a machine joins with into a file.

    A token that is good for an hour, the roots, platform.yaml, where controllers answer, and
    the secret of tunnels where it has some: for a machine that reaches no controller yet. It is
    for your eyes alone (mode 600). For a machine with tunnels, run it where their secret is.

    Example: pltfrms machine bundle ams1 --output ams1.bundle
    """
    from pltfrms.cli.shared.routing import asking_user  # noqa: PLC0415 - few need it
    from pltfrms.model.identity.words import TokenAsk  # noqa: PLC0415 - as above

    path = _write(settings, TokenAsk(machine=name, by=asking_user()), spec, output, places)
    write_line(f"{path}: bring it to {name} within an hour, and there:")
    write_line(f"pltfrms join --bundle {path.name} --timeout 60s")


@click.command(cls=Command)
@_NAME
@_SPEC
@_OUTPUT
@_YES
@with_places
@pass_settings
def replace(
    settings: Settings,
    name: str,
    *,
    spec: Path | None,
    output: Path | None,
    yes: bool,
    places: Directories,
) -> None:
    """Let another machine take the place of one.

    The certificate of the older one is void at once; it goes on with what it carries until it
    has no power. What belongs to the name stays: number, addresses, replicas, drains. Its
    member of the store is filled anew by itself. The new one joins with the bundle.

    Example: pltfrms machine replace ams1
    """
    from pltfrms.cli.shared.routing import asking_user  # noqa: PLC0415 - few need it
    from pltfrms.model.identity.words import TokenAsk  # noqa: PLC0415 - as above

    if not yes:
        click.confirm(f"No controller believes the present {name} any more. Go on?", abort=True)
    ask = TokenAsk(machine=name, by=asking_user(), void=True)
    path = _write(settings, ask, spec, output, places)
    write_line(good("done: ") + f"the older {name} is void; its name keeps what it has")
    write_line(f"1. take the power from the older {name}: it still announces and serves")
    write_line(f"2. install the package on the new one, and bring it {path} within an hour")
    write_line(f"3. there: pltfrms join --bundle {path.name} --timeout 60s")


@click.command(cls=Command)
@click.option("--now", "despite", is_flag=True, help="Although somebody may count on it.")
@_YES
@_JSON
@with_places
@pass_settings
def leave(
    settings: Settings, *, despite: bool, yes: bool, as_json: bool, places: Directories
) -> None:
    """Have this machine leave the platform.

    Refused until it is drained, and no controller. Then controllers believe it no more, its
    daemons and instances stop, and what they made in the kernel goes, and its state. Logs and
    /etc/pltfrms/bird.local stay. May be repeated, also after it was interrupted.

    Example: pltfrms machine leave --yes
    """
    from pltfrms.agent.main import clear  # noqa: PLC0415 - heavy
    from pltfrms.cli.machine.leaving import leave_platform  # noqa: PLC0415 - as above
    from pltfrms.drivers.units import Units  # noqa: PLC0415 - as above

    if not yes:
        click.confirm("Nothing here serves or forwards afterwards. Go on?", abort=True)
    left = leave_platform(
        places,
        settings.controllers,
        settings.timeout_ms / 1000,
        Units(),
        lambda: clear([f"--{each}={getattr(places, each)}" for each in _PLACES]),
        despite=despite,
    )
    if as_json:
        write_json(left)
    elif left.changed:
        write_line(good("done: ") + f"this was {left.machine}; take it out of platform.yaml")
    else:
        write_line("nothing to do: this is no machine of a platform")


def _write(
    settings: Settings,
    ask: "TokenAsk",
    spec: Path | None,
    output: Path | None,
    places: Directories,
) -> Path:
    from pltfrms.cli.machine.bundles import make_bundle  # noqa: PLC0415 - heavy

    path = output or Path(f"{ask.machine}.bundle")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no directory for {path}")
    known = spec or places.config / "platform.yaml"
    make_bundle(connect(settings), ask, known, places.config / BACKBONE_FILE, path)
    return path
