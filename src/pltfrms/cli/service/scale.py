"""`service scale`: another number of replicas, and nothing else."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import click

from pltfrms.cli.service.apply import ApplyWish, finish, show_and_apply
from pltfrms.cli.shared.complete import complete_datacenters, complete_services
from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import echo
from pltfrms.cli.shared.routing import DESPITE, WHY, asking_user, guards_of
from pltfrms.cli.shared.values import TIMEOUT
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import ConflictError
from pltfrms.model.messages.api import Change, PlanPreview
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.replicas import scaled
from pltfrms.model.services.service import ServiceSpec

_ATTEMPTS = 5
"""How often the service is read anew because somebody commits meanwhile."""


@click.command(cls=Command)
@click.argument("name", shell_complete=complete_services)
@click.argument("count", metavar="N", type=click.IntRange(min=1))
@click.option(
    "--datacenter",
    "datacenters",
    metavar="DATACENTER",
    multiple=True,
    shell_complete=complete_datacenters,
    help="Only there; may be given several times.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@WHY
@DESPITE
@click.option("--wait/--no-wait", default=False, help="Wait until all replicas are ready.")
@click.option(
    "--timeout",
    "timeout_ms",
    type=TIMEOUT,
    default="60s",
    show_default=True,
    help="How long --wait waits.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
@pass_settings
def scale(
    settings: Settings, /, name: str, count: int, datacenters: Sequence[str], **options: Any
) -> None:
    """Change how many replicas of a service are to run.

    Shows the plan and asks first; guards judge it like every change. N is the total of a
    service whose replicas are spread over datacenters. What else its spec says stays, so
    write the number into its file, too: the next `apply` of that counts.

    Example: pltfrms service scale web 3 --datacenter fra --yes --wait
    """
    wish = ApplyWish(**{**options, "despite": guards_of(options["despite"])})
    if not wish.yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: say --yes to scale without asking")
    client = connect(settings)
    planned = partial(
        _planned,
        client,
        Change(by=asking_user(), why=wish.why, despite=wish.despite),
        lambda now: scaled(now.platform, now.service(name).spec, count, datacenters),
    )
    change, preview = planned()
    if preview.changes:
        preview = show_and_apply(settings, client, change, wish, preview, planned)
    elif not wish.as_json:
        echo(f"no change: {name} is to have so many already")
    finish(client, change, wish, preview)


def _planned(
    client: OperatorClient, wanted: Change, scaling: Callable[[Snapshot], ServiceSpec]
) -> tuple[Change, PlanPreview]:
    """Return the change, and its plan at the revision at which the service was read.

    So nothing is lost that somebody else says of the service at that time.
    """

    def once() -> tuple[Change, PlanPreview]:
        snapshot = client.snapshot().snapshot
        change = replace(wanted, services=(scaling(snapshot),))
        return change, client.plan(replace(change, revision=snapshot.revision))

    for _ in range(_ATTEMPTS - 1):
        with suppress(ConflictError):
            return once()
    return once()
