"""`doctor`: whether this machine's operating system has what the spec counts on."""

from pathlib import Path

import click

from pltfrms.cli.shared.options import Command
from pltfrms.cli.shared.output import bad, good, paint, write_json, write_line, write_table
from pltfrms.cli.shared.specs import load_platform
from pltfrms.errors import NotFoundError, UsageError
from pltfrms.model.network.ports import PortFinding, PortGrade, SeenMachine, SeenPort
from pltfrms.planner.upkeep.ports import port_findings, wanted_ports

_CONFIGURATION = Path("/etc/pltfrms")
_WRONG = 4


@click.command(cls=Command)
@click.option(
    "--platform",
    "spec",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The platform (default: /etc/pltfrms/platform.yaml).",
)
@click.option(
    "--machine", default="", metavar="NAME", help="Who we are (default: /etc/pltfrms/machine)."
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
def doctor(*, spec: Path | None, machine: str, as_json: bool) -> None:
    """Check the network ports of this machine.

    Whether each that the spec names is there, has carrier, room for packets and the addresses
    that sessions need, and whether something else manages it. It changes nothing and asks no
    controller: the file that it reads may be older than what the agent was told last. Exit code
    4 if there is something to do.

    Example: pltfrms doctor --platform platform.yaml --machine fra-e1
    """
    platform = load_platform(spec or _default("platform.yaml", "--platform FILE"))
    name = machine or _default("machine", "--machine NAME").read_text().strip()
    if name not in {each.name for each in platform.managed}:
        raise NotFoundError(f"there is no machine {name!r} of ours in the platform")
    found = port_findings(platform, name, _look())
    if as_json:
        write_json(found, tuple[PortFinding, ...])
    elif found:
        rows = [(each.port or "-", each.use, _grade(each), _words(each)) for each in found]
        write_table(("port", "for", "grade", "what to do"), rows)
    else:
        ports = len(wanted_ports(platform, name))
        write_line(good("all is well: ") + f"{name}, ports of the operating system: {ports}")
    if found:
        click.get_current_context().exit(_WRONG)


def _default(name: str, option: str) -> Path:
    path = _CONFIGURATION / name
    if not path.is_file():
        raise UsageError(f"there is no {path}: is this a machine of the platform? {option}")
    return path


def _look() -> SeenMachine:
    # The library for rtnetlink takes a while to load.
    import asyncio  # noqa: PLC0415

    from pltfrms.drivers.kernel.found import networkd_flushes  # noqa: PLC0415
    from pltfrms.drivers.kernel.netlink import KernelNetwork  # noqa: PLC0415

    async def ports() -> tuple[SeenPort, ...]:
        network = KernelNetwork()
        try:
            return await network.ports()
        finally:
            await network.close()

    return SeenMachine(ports=asyncio.run(ports()), flushes=networkd_flushes())


def _grade(finding: PortFinding) -> str:
    wrong = finding.grade is PortGrade.WRONG
    return bad(finding.grade) if wrong else paint(finding.grade, "yellow")


def _words(finding: PortFinding) -> str:
    return f"{finding.what} ({finding.hint})"
