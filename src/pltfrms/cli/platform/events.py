"""`events`: what happened, and why."""

import datetime as dt
import time

import click

from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import echo, write_json, write_json_line, write_line
from pltfrms.codec import encode
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import Event

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
@click.option("--json", "as_json", is_flag=True, help="JSON; with --follow one per line.")
@pass_settings
def events(settings: Settings, *, follow: bool, limit: int, as_json: bool) -> None:
    """Show what happened, and why.

    Example: pltfrms events --follow
    """
    client = connect(settings)
    found = stored_events(client)[-limit:]
    if as_json and not follow:
        write_json(found, list[Event])
        return
    last = 0
    while True:
        for event in found:
            if as_json:
                write_json_line(encode(event).decode())
            else:
                write_line(event_line(event, _today()))
            last = max(last, event.sequence)
        if not follow:
            return
        found = _next(client, last)


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
    at = dt.datetime.fromtimestamp(event.at_ms / 1000, tz=dt.UTC).astimezone()
    detail = f": {event.detail}" if event.detail else ""
    reason = f" [{event.reason}]" if event.reason else ""
    day = "" if at.date() == today else f"{at.date()} "
    clock = day + at.strftime("%H:%M:%S.%f")[:-3]
    return f"{clock}  {event.source:<18} {event.about}: {event.what}{detail}{reason}"


def _today() -> dt.date:
    return dt.datetime.now(tz=dt.UTC).astimezone().date()
