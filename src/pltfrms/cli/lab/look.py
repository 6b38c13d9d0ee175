"""`lab exec`, `lab shell`, `lab doctor`, `lab pcap`: look inside a running lab."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from pltfrms.cli.shared.complete import complete_links, complete_machines
from pltfrms.cli.shared.connect import current_lab
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import bad, echo, write_json, write_table
from pltfrms.errors import UnavailableError
from pltfrms.lab.client.client import LAB_VARIABLE
from pltfrms.lab.protocol import LinkReport

_PASS_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command("exec", cls=Command, context_settings=_PASS_ON)
@click.argument("machine", shell_complete=complete_machines)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@pass_settings
def execute(settings: Settings, machine: str, command: tuple[str, ...]) -> None:
    """Run a command inside a machine or an instance.

    MACHINE is a machine of the platform or of the internet around it, or an instance as
    `instance/web/fra/1`. The exit code is the command's.

    Example: pltfrms lab exec fra-e1 -- birdc -s /run/pltfrms/bird.ctl show route
    """
    argv = command[1:] if command[0] == "--" else command
    if not argv:
        raise click.UsageError("say what to run: lab exec MACHINE -- COMMAND")
    become(current_lab(settings).exec_argv(machine, list(argv)))


@click.command(cls=Command)
@click.argument("machine", shell_complete=complete_machines)
@pass_settings
def shell(settings: Settings, machine: str) -> None:
    """Open a shell inside a machine or an instance.

    Example: pltfrms lab shell berlin
    """
    argv = current_lab(settings).exec_argv(machine, ["bash", "-i"])
    echo(f"you are on {machine}; leave with exit", err=True)
    become(argv)


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Write the report as JSON.")
@pass_settings
def doctor(settings: Settings, *, as_json: bool) -> None:
    """Say how true to the spec the lab is.

    Measures every link (a few seconds) and lists what this machine's kernel cannot do and
    what the lab does instead.

    Example: pltfrms lab doctor
    """
    report = current_lab(settings).doctor()
    if as_json:
        write_json(report)
        return
    columns = ("link", "from", "to", "asked rtt", "measured rtt", "verdict", "why")
    write_table(columns, [_link_cells(link) for link in report.links])
    echo()
    write_table(
        ("instead of", "this lab uses", "because"),
        [(each.what, each.uses, each.why) for each in report.substitutes],
    )
    off = [link for link in report.links if link.verdict != "ok"]
    if off:
        echo(bad(f"\n{len(off)} of {len(report.links)} links are not as asked"))


def _link_cells(link: LinkReport) -> tuple[str, ...]:
    asked = f"{2 * link.asked_us / 1000:g} ms"
    measured = "-" if link.rtt_us is None else f"{link.rtt_us / 1000:.2f} ms"
    return (link.segment, *link.ends, asked, measured, link.verdict, link.why)


@click.command(cls=Command)
@click.argument("link", shell_complete=complete_links)
@click.option(
    "-w",
    "file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write; `-` is standard output.",
)
@pass_settings
def pcap(settings: Settings, link: str, file: Path) -> None:
    """Write the packets of a link to a file, until interrupted.

    LINK is a backbone link A--B, or any segment as `lab fault` names it: fabric/fra/a,
    lan/ixp1, link/transit1--fra-e1.

    Example: pltfrms lab pcap fra-e1--ams-e2 -w /tmp/backbone.pcap
    """
    segment = link if "/" in link else f"link/{link}"
    become(current_lab(settings).pcap_argv(segment, str(file)))


def become(argv: Sequence[str]) -> None:
    """Replace this process by a command; terminal, signals and exit code are the command's.

    Raises:
        UnavailableError: there is no such program.
    """
    os.environ.pop(LAB_VARIABLE, None)  # on a machine, `pltfrms` is not asked of labs
    try:
        os.execvp(argv[0], list(argv))  # noqa: S606 - no shell on purpose
    except FileNotFoundError as error:
        raise UnavailableError(f"cannot run {argv[0]}: {error.strerror}") from error
