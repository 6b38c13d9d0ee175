"""`node` and `datacenter`: list them, drain them."""

from dataclasses import replace

import click

from pltfrms.cli.network.intervening import JSON, InterventionWish, intervene, wished
from pltfrms.cli.shared.complete import complete_datacenters, complete_nodes
from pltfrms.cli.shared.connect import look, read_view
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import unix_ms, write_json, write_table
from pltfrms.cli.shared.rows import machine_cells
from pltfrms.errors import NotFoundError
from pltfrms.model.messages.api import InterventionChange, Verb
from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import Snapshot
from pltfrms.seen.summary import DatacenterRow, MachineRow, datacenter_row, machine_row
from pltfrms.seen.words import drain_word

_DATACENTER = click.argument("datacenter", shell_complete=complete_datacenters)
_NODE = click.argument("node", shell_complete=complete_nodes)


# ---- nodes ---------------------------------------------------------------------------------


@click.group("node", cls=LazyGroup)
def node_commands() -> None:
    """List and drain nodes.

    Example: pltfrms node drain fra-n1 --why "new disk"
    """


@node_commands.command("list")
@click.option("--datacenter", default="", metavar="NAME", help="Only those of a datacenter.")
@JSON
@pass_settings
def list_nodes(settings: Settings, datacenter: str, *, as_json: bool) -> None:
    """List the nodes: contact, sessions, instances, drains.

    Example: pltfrms node list --datacenter fra
    """
    view, now_ms = read_view(settings), unix_ms()
    snapshot = view.snapshot if as_json else view.last_known
    _check_datacenter(snapshot, datacenter)
    rows = tuple(
        replace(
            machine_row(snapshot, node),
            last_seconds=view.stale_seconds or None,
            drain=drain_word(snapshot.interventions, f"node/{node.name}", now_ms),
        )
        for node in snapshot.platform.machines_of(Role.NODE, datacenter)
    )
    if as_json:
        write_json(rows, tuple[MachineRow, ...])
        return
    cells = [(row.datacenter, row.name, *machine_cells(row), row.drain) for row in rows]
    columns = ("datacenter", "node", "role", "contact", "since", "sessions", "instances")
    write_table((*columns, "drained"), cells)


def _check_datacenter(snapshot: Snapshot, name: str) -> None:
    known = [datacenter.name for datacenter in snapshot.platform.datacenters]
    if name and name not in known:
        raise NotFoundError(f"there is no datacenter {name!r}; there are: {', '.join(known)}")


@node_commands.command("drain")
@_NODE
@wished(drains=True, phases=False)
@pass_settings
def drain_node(settings: Settings, node: str, wish: InterventionWish) -> None:
    """Move the replicas away from a node.

    Nothing is placed there any more. One replica of a service after the other is started on
    another node; when the new one serves, the old one ends its connections and stops. What
    finds no room stays, serves, and is shown. Waits until the node is empty; to interrupt
    leaves the drain going.

    Example: pltfrms node drain fra-n1 --for 4h --why "new disk"
    """
    change = InterventionChange(verb=Verb.DRAIN, node=node)
    intervene(settings, change, f"drain node {node}", wish)


@node_commands.command("undrain")
@_NODE
@wished()
@pass_settings
def undrain_node(settings: Settings, node: str, wish: InterventionWish) -> None:
    """End the drain of a node.

    Example: pltfrms node undrain fra-n1
    """
    change = InterventionChange(verb=Verb.UNDRAIN, node=node)
    intervene(settings, change, f"undrain node {node}", wish)


# ---- datacenters ---------------------------------------------------------------------------


@click.group("datacenter", cls=LazyGroup)
def datacenter_commands() -> None:
    """List and drain datacenters.

    Example: pltfrms datacenter drain fra --why "power works"
    """


@datacenter_commands.command("list")
@JSON
@pass_settings
def list_datacenters(settings: Settings, *, as_json: bool) -> None:
    """List the datacenters, what each announces, and drains.

    Example: pltfrms datacenter list
    """
    snapshot, now_ms = look(settings, as_json=as_json), unix_ms()
    rows = tuple(
        replace(
            datacenter_row(snapshot, each),
            drain=drain_word(snapshot.interventions, f"datacenter/{each.name}", now_ms),
        )
        for each in snapshot.platform.datacenters
    )
    if as_json:
        write_json(rows, tuple[DatacenterRow, ...])
        return
    columns = ("datacenter", "city", "machines", "sessions", "instances", "announces")
    write_table((*columns, "drained"), [_cells(row) for row in rows])


@datacenter_commands.command("drain")
@_DATACENTER
@wished(drains=True)
@pass_settings
def drain_datacenter(settings: Settings, datacenter: str, wish: InterventionWish) -> None:
    """Have clients go to other datacenters.

    All sessions of all its edges with the outside are drained, and stay up; `peer drain` says
    what happens to them. Its instances go on. One datacenter at a time: while another one is
    drained, or is to be at that time, the guard maintenance_lock refuses.

    Example: pltfrms datacenter drain fra --at 2030-01-31T22:00Z --for 4h --why "power works"
    """
    change = InterventionChange(verb=Verb.DRAIN, datacenter=datacenter)
    intervene(settings, change, f"drain datacenter {datacenter}", wish)


@datacenter_commands.command("undrain")
@_DATACENTER
@wished()
@pass_settings
def undrain_datacenter(settings: Settings, datacenter: str, wish: InterventionWish) -> None:
    """End the drain of a datacenter, or a plan of one.

    Example: pltfrms datacenter undrain fra
    """
    change = InterventionChange(verb=Verb.UNDRAIN, datacenter=datacenter)
    intervene(settings, change, f"undrain datacenter {datacenter}", wish)


def _cells(row: DatacenterRow) -> tuple[str, ...]:
    unknown = f" ({row.unknown} unknown)" if row.unknown else ""
    return (
        row.name,
        row.city or "-",
        f"{row.in_contact}/{row.machines} in contact{unknown}",
        f"{row.sessions_up}/{row.sessions} up",
        f"{row.instances_ready}/{row.instances} ready",
        _announces(row),
        row.drain,
    )


def _announces(row: DatacenterRow) -> str:
    announced = [each.prefix for each in row.aggregates if each.announced_by]
    known = all(word.state != "unknown" for each in row.aggregates for word in each.edges)
    return " ".join(announced) or ("nothing" if known else "not known")
