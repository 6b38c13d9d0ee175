"""What agents and operators may ask of a controller. Any controller answers the same."""

from dataclasses import replace

from pltfrms.codec import encode
from pltfrms.controller.heartbeats import Heartbeats
from pltfrms.controller.loop import Controller
from pltfrms.controller.state import COMMIT_KEY, PLATFORM_KEY, service_key
from pltfrms.drivers.ports import Delete, Guard, Put
from pltfrms.errors import ConflictError, Problem, SpecError, UnavailableError, UsageError
from pltfrms.model.api import (
    Change,
    Event,
    Heartbeat,
    HeartbeatReply,
    PlanPreview,
    SnapshotView,
)
from pltfrms.model.plan import Target
from pltfrms.model.state import Snapshot
from pltfrms.planner.change import Outcome, apply_change, delete_service
from pltfrms.planner.plan import make_plan
from pltfrms.planner.target import make_target
from pltfrms.specfile import check_platform, check_service

ATTEMPTS = 5
"""How often an apply that is not bound to a revision looks again after a conflict."""
SERVICES_MAX = 40
"""Services of one change: it is one transaction."""


class Operations:
    """The verbs of the API, on top of a running controller.

    All raise UnavailableError when the store does not answer; the outcome of a write is
    unknown then.
    """

    def __init__(self, controller: Controller) -> None:
        """Serve what `controller` knows."""
        self.controller = controller
        self._store = controller.store
        self._clock = controller.clock
        self._view = controller.view
        self._journal = controller.journal
        self._heartbeats = Heartbeats(
            controller.store, controller.view, controller.journal, controller.counters
        )

    # ---- agents ----------------------------------------------------------------------------

    async def heartbeat(self, heartbeat: Heartbeat) -> HeartbeatReply:
        """Note that a machine lives; NotFoundError if the platform has none of its name."""
        return await self._heartbeats.take(heartbeat)

    async def target(self, machine: str, after: int, wait_ms: int) -> Target | None:
        """Return the machine's target if it is newer than generation `after`.

        Waits up to `wait_ms` for it; None if nothing newer came. NotFoundError if the
        platform has no such machine.
        """
        deadline = self._clock.monotonic() + wait_ms / 1000
        while True:
            target = make_target(self._view.snapshot(), machine)
            if target.generation > after:
                return target
            remaining = deadline - self._clock.monotonic()
            if remaining <= 0:
                return None
            await self._view.wait(min(remaining, 1.0))

    # ---- readers ---------------------------------------------------------------------------

    def require_store(self) -> None:
        """Raise UnavailableError unless the store has answered lately."""
        self._view.stored()

    def snapshot(self, *, stale: bool = False) -> SnapshotView:
        """Return the whole state, and what cannot be done now.

        While the store does not answer: with `stale` what was known last, else
        UnavailableError.
        """
        name = self.controller.name
        try:
            snapshot = self._view.snapshot()
        except UnavailableError:
            if not stale:
                raise
            snapshot, seconds = self._view.last_known()
            return SnapshotView(controller=name, snapshot=snapshot, stale_seconds=seconds)
        notes = make_plan(snapshot).notes
        return SnapshotView(controller=name, snapshot=snapshot, notes=notes)

    async def events(self, after: int, wait_ms: int, limit: int) -> tuple[Event, ...]:
        """Return events after a sequence, oldest first, waiting up to `wait_ms` for one."""
        return await self._journal.read(after, wait_ms, limit)

    # ---- operators -------------------------------------------------------------------------

    async def plan(self, change: Change) -> PlanPreview:
        """Return what a change would do; see `apply` for the errors."""
        snapshot = await self._view.linearized()
        return _preview(self._judge(snapshot, change), snapshot.revision)

    async def apply(self, change: Change) -> PlanPreview:
        """Make a change the platform's intent, as one transaction.

        Raises:
            SpecError: the words contradict each other or the platform.
            UsageError: the change alters what must stay.
            ConflictError: `change.revision` is not the last commit any more.
        """
        for _ in range(ATTEMPTS):
            snapshot = await self._view.linearized()
            outcome = self._judge(snapshot, change)
            committed = await self._commit(outcome, snapshot.revision)
            if committed is not None:
                return _preview(outcome, committed)
            if change.revision is not None:
                raise ConflictError("somebody committed at the same time; plan and apply again")
        raise ConflictError(f"{ATTEMPTS} others were faster; try again")

    async def delete(self, name: str) -> PlanPreview:
        """Remove a service; NotFoundError if there is none of that name."""
        for _ in range(ATTEMPTS):
            snapshot = await self._view.linearized()
            outcome = delete_service(snapshot, name)
            committed = await self._commit(outcome, snapshot.revision)
            if committed is not None:
                return _preview(outcome, committed)
        raise ConflictError(f"{ATTEMPTS} others were faster; try again")

    def _judge(self, snapshot: Snapshot, change: Change) -> Outcome:
        """Return what the change makes of the snapshot, if it is sound."""
        if change.revision not in {None, snapshot.revision}:
            raise ConflictError(
                f"the last commit is {snapshot.revision}, not {change.revision}; "
                "plan again and look at the difference"
            )
        _check(snapshot, change)
        return apply_change(snapshot, change)

    async def _commit(self, outcome: Outcome, revision: int) -> int | None:
        """Store an outcome and tell of it; return the last commit's revision, None if lost."""
        if not outcome.lines:
            return revision
        mark = f"{self.controller.name} at {self._clock.unix_ms()}"
        writes: list[Put | Delete] = [Put(key=COMMIT_KEY, value=mark.encode())]
        if outcome.platform:
            writes.append(Put(key=PLATFORM_KEY, value=encode(outcome.platform)))
        writes += [Put(key=service_key(s.name), value=encode(s)) for s in outcome.services]
        writes += [Delete(key=service_key(name)) for name in outcome.deleted]
        writes += [
            self._journal.put(
                self._journal.tell(line.about, f"{line.action} accepted", detail=line.detail)
            )
            for line in outcome.lines
        ]
        return await self._store.commit(writes, (Guard(key=COMMIT_KEY, mod_revision=revision),))


def _check(snapshot: Snapshot, change: Change) -> None:
    """Refuse what the spec files' own rules refuse, whoever sent it."""
    if len(change.services) > SERVICES_MAX:
        raise UsageError(f"at most {SERVICES_MAX} services at once; split the change")
    names = [spec.name for spec in change.services]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"the change names a service twice: {', '.join(twice)}")
    platform = change.platform or snapshot.platform
    found = [("platform", check_platform(change.platform) if change.platform else ())]
    found += [
        (f"service/{spec.name}", check_service(spec, platform)) for spec in change.services
    ]
    problems = [_located(about, problem) for about, some in found for problem in some]
    if problems:
        raise SpecError(tuple(problems))


def _located(about: str, problem: Problem) -> Problem:
    """Say which word a problem is in, as there is no file any more."""
    return problem if problem.file else replace(problem, file=about)


def _preview(outcome: Outcome, revision: int) -> PlanPreview:
    plan = make_plan(replace(outcome.snapshot, revision=revision))
    return PlanPreview(revision=revision, changes=outcome.lines, plan=plan)
