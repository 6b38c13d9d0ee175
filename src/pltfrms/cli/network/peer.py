"""`peer list`, `peer show`, `peer drain`, `peer undrain`: the other networks."""

import click

from pltfrms.cli.network.intervening import JSON, InterventionWish, intervene, wished
from pltfrms.cli.shared.complete import complete_drainable, complete_edges, complete_peers
from pltfrms.cli.shared.connect import look
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import echo, unix_ms, write_json, write_line, write_table
from pltfrms.model.messages.api import InterventionChange, Verb
from pltfrms.model.network.interventions import DrainPhase
from pltfrms.seen.network import (
    AnnouncementRow,
    PeerDetail,
    PeerRow,
    SessionRow,
    peer_detail,
    peer_rows,
)

_WHERE = click.argument("where", metavar="PEER[@EDGE]", shell_complete=complete_drainable)
_EDGE = click.option(
    "--edge",
    default="",
    metavar="NAME",
    shell_complete=complete_edges,
    help="Only its sessions at this edge; the same as PEER@EDGE.",
)


@click.group(cls=LazyGroup)
def peer() -> None:
    """List, show and drain the networks that we peer with.

    Example: pltfrms peer drain transit1@fra-e1 --why "line works"
    """


@peer.command("list")
@JSON
@pass_settings
def list_peers(settings: Settings, *, as_json: bool) -> None:
    """List the peers: sessions, prefixes, drains.

    Example: pltfrms peer list
    """
    rows = peer_rows(look(settings, as_json=as_json), unix_ms())
    if as_json:
        write_json(rows, tuple[PeerRow, ...])
    elif rows:
        columns = ("peer", "kind", "ASN", "sessions", "in", "out", "refused", "drained")
        write_table(columns, [_peer_cells(row) for row in rows])
    else:
        echo("no peer; name them under `peers` in platform.yaml")


@peer.command("show")
@click.argument("name", shell_complete=complete_peers)
@JSON
@pass_settings
def show_peer(settings: Settings, name: str, *, as_json: bool) -> None:
    """Show a peer: sessions, refused routes, announcements.

    Example: pltfrms peer show transit1
    """
    detail = peer_detail(look(settings, as_json=as_json), name, unix_ms())
    if as_json:
        write_json(detail)
    else:
        _show_detail(detail)


@peer.command("drain")
@_WHERE
@_EDGE
@wished(drains=True)
@pass_settings
def drain_peer(settings: Settings, where: str, edge: str, wish: InterventionWish) -> None:
    """Take the traffic away from a peer; its sessions stay up.

    First both sides are told to prefer other paths (RFC 8326); after --wait nothing is
    announced or accepted any more. Waits until that is so; to interrupt leaves the drain
    going. It is kept beside the spec files: applying them does not undo it.

    Example: pltfrms peer drain transit1@fra-e1 --wait 2m --why "line works"
    """
    change = _change(Verb.DRAIN, where, edge)
    intervene(settings, change, f"drain {where}", wish)


@peer.command("undrain")
@_WHERE
@_EDGE
@wished()
@pass_settings
def undrain_peer(settings: Settings, where: str, edge: str, wish: InterventionWish) -> None:
    """End the drain of a peer.

    Example: pltfrms peer undrain transit1@fra-e1
    """
    change = _change(Verb.UNDRAIN, where, edge)
    intervene(settings, change, f"undrain {where}", wish)


def _change(verb: Verb, where: str, edge: str) -> InterventionChange:
    name, at, place = where.partition("@")
    if not name or (at and not place) or (edge and place and edge != place):
        raise click.UsageError(f"{where!r} is no peer of one edge; say PEER or PEER@EDGE")
    return InterventionChange(verb=verb, peer=name, edge=place or edge)


# ---- tables --------------------------------------------------------------------------------


def _peer_cells(row: PeerRow) -> tuple[str, ...]:
    unknown = f" ({row.unknown} unknown)" if row.unknown else ""
    return (
        row.name,
        row.kind.value,
        f"AS{row.asn}",
        f"{row.sessions_up}/{row.sessions} up{unknown}",
        str(row.imported),
        str(row.exported),
        str(row.filtered),
        "-" if row.drain == DrainPhase.NONE else row.drain,
    )


def _show_detail(detail: PeerDetail) -> None:
    columns = ("peer", "kind", "ASN", "sessions", "in", "out", "refused", "drained")
    write_table(columns, [_peer_cells(detail.peer)])
    show_sessions(detail.sessions)
    if detail.rejects:
        echo("\nrefused routes")
        rows = [(str(each.routes), each.reason, each.sentence) for each in detail.rejects]
        write_table(("routes", "reason", "meaning"), rows)
    show_announcements(detail.announcements)
    if detail.overrides:
        echo("\noverrides")
        for sentence in detail.overrides:
            write_line(f"  {sentence}")


def show_sessions(rows: tuple[SessionRow, ...]) -> None:
    """Write a table of sessions with the outside."""
    echo("\nsessions")
    columns = ("session", "family", "state", "in", "out", "refused", "drained", "ours")
    cells = [
        (
            row.session,
            row.family,
            row.state,
            str(row.imported),
            str(row.exported),
            str(row.filtered),
            "-" if row.drain is DrainPhase.NONE else row.drain.value,
            row.ours,
            row.theirs,
            row.interface,
            row.detail,
        )
        for row in rows
    ]
    write_table((*columns, "theirs", "interface", "last"), cells)


def show_announcements(rows: tuple[AnnouncementRow, ...]) -> None:
    """Write a table of what is announced where, and how."""
    echo("\nannouncements")
    cells = [(r.session, r.prefix, r.state, r.changes or "-", r.why) for r in rows]
    write_table(("session", "prefix", "state", "changed by overrides", "why"), cells)
