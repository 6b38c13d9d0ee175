"""What a change does to routing, as `plan`, `apply` and the interventions show it."""

import getpass
import os
import socket
from collections.abc import Sequence

import click

from pltfrms.cli.shared.output import bad, dim, echo, paint, write_line
from pltfrms.errors import ConflictError
from pltfrms.model.messages.guards import Doubt, Effect, Guard, RoutingChange, Verdict

EXIT_PENDING = 3
EXIT_FORBIDDEN = 4

WHY = click.option("--why", default="", metavar="TEXT", help="Why, for the audit.")
DESPITE = click.option(
    "--yes-i-mean",
    "despite",
    multiple=True,
    metavar="GUARD",
    type=click.Choice([guard.value for guard in Guard]),
    help=f"Do it although this guard forbids it; repeatable: {', '.join(Guard)}.",
)


def guards_of(names: Sequence[str]) -> tuple[Guard, ...]:
    """Return the guards that `--yes-i-mean` names."""
    return tuple(Guard(name) for name in names)


def asking_user() -> str:
    """Return who asks, for the audit: `USER@HOST`, also behind sudo."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def pending_code(
    verdicts: Sequence[Verdict], despite: Sequence[Guard] = (), *, changed: bool
) -> int:
    """Return the exit code of a look: 0 nothing to do, 3 changes, 4 a guard forbids them."""
    if _unmeant(verdicts, despite):
        return EXIT_FORBIDDEN
    return EXIT_PENDING if changed else 0


def require_meant(verdicts: Sequence[Verdict], despite: Sequence[Guard]) -> None:
    """Refuse to ask for what a guard forbids; ConflictError names the guards and their flag."""
    left = _unmeant(verdicts, despite)
    if left:
        raise ConflictError(
            f"{', '.join(left)} forbid it, and nothing was changed: {_say(left)}"
        )


def _unmeant(verdicts: Sequence[Verdict], despite: Sequence[Guard]) -> tuple[str, ...]:
    left = [verdict.guard.value for verdict in verdicts if verdict.guard not in despite]
    return tuple(dict.fromkeys(left))


def _say(guards: Sequence[str]) -> str:
    flags = " ".join(f"--yes-i-mean {guard}" for guard in guards)
    return f"if you mean it, say {flags}"


def show_routing(
    routing: Sequence[RoutingChange],
    verdicts: Sequence[Verdict],
    despite: Sequence[Guard] = (),
    doubts: Sequence[Doubt] = (),
) -> None:
    """Write what peers will see, what guards say against it, and what they cannot judge."""
    if routing:
        echo("Routing")
    session_width = max((len(change.session) for change in routing), default=0)
    what_width = max((len(change.what) for change in routing), default=0)
    for change in routing:
        place = f"{change.session:{session_width}}  {change.what:{what_width}}"
        write_line(_line(place, change.effect))
    if verdicts or doubts:
        echo("Guards")
    for verdict in verdicts:
        write_line(bad(f"! {verdict.guard.value}: {verdict.about}: {verdict.sentence}"))
    for doubt in doubts:
        line = f"? {doubt.guard.value}: {doubt.about}: {doubt.sentence}"
        write_line(paint(line, "yellow"))
    left = _unmeant(verdicts, despite)
    if left:
        write_line(bad(f"refused as it stands; {_say(left)}"))


def _line(place: str, effect: Effect) -> str:
    if effect is Effect.RESET:
        return f"{bad('!')} {place}  {bad(effect.value)}"
    if effect is Effect.MOVES:
        return f"  {place}  {paint(effect.value, 'yellow')}"
    return dim(f"  {place}  {effect.value}")
