"""`plan` and `apply`: from spec files to a change, shown before it is done."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import click

from pltfrms.cli.connect import connect
from pltfrms.cli.options import Command, Settings, pass_settings
from pltfrms.cli.output import bad, good, paint, timed_progress, write_json
from pltfrms.cli.summary import ReplicaRow, missing_replicas
from pltfrms.cli.values import DURATION
from pltfrms.drivers.controlplane import OperatorClient
from pltfrms.errors import UnavailableError
from pltfrms.model.api import Change, PlanPreview
from pltfrms.model.plan import Place, Step
from pltfrms.model.topology import Platform
from pltfrms.specfile import load_directory, load_file, load_service

_EXIT_PENDING = 3
_POLL_SECONDS = 0.25
_SIGNS = {"create": "+", "update": "~", "delete": "-"}

_SPEC_PATH = click.Path(exists=True, path_type=Path)
_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")


@click.command(cls=Command)
@click.argument("path", metavar="FILE|DIR", type=_SPEC_PATH)
@_JSON
@pass_settings
def plan(settings: Settings, path: Path, *, as_json: bool) -> None:
    """Show what applying spec files would change.

    Changes nothing. Exit code 3 means that changes are pending.

    Example: pltfrms plan examples/three-datacenters/web.yaml
    """
    change = read_change(path)
    client = connect(settings)
    preview = client.plan(checked_against(client, path, change))
    if as_json:
        write_json(preview)
    else:
        show_preview(preview)
    if preview.changes:
        click.get_current_context().exit(_EXIT_PENDING)


@click.command(cls=Command)
@click.argument("path", metavar="FILE|DIR", type=_SPEC_PATH)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--wait/--no-wait", default=False, help="Wait until all replicas are ready.")
@click.option(
    "--timeout",
    "timeout_ms",
    type=DURATION,
    default="60s",
    show_default=True,
    help="How long --wait waits.",
)
@_JSON
@pass_settings
def apply(
    settings: Settings, path: Path, *, yes: bool, wait: bool, timeout_ms: int, as_json: bool
) -> None:
    """Make the platform what spec files say.

    Shows the plan and asks first. Refused if somebody else changed the platform meanwhile.

    Example: pltfrms apply examples/three-datacenters/web.yaml --yes --wait
    """
    change = read_change(path)
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: say --yes to apply without asking")
    client = connect(settings)
    change = checked_against(client, path, change)
    preview = client.plan(change)
    if not as_json:
        show_preview(preview)
    if preview.changes:
        if not yes:
            click.confirm("Apply?", abort=True)
        preview = client.apply(replace(change, revision=preview.revision))
    if wait:
        names = tuple(spec.name for spec in change.services)
        wait_for_replicas(client, names, preview.revision, timeout_ms)
    if as_json:
        write_json(preview)
    elif preview.changes:
        click.echo(good(f"applied, revision {preview.revision}"))


def read_change(path: Path) -> Change:
    """Return the change that a file or a directory of files says.

    Raises:
        SpecError: every problem of the files.
    """
    if path.is_dir():
        platform, services, _ = load_directory(path)
        return Change(platform=platform, services=services)
    document = load_file(path)
    if isinstance(document, Platform):
        return Change(platform=document)
    return Change(services=(document,))


def checked_against(client: OperatorClient, path: Path, change: Change) -> Change:
    """Return the change; a lone service file is checked against the present platform.

    So that a service that cannot run there is refused with file and line.
    """
    if path.is_file() and change.services:
        platform = client.snapshot().snapshot.platform
        return replace(change, services=(load_service(path, platform),))
    return change


def show_preview(preview: PlanPreview) -> None:
    """Write changes, steps with their reasons, and what cannot be fulfilled."""
    if not preview.changes:
        click.echo("no change: the platform is what the files say")
    for line in preview.changes:
        detail = f": {line.detail}" if line.detail else ""
        sign = _SIGNS.get(line.action, "*")
        click.echo(f"{paint(sign, 'cyan')} {line.action} {line.about}{detail}")
    for step in preview.plan.steps:
        click.echo(f"  {step_sentence(step)}")
    for note in preview.plan.notes:
        detail = f" ({note.detail})" if note.detail else ""
        click.echo(f"{bad('!')} {note.about}: {note.reason.sentence}{detail}")


def step_sentence(step: Step) -> str:
    """Return one step of a plan in words."""
    allocation = step.allocation
    verb = "place" if isinstance(step, Place) else "stop"
    return f"{verb} {allocation.id} on {allocation.node}: {step.reason.sentence}"


def wait_for_replicas(
    client: OperatorClient, names: tuple[str, ...], revision: int, timeout_ms: int
) -> None:
    """Wait until every wanted replica of the services is ready in the wanted version.

    A controller may not have seen the commit `revision` yet: what it says then does not count.

    Raises:
        UnavailableError: not in time; the message says of each missing replica why.
    """
    say = timed_progress()
    deadline = time.monotonic() + timeout_ms / 1000
    said = -1
    while True:
        snapshot = client.snapshot().snapshot
        seen = snapshot.revision >= revision
        missing = missing_replicas(snapshot, names) if seen else ()
        if seen and len(missing) != said:
            said = len(missing)
            say(f"{said} replicas not ready yet" if said else "all replicas ready")
        if seen and not missing:
            return
        if time.monotonic() > deadline:
            raise UnavailableError(
                _still_missing(missing, timeout_ms)
                if seen
                else f"the controllers have not seen revision {revision}; try: pltfrms status"
            )
        time.sleep(_POLL_SECONDS)


def _still_missing(missing: tuple[ReplicaRow, ...], timeout_ms: int) -> str:
    lines = [
        f"  {row.allocation or f'{row.service}.{row.datacenter}.{row.replica}'}: {row.state}"
        f"{f' on {row.node}' if row.node else ''}{f': {row.detail}' if row.detail else ''}"
        for row in missing
    ]
    services = sorted({row.service for row in missing})
    hint = f"try: pltfrms explain service/{services[0]}"
    return "\n".join(
        [f"{len(missing)} replicas not ready after {timeout_ms / 1000:g} s", *lines, hint]
    )
