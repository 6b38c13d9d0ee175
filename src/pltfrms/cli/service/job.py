"""`job`: what runs once, now or at set times, on one node."""

import sys
import time
from dataclasses import replace

import click

from pltfrms.cli.service.logs import ask_run
from pltfrms.cli.shared.complete import complete_jobs
from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import echo, moment_text, write_json, write_table
from pltfrms.cli.shared.routing import WHY, asking_user
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.model.messages.glass import InstanceLog, LogAnswers
from pltfrms.model.messages.jobs import JobAsk, JobChange, JobReply
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import OVER, Job, JobRun
from pltfrms.planner.jobs.asking import job_of
from pltfrms.seen.runs import job_words, run_words, runs_of, waiting

_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
_YES = click.option("--yes", is_flag=True, help="Do not ask.")
_AGAIN_SECONDS = 1.0
_NAME = click.argument("name", shell_complete=complete_jobs)


@click.group(cls=LazyGroup)
def job() -> None:
    """Run things once, now or at set times.

    Such as migrations and backups. A run begins at most once, on one node, and no two of a
    job are alive at the same time. Files are applied like those of services: `pltfrms apply`.

    Example: pltfrms job list
    """


@job.command("list")
@_JSON
@pass_settings
def list_jobs(settings: Settings, *, as_json: bool) -> None:
    """List jobs: when they are due, and how they ended last.

    Example: pltfrms job list
    """
    snapshot = connect(settings).snapshot().last_known
    jobs = [each for _, each in sorted(snapshot.jobs.items()) if not each.deleted]
    if as_json:
        write_json(jobs, list[Job])
        return
    cells = [
        (each.name, each.spec.schedule or "-", each.spec.timezone, *_last(snapshot, each))
        for each in jobs
    ]
    write_table(("job", "schedule", "by the clock of", "last run", "state", "why"), cells)


@job.command("show")
@_NAME
@_JSON
@pass_settings
def show(settings: Settings, name: str, *, as_json: bool) -> None:
    """Show a job and its last runs.

    Of each: where, when, how it ended, and why.

    Example: pltfrms job show backup
    """
    snapshot = connect(settings).snapshot().last_known
    found = job_of(snapshot, name)
    runs = runs_of(snapshot, name)
    if as_json:
        write_json(runs, list[JobRun])
        return
    echo(job_words(found))
    cells = [
        (
            *(run.id, run.state.value, run.node or "-"),
            *(_moment(run.began_ms), _end(run), run_words(run)),
        )
        for run in runs
    ]
    write_table(("run", "state", "node", "began", "ended", "why"), cells)
    for sentence in waiting(snapshot, name):
        echo(sentence)


@job.command("run")
@_NAME
@WHY
@_JSON
@pass_settings
def run_job(settings: Settings, name: str, why: str, *, as_json: bool) -> None:
    """Run a job once, now.

    Refused (exit code 4) while a run of it is not over.

    Example: pltfrms job run backup --why "before the move"
    """
    change = JobChange(verb=JobAsk.RUN, name=name, why=why)
    _say(_ask(connect(settings), change), "is wanted", as_json=as_json)


@job.command("logs")
@_NAME
@click.option("--run", "run_name", default="", metavar="RUN", help="By default the last one.")
@click.option(
    "--lines", type=click.IntRange(1, 5000), default=50, show_default=True, help="At most."
)
@click.option("--follow", is_flag=True, help="Go on with each new line until it has ended.")
@_JSON
@pass_settings
def logs(
    settings: Settings, name: str, run_name: str, lines: int, *, follow: bool, as_json: bool
) -> None:
    """Show what a run of a job said, or says.

    Its node keeps that for a day after its end.

    Example: pltfrms job logs backup --run backup@7
    """
    client = connect(settings)
    found = ask_run(client, name, lines=str(lines), run=run_name)
    if as_json:
        write_json(found)
        return
    _show(found)
    if not (follow or found.silent or any(log.lines for log in found.logs)):
        echo(f"note: {run_name or name} has said nothing that is kept", err=True)
    for log in found.logs if follow else ():
        _follow(client, name, log)


@job.command("stop")
@_NAME
@WHY
@_JSON
@pass_settings
def stop(settings: Settings, name: str, why: str, *, as_json: bool) -> None:
    """Stop the run of a job that is not over.

    It is not tried again.

    Example: pltfrms job stop backup
    """
    change = JobChange(verb=JobAsk.STOP, name=name, why=why)
    _say(_ask(connect(settings), change), "is to stop", as_json=as_json)


@job.command("delete")
@_NAME
@_YES
@WHY
@_JSON
@pass_settings
def delete(settings: Settings, name: str, why: str, *, yes: bool, as_json: bool) -> None:
    """Delete a job, and what is remembered of its runs.

    Refused while one is not over.

    Example: pltfrms job delete backup --yes
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: say --yes to do it without asking")
    client = connect(settings)
    job_of(client.snapshot().last_known, name)
    if not yes:
        click.confirm(f"Delete job {name}, and what is remembered of its runs?", abort=True)
    reply = _ask(client, JobChange(verb=JobAsk.DELETE, name=name, why=why))
    _say(reply, "is deleted", as_json=as_json)


def _follow(client: OperatorClient, name: str, log: InstanceLog) -> None:
    """Show what a run says until its end; that may be after it is known to be over."""
    while True:
        run = client.snapshot().last_known.runs.get(log.allocation)
        asked = {"run": log.allocation, "after": log.position, "lines": "5000"}
        more = ask_run(client, name, **asked)
        _show(more)
        log = next(iter(more.logs), log)
        if run is None or run.state in OVER:
            return
        time.sleep(_AGAIN_SECONDS)


def _show(found: LogAnswers) -> None:
    for machine, why in found.silent.items():
        echo(f"warning: {machine} is silent: {why}", err=True)
    for line in (line for log in found.logs for line in log.lines):
        echo(line)


def _ask(client: OperatorClient, change: JobChange) -> JobReply:
    signed = replace(change, by=asking_user())
    return client.change("POST", "/v1/jobs", JobReply, signed)


def _say(reply: JobReply, what: str, *, as_json: bool) -> None:
    if as_json:
        write_json(reply)
    else:
        echo(f"{reply.run.id if reply.run else reply.job.name} {what}")


def _last(snapshot: Snapshot, job: Job) -> tuple[str, str, str]:
    run = next(iter(runs_of(snapshot, job.name)), None)
    if run is None:
        return ("-", "-", "it has not run yet")
    return (run.id, run.state.value, run_words(run))


def _moment(unix_ms: int) -> str:
    return moment_text(unix_ms) if unix_ms else "-"


def _end(run: JobRun) -> str:
    return _moment(run.ended_ms) if run.state in OVER else "-"
