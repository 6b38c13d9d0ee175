"""`service exec`: run a command in an instance, where it runs."""

import base64
import sys
from collections.abc import Iterator
from urllib.parse import quote

import click

from pltfrms.cli.shared.complete import complete_services
from pltfrms.cli.shared.connect import connect, look
from pltfrms.cli.shared.options import Settings, pass_settings
from pltfrms.cli.shared.output import harmless
from pltfrms.cli.shared.routing import WHY, asking_user
from pltfrms.codec import decode
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import NotFoundError, UnavailableError, UsageError
from pltfrms.model.messages.commands import (
    COMMAND_SECONDS,
    COMMAND_SECONDS_MAX,
    CommandPart,
    WantedCommand,
)
from pltfrms.model.running.plan import Allocation
from pltfrms.model.running.state import Snapshot

_SHOWN = 5


@click.command("exec")
@click.argument("service", metavar="SERVICE[/REPLICA]", shell_complete=complete_services)
@click.option("--node", default="", help="Only an instance on this node.")
@click.option(
    "--seconds",
    type=click.IntRange(1, COMMAND_SECONDS_MAX),
    default=COMMAND_SECONDS,
    show_default=True,
    help="It is ended after so long.",
)
@WHY
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
@pass_settings
def exec_command(  # noqa: PLR0913 - one for each option
    settings: Settings,
    context: click.Context,
    service: str,
    *,
    node: str,
    seconds: int,
    why: str,
    command: tuple[str, ...],
) -> None:
    """Run a command in an instance, and show what it says.

    It runs as the instance's user, and gets no input. The exit code is the command's own. The
    platform must allow it (`allow_exec: true`); who ran what is in `pltfrms audit`.

    Example: pltfrms service exec web/fra.1 -- nginx -T
    """
    name, _, replica = service.partition("/")
    allocation = _chosen(look(settings, as_json=False), name, replica, node)
    wanted = WantedCommand(
        allocation=allocation.id, words=command, seconds=seconds, by=asking_user(), why=why
    )
    last = None
    for part in _parts(connect(settings), name, wanted):
        _show(part)
        last = part
    if last is None or not last.is_last:
        raise UnavailableError("the controller fell silent: how it ended is not known")
    if last.failure:
        raise UnavailableError(last.failure)
    context.exit(last.status or 0)


def _chosen(snapshot: Snapshot, service: str, replica: str, node: str) -> Allocation:
    """Return the one instance that is meant."""
    snapshot.service(service)
    found = [
        each
        for _, each in sorted(snapshot.allocations.items())
        if each.service == service
        and node in {"", each.node}
        and (not replica or _is_called(each, f"{service}.{replica}"))
    ]
    if not found:
        called, where = f" /{replica}" if replica else "", f" on {node}" if node else ""
        see = f"see: pltfrms service show {service}"
        raise NotFoundError(f"{service} has no instance{called}{where}; {see}")
    if len(found) > 1:
        known = ", ".join(
            f"{each.id.replace('.', '/', 1)} on {each.node}" for each in found[:_SHOWN]
        )
        more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise UsageError(f"say which one: {known}{more}")
    return found[0]


def _is_called(allocation: Allocation, name: str) -> bool:
    """Return whether it has this name, or is of the replica of this name."""
    return name in {allocation.id, allocation.id.rpartition("-")[0]}


def _parts(client: OperatorClient, name: str, wanted: WantedCommand) -> Iterator[CommandPart]:
    path = f"/v1/services/{quote(name, safe='')}/exec"
    with client.raw(path, {"Content-Type": "application/json"}, word=wanted) as answer:
        rest = b""
        for piece in answer.parts():
            *lines, rest = (rest + piece).split(b"\n")
            yield from (decode(CommandPart, line) for line in lines)


def _show(part: CommandPart) -> None:
    """Pass on what was said, byte for byte; to a terminal nothing that would steer it."""
    for stream, text in ((sys.stdout, part.output), (sys.stderr, part.complaint)):
        said = base64.b64decode(text)
        if said and stream.isatty():
            said = harmless(said.decode(errors="replace")).encode()
        stream.buffer.write(said)
        stream.flush()
