"""`explain`: why a service is where it is, and a job does what it does."""

from dataclasses import dataclass

import click

from pltfrms.cli.shared.complete import complete_explained
from pltfrms.cli.shared.connect import connect, read_view
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import echo, write_json, write_line
from pltfrms.errors import PltfrmsError
from pltfrms.model.messages.glass import InstanceLog
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import RunState
from pltfrms.planner.placement.explain import explain_service

_FAILED_MAX = 3
"""Instances whose last lines are shown: others fail for the same reason, mostly."""
_LINES = "50"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Sentences about one thing."""

    about: str
    sentences: tuple[str, ...]
    said_last: tuple[InstanceLog, ...] = ()
    """By instances that failed, and have not proved themselves since."""


@click.command(cls=Command)
@click.argument("about", metavar="service/NAME|job/NAME", shell_complete=complete_explained)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
@pass_settings
def explain(settings: Settings, about: str, *, as_json: bool) -> None:
    """Say why a service is where it is, or a job runs or waits.

    What is wanted, where each replica runs and why, what is missing, and which edges
    announce it. Of up to three instances that failed: the last 50 lines that they said. Of
    a job: its last run, and what it waits for.

    Example: pltfrms explain service/web
    """
    kind, _, name = about.partition("/")
    if kind not in {"service", "job"} or not name:
        raise click.UsageError(f"{about!r} cannot be explained; say service/NAME or job/NAME")
    snapshot = read_view(settings).last_known
    if kind == "job":
        from pltfrms.seen.runs import explain_job  # noqa: PLC0415 - 20 ms, for few

        sentences, said_last = explain_job(snapshot, name), _run_said(settings, snapshot, name)
    else:
        sentences = explain_service(snapshot, name)
        said_last = _said_last(settings, snapshot, name)
    if as_json:
        write_json(Explanation(about=about, sentences=sentences, said_last=said_last))
        return
    for sentence in sentences:
        write_line(sentence)
    for log in said_last:
        write_line(f"{log.allocation} said last:")
        for line in log.lines:
            echo(f"  {line}")


def _said_last(settings: Settings, snapshot: Snapshot, name: str) -> tuple[InstanceLog, ...]:
    """Return what instances that failed said, as far as their nodes answer."""
    ids = sorted(each.id for each in snapshot.allocations.values() if each.service == name)
    states = [snapshot.instance(each) for each in ids]
    failed = [state.allocation for state in states if state and state.failure][:_FAILED_MAX]
    if not failed:
        return ()
    from pltfrms.cli.service.logs import ask_logs  # noqa: PLC0415 - few need it

    client = connect(settings)
    found: list[InstanceLog] = []
    for each in failed:
        try:
            found += ask_logs(client, name, instance=each, lines=_LINES).logs
        except PltfrmsError as error:
            echo(f"warning: no log of {each}: {error}", err=True)
    return tuple(log for log in found if log.lines)


def _run_said(settings: Settings, snapshot: Snapshot, name: str) -> tuple[InstanceLog, ...]:
    """Return what the last run of a job said, if it failed on a node that answers."""
    from pltfrms.seen.runs import runs_of  # noqa: PLC0415 - as above

    run = next(iter(runs_of(snapshot, name)), None)
    if run is None or run.state is not RunState.FAILED or not run.node:
        return ()
    from pltfrms.cli.service.logs import ask_run  # noqa: PLC0415 - few need it

    try:
        answers = ask_run(connect(settings), name, run=run.id, lines=_LINES)
    except PltfrmsError as error:
        echo(f"warning: no log of {run.id}: {error}", err=True)
        return ()
    for machine, why in answers.silent.items():
        echo(f"warning: no log of {run.id}: {machine} is silent: {why}", err=True)
    return tuple(log for log in answers.logs if log.lines)
