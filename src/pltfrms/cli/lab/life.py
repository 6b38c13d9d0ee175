"""`lab up`, `lab down`, `lab list`."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import click

from pltfrms.cli.platform.status import show_summary
from pltfrms.cli.shared.connect import own_lab, starter
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import (
    echo,
    good,
    timed_progress,
    unix_ms,
    write_json,
    write_table,
)
from pltfrms.cli.shared.values import TIMEOUT
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.lab.client.client import LabClient, LabInfo, running_labs, start_lab
from pltfrms.lab.client.ready import Answer, ReadyReport, apply_services, wait_ready
from pltfrms.model.durations import short_duration
from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.network.topology import Role
from pltfrms.seen.summary import summarize


@click.command(cls=Command)
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--no-apply", is_flag=True, help="Do not apply the directory's services.")
@click.option(
    "--packages",
    is_flag=True,
    help="Boot machines with systemd, install the Debian package on them, and have them join.",
)
@click.option(
    "--system",
    type=click.Choice(("bookworm", "trixie")),
    help="With --packages: Debian 12 or 13 everywhere; else they take turns.",
)
@click.option(
    "--timeout",
    "timeout_ms",
    type=TIMEOUT,
    default="60s",
    show_default=True,
    help="How long to wait until everything answers; longer on a busy machine.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the report as JSON.")
@pass_settings
def up(  # noqa: PLR0913 - one parameter per option
    settings: Settings,
    directory: Path,
    *,
    no_apply: bool,
    packages: bool,
    system: str | None,
    timeout_ms: int,
    as_json: bool,
) -> None:
    """Start a lab and apply its services.

    DIRECTORY holds platform.yaml, lab.yaml and services. Every machine of the platform
    becomes a set of namespaces with its own BIRD, etcd, controller and agent. The lab is
    called as --lab says, else as the directory.

    With --packages machines are as a user's: their Debian boots systemd, the package is built
    from this clone and installed, and they join by `bootstrap` and `join`. It takes minutes.

    Example: pltfrms lab up examples/three-datacenters
    """
    if system and not packages:
        raise click.UsageError("--system goes with --packages")
    say = timed_progress()
    if packages:
        from pltfrms.lab.client.packages import start_with_packages  # noqa: PLC0415 - few need it

        client = start_with_packages(directory, settings.lab or None, system, say, starter())
    else:
        client = start_lab(directory, settings.lab or None, say, starter())
    applied = 0 if no_apply else apply_services(client, directory, say)
    report = wait_ready(client, timeout_ms / 1000, say, applied)
    if as_json:
        write_json(report)
        return
    view = OperatorClient(client.controller_endpoints()).snapshot()
    echo()
    show_summary(summarize(view, unix_ms()))
    show_answers(report)
    echo(three_things_to_try(client, view))


def show_answers(report: ReadyReport) -> None:
    """Write which datacenter answered each eyeball network."""
    if not report.answers:
        return
    echo()
    rows = [_answer_cells(answer) for answer in report.answers]
    write_table(("client", "service", "address", "answered by"), rows)


def _answer_cells(answer: Answer) -> tuple[str, ...]:
    return (answer.eyeball, answer.service, answer.address, answer.datacenter or "(not said)")


def three_things_to_try(client: LabClient, view: SnapshotView) -> str:
    """Return commands that suit this very lab."""
    platform = view.snapshot.platform
    service = min(view.snapshot.services, default="")
    eyeball = next((m.name for m in client.machines() if m.role == "eyeball"), "")
    choose = f" --lab {client.name}" if len(running_labs()) > 1 else ""
    edge = next(each for each in platform.managed if each.has(Role.EDGE))
    tries = [
        (
            f"pltfrms lab fault datacenter/{edge.datacenter}{choose}",
            f"lose a datacenter; `lab boot datacenter/{edge.datacenter}` brings it back",
        ),
        (f"pltfrms ui{choose}", "see it live in a browser; `pltfrms status` says it in words"),
    ]
    probe = f"pltfrms lab probe {service} --from {eyeball}"
    if service and eyeball:
        tries.insert(
            0,
            (
                f"{probe} --fault edge/{edge.name}:silent --at 3s{choose}",
                "what a client sees while an edge dies",
            ),
        )
    elif service:
        tries.append((f"pltfrms explain service/{service}{choose}", "why it is where it is"))
    lines = [f"  {command}\n      {why}" for command, why in tries]
    return "\n".join([good("\nThree things to try:"), *lines])


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """A lab of which nothing is left."""

    lab: str
    seconds: float
    """How long that took."""


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
@pass_settings
def down(settings: Settings, *, as_json: bool) -> None:
    """End a lab; nothing of it stays.

    The one that --lab or PLTFRMS_LAB names, else the only one that you started in this
    directory; never somebody else's.

    Example: pltfrms lab down --lab three-datacenters
    """
    client = own_lab(settings)
    gone = Gone(lab=client.name, seconds=client.down())
    if as_json:
        write_json(gone)
        return
    echo(f"{gone.lab} is gone ({short_duration(gone.seconds)})")


@click.command("list", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
def list_labs(*, as_json: bool) -> None:
    """List the running labs.

    Example: pltfrms lab list
    """
    labs = tuple(running_labs())
    if as_json:
        write_json(labs, tuple[LabInfo, ...])
        return
    if not labs:
        echo("no lab runs; try: pltfrms lab up examples/three-datacenters")
        return
    rows = [
        (
            lab.name,
            str(lab.machines),
            _local_time(lab.started_at),
            str(lab.root_pid),
            lab.directory,
        )
        for lab in labs
    ]
    write_table(("lab", "machines", "since", "pid", "directory"), rows)


def _local_time(unix_seconds: float) -> str:
    at = dt.datetime.fromtimestamp(unix_seconds, tz=dt.UTC).astimezone()
    return at.strftime("%Y-%m-%d %H:%M:%S")
