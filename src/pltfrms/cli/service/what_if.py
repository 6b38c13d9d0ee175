"""`what-if`: what would be if something failed, and what would be short then."""

from pathlib import Path

import click

from pltfrms.cli.shared.complete import complete_losses
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import write_json

_SHORT = 4


@click.command("what-if", cls=Command)
@click.option(
    "--lose",
    "losses",
    multiple=True,
    metavar="KIND/NAME",
    shell_complete=complete_losses,
    help="What fails: datacenter/fra, node/fra-n1, edge/E, controller/C, machine/M, link/A--B.",
)
@click.option("--each", is_flag=True, help="Lose each node, and each datacenter, by itself.")
@click.option(
    "--change",
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE|DIR",
    help="First apply it, and let it settle.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
@pass_settings
def what_if(
    settings: Settings,
    losses: tuple[str, ...],
    change: Path | None,
    *,
    each: bool,
    as_json: bool,
) -> None:
    """Say what would be if something failed.

    It changes nothing: the planner itself works on a copy of the state in which the machines
    are lost, until it has nothing left to do; what it starts becomes ready. Shown are the ready
    replicas of each service now, right after the loss, and then; what is promised of what the
    nodes have; what services have to do, declared or measured, and whether the replicas left
    can; the steps; ports and links without room for the traffic that moves to them, as far as
    it is measured; whether one more failure is survived; and, in a lab, which clients
    are answered elsewhere. Exit code 4 if something is short then.

    With --each: which replicas would find no place after the loss of any one node, which
    services no other datacenter is to run, or too few others; nothing but that.

    Example: pltfrms what-if --lose datacenter/fra --lose node/ams-n1

    Does a new spec leave room for a failure: pltfrms what-if --each --change new/
    """
    if each == bool(losses):
        raise click.UsageError(
            "say what fails: --lose KIND/NAME (as often as you like) or --each"
        )
    # The planner takes a while to load.
    from pltfrms.cli.service.foreseeing import foresee, show, show_gaps  # noqa: PLC0415

    if each:
        if show_gaps(settings, change, as_json=as_json):
            click.get_current_context().exit(_SHORT)
        return
    report = foresee(settings, losses, change)
    if as_json:
        write_json(report)
    else:
        show(report)
    if report.is_short:
        click.get_current_context().exit(_SHORT)
