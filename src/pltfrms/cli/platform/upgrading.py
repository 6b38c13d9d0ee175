"""`upgrade plan` and `upgrade check`: who is next, and whether releases go together."""

import click

from pltfrms import __version__
from pltfrms.cli.shared.connect import connect, read_view
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import bad, echo, good, write_json, write_line, write_table
from pltfrms.errors import UnavailableError
from pltfrms.planner.upkeep.upgrading import (
    UpgradeState,
    UpgradeStep,
    VersionSkew,
    upgrade_steps,
    version_of,
    version_skews,
)

_WRONG = 4
_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")


@click.group(cls=LazyGroup)
def upgrade() -> None:
    """Say which machine gets a newer package next.

    Example: pltfrms upgrade plan
    """


@upgrade.command("plan")
@click.option("--to", "version", default=__version__, metavar="VERSION", show_default=True)
@_JSON
@pass_settings
def plan(settings: Settings, *, version: str, as_json: bool) -> None:
    """Show the order in which machines get a version.

    One datacenter after the other, nodes before edges, one machine at a time, and controllers
    last. None is next while a machine is out of contact, a controller does not run, or one
    more failure would not be survived, by more than what was measured of loads: exit code 4.
    Look again after each machine. It changes nothing.

    Example: pltfrms upgrade plan --to 0.2.0
    """
    view = connect(settings).snapshot()
    if view.stale_seconds:
        raise UnavailableError("the store does not answer, so nobody knows how machines are")
    steps = upgrade_steps(view.snapshot, view.redundancy, view.controllers, version)
    waits = [each for each in steps if each.state is UpgradeState.WAITS]
    ahead = [each for each in steps if each.state is UpgradeState.NEXT]
    if as_json:
        write_json(steps, tuple[UpgradeStep, ...])
    else:
        write_line(_sentence(version, ahead, waits))
        echo()
        rows = [
            (e.machine, e.datacenter, e.version or "not known", e.state, e.why) for e in steps
        ]
        write_table(("machine", "datacenter", "runs", "state", "why"), rows)
    if waits and not ahead:
        click.get_current_context().exit(_WRONG)


@upgrade.command("check")
@_JSON
@pass_settings
def check(settings: Settings, *, as_json: bool) -> None:
    """Show which versions run, and whether they go together.

    A release works with the one before it and the next one. Exit code 4 if two are further
    apart, or if it is not known what a machine runs.

    Example: pltfrms upgrade check
    """
    snapshot = read_view(settings).snapshot
    skews = version_skews(snapshot)
    if as_json:
        write_json(skews, tuple[VersionSkew, ...])
    else:
        rows = [
            (each.name, each.datacenter, version_of(snapshot, each.name) or "not known")
            for each in snapshot.platform.managed
        ]
        write_table(("machine", "datacenter", "runs"), rows)
        echo()
        for each in skews:
            write_line(bad("wrong: ") + f"{', '.join(each.machines)}: {each.why}")
        if not skews:
            write_line(good("all is well: ") + "what runs goes together")
    if skews:
        click.get_current_context().exit(_WRONG)


def _sentence(version: str, ahead: list[UpgradeStep], waits: list[UpgradeStep]) -> str:
    if ahead:
        doubt = "" if ahead[0].version else f"; {ahead[0].why}"
        return good("next: ") + f"{ahead[0].machine}, to {version}{doubt}"
    if waits:
        return bad("wait: ") + waits[0].why
    return good("nothing to do: ") + f"all machines run {version}"
