"""`ui`: the page, for one operator on his own machine.

Controllers have no door for browsers. This process is one, on loopback alone: it passes on the
few questions that the page asks, and does the few things that it wants done, as the operator
who runs it.
"""

import secrets
import webbrowser
from pathlib import Path

import click

from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import echo
from pltfrms.cli.shared.routing import asking_user
from pltfrms.errors import UsageError

PAGE = Path(__file__).parents[2] / "page"
_BUILD = "build it with `make page` (Node.js 20.19 or newer), or install a package that has it"


@click.command(cls=Command)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0: any free one.")
@click.option("--open", "opens", is_flag=True, help="Open it in a browser at once.")
@click.option("--read-only", is_flag=True, help="Nothing can be done from it, such as a drain.")
@pass_settings
def ui(settings: Settings, *, port: int, opens: bool, read_only: bool) -> None:
    """Serve the page that shows the platform live.

    It runs on this machine until Ctrl-C. What is done from the page is done as you, after a
    look at what it would do. Only who has the address that is written can open it, once, and
    only from here. From elsewhere: ssh -L PORT:127.0.0.1:PORT HOST.

    Example: pltfrms ui --open
    """
    from pltfrms.cli.shared.page_actions import PageActions  # noqa: PLC0415 - few need it
    from pltfrms.cli.shared.page_server import PageServer  # noqa: PLC0415 - as above

    if not (PAGE / "index.html").is_file():
        raise UsageError(f"the page is not part of this installation; {_BUILD}")
    client = connect(settings)
    with client.raw("/healthz", {}):
        pass  # who cannot reach a controller hears it here, with what to do
    secret = secrets.token_urlsafe
    actions = None if read_only else PageActions(client, asking_user(), secret)
    with PageServer(PAGE, client, port, secret, actions) as server:
        echo(f"the page is at {server.address} (opens once; Ctrl-C ends it)")
        if opens:
            webbrowser.open(server.own_address)
        server.serve_forever()
