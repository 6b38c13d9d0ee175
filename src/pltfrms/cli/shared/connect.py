"""From the global options to somebody who answers: the chosen lab, and its controllers."""

import click

from pltfrms.cli.shared.options import Settings
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.lab.client.client import LabClient, find_lab, running_labs
from pltfrms.model.api import SnapshotView
from pltfrms.model.state import Snapshot

LOCAL_CONTROLLER = "unix:/run/pltfrms/controller.sock"
"""Of a controller on this very machine."""


def current_lab(settings: Settings) -> LabClient:
    """Return the lab that is meant.

    Raises:
        PltfrmsError: none runs, there is none of that name, or several run and none is named.
    """
    return find_lab(settings.lab or None)


def controller_endpoints(settings: Settings) -> tuple[str, ...]:
    """Return where controllers answer: named ones, the lab's, else this machine's own."""
    if settings.controllers:
        return settings.controllers
    if settings.lab or running_labs():
        return current_lab(settings).controller_endpoints()
    return (LOCAL_CONTROLLER,)


def connect(settings: Settings) -> OperatorClient:
    """Return a client of the controllers that are meant; closed when the command ends."""
    client = OperatorClient(
        controller_endpoints(settings),
        settings.timeout_ms / 1000,
        lambda line: click.echo(line, err=True),
    )
    context = click.get_current_context(silent=True)
    if context:
        context.call_on_close(client.close)
    return client


def look(settings: Settings, *, as_json: bool) -> Snapshot:
    """Return the whole state, as scripts or people want it; see `read_view`.

    While the store does not answer, people see what was known last. Scripts see no warning:
    for them, the contact of machines is unknown then.
    """
    view = read_view(settings)
    return view.snapshot if as_json else view.last_known


def read_view(settings: Settings) -> SnapshotView:
    """Return the whole state; say on stderr if it is old because the store is away."""
    view = connect(settings).snapshot()
    if view.stale_seconds:
        click.echo(
            f"warning: the store does not answer for {view.stale_seconds:.0f} s; "
            "this is what was known last",
            err=True,
        )
    return view
