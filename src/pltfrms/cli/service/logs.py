"""`service logs`: what the instances of a service said, on the nodes where they run."""

import time
from urllib.parse import quote

import click

from pltfrms.cli.shared.complete import complete_services
from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import Settings, pass_settings
from pltfrms.cli.shared.output import echo, write_json, write_json_line
from pltfrms.codec import encode
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import NotFoundError, UnavailableError
from pltfrms.model.messages.glass import InstanceLog, LogAnswers

_AGAIN_SECONDS = 1.0
_LINES_MAX = 5000
_BEGINNING = "0.0"
"""A position that no log has: all of it comes after."""


@click.command()
@click.argument("name", shell_complete=complete_services)
@click.option("--instance", default="", metavar="ID", help="Only this one; it may have ended.")
@click.option("--ended", is_flag=True, help="Also of those that are no more, for a day.")
@click.option(
    "--lines",
    type=click.IntRange(0, _LINES_MAX),
    default=50,
    show_default=True,
    help="At most this many of the last lines of each.",
)
@click.option("--follow", is_flag=True, help="Go on with each new line until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="JSON; with --follow one log per line.")
@pass_settings
def logs(  # noqa: PLR0913 - one for each option
    settings: Settings,
    name: str,
    *,
    instance: str,
    ended: bool,
    lines: int,
    follow: bool,
    as_json: bool,
) -> None:
    """Show what the instances of a service said.

    Example: pltfrms service logs web --follow

    Those of failed starts, too: what an instance says until its end is kept on its node.
    """
    client = connect(settings)
    asked = {"instance": instance, "ended": "true" if ended else ""}
    found = ask_logs(client, name, lines=str(lines), **asked)
    if as_json and not follow:
        write_json(found)
        return
    _say_silent(found, {})
    if instance and not found.logs and not found.silent:
        raise NotFoundError(f"no node knows a log of {instance}: it is kept for a day")
    _show(found.logs, alone=bool(instance), as_json=as_json)
    if lines and not any(log.lines for log in found.logs) and not found.silent:
        hint = "" if ended or instance else "; of those that are no more: --ended"
        echo(f"note: {instance or name} has said nothing{hint}", err=True)
    if follow:
        _follow(client, name, asked, found, as_json=as_json)


def ask_logs(client: OperatorClient, name: str, **asked: str) -> LogAnswers:
    """Return what nodes have of a service; see the API for what can be asked."""
    return _ask(client, f"/v1/services/{quote(name, safe='')}/logs", asked)


def ask_run(client: OperatorClient, name: str, **asked: str) -> LogAnswers:
    """Return what its node has of a run of a job; by default of the last one."""
    return _ask(client, f"/v1/jobs/{quote(name, safe='')}/logs", asked)


def _ask(client: OperatorClient, path: str, asked: dict[str, str]) -> LogAnswers:
    return client.get(path, {field: said for field, said in asked.items() if said}, LogAnswers)


def _follow(
    client: OperatorClient,
    name: str,
    asked: dict[str, str],
    found: LogAnswers,
    *,
    as_json: bool,
) -> None:
    """Show what is new, also of instances that are new, however long nobody answers."""
    seen = {each.allocation: each.position for each in found.logs}
    silent = dict(found.silent)
    while True:
        time.sleep(_AGAIN_SECONDS)
        try:
            now = ask_logs(client, name, lines="0", **asked)
            for each in now.logs:
                before = seen.get(each.allocation, _BEGINNING)
                if each.position == before:
                    continue
                more = ask_logs(client, name, instance=each.allocation, after=before).logs
                _show(more, alone=bool(asked["instance"]), as_json=as_json)
                seen |= {log.allocation: log.position for log in more}
        except UnavailableError as error:
            echo(f"warning: {error}; asking again", err=True)
            continue
        _say_silent(now, silent)
        silent = dict(now.silent)


def _show(found: tuple[InstanceLog, ...], *, alone: bool, as_json: bool) -> None:
    for log in found:
        if as_json:
            write_json_line(encode(log).decode())
            continue
        for line in log.lines:
            echo(line if alone else f"{log.allocation}  {line}")


def _say_silent(found: LogAnswers, before: dict[str, str]) -> None:
    for machine, why in found.silent.items():
        if machine not in before:
            echo(f"warning: {machine} is silent: {why}", err=True)
