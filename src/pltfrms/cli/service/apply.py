"""`plan` and `apply`: from spec files to a change, shown before it is done."""

import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import click

from pltfrms.cli.shared.confirming import wait_for_edges
from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import (
    bad,
    dim,
    echo,
    good,
    paint,
    timed_progress,
    write_json,
    write_line,
)
from pltfrms.cli.shared.roas import read_roas
from pltfrms.cli.shared.routing import (
    DESPITE,
    WHY,
    asking_user,
    guards_of,
    pending_code,
    require_meant,
    show_routing,
)
from pltfrms.cli.shared.signing import EXIT_WAITS, ask_second, say_waiting
from pltfrms.cli.shared.specs import change_for, located, read_change, require_none_below
from pltfrms.cli.shared.values import LABEL, TIMEOUT
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import ConflictError, UnavailableError
from pltfrms.model.messages.api import Change, PlanPreview
from pltfrms.model.messages.guards import Guard
from pltfrms.model.network.peering import Roa
from pltfrms.model.running.plan import Note, Place, Plan, Step
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.rollouts import baked_at_ms
from pltfrms.model.services.service import Service, ServiceSpec
from pltfrms.seen.rollouts import require_stayed
from pltfrms.seen.summary import ReplicaRow, missing_replicas

_POLL_SECONDS = 0.25
_ATTEMPTS = 5
"""How often a change is tried: after the first time, plans of controllers wait for us."""
_At = tuple[str, int, bool]
"""A service, the stage of its rollout, and whether it bakes."""
Again = Callable[[], tuple[Change, PlanPreview]]
"""Makes a change from what is now wanted, and plans it."""
_SIGNS = {"create": "+", "update": "~", "delete": "-"}

_SPEC_PATH = click.Path(exists=True, path_type=Path)
_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")


_PRUNE = click.option(
    "--prune",
    type=LABEL,
    metavar="LABEL=TEXT",
    help="Delete services and jobs with this label that the files do not name.",
)


@click.command(cls=Command)
@click.argument("path", metavar="FILE|DIR", type=_SPEC_PATH)
@click.option(
    "--against",
    metavar="FILE|DIR",
    type=_SPEC_PATH,
    help="Compare with these spec files instead of the platform: asks nobody.",
)
@click.option(
    "--roas",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --against: ROAs as validators export them (JSON with `roas`).",
)
@_JSON
@pass_settings
def plan(
    settings: Settings, path: Path, against: Path | None, roas: Path | None, *, as_json: bool
) -> None:
    """Show what applying spec files would change.

    Changes nothing. Exit code 3 means that changes are pending, 4 that a guard forbids them.

    Example: pltfrms plan examples/three-datacenters/web.yaml

    Without any controller: pltfrms plan new/ --against old/ --roas roas.json
    """
    if roas and not against:
        what = "--roas goes with --against: controllers ask the RPKI caches of the platform"
        raise click.UsageError(what)
    known = read_roas(roas) if roas else None
    with located(path):
        preview = _compared(path, against, known) if against else _ask_plan(settings, path)
    _show_plan(preview, as_json=as_json)


def _show_plan(
    preview: PlanPreview, despite: Sequence[Guard] = (), *, as_json: bool
) -> NoReturn:
    """Show what would be done, and end the command."""
    if as_json:
        write_json(preview)
    else:
        show_preview(preview, despite)
    code = pending_code(preview.verdicts, despite, changed=bool(preview.changes))
    click.get_current_context().exit(code)


def _compared(path: Path, against: Path, known: Sequence[Roa] | None) -> PlanPreview:
    from pltfrms.cli.shared.compare import compare  # noqa: PLC0415 - plans here, 50 ms

    return compare(path, against, known)


def _ask_plan(settings: Settings, path: Path) -> PlanPreview:
    change = read_change(path)
    client = connect(settings)
    return client.plan(checked_against(client, path, change))


@click.command(cls=Command)
@click.argument("path", metavar="FILE|DIR", type=_SPEC_PATH)
@click.option("--yes", is_flag=True, help="Do not ask.")
@WHY
@DESPITE
@_PRUNE
@click.option("--dry-run", is_flag=True, help="Only show it; exit codes as of `plan`.")
@click.option(
    "--wait/--no-wait",
    default=False,
    help="Wait until edges confirm their routing and all replicas are ready.",
)
@click.option(
    "--timeout",
    "timeout_ms",
    type=TIMEOUT,
    default="60s",
    show_default=True,
    help="How long --wait waits for the replicas, for each stage, and for each edge.",
)
@_JSON
@pass_settings
def apply(
    settings: Settings,
    /,
    path: Path,
    *,
    prune: tuple[str, str] | None,
    dry_run: bool,
    **options: Any,
) -> None:
    """Make the platform what spec files say.

    Shows the plan and asks first. Refused if somebody else changed the platform meanwhile,
    or if a guard forbids it that --yes-i-mean does not name. Edges put a new routing policy
    in force one after the other, each only if its sessions and its announcements stay.

    A new version comes by stages: see `pltfrms rollout`. With --wait, exit code 6 means that
    it was not good enough, and the version before is back.

    Example: pltfrms apply examples/three-datacenters/web.yaml --yes --wait

    All services of a directory, and no others: pltfrms apply shop/ --prune group=shop
    """
    if prune and not path.is_dir():
        raise click.UsageError("--prune takes a directory: all that is to be left is in it")
    if prune:
        require_none_below(path)
    wish = ApplyWish(**{**options, "despite": guards_of(options["despite"])})
    change = replace(
        read_change(path), despite=wish.despite, by=asking_user(), why=wish.why, prune=prune
    )
    if not (wish.yes or dry_run or sys.stdin.isatty()):
        raise click.UsageError("nobody can be asked here: say --yes to apply without asking")
    client = connect(settings)
    change = checked_against(client, path, change)
    if dry_run:
        with located(path):
            _show_plan(client.plan(change), wish.despite, as_json=wish.as_json)
    with located(path):
        preview = show_and_apply(settings, client, change, wish)
    finish(client, change, wish, preview)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyWish:
    """What the options of `apply`, or of what applies something else, say."""

    yes: bool
    why: str
    despite: tuple[Guard, ...]
    wait: bool
    timeout_ms: int
    as_json: bool


def finish(
    client: OperatorClient, change: Change, wish: ApplyWish, preview: PlanPreview
) -> None:
    """Wait for what was applied, if that is wished, and say that it is done."""
    if wish.wait:
        _wait(client, change, preview.revision, wish.timeout_ms)
    if wish.as_json:
        write_json(preview)
    elif preview.changes:
        echo(good(f"applied, revision {preview.revision}"))


def show_and_apply(
    settings: Settings,
    client: OperatorClient,
    change: Change,
    wish: ApplyWish,
    preview: PlanPreview | None = None,
    again: Again | None = None,
) -> PlanPreview:
    """Show what a change does, ask, and do it; `preview` is its plan, if there is one already.

    `again` makes and plans it anew when somebody else commits meanwhile: for who says only a
    part of what stands in it.

    Raises:
        ConflictError: it would not do any more what was shown, or a guard forbids it.
    """
    preview = preview or client.plan(change)
    if not wish.as_json:
        show_preview(preview, wish.despite)
    if not preview.changes:
        return preview
    require_meant(preview.verdicts, wish.despite)
    if preview.two_people:
        if not wish.yes:
            click.confirm("Ask a second operator to approve it?", abort=True)
        _request(settings, client, change, wish, preview.two_people)
    if not wish.yes:
        click.confirm("Apply?", abort=True)
    again = again or (lambda: (change, client.plan(change)))
    return _apply_as_shown(client, change, preview, again)


def _apply_as_shown(
    client: OperatorClient, change: Change, shown: PlanPreview, again: Again
) -> PlanPreview:
    """Apply what was shown, though controllers commit in between, but nothing else.

    Raises:
        ConflictError: the change would not do any more what was shown, or a guard forbids it.
    """
    preview = shown
    for _ in range(_ATTEMPTS - 1):
        try:
            return client.apply(replace(change, revision=preview.revision))
        except ConflictError:
            time.sleep(_POLL_SECONDS * random.random())  # noqa: S311 - no secret
            change, preview = again()
            if _meaning(preview) != _meaning(shown):
                raise
    return client.apply(replace(change, revision=preview.revision))


def _meaning(preview: PlanPreview) -> PlanPreview:
    """Return what a change does to what is wanted, whatever is placed at that moment."""
    nothing = Plan(revision=0)
    return replace(preview, revision=0, plan=nothing, under_way=nothing)


def _request(
    settings: Settings, client: OperatorClient, change: Change, wish: ApplyWish, why: str
) -> NoReturn:
    """Ask for what a second operator must approve, and end the command."""
    reply = ask_second(settings, client, change=change)
    if wish.as_json:
        write_json(reply)
    else:
        say_waiting(reply, why)
    click.get_current_context().exit(EXIT_WAITS)


def _wait(client: OperatorClient, change: Change, revision: int, timeout_ms: int) -> None:
    if change.platform:
        wait_for_edges(client, revision, timeout_ms)
    wait_for_replicas(client, change.services, revision, timeout_ms)


def checked_against(client: OperatorClient, path: Path, change: Change) -> Change:
    """Return the change; without a platform, its files are checked against the present one.

    So that a service or a job that cannot run there is refused with file and line.
    """
    if change.platform is None and (change.services or change.jobs):
        return change_for(path, change, client.snapshot().snapshot.platform)
    return change


def show_preview(preview: PlanPreview, despite: Sequence[Guard] = ()) -> None:
    """Write changes, steps, what cannot be fulfilled, routing, and what guards say.

    Guards in `despite` are shown, but not as refusing.
    """
    if not preview.changes:
        echo("no change: the platform is what the files say")
    for line in preview.changes:
        detail = f": {line.detail}" if line.detail else ""
        sign = _SIGNS.get(line.action, "*")
        write_line(f"{paint(sign, 'cyan')} {line.action} {line.about}{detail}")
    if preview.two_people:
        write_line(paint(f"two people are needed, because {preview.two_people}", "yellow"))
    _show_steps(preview)
    show_routing(preview.routing, preview.verdicts, despite, preview.doubts)


def _show_steps(preview: PlanPreview) -> None:
    """Write the steps of the change, and apart from them what goes on anyway."""
    anyway = preview.under_way
    for line in plan_lines(
        [step for step in preview.plan.steps if step not in anyway.steps],
        [note for note in preview.plan.notes if note not in anyway.notes],
    ):
        write_line(line)
    others = plan_lines(anyway.steps, anyway.notes)
    if others:
        echo("under way anyway, not because of this change:")
    for line in others:
        write_line(dim(line))


def plan_lines(steps: Sequence[Step], notes: Sequence[Note]) -> list[str]:
    """Return a line for each step, and for each thing that cannot be done."""
    return [
        *(f"  {step_sentence(step)}" for step in steps),
        *(
            f"{bad('!')} {note.about}: {note.reason.sentence}"
            f"{f' ({note.detail})' if note.detail else ''}"
            for note in notes
        ),
    ]


def step_sentence(step: Step) -> str:
    """Return one step of a plan in words."""
    allocation = step.allocation
    verb = "place" if isinstance(step, Place) else "stop"
    return f"{verb} {allocation.id} on {allocation.node}: {step.reason.sentence}"


def wait_for_replicas(
    client: OperatorClient, specs: tuple[ServiceSpec, ...], revision: int, timeout_ms: int
) -> None:
    """Wait until every wanted replica of the services is ready in the wanted version.

    A controller may not have seen the commit `revision` yet: what it says then does not count.
    The time begins anew with each stage of a rollout, and while one bakes.

    Raises:
        UnavailableError: not in time; the message says of each missing replica why.
        WentBackError: what was applied was not good enough, and is taken back.
    """
    say = timed_progress()
    deadline = time.monotonic() + timeout_ms / 1000
    said, stages = "", list[_At]()
    while True:
        snapshot = client.snapshot().snapshot
        seen = snapshot.revision >= revision
        missing = missing_replicas(snapshot, (s.name for s in specs)) if seen else ()
        rolling = _rolling(snapshot, specs) if seen else []
        words = "; ".join([*_far(rolling), _left(missing)]) if seen else ""
        if words != said:
            said = words
            say(said)
        if seen and not missing and not rolling:
            return
        now, before = time.monotonic(), stages
        stages = [_stage(each) for each in rolling]
        if stages != before or any(map(baked_at_ms, rolling)):
            deadline = now + timeout_ms / 1000
        if now > deadline:
            raise UnavailableError(
                _still_missing(missing, rolling, timeout_ms)
                if seen
                else f"the controllers have not seen revision {revision}; try: pltfrms status"
            )
        time.sleep(_POLL_SECONDS)


def _rolling(snapshot: Snapshot, specs: Sequence[ServiceSpec]) -> list[Service]:
    """Return those that are being rolled out; WentBackError if one was taken back."""
    from pltfrms.planner.changes.rolling import digest_of  # noqa: PLC0415 - few wait

    found = [(snapshot.services.get(spec.name), digest_of(spec)) for spec in specs]
    for service, digest in found:
        if service and service.rollout and service.rollout.digest == digest:
            require_stayed(service)
    return [service for service, _ in found if service and service.rolling]


def _stage(service: Service) -> _At:
    rollout = service.rolling
    return service.name, rollout.stage if rollout else 0, bool(baked_at_ms(service))


def _far(rolling: Sequence[Service]) -> list[str]:
    """Say at which stage each is, without the seconds that are left."""
    from pltfrms.planner.placement.rollout_words import stage_words  # noqa: PLC0415 - few wait

    states = [(each, each.rolling) for each in rolling]
    return [
        f"{service.name} {stage_words(rollout)} {rollout.state}"
        for service, rollout in states
        if rollout
    ]


def _left(missing: Sequence[ReplicaRow]) -> str:
    return f"{len(missing)} replicas not ready yet" if missing else "all replicas ready"


def _still_missing(
    missing: Sequence[ReplicaRow], rolling: Sequence[Service], timeout_ms: int
) -> str:
    if not missing:  # it is paused, or nobody is heard
        far, hint = "; ".join(_far(rolling)), f"try: pltfrms rollout status {rolling[0].name}"
        return f"not over after {timeout_ms / 1000:g} s: {far}; {hint}"
    lines = [
        f"  {row.allocation or f'{row.service}.{row.datacenter}.{row.replica}'}: {row.state}"
        f"{f' on {row.node}' if row.node else ''}{f': {row.detail}' if row.detail else ''}"
        for row in missing
    ]
    services = sorted({row.service for row in missing})
    hint = f"try: pltfrms explain service/{services[0]}"
    return "\n".join(
        [f"{len(missing)} replicas not ready after {timeout_ms / 1000:g} s", *lines, hint]
    )
