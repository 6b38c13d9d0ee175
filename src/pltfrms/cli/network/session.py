"""`session list`, `session show`: BGP sessions of all our machines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import click

from pltfrms.cli.shared.complete import complete_platform_machines, complete_sessions
from pltfrms.cli.shared.connect import connect, look
from pltfrms.cli.shared.glass_look import ask_session
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import bad, echo, write_json, write_line, write_table
from pltfrms.errors import NotFoundError, UnavailableError
from pltfrms.model.network.peering import Reject
from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.seen.loads import LoadRow, load_rows, load_words

_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
_UP = "up"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedSession:
    """One session as its machine reported it last."""

    machine: str
    session: str
    state: str
    """`up`, `down`, or `unknown` while the machine is out of contact."""
    detail: str
    imported: int
    exported: int
    filtered: int
    rejects: Mapping[str, int] = field(default_factory=dict)
    """Refused routes by reason (a `Reject`)."""
    port: LoadRow | None = None
    """What its port carries with all its sessions; None: not known, or a session inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDetail:
    """A session, and what its BIRD says now."""

    session: ReportedSession
    text: str = ""
    """In BIRD's words."""
    silent: str = ""
    """Why BIRD could not be asked."""


@click.group(cls=LazyGroup)
def session() -> None:
    """List and show BGP sessions.

    Example: pltfrms session list --down
    """


@session.command("list")
@click.option(
    "--machine",
    default="",
    metavar="NAME",
    shell_complete=complete_platform_machines,
    help="Only those of a machine.",
)
@click.option("--down", is_flag=True, help="Only those that are not known to be up.")
@_JSON
@pass_settings
def list_sessions(settings: Settings, machine: str, *, down: bool, as_json: bool) -> None:
    """List the BGP sessions of all machines, as last reported.

    Example: pltfrms session list --machine fra-e1
    """
    snapshot = look(settings, as_json=as_json)
    _check_machine(snapshot, machine)
    rows = tuple(row for row in _rows(snapshot, machine) if not down or row.state != _UP)
    if as_json:
        write_json(rows, tuple[ReportedSession, ...])
    elif rows:
        _show_rows(rows)
    else:
        echo("no session is down" if down else "no session is known")


@session.command("show")
@click.argument("where", metavar="NAME@MACHINE", shell_complete=complete_sessions)
@click.argument("name", metavar="[NAME]", default="")
@_JSON
@pass_settings
def show_session(settings: Settings, where: str, name: str, *, as_json: bool) -> None:
    """Show a session: as last reported, and as BIRD has it now.

    NAME is BIRD's (`peer.transit1.ipv4`), or the peer's for both its address families.
    MACHINE NAME says the same as NAME@MACHINE.

    Example: pltfrms session show transit1@fra-e1
    """
    wanted, _, machine = (f"{name}@{where}" if name else where).rpartition("@")
    if not wanted or not machine:
        raise click.UsageError(f"{where!r} says no session; say NAME@MACHINE")
    client = connect(settings)
    snapshot = look(settings, as_json=as_json)
    _check_machine(snapshot, machine)
    details = []
    for row in _named(tuple(_rows(snapshot, machine)), wanted, machine):
        try:
            said = ask_session(client, machine, row.session)
        except UnavailableError as error:
            details.append(SessionDetail(session=row, silent=str(error)))
        else:
            details.append(SessionDetail(session=row, text=said.text))
    if as_json:
        write_json(details, list[SessionDetail])
        return
    for detail in details:
        _show_detail(detail)


def _rows(snapshot: Snapshot, machine: str) -> Iterator[ReportedSession]:
    loads = _by_session(snapshot)
    for each in snapshot.platform.machines:
        status = snapshot.statuses.get(each.name)
        if status is None or machine not in {"", each.name}:
            continue
        heard = snapshot.contact(each.name) is Contact.PRESENT
        for one in status.sessions:
            yield ReportedSession(
                machine=each.name,
                session=one.name,
                state=(_UP if one.up else "down") if heard and one.known else "unknown",
                detail=one.detail,
                imported=one.imported,
                exported=one.exported,
                filtered=one.filtered,
                rejects=one.rejects,
                port=loads.get((each.name, one.name)),
            )


def _by_session(snapshot: Snapshot) -> dict[tuple[str, str], LoadRow]:
    """Return the ports by machine and session."""
    rows = {(row.edge, row.interface): row for row in load_rows(snapshot)}
    platform = snapshot.platform
    return {
        (edge.name, f"peer.{name}.ipv{ours.version}"): rows[edge.name, session.interface]
        for edge in platform.machines_of(Role.EDGE)
        for name, (_, session) in zip(
            platform.session_names(edge.name), platform.sessions_of(edge.name), strict=True
        )
        for ours in session.ours
        if (edge.name, session.interface) in rows
    }


def _named(
    rows: tuple[ReportedSession, ...], name: str, machine: str
) -> tuple[ReportedSession, ...]:
    found = tuple(
        row
        for row in rows
        if name == row.session or row.session in {f"peer.{name}.ipv4", f"peer.{name}.ipv6"}
    )
    if not found:
        known = ", ".join(row.session for row in rows) or "none that it has reported"
        raise NotFoundError(f"{machine} has no session {name!r}; there are: {known}")
    return found


def _check_machine(snapshot: Snapshot, name: str) -> None:
    known = [machine.name for machine in snapshot.platform.machines]
    if name and name not in known:
        raise NotFoundError(f"there is no machine {name!r}; there are: {', '.join(known)}")


def _show_rows(rows: tuple[ReportedSession, ...]) -> None:
    columns = ("machine", "session", "state", "in", "out", "refused", "port", "last")
    cells = [
        (
            row.machine,
            row.session,
            row.state,
            str(row.imported),
            str(row.exported),
            str(row.filtered),
            load_words(row.port),
            row.detail or "-",
        )
        for row in rows
    ]
    write_table(columns, cells)


def _show_detail(detail: SessionDetail) -> None:
    row = detail.session
    _show_rows((row,))
    for reason, count in row.rejects.items():
        known = reason in set(Reject)
        write_line(f"  refused {count}: {Reject(reason).sentence if known else reason}")
    echo()
    if detail.silent:
        echo(f"{bad('no answer')} from {row.machine}: {detail.silent}", err=True)
    for line in detail.text.splitlines():
        echo(f"  {line}".rstrip())
