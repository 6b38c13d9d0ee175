"""`status`: how the platform is, on one screen, from one call."""

import click

from pltfrms.cli.platform.redundant import redundancy_line
from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import (
    bad,
    echo,
    good,
    unix_ms,
    write_json,
    write_line,
    write_table,
)
from pltfrms.cli.shared.rows import machine_cells, show_services
from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.running.vantage import ClientVerdict
from pltfrms.seen.announced import aggregate_sentence
from pltfrms.seen.clients import clients_line
from pltfrms.seen.summary import (
    DatacenterRow,
    MachineRow,
    Summary,
    summarize,
)

_UNFREEZE = "pltfrms network unfreeze"


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Write the whole snapshot as JSON.")
@pass_settings
def status(settings: Settings, *, as_json: bool) -> None:
    """Show how the platform is, on one screen.

    Example: pltfrms status
    """
    view = connect(settings).snapshot()
    if as_json:
        write_json(view)
    else:
        if view.clients:
            write_line(_clients(view, view.clients.served))
        show_summary(summarize(view, unix_ms()))


def _clients(view: SnapshotView, served: ClientVerdict) -> str:
    """Return whether clients are served; without colour where nobody knows."""
    line = clients_line(view)
    if served is ClientVerdict.UNKNOWN:
        return line
    return good(line) if served is ClientVerdict.YES else bad(line)


def show_summary(summary: Summary) -> None:
    """Write verdict, datacenters, services, and whatever is not as it should be."""
    if summary.frozen:
        write_line(bad(f"{summary.frozen}; nothing changes a route until: {_UNFREEZE}"))
    if summary.redundancy:
        write_line(redundancy_line(summary.redundancy))
    write_line((good if summary.fine else bad)(summary.verdict))
    for datacenter in summary.datacenters:
        echo()
        show_datacenter(datacenter, summary.machines)
    if summary.services:
        echo()
        show_services(summary.services)
    for title, lines in (
        ("rollouts", summary.rollouts),
        ("network", summary.network),
        (bad("problems"), summary.problems),
        (bad("not fulfilled"), summary.notes),
    ):
        if lines:
            echo(f"\n{title}")
            for line in lines:
                write_line(f"  {line}")


def show_datacenter(datacenter: DatacenterRow, machines: tuple[MachineRow, ...]) -> None:
    """Write one datacenter: its machines, and which aggregates its edges announce."""
    city = f" ({datacenter.city})" if datacenter.city else ""
    echo(f"{datacenter.name}{city}")
    rows = [
        (f"  {m.name}", *machine_cells(m)) for m in machines if m.datacenter == datacenter.name
    ]
    write_table(("  machine", "role", "contact", "since", "sessions", "instances"), rows)
    for aggregate in datacenter.aggregates:
        write_line(f"  {aggregate_sentence(aggregate)}")
