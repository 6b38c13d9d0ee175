"""`job`: what runs once, now or at set times, on one node."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import click

from pltfrms.cli.shared.complete import complete_jobs
from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import echo, moment_text, write_json, write_table
from pltfrms.cli.shared.routing import WHY, asking_user
from pltfrms.cli.shared.specs import load_jobs
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import UsageError
from pltfrms.model.messages.glass import LogAnswers
from pltfrms.model.messages.jobs import JobAsk, JobChange, JobReply
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import OVER, Job, JobRun
from pltfrms.planner.jobs.asking import job_of
from pltfrms.planner.jobs.deciding import decide_jobs
from pltfrms.seen.jobs import run_words

_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
_YES = click.option("--yes", is_flag=True, help="Do not ask.")
_NAME = click.argument("name", shell_complete=complete_jobs)
_PATH = click.Path(exists=True, path_type=Path)


@click.group(cls=LazyGroup)
def job() -> None:
    """Run things once, now or at set times: migrations, backups.

    A run begins at most once, on one node, and no two of a job are alive at the same time.

    Example: pltfrms job list
    """


@job.command("apply")
@click.argument("path", metavar="FILE|DIR", type=_PATH)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@WHY
@_JSON
@pass_settings
def apply_jobs(
    settings: Settings, path: Path, why: str, *, dry_run: bool, as_json: bool
) -> None:
    """Make jobs what their files say; what does not name one of them is left as it is.

    Example: pltfrms job apply backup.yaml
    """
    client = connect(settings)
    specs = load_jobs(path, client.snapshot().last_known.platform)
    if not specs:
        raise UsageError(f"{path} has no file that starts with `job:`")
    replies = [
        _ask(
            client,
            JobChange(verb=JobAsk.APPLY, name=each.name, spec=each, why=why, dry_run=dry_run),
        )
        for each in specs
    ]
    if as_json:
        write_json(replies, list[JobReply])
        return
    for reply in replies:
        what = (
            "no change" if not reply.changed else "would be applied" if dry_run else "applied"
        )
        echo(f"{reply.job.name}: {what} (version {reply.job.version})")


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
    """Show a job, and each of its last runs: which, where, when, how it ended, and why.

    Example: pltfrms job show backup
    """
    snapshot = connect(settings).snapshot().last_known
    found = job_of(snapshot, name)
    runs = list(_runs(snapshot, name))
    if as_json:
        write_json(runs, list[JobRun])
        return
    spec = found.spec
    where = ", ".join(spec.datacenters) or "any datacenter"
    when = f"{spec.schedule} ({spec.timezone})" if spec.schedule else "when somebody says so"
    echo(f"{name}: version {found.version}, {when}, in {where}")
    cells = [
        (
            run.id,
            run.state.value,
            run.node or "-",
            _moment(run.began_ms),
            _end(run),
            run_words(run),
        )
        for run in runs
    ]
    write_table(("run", "state", "node", "began", "ended", "why"), cells)
    for note in decide_jobs(snapshot).notes:
        if note.about.rpartition("@")[0] == name or note.about == name:
            echo(f"{note.about} waits: {note.detail}")


@job.command("run")
@_NAME
@WHY
@_JSON
@pass_settings
def run_job(settings: Settings, name: str, why: str, *, as_json: bool) -> None:
    """Run a job once, now; refused (exit code 4) while a run of it is not over.

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
@_JSON
@pass_settings
def logs(settings: Settings, name: str, run_name: str, lines: int, *, as_json: bool) -> None:
    """Show what a run of a job said; its node keeps that for a day after its end.

    Example: pltfrms job logs backup --run backup@7
    """
    asked = {"lines": str(lines)} | ({"run": run_name} if run_name else {})
    path = f"/v1/jobs/{quote(name, safe='')}/logs"
    found = connect(settings).get(path, asked, LogAnswers)
    if as_json:
        write_json(found)
        return
    for machine, why in found.silent.items():
        echo(f"warning: {machine} is silent: {why}", err=True)
    for line in (line for log in found.logs for line in log.lines):
        echo(line)
    if not found.silent and not any(log.lines for log in found.logs):
        echo(f"note: {run_name or name} has said nothing that is kept", err=True)


@job.command("stop")
@_NAME
@WHY
@_JSON
@pass_settings
def stop(settings: Settings, name: str, why: str, *, as_json: bool) -> None:
    """Stop the run of a job that is not over; it is not tried again.

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
    """Delete a job, and what is remembered of its runs; refused while one is not over.

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


def _ask(client: OperatorClient, change: JobChange) -> JobReply:
    signed = replace(change, by=asking_user())
    return client.change("POST", "/v1/jobs", JobReply, signed)


def _say(reply: JobReply, what: str, *, as_json: bool) -> None:
    if as_json:
        write_json(reply)
    else:
        echo(f"{reply.run.id if reply.run else reply.job.name} {what}")


def _runs(snapshot: Snapshot, name: str) -> Iterator[JobRun]:
    found = (run for run in snapshot.runs.values() if run.job == name)
    yield from sorted(found, key=lambda run: -run.number)


def _last(snapshot: Snapshot, job: Job) -> tuple[str, str, str]:
    run = next(_runs(snapshot, job.name), None)
    return (
        (run.id, run.state.value, run_words(run)) if run else ("-", "-", "it has not run yet")
    )


def _moment(unix_ms: int) -> str:
    return moment_text(unix_ms) if unix_ms else "-"


def _end(run: JobRun) -> str:
    return _moment(run.ended_ms) if run.state in OVER else "-"
