"""`node list` and `datacenter list`."""

import click

from pltfrms.cli.connect import read_view
from pltfrms.cli.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.output import write_json, write_table
from pltfrms.cli.status import machine_cells
from pltfrms.cli.summary import DatacenterRow, MachineRow, datacenter_row, machine_row
from pltfrms.model.topology import Role

_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")


@click.group(cls=LazyGroup)
def node() -> None:
    """List nodes.

    Example: pltfrms node list
    """


@node.command("list")
@click.option("--datacenter", default="", metavar="NAME", help="Only those of a datacenter.")
@_JSON
@pass_settings
def list_nodes(settings: Settings, datacenter: str, *, as_json: bool) -> None:
    """List the nodes: contact, sessions, instances.

    Example: pltfrms node list --datacenter fra
    """
    snapshot = read_view(settings).snapshot
    nodes = snapshot.platform.machines_of(Role.NODE, datacenter)
    rows = tuple(machine_row(snapshot, node) for node in nodes)
    if as_json:
        write_json(rows, tuple[MachineRow, ...])
        return
    cells = [(row.datacenter, row.name, *machine_cells(row)) for row in rows]
    columns = ("datacenter", "node", "role", "contact", "since", "sessions", "instances")
    write_table(columns, cells)


@click.group(cls=LazyGroup)
def datacenter() -> None:
    """List datacenters.

    Example: pltfrms datacenter list
    """


@datacenter.command("list")
@_JSON
@pass_settings
def list_datacenters(settings: Settings, *, as_json: bool) -> None:
    """List the datacenters, and what each announces.

    Example: pltfrms datacenter list
    """
    snapshot = read_view(settings).snapshot
    rows = tuple(datacenter_row(snapshot, each) for each in snapshot.platform.datacenters)
    if as_json:
        write_json(rows, tuple[DatacenterRow, ...])
        return
    columns = ("datacenter", "city", "machines", "sessions", "instances", "announces")
    write_table(columns, [_cells(row) for row in rows])


def _cells(row: DatacenterRow) -> tuple[str, ...]:
    announced = [aggregate.prefix for aggregate in row.aggregates if aggregate.announced_by]
    return (
        row.name,
        row.city or "-",
        f"{row.in_contact}/{row.machines} in contact",
        f"{row.sessions_up}/{row.sessions} up",
        f"{row.instances_ready}/{row.instances} ready",
        " ".join(announced) or "nothing",
    )
