"""`agent run`, `controller run`, `store run`: the daemons of a machine."""

from pathlib import Path

import click

from pltfrms.cli.shared.options import Entry, LazyGroup
from pltfrms.cli.shared.output import echo
from pltfrms.cli.shared.specs import load_platform
from pltfrms.errors import PltfrmsError, UsageError

_NOT_WANTED = 1
_NOT_KNOWN = 255
"""To a service manager, every other exit code says that the unit need not run."""

_PASS_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.group(cls=LazyGroup)
def agent() -> None:
    """Run this machine's agent.

    Example: pltfrms agent run
    """


@agent.command("run", context_settings=_PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run_agent(arguments: tuple[str, ...]) -> int:
    """Run this machine's agent until it is told to stop.

    Example: pltfrms agent run
    """
    # The daemons' own libraries stay out of every other command.
    from pltfrms.agent.main import main  # noqa: PLC0415

    return main(list(arguments))


@agent.command("clear", context_settings=_PASS_ON)
@click.option("--yes", is_flag=True, help="Do it: nothing here serves or forwards afterwards.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def clear_agent(*, yes: bool, arguments: tuple[str, ...]) -> int:
    """Take from this machine's kernel what its agent made.

    Routes, rules, packet filters, tunnels, our addresses on lo, the director: for a machine
    that leaves, after its agent, BIRD and instances are stopped.

    Example: pltfrms agent clear --yes
    """
    if not yes:
        raise UsageError("nothing here serves or forwards afterwards: say --yes")
    from pltfrms.agent.main import clear  # noqa: PLC0415 - as above

    return clear(list(arguments))


_CONTROLLER = {
    "authority": Entry(
        "pltfrms.cli.machine.identity",
        "authority",
        "Let this controller sign certificates for a year",
    ),
    "root": Entry(
        "pltfrms.cli.machine.identity",
        "root",
        "List the roots that are trusted, add or drop one",
    ),
    "vouch": Entry(
        "pltfrms.cli.machine.identity",
        "vouch",
        "Have an old root say that a new one is as good",
    ),
}


@click.group(cls=LazyGroup, entries=_CONTROLLER)
def controller() -> None:
    """Run a controller.

    Example: pltfrms controller run
    """


@controller.command("run", context_settings=_PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run_controller(arguments: tuple[str, ...]) -> int:
    """Run a controller until it is told to stop.

    Example: pltfrms controller run
    """
    from pltfrms.api.main import main  # noqa: PLC0415 - as above

    return main(list(arguments))


@controller.command("wanted")
@click.option(
    "--config",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/etc/pltfrms"),
    metavar="DIR",
    help="Where platform.yaml and machine are (default: /etc/pltfrms).",
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/var/lib/pltfrms"),
    metavar="DIR",
    help="Where the agent keeps what it was told (default: /var/lib/pltfrms).",
)
def wanted_controller(config: Path, state: Path) -> int:
    """Say whether this machine is to run a controller.

    It is if its agent was told so last, or the file says so. Exit code 0 if it is, 1 if it is
    not, 255 if that is not known: what ExecCondition= of a unit asks for.

    Example: pltfrms controller wanted
    """
    from pltfrms.drivers.told import is_controller, told_platform  # noqa: PLC0415 - as above

    try:
        platform = load_platform(config / "platform.yaml")
        name = (config / "machine").read_text().strip()
        if is_controller(platform, name) or is_controller(told_platform(state), name):
            return 0
        machine = platform.machine(name)
    except KeyError as error:
        echo(f"error: {config / 'platform.yaml'} has no machine {error}", err=True)
        return _NOT_KNOWN
    except (PltfrmsError, OSError) as error:
        echo(f"error: {error}", err=True)
        return _NOT_KNOWN
    echo(f"{machine.name} is no controller of {platform.name}")
    return _NOT_WANTED


@click.group(cls=LazyGroup)
def store() -> None:
    """Run this machine's member of the store.

    Example: pltfrms store run
    """


@store.command("run", context_settings=_PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run_store(arguments: tuple[str, ...]) -> int:
    """Become etcd, as a member of the platform's store.

    Example: pltfrms store run
    """
    from pltfrms.api.store.member import main  # noqa: PLC0415 - as above

    return main(list(arguments))
