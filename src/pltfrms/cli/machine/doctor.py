"""`doctor`: whether this machine's operating system has what the spec counts on."""

import os
from pathlib import Path

import click

from pltfrms.cli.shared.options import Command
from pltfrms.cli.shared.output import bad, good, paint, write_json, write_line, write_table
from pltfrms.cli.shared.specs import load_platform
from pltfrms.drivers.ports import Directories
from pltfrms.errors import NotFoundError, UsageError
from pltfrms.model.network.ports import MachineFinding, PortGrade, SeenMachine, SeenPort
from pltfrms.model.network.system import SeenSystem
from pltfrms.model.network.topology import Platform, Role
from pltfrms.planner.upkeep.ports import port_findings, wanted_ports
from pltfrms.planner.upkeep.system import (
    needed_modules,
    needed_protocols,
    system_findings,
    ways,
)

_CONFIGURATION = Path("/etc/pltfrms")
_WRONG = 4


@click.command(cls=Command)
@click.argument("part", type=click.Choice(("ports", "machine")), required=False)
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
def doctor(*, part: str | None, spec: Path | None, machine: str, as_json: bool) -> None:
    """Check ports and system of this machine.

    Ports: whether each that the spec names is there, has carrier, room for packets and the
    addresses that sessions need, and whether something else manages it. Machine: kernel, clock,
    disk, size, cgroups, sysctls that files set, others on our TCP and UDP ports, firewalls, and
    whether other machines answer on the ports, also to packets in packets. With PART only one
    of both. It changes nothing and asks no controller: the file that it reads may be older than
    what the agent was told last. Exit code 4 if there is something to do.

    Example: pltfrms doctor machine --platform platform.yaml --machine fra-e1
    """
    platform = load_platform(spec or _default("platform.yaml", "--platform FILE"))
    name = machine or _default("machine", "--machine NAME").read_text().strip()
    if name not in {each.name for each in platform.managed}:
        raise NotFoundError(f"there is no machine {name!r} of ours in the platform")
    found: tuple[MachineFinding, ...] = ()
    if part != "machine":
        found += port_findings(platform, name, _look())
    if part != "ports":
        found += _examine(platform, name)
    if as_json:
        write_json(found, tuple[MachineFinding, ...])
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


def _examine(platform: Platform, machine: str) -> tuple[MachineFinding, ...]:
    import asyncio  # noqa: PLC0415

    from pltfrms.render.kernel import network_state  # noqa: PLC0415

    seen = asyncio.run(_see(platform, machine))
    sysctls = dict(network_state(platform, machine).sysctls)
    return system_findings(platform, machine, seen, sysctls)


async def _see(platform: Platform, machine: str) -> SeenSystem:
    from pltfrms.drivers.kernel.checked import preflight  # noqa: PLC0415

    me, root, state = platform.machine(machine), Path("/"), Directories().state
    keeps_store = me.has(Role.CONTROLLER)
    near = ways(platform, machine)
    silent = await preflight.silent(near)
    answering = [way for way in near if (way.port, way.machine) not in silent]
    return SeenSystem(
        modules=preflight.modules(needed_modules(platform, me), root, os.uname().release),
        synchronized=preflight.synchronized(),
        cores=os.cpu_count() or 0,
        memory_bytes=preflight.memory_bytes(root),
        free_bytes=preflight.free_bytes(state),
        sync_ms=preflight.sync_ms(state) if keeps_store else None,
        controllers=preflight.controllers(root),
        listeners=preflight.listeners(root),
        sysctls=preflight.sysctls(root),
        dropping=await preflight.dropping(),
        silent=silent,
        swallowed=await preflight.swallowed(answering, needed_protocols(platform)),
    )


def _grade(finding: MachineFinding) -> str:
    wrong = finding.grade is PortGrade.WRONG
    return bad(finding.grade) if wrong else paint(finding.grade, "yellow")


def _words(finding: MachineFinding) -> str:
    return f"{finding.what} ({finding.hint})"
