"""`rollout`: watch how a new version comes to the replicas, hold it, end it, undo it."""

import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from pltfrms.cli.service.apply import show_preview, wait_for_replicas
from pltfrms.cli.shared.complete import complete_services
from pltfrms.cli.shared.connect import connect, look
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import (
    echo,
    good,
    timed_progress,
    write_json,
    write_line,
    write_table,
)
from pltfrms.cli.shared.routing import WHY, asking_user
from pltfrms.model.messages.api import RolloutChange, RolloutVerb
from pltfrms.model.services.rollouts import where_of
from pltfrms.model.services.service import Service
from pltfrms.seen.rollouts import require_stayed

if TYPE_CHECKING:
    from pltfrms.planner.placement.rollout_words import RolloutWords

_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
_NAME = click.argument("name", metavar="SERVICE", shell_complete=complete_services)
_YES = click.option("--yes", is_flag=True, help="Do not ask.")
_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRow:
    """The last rollout of a service."""

    service: str
    state: str
    """`none` if there was none; `paused` while an operator holds it."""
    from_version: int
    version: int
    words: str
    """How far it is, what it waits for, or why it went back."""


@click.group(cls=LazyGroup)
def rollout() -> None:
    """Watch, pause, end and undo rollouts.

    A new version comes to one replica first, then to the rest of its datacenter, then to the
    other datacenters one by one. After each of these stages it has to stay ready for a while,
    and to answer no worse where `compare` of the file asks for that; if it does not, the
    service goes back to the version before. So it does if no running instance passes its new
    probe.

    Example: pltfrms rollout status web --follow
    """


@rollout.command("list")
@_JSON
@pass_settings
def list_rollouts(settings: Settings, *, as_json: bool) -> None:
    """List the last rollout of each service.

    Example: pltfrms rollout list
    """
    from pltfrms.planner.placement.rollout_words import RolloutWords  # noqa: PLC0415 - not for help

    snapshot = look(settings, as_json=as_json)
    words = RolloutWords(snapshot)
    rows = tuple(_row(words, each) for _, each in sorted(snapshot.services.items()))
    if as_json:
        write_json(rows, tuple[RolloutRow, ...])
        return
    write_table(("service", "state", "rollout"), [(r.service, r.state, r.words) for r in rows])


@rollout.command("status")
@_NAME
@click.option("--follow", is_flag=True, help="Go on until it is over.")
@_JSON
@pass_settings
def show_rollout(settings: Settings, name: str, *, follow: bool, as_json: bool) -> None:
    """Show how far the rollout of a service is.

    With --follow, exit code 6 means that the service went back to the version before.

    Example: pltfrms rollout status web --follow
    """
    from pltfrms.planner.placement.rollout_words import RolloutWords  # noqa: PLC0415 - not for help

    client = connect(settings)
    say, said = timed_progress(), ""
    while True:
        snapshot = client.snapshot().last_known
        service = snapshot.service(name)
        row = _row(RolloutWords(snapshot), service)
        if not follow or service.rolling is None:
            break
        if row.words != said:
            said = row.words
            say(said)
        time.sleep(_POLL_SECONDS)
    if as_json:
        write_json(row)
    else:
        write_line(f"{name}: {row.words or 'no rollout'}")
    if follow:
        require_stayed(service)


@rollout.command("pause")
@_NAME
@WHY
@_JSON
@pass_settings
def pause(settings: Settings, name: str, *, why: str, as_json: bool) -> None:
    """Hold a rollout where it is: it goes neither on nor back.

    Example: pltfrms rollout pause web --why "looking at its log"
    """
    wish = RolloutChange(verb=RolloutVerb.PAUSE, service=name, why=why)
    change_rollout(settings, wish, as_json=as_json)


@rollout.command("resume")
@_NAME
@WHY
@_JSON
@pass_settings
def resume(settings: Settings, name: str, *, why: str, as_json: bool) -> None:
    """Let a rollout go on that was paused; its stage bakes anew.

    Example: pltfrms rollout resume web
    """
    wish = RolloutChange(verb=RolloutVerb.RESUME, service=name, why=why)
    change_rollout(settings, wish, as_json=as_json)


@rollout.command("promote")
@_NAME
@_YES
@WHY
@_JSON
@pass_settings
def promote(settings: Settings, name: str, *, yes: bool, why: str, as_json: bool) -> None:
    """Begin the next stage of a rollout now.

    The first one, while the probe of the new version is tried on the instances that run.

    Example: pltfrms rollout promote web --yes
    """
    question = "" if yes else "Begin the next stage now?"
    wish = RolloutChange(verb=RolloutVerb.PROMOTE, service=name, why=why)
    change_rollout(settings, wish, question, as_json=as_json)


@rollout.command("abort")
@_NAME
@_YES
@WHY
@_JSON
@pass_settings
def abort(settings: Settings, name: str, *, yes: bool, why: str, as_json: bool) -> None:
    """End a rollout: the service goes back to the version before.

    Example: pltfrms rollout abort web --yes
    """
    question = "" if yes else f"Have {name} go back to the version before?"
    wish = RolloutChange(verb=RolloutVerb.ABORT, service=name, why=why)
    change_rollout(settings, wish, question, as_json=as_json)


@rollout.command("undo")
@_NAME
@_YES
@WHY
@_JSON
@pass_settings
def undo(settings: Settings, name: str, *, yes: bool, why: str, as_json: bool) -> None:
    """Go back to the version before, also after a rollout.

    What is under way is aborted. After that, the last version that did not fail is applied
    again, and rolled out by stages.

    Example: pltfrms rollout undo web --yes
    """
    question = "" if yes else f"Have {name} go back to the version before?"
    wish = RolloutChange(verb=RolloutVerb.UNDO, service=name, why=why)
    change_rollout(settings, wish, question, as_json=as_json)


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: say --yes to do it without asking")
    click.confirm(question, abort=True)


def change_rollout(
    settings: Settings,
    wish: RolloutChange,
    question: str = "",
    *,
    wait_ms: int | None = None,
    as_json: bool,
) -> None:
    """Change a rollout as it is now: not if somebody else changes it before the answer.

    With `wait_ms` it is over when the command ends; see `wait_for_replicas`.
    """
    client = connect(settings)
    service = client.snapshot().last_known.service(wish.service)
    seen = where_of(service)
    if question:
        _ask(f"{wish.service} is at {seen}. {question}")
    preview = client.change_rollout(replace(wish, by=asking_user(), seen=seen))
    if not as_json:
        show_preview(preview)
    if wait_ms is not None:
        wait_for_replicas(client, (service.spec,), preview.revision, wait_ms)
    if as_json:
        write_json(preview)
    else:
        echo(good(f"done, revision {preview.revision}"))


def _row(said: "RolloutWords", service: Service) -> RolloutRow:
    last = service.rollout
    if last is None:
        return RolloutRow(
            service=service.name,
            state="none",
            from_version=service.version,
            version=service.version,
            words="",
        )
    return RolloutRow(
        service=service.name,
        state="paused" if last.paused else last.state.value,
        from_version=last.from_version,
        version=last.version,
        words=said.of(service),
    )
