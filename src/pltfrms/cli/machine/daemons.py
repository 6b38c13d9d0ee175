"""`agent run`, `controller run`, `store run`: the daemons of a machine."""

import click

from pltfrms.cli.shared.options import Entry, LazyGroup

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


_CONTROLLER = {
    "authority": Entry(
        "pltfrms.cli.machine.identity",
        "authority",
        "Let this controller sign certificates for a year",
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
    from pltfrms.api.member import main  # noqa: PLC0415 - as above

    return main(list(arguments))
