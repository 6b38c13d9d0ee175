"""`events`: what happened, and why."""

import datetime as dt
import time
from collections.abc import Iterable, Sequence

import click

from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import echo, unix_ms, write_json, write_json_line, write_line
from pltfrms.cli.shared.values import LASTING
from pltfrms.codec import encode
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.messages.api import Event
from pltfrms.seen.happened import Repeated, Sought, repeated

_WAIT_MS = 10_000
_PAGE = 1000
_AGAIN_SECONDS = 1.0


@click.command(cls=Command)
@click.option("--follow", is_flag=True, help="Go on with each new event until interrupted.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="At most this many of the last events.",
)
@click.option(
    "--about",
    default="",
    metavar="NAME",
    help="Only of this service, machine, instance or prefix, or said by it; `*` fits all.",
)
@click.option("--what", default="", metavar="TEXT", help="Only with this text, such as lost.")
@click.option(
    "--since", "since_ms", type=LASTING, help="Only of so long, by the clocks of senders."
)
@click.option("--count", "counts", is_flag=True, help="Those that repeat once, with how often.")
@click.option("--json", "as_json", is_flag=True, help="JSON; with --follow one per line.")
@pass_settings
def events(  # noqa: PLR0913 - one parameter per option
    settings: Settings,
    *,
    follow: bool,
    limit: int,
    about: str,
    what: str,
    since_ms: int | None,
    counts: bool,
    as_json: bool,
) -> None:
    """Show what happened, and why.

    Example: pltfrms events --about fra-n1 --since 1h
    """
    if follow and counts:
        raise UsageError("--follow shows each event as it comes; leave out --count")
    client = connect(settings)
    since = unix_ms() - since_ms if since_ms else 0
    wanted = Sought(about=about, what=what.lower(), since_ms=since)
    stored = stored_events(client)
    found = [event for event in stored if wanted.fits(event)]
    if counts:
        _show_counted(repeated(found)[-limit:], as_json=as_json)
    elif as_json and not follow:
        write_json(found[-limit:], list[Event])
    else:
        _show(found[-limit:], as_json=as_json)
    last = max((event.sequence for event in stored), default=0)
    while follow:
        newer = _next(client, last)
        _show(filter(wanted.fits, newer), as_json=as_json)
        last = max((event.sequence for event in newer), default=last)


def _show(found: Iterable[Event], *, as_json: bool) -> None:
    for event in found:
        if as_json:
            write_json_line(encode(event).decode())
        else:
            write_line(event_line(event, _today()))


def _show_counted(found: Sequence[Repeated], *, as_json: bool) -> None:
    if as_json:
        write_json(found, tuple[Repeated, ...])
        return
    for each in found:
        often = f" ({each.times} times)" if each.times > 1 else ""
        write_line(f"{event_line(each.event, _today())}{often}")


def _next(client: OperatorClient, last: int) -> list[Event]:
    """Return newer events, however long nobody answers."""
    while True:
        try:
            return client.events(after=last, wait_ms=_WAIT_MS, limit=_PAGE)
        except UnavailableError as error:
            echo(f"warning: {error}; asking again", err=True)
            time.sleep(_AGAIN_SECONDS)


def stored_events(client: OperatorClient) -> list[Event]:
    """Return all events that controllers still keep, oldest first.

    While no controller reaches the store: those that were known last, and a word on stderr.
    """
    try:
        return _pages(client, stale=False)
    except UnavailableError:
        found = _pages(client, stale=True)
    echo("warning: the store does not answer; this is what was known last", err=True)
    return found


def _pages(client: OperatorClient, *, stale: bool) -> list[Event]:
    found: list[Event] = []
    while True:
        after = found[-1].sequence if found else 0
        page = client.events(after, limit=_PAGE, stale=stale)
        found += page
        if len(page) < _PAGE:
            return found


def event_line(event: Event, today: dt.date) -> str:
    """Return one event on one line, in local time: its sender's, which may be wrong.

    So an event of another day than `today` has its date.
    """
    at = _local(event.at_ms)
    detail = f": {event.detail}" if event.detail else ""
    reason = f" [{event.reason}]" if event.reason else ""
    day = "" if at.date() == today else f"{at.date()} "
    clock = day + at.strftime("%H:%M:%S.%f")[:-3]
    return f"{clock}  {event.source:<18} {event.about}: {event.what}{detail}{reason}"


def _local(unix_ms: int) -> dt.datetime:
    """Return a time as people here say it; of a number that says none, that of 0."""
    try:
        return dt.datetime.fromtimestamp(unix_ms / 1000, tz=dt.UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        return dt.datetime.fromtimestamp(0, tz=dt.UTC).astimezone()


def _today() -> dt.date:
    return dt.datetime.now(tz=dt.UTC).astimezone().date()
