"""`edge list`, `edge show`, `edge drain`, `edge undrain`: our own routers."""

import click

from pltfrms.cli.network.intervening import JSON, InterventionWish, intervene, wished
from pltfrms.cli.network.peer import show_announcements, show_sessions
from pltfrms.cli.shared.complete import complete_edges, complete_ports
from pltfrms.cli.shared.connect import look
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import unix_ms, write_json, write_line, write_table
from pltfrms.model.messages.api import InterventionChange, Verb
from pltfrms.model.network.interventions import DrainPhase
from pltfrms.seen.network import EXTERNAL, EdgeDetail, EdgeRow, edge_detail, edge_rows

_NAME = click.argument("edge", shell_complete=complete_edges)
_PORT = click.option(
    "--port",
    default="",
    metavar="INTERFACE",
    shell_complete=complete_ports,
    help="Only the sessions behind this interface, such as the port of an exchange.",
)
_COLUMNS = ("edge", "datacenter", "contact", "routing", "sessions", "drained", "last")


@click.group(cls=LazyGroup)
def edge() -> None:
    """List, show and drain edges.

    Example: pltfrms edge drain fra-e1 --why "new fans"
    """


@edge.command("list")
@JSON
@pass_settings
def list_edges(settings: Settings, *, as_json: bool) -> None:
    """List the edges: contact, routing, sessions, drains.

    Example: pltfrms edge list
    """
    rows = edge_rows(look(settings, as_json=as_json), unix_ms())
    if as_json:
        write_json(rows, tuple[EdgeRow, ...])
    else:
        write_table(_COLUMNS, [_cells(row) for row in rows])


@edge.command("show")
@_NAME
@JSON
@pass_settings
def show_edge(settings: Settings, edge: str, *, as_json: bool) -> None:
    """Show an edge: routing, sessions, announcements.

    Example: pltfrms edge show fra-e1
    """
    detail = edge_detail(look(settings, as_json=as_json), edge, unix_ms())
    if as_json:
        write_json(detail)
    else:
        _show_detail(detail)


@edge.command("drain")
@_NAME
@_PORT
@wished(drains=True)
@pass_settings
def drain_edge(settings: Settings, edge: str, port: str, wish: InterventionWish) -> None:
    """Take the outside traffic away from an edge or a port.

    Its sessions with the outside stay up; `peer drain` says what happens to them.

    Example: pltfrms edge drain lon-e1 --port x-ixp1 --why "exchange maintenance"
    """
    change = InterventionChange(verb=Verb.DRAIN, edge=edge, interface=port)
    intervene(settings, change, f"drain {_place(edge, port)}", wish)


@edge.command("undrain")
@_NAME
@_PORT
@wished()
@pass_settings
def undrain_edge(settings: Settings, edge: str, port: str, wish: InterventionWish) -> None:
    """End the drain of an edge or a port.

    Example: pltfrms edge undrain lon-e1 --port x-ixp1
    """
    change = InterventionChange(verb=Verb.UNDRAIN, edge=edge, interface=port)
    intervene(settings, change, f"undrain {_place(edge, port)}", wish)


def _place(edge: str, port: str) -> str:
    return f"{edge}/{port}" if port else edge


def _cells(row: EdgeRow) -> tuple[str, ...]:
    unknown = f" ({row.unknown} unknown)" if row.unknown else ""
    return (
        row.name,
        row.datacenter,
        "-" if row.routing == EXTERNAL else row.contact.value,
        row.routing,
        f"{row.sessions_up}/{row.sessions} up{unknown}",
        "-" if row.drain == DrainPhase.NONE else row.drain,
        row.detail,
    )


def _show_detail(detail: EdgeDetail) -> None:
    write_table(_COLUMNS, [_cells(detail.edge)])
    edge = detail.edge
    write_line(f"policy running {edge.running or 'unknown'}, wanted {edge.wanted or 'unknown'}")
    show_sessions(detail.sessions)
    show_announcements(detail.announcements)
