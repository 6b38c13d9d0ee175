"""`lab fault`, `lab heal`, `lab boot`, `lab rewire`: break, mend and change things."""

import time
from pathlib import Path

import click

from pltfrms.cli.shared.complete import complete_faults, complete_kinds
from pltfrms.cli.shared.connect import current_lab
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import echo, write_json, write_table
from pltfrms.cli.shared.values import LASTING
from pltfrms.lab.client.client import FaultInfo
from pltfrms.model.durations import short_duration

_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")


@click.command(cls=Command)
@click.argument("target", required=False, shell_complete=complete_faults)
@click.option(
    "--kind",
    default="kill",
    show_default=True,
    shell_complete=complete_kinds,
    help="kill, hang, cut (carrier lost), silent (carrier stays), loss=5% or delay=50ms.",
)
@click.option("--for", "for_ms", type=LASTING, help="Heal by itself after this long.")
@_JSON
@pass_settings
def fault(
    settings: Settings, target: str | None, kind: str, for_ms: int | None, *, as_json: bool
) -> None:
    """Break something, or list what is broken.

    Without TARGET, lists the faults that act.

    TARGET is instance/web/fra/1, node/fra-n1, edge/fra-e1, datacenter/fra, link/A--B,
    fabric/fra/a, daemon/MACHINE/bird|agent|etcd|controller, or controllers.

    Example: pltfrms lab fault edge/fra-e1 --kind silent --for 10s
    """
    client = current_lab(settings)
    if target:
        _say(client.fault(target, kind, for_ms), as_json=as_json)
    else:
        _show_faults(client.faults(), as_json=as_json)


@click.command(cls=Command)
@click.argument("target", required=False, shell_complete=complete_faults)
@_JSON
@pass_settings
def heal(settings: Settings, target: str | None, *, as_json: bool) -> None:
    """Undo faults: those of TARGET, or all.

    A machine without power stays so until `lab boot`.

    Example: pltfrms lab heal edge/fra-e1
    """
    _say(current_lab(settings).heal(target), as_json=as_json)


@click.command(cls=Command)
@click.argument("target", shell_complete=complete_faults)
@_JSON
@pass_settings
def boot(settings: Settings, target: str, *, as_json: bool) -> None:
    """Give machines power again, and end their faults.

    Example: pltfrms lab boot datacenter/fra
    """
    _say(current_lab(settings).boot(target), as_json=as_json)


@click.command(cls=Command)
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_JSON
@pass_settings
def rewire(settings: Settings, directory: Path, *, as_json: bool) -> None:
    """Add and remove machines and wires.

    What DIRECTORY's platform.yaml and lab.yaml have no more is shut down; what is new is wired
    and gets power, as if somebody had installed it. All others go on. It applies nothing.

    Example: pltfrms lab rewire mine
    """
    _say(current_lab(settings).rewire(directory), as_json=as_json)


def _show_faults(faults: tuple[FaultInfo, ...], *, as_json: bool) -> None:
    if as_json:
        write_json(faults, tuple[FaultInfo, ...])
    elif not faults:
        echo("no fault acts")
    else:
        write_table(("target", "kind", "since", "until"), [_fault_cells(f) for f in faults])


def _fault_cells(fault: FaultInfo) -> tuple[str, ...]:
    left = fault.remaining_ms
    until = "healed or booted" if left is None else f"{short_duration(left / 1000)} from now"
    return (fault.target, fault.kind, f"{short_duration(time.time() - fault.since)} ago", until)


def _say(done: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        write_json(done, tuple[str, ...])
        return
    for sentence in done:
        echo(sentence)
