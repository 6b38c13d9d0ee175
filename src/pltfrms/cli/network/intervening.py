"""What drains, of whatever they are, and the verbs of `network` share."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NoReturn

import click

from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import Settings
from pltfrms.cli.shared.output import echo, good, timed_progress, unix_ms, write_json
from pltfrms.cli.shared.routing import (
    DESPITE,
    WHY,
    asking_user,
    guards_of,
    pending_code,
    show_routing,
)
from pltfrms.cli.shared.signing import EXIT_WAITS, ask_second, say_waiting
from pltfrms.cli.shared.values import DURATION, MOMENT
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import ConflictError, TwoPeopleError, UnavailableError
from pltfrms.model.durations import short_duration
from pltfrms.model.messages.api import InterventionChange, InterventionReply, SnapshotView, Verb
from pltfrms.model.messages.guards import Guard
from pltfrms.model.network.interventions import Drain, DrainPhase
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.changes.interventions import named
from pltfrms.seen.network import SessionRow, session_rows
from pltfrms.seen.words import release_sentence

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
"""How long, after a drain's second phase is due, the edges may take to do it."""

JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Only show what it would do.")
_WAIT = click.option(
    "--wait",
    "wait_ms",
    type=DURATION,
    help="Between telling peers and withdrawing; by default what the platform says.",
)
_AT = click.option(
    "--at",
    "since_ms",
    type=MOMENT,
    default=0,
    help="Begin then, such as 2030-01-31T22:00Z, and not now.",
)
_FOR = click.option(
    "--for", "lasts_ms", type=DURATION, default=None, help="It ends by itself after so long."
)
_DETACH = click.option("--detach", is_flag=True, help="Do not wait until it is done.")


@dataclass(frozen=True, slots=True, kw_only=True)
class InterventionWish:
    """What the options say that all interventions share."""

    why: str
    despite: tuple[Guard, ...]
    dry_run: bool
    as_json: bool
    wait_ms: int | None = None
    since_ms: int = 0
    lasts_ms: int | None = None
    detach: bool = False


def wished(
    *, drains: bool = False, phases: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the shared options; it gets them as one argument, `wish`.

    Those of drains too, if it is one; `--wait` only if that has phases.
    """
    of_drains = (*((_WAIT,) if phases else ()), _AT, _FOR, _DETACH)
    options = [WHY, DESPITE, _DRY_RUN, *(of_drains if drains else ()), JSON]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def collected(*arguments: Any, **values: Any) -> None:
            shared = {
                f.name: values.pop(f.name) for f in fields(InterventionWish) if f.name in values
            }
            shared["despite"] = guards_of(shared["despite"])
            command(*arguments, wish=InterventionWish(**shared), **values)

        decorated: Callable[..., None] = collected
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def intervene(
    settings: Settings, change: InterventionChange, title: str, wish: InterventionWish
) -> None:
    """Do it and show what it does; a drain is followed until it is done.

    `title` names it in the last line. A dry run ends the command with its exit code.

    Raises:
        ConflictError: a guard forbids it.
        NotFoundError: what it names is not there.
        UnavailableError: nobody answers, or the edges did not drain in time.
    """
    client = connect(settings)
    change = replace(
        change,
        why=wish.why,
        by=asking_user(),
        despite=wish.despite,
        dry_run=wish.dry_run,
        wait_ms=wish.wait_ms,
        since_ms=wish.since_ms,
        until_ms=_until_ms(wish) or change.until_ms,
    )
    try:
        reply = client.intervene(change)
    except TwoPeopleError:
        _request(settings, client, change, wish)
    if wish.as_json:
        write_json(reply)
    else:
        _show(reply, title, wish)
        _show_released(reply, change)
    if wish.dry_run:
        code = pending_code(reply.verdicts, wish.despite, changed=reply.changed)
        click.get_current_context().exit(code)
    if reply.interventions.freeze and change.verb not in {Verb.FREEZE, Verb.UNFREEZE}:
        echo("the network is frozen: nothing happens until it is unfrozen", err=True)
    elif change.verb is Verb.DRAIN and not (wish.detach or wish.since_ms):
        follow_drain(client, change, reply.revision)


def _request(
    settings: Settings,
    client: OperatorClient,
    change: InterventionChange,
    wish: InterventionWish,
) -> NoReturn:
    """Ask for what a second operator must approve, and end the command."""
    asked = ask_second(settings, client, intervention=change)
    if wish.as_json:
        write_json(asked)
    elif asked.reply:
        show_routing(asked.reply.routing, asked.reply.verdicts, wish.despite)
        say_waiting(asked, asked.reply.two_people)
    click.get_current_context().exit(EXIT_WAITS)


def _until_ms(wish: InterventionWish) -> int:
    """Return when it ends, 0: never; what lasts no time at all is over when it begins."""
    return 0 if wish.lasts_ms is None else (wish.since_ms or unix_ms()) + wish.lasts_ms


def _show(reply: InterventionReply, title: str, wish: InterventionWish) -> None:
    show_routing(reply.routing, reply.verdicts, wish.despite, reply.doubts)
    if reply.two_people and wish.dry_run:
        echo(f"two people are needed, because {reply.two_people}")
    if not reply.changed:
        echo(f"{title}: nothing to do, it is so already")
    elif wish.dry_run:
        echo(f"{title}: would be done")
    else:
        echo(good(f"{title}: done, revision {reply.revision}"))


def _show_released(reply: InterventionReply, change: InterventionChange) -> None:
    """Say which nodes are meant: of who is lost later nothing is moved."""
    if change.verb is Verb.RELEASE:
        for release in reply.interventions.releases:
            if release.datacenter == change.datacenter:
                echo(f"  {release_sentence(release, unix_ms())}")


# ---- waiting for a drain -------------------------------------------------------------------


def follow_drain(client: OperatorClient, drained: InterventionChange, revision: int) -> None:
    """Show how a drain goes on until nothing is there any more; to be interrupted freely.

    Raises:
        ConflictError: somebody ended the drain meanwhile.
        UnavailableError: it was not done in time.
    """
    follow = follow_node if drained.node else _follow
    try:
        follow(client, drained, revision)
    except KeyboardInterrupt:
        undo = f"pltfrms {_undo(drained)}"
        echo(f"the drain goes on without this command; end it with: {undo}", err=True)
        raise


def _undo(drained: InterventionChange) -> str:
    for noun, name in (("datacenter", drained.datacenter), ("node", drained.node)):
        if name:
            return f"{noun} undrain {name}"
    if drained.peer:
        place = f"@{drained.edge}" if drained.edge else ""
        return f"peer undrain {drained.peer}{place}"
    port = f" --port {drained.interface}" if drained.interface else ""
    return f"edge undrain {drained.edge}{port}"


def _follow(client: OperatorClient, drained: InterventionChange, revision: int) -> None:
    say = _each_once(timed_progress())
    while True:
        snapshot = client.snapshot().snapshot
        if snapshot.revision >= revision:
            now_ms = unix_ms()
            drain = standing_drain(snapshot, drained)
            if snapshot.interventions.freeze:
                say("the network is frozen: the drain waits until it is unfrozen")
                return
            left = unfinished(snapshot, drained, now_ms)
            if not left:
                say("nothing is announced or accepted any more; the sessions stay up")
                return
            _say_phase(say, drain, left, now_ms)
            overdue_ms = now_ms - drain.since_ms - drain.wait_ms
            if overdue_ms > PATIENCE_SECONDS * 1000:
                raise UnavailableError(_overdue(left, overdue_ms))
        time.sleep(POLL_SECONDS)


def unfinished(
    snapshot: Snapshot, drained: InterventionChange, now_ms: int
) -> tuple[SessionRow, ...]:
    """Return the sessions of a drain that still carry routes, or of which nothing is known.

    A session that is down carries none.
    """
    wanted, machine = named(drained), snapshot.platform.machine
    return tuple(
        row
        for row in session_rows(snapshot, now_ms)
        if wanted.fits(row.peer, machine(row.edge), row.interface) and not _empty(row)
    )


def _empty(row: SessionRow) -> bool:
    idle = row.state == "down" or not (row.imported or row.exported)
    return row.drain is DrainPhase.WITHDRAWN and row.state != "unknown" and idle


def standing_drain(snapshot: Snapshot, drained: InterventionChange) -> Drain:
    """Return the drain that was asked for; ConflictError if it is not there any more."""
    for drain in snapshot.interventions.drains:
        if drain.place == named(drained).place:
            return drain
    raise ConflictError("somebody ended the drain; look at: pltfrms network show")


def _say_phase(
    say: Callable[[str], None], drain: Drain, left: tuple[SessionRow, ...], now_ms: int
) -> None:
    due_ms = drain.since_ms + drain.wait_ms
    if now_ms < due_ms:
        # Rounded, so that it is said every ten seconds and not at every look.
        tens = -(-(due_ms - now_ms) // 10_000) * 10
        say(f"{drain.about}: peers are told to prefer other paths; withdraws within {tens} s")
        return
    silent = sum(row.state == "unknown" for row in left)
    unknown = f", {silent} not known" if silent else ""
    say(f"{drain.about}: withdrawing; {len(left) - silent} sessions carry routes{unknown}")


def _overdue(left: tuple[SessionRow, ...], overdue_ms: int) -> str:
    lines = [
        f"  {row.session} {row.family}: {row.state}, {row.imported} in, {row.exported} out"
        for row in left
    ]
    late = short_duration(overdue_ms / 1000)
    first = f"{len(left)} sessions not drained {late} after they should; the drain goes on"
    return "\n".join([first, *lines, "try: pltfrms edge list"])


def _each_once(say: Callable[[str], None]) -> Callable[[str], None]:
    said = ""

    def say_new(line: str) -> None:
        nonlocal said
        if line != said:
            said = line
            say(line)

    return say_new


# ---- waiting for a node to be empty --------------------------------------------------------


def follow_node(client: OperatorClient, drained: InterventionChange, revision: int) -> None:
    """Show how a node is emptied until nothing runs there; see `follow_drain`."""
    say = _each_once(timed_progress())
    before, moved_at_ms = -1, unix_ms()
    while True:
        view = client.snapshot()
        if view.snapshot.revision >= revision:
            standing_drain(view.snapshot, drained)
            left = left_on(view.snapshot, drained.node)
            if not left:
                say("nothing runs there any more, and nothing will be placed there")
                return
            say(f"{drained.node}: {len(left)} instances left")
            if len(left) != before:
                before, moved_at_ms = len(left), unix_ms()
            if unix_ms() - moved_at_ms > 1000 * PATIENCE_SECONDS + _longest_ms(view.snapshot):
                raise UnavailableError(_stuck(drained.node, left, view))
        time.sleep(POLL_SECONDS)


def left_on(snapshot: Snapshot, node: str) -> tuple[str, ...]:
    """Return what is to run on a node, or still does as far as it has told."""
    status = snapshot.statuses.get(node)
    running = [instance.allocation for instance in status.instances] if status else []
    wanted = [each.id for each in snapshot.allocations.values() if each.node == node]
    return tuple(sorted({*running, *wanted}))


def _longest_ms(snapshot: Snapshot) -> int:
    """Return how long an instance may go on after it was told to go."""
    specs = [service.spec for service in snapshot.services.values()]
    return max((spec.drain_ms + spec.run.stop_grace_ms for spec in specs), default=0)


def _stuck(node: str, left: tuple[str, ...], view: SnapshotView) -> str:
    replicas = {name.rpartition("-")[0] for name in left}
    lines = [
        f"  {note.about}: {note.reason.sentence}{f' ({note.detail})' if note.detail else ''}"
        for note in view.notes
        if note.about in replicas
    ]
    first = f"{len(left)} instances are still on {node}, and serve there; the drain goes on"
    return "\n".join([first, *lines])
