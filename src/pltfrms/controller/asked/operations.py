"""What agents and operators may ask of a controller. Any controller answers the same."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from pltfrms.codec import encode
from pltfrms.controller.asked.generating import generated_writes
from pltfrms.controller.asked.intervening import Intervening
from pltfrms.controller.asked.origins import ask_origins
from pltfrms.controller.asked.releasing import Releasing
from pltfrms.controller.contact.heartbeats import Heartbeats
from pltfrms.controller.contact.turns import Turns
from pltfrms.controller.contact.vantages import Vantages
from pltfrms.controller.planning.deciding import decide, work_of
from pltfrms.controller.planning.judging import (
    Approved,
    Judgement,
    asked_by,
    audit,
    by_known,
    conditions,
    judge,
    judge_leaving,
    require_allowed,
    require_approved,
    require_role,
    signed,
    why_two_people,
    with_admission,
    with_origins,
)
from pltfrms.controller.planning.loop import Controller
from pltfrms.controller.planning.tidying import forget_parts_of
from pltfrms.controller.records.auditing import NOBODY, Asked, AuditLog
from pltfrms.controller.records.history import History, forgotten, forgotten_by
from pltfrms.controller.records.state import (
    PLATFORM_KEY,
    Stored,
    commit_mark,
    job_key,
    service_key,
)
from pltfrms.drivers.glass.origins import Origins
from pltfrms.drivers.store.ports import Condition, Delete, Put
from pltfrms.errors import (
    ConflictError,
    NotFoundError,
    Problem,
    SpecError,
    UnavailableError,
    UsageError,
)
from pltfrms.model.messages.api import (
    Change,
    Event,
    Heartbeat,
    HeartbeatReply,
    InterventionChange,
    InterventionReply,
    PlanPreview,
    RolloutChange,
    RolloutVerb,
    ServiceHistory,
    SnapshotView,
    UnreadHeartbeat,
)
from pltfrms.model.messages.audit import AuditPage
from pltfrms.model.running.plan import Plan, Target
from pltfrms.model.running.state import Snapshot
from pltfrms.model.running.vantage import ClientEvidence
from pltfrms.model.running.volumes import Volume
from pltfrms.model.services.service import Service
from pltfrms.planner.changes.change import Outcome, apply_change, delete_service
from pltfrms.planner.changes.rollouts import change_rollout, require_as_seen
from pltfrms.planner.changes.secrets import newly_used
from pltfrms.planner.foresight.admission import is_admission_due, judge_admission
from pltfrms.planner.placement.under_way import under_way
from pltfrms.specfile import check_job, check_platform, check_service

SERVICES_MAX = 40
"""Services of one change: it is one transaction."""
_LOOK_SECONDS = 5.0
"""Longest time in which who waits for a target does not hear that the store is away."""
_Read = tuple[Snapshot, Stored]


class Operations:
    """The verbs of the API, on top of a running controller.

    All raise UnavailableError when the store does not answer: UnclearError if nobody knows
    whether it is done, else nothing was.
    """

    def __init__(self, controller: Controller, origins: Origins | None = None) -> None:
        """Serve what `controller` knows; `origins` is asked what RPKI says."""
        self.controller = controller
        self._origins = origins
        self._store = controller.store
        self._clock = controller.clock
        self._view = controller.view
        self._journal = controller.journal
        self._heartbeats = Heartbeats(
            controller.lease_store, controller.view, controller.journal, controller.counters
        )
        self._turns = Turns(controller.view)
        self.vantages = Vantages(controller.view, controller.clock)
        self._insisting = controller.insisting
        self.records = AuditLog(self._store, self._clock, controller.name)
        self._intervening = Intervening(controller, self.records)
        self._releasing = Releasing(controller, self.records)
        self.versions = History(self._store)

    # ---- agents ----------------------------------------------------------------------------

    async def heartbeat(self, heartbeat: Heartbeat) -> HeartbeatReply:
        """Note that a machine lives; NotFoundError if the platform has none of its name."""
        reply = await self._heartbeats.take(heartbeat)
        return replace(
            reply,
            made_of=self._made_of(heartbeat.status.machine, reply.generation),
            turn=self._turns.turn(heartbeat.status),
            controller=self.controller.name,
            unix_ms=self._clock.unix_ms(),
        )

    async def heartbeat_unread(self, heartbeat: UnreadHeartbeat) -> HeartbeatReply:
        """Note that a machine lives whose report this version does not understand."""
        reply = await self._heartbeats.take_unread(heartbeat)
        machine = str(heartbeat.status.get("machine"))
        return replace(reply, made_of=self._made_of(machine, reply.generation))

    async def target(
        self, machine: str, after: int, wait_ms: int, made_of: str = "", key: str = ""
    ) -> Target | None:
        """Return the machine's target if it is newer than generation `after`.

        With `made_of`, the fingerprint of what the machine has, only if it is another one.
        Values of secrets are sealed to `key`, which is the machine's.

        Waits up to `wait_ms` for it; None if nothing newer came. NotFoundError if the
        platform has no such machine. UnavailableError if there may be a newer one that is
        made of what cannot be read here: another controller may know it.
        """
        deadline = self._clock.monotonic() + wait_ms / 1000
        while True:
            makings, now_ms = self._view.makings(), self._clock.unix_ms()
            if makings.revision > after and makings.made_of(machine, now_ms) != made_of:
                target = makings.target(machine, now_ms)
                stored, values = self._view.last_stored(), self.controller.values
                return values.delivered(target, stored.secrets, key, stored.secrets_key)
            makings.require(machine)
            self._view.require_readable()
            remaining = deadline - self._clock.monotonic()
            if remaining <= 0:
                return None
            await self.controller.polls.wait(machine, made_of, min(remaining, _LOOK_SECONDS))

    def _made_of(self, machine: str, generation: int) -> str:
        """Return the fingerprint of a machine's target of that generation; empty: not known."""
        try:
            makings = self._view.makings()
            same = makings.revision == generation
            return makings.made_of(machine, self._clock.unix_ms()) if same else ""
        except (UnavailableError, NotFoundError):
            return ""

    def _with_generations(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot in which machines have the generation that they need not fetch."""
        makings = self._view.makings()
        if makings.revision != snapshot.revision:
            return snapshot
        statuses = makings.up_to_date(snapshot.statuses, snapshot.now_ms)
        return replace(snapshot, statuses=statuses)

    # ---- readers ---------------------------------------------------------------------------

    def require_store(self) -> None:
        """Raise UnavailableError unless the store has answered lately."""
        self._view.stored()

    def snapshot(self, *, stale: bool = False) -> SnapshotView:
        """Return the whole state, and what cannot be done now.

        While the store does not answer, or holds what cannot be read: with `stale` what was
        known last, else UnavailableError.
        """
        name = self.controller.name
        problems = self.controller.problems
        store = self.controller.upkeep.state if self.controller.upkeep else None
        try:
            snapshot = self._view.snapshot()
        except UnavailableError:
            if not stale:
                raise
            snapshot, seconds = self._view.last_known()
            return SnapshotView(
                controller=name,
                snapshot=snapshot,
                stale_seconds=seconds,
                last_contacts=self._view.last_contacts() if seconds else {},
                problems=problems,
                controller_problems=self._view.controller_problems,
                store=store,
                clients=self._clients(snapshot),
            )
        return SnapshotView(
            controller=name,
            snapshot=self._with_generations(snapshot),
            notes=self.controller.notes,
            problems=problems,
            controllers=self._view.controllers,
            controller_problems=self._view.controller_problems,
            store=store,
            clients=self._clients(snapshot),
        )

    def _clients(self, snapshot: Snapshot) -> ClientEvidence:
        return self.vantages.evidence(snapshot.platform, snapshot.services)

    async def events(
        self, after: int, wait_ms: int, limit: int, *, stale: bool = False
    ) -> tuple[Event, ...]:
        """Return events after a sequence, oldest first, waiting up to `wait_ms` for one.

        While the store does not answer: with `stale` what was known last, else
        UnavailableError.
        """
        return await self._journal.read(after, wait_ms, limit, stale=stale)

    def kept_events(self, after: int) -> tuple[Event, ...]:
        """Return the events after a sequence that this controller has in memory."""
        return self._journal.kept(after)

    @property
    def newest_revision(self) -> int:
        """The revision of the store that this controller has seen; 0: none."""
        return self._view.revision

    @property
    def newest_event(self) -> int:
        """The sequence of the last of them; 0: there is none."""
        return self._journal.newest

    async def history(self, name: str) -> ServiceHistory:
        """Return the versions of a service that are kept; NotFoundError if there is none."""
        snapshot = await self._view.linearized()
        return await self.versions.read(snapshot.service(name))

    # ---- operators -------------------------------------------------------------------------

    async def plan(self, change: Change) -> PlanPreview:
        """Return what a change would do; see `apply` for the errors."""
        read = await self._view.linearized_stored()
        snapshot, outcome = read[0], await self._outcome(read, change)
        judgement = await self._judge(snapshot, outcome.snapshot)
        two = why_two_people(snapshot, outcome.snapshot, judgement.verdicts, change.despite)
        return await self._preview(snapshot, outcome, judgement, snapshot.revision, two)

    async def apply(
        self, change: Change, approved: Approved | None = None, asked: Asked = NOBODY
    ) -> PlanPreview:
        """Make a change the platform's intent, as one transaction.

        Raises:
            ForbiddenError: it is not for the role of who asks.
            TwoPeopleError: a second operator must approve it, and none has.
            SpecError: the words contradict each other or the platform.
            UsageError: the change alters what must stay.
            ConflictError: `change.revision` is not the last commit any more, or a guard
                forbids it that `change.despite` does not name.
        """
        change = by_known(asked, change)

        async def attempt() -> PlanPreview | None:
            read = await self._view.linearized_stored()
            if change.revision not in {None, read[0].revision}:
                await self._insisting.say_so()
            done = await self._applied(read, change, approved, asked)
            if done is None and change.revision is not None:
                await self._insisting.say_so()
                raise ConflictError("somebody committed at the same time; plan and apply again")
            return done

        return await self._insisting.until_done(attempt)

    async def _applied(
        self, read: _Read, change: Change, approved: Approved | None, asked: Asked
    ) -> PlanPreview | None:
        """Apply a change to what was read; None if somebody has committed since."""
        snapshot, outcome = read[0], await self._outcome(read, change)
        about = [line.about for line in outcome.lines]
        about += newly_used(snapshot, outcome.snapshot)
        overrides = bool(change.despite)
        require_role(snapshot.platform, asked, approved, about, overrides=overrides)
        judgement = await self._judge(snapshot, outcome.snapshot)
        verdicts = judgement.verdicts
        require_allowed(verdicts, change.despite)
        two = why_two_people(snapshot, outcome.snapshot, verdicts, change.despite)
        require_approved(two, approved, snapshot)
        beside: list[Put | Delete] = [
            *audit(self._journal, verdicts, change, approved),
            *forgotten_by(snapshot, outcome),
            *generated_writes(self.controller.values, read[1], outcome.secrets),
        ]
        unchanged = conditions(snapshot, approved)
        await self.versions.keep(snapshot.services, outcome.services, unchanged)
        who = asked_by(change, approved, asked)
        committed = await self.commit("apply", outcome, unchanged, who, beside)
        if committed is None:
            return None
        return await self._preview(snapshot, outcome, judgement, committed, two)

    async def delete(self, name: str, asked: Asked = NOBODY) -> PlanPreview:
        """Remove a service; NotFoundError if there is none of that name, ForbiddenError."""

        async def attempt() -> PlanPreview | None:
            snapshot = await self._view.linearized()
            outcome = delete_service(snapshot, name)
            about = (line.about for line in outcome.lines)
            require_role(snapshot.platform, asked, None, about, overrides=False)
            unchanged = conditions(snapshot, None)
            kept = forgotten(snapshot.services[name])
            committed = await self.commit("delete", outcome, unchanged, asked, kept)
            if committed is not None:
                return await self._preview(snapshot, outcome, Judgement(), committed)
            return None

        return await self._insisting.until_done(attempt)

    async def intervene(
        self,
        change: InterventionChange,
        approved: Approved | None = None,
        asked: Asked = NOBODY,
    ) -> InterventionReply:
        """Drain, freeze or blackhole, or end it; see `Intervening.take` for the errors."""
        return await self._intervening.take(change, approved, asked)

    async def change_rollout(self, change: RolloutChange, asked: Asked = NOBODY) -> PlanPreview:
        """Pause, resume, promote, abort or undo a rollout.

        Raises:
            ForbiddenError: it is not for the role of who asks.
            NotFoundError: there is no such service.
            ConflictError: nothing of it is under way, it is so already, it is not any more
                where it was seen, or nothing is kept that it could go back to.
        """
        wanted = by_known(asked, change)

        async def attempt() -> PlanPreview | None:
            read = await self._view.linearized_stored()
            snapshot, change = read[0], wanted
            if change.verb is RolloutVerb.UNDO:
                service = snapshot.service(change.service)
                if service.rolling is None:
                    require_as_seen(service, change)
                    again = await self._undone(change, service)
                    return await self._applied(read, again, None, asked)
                change = replace(change, verb=RolloutVerb.ABORT)
            outcome = change_rollout(snapshot, change)
            about = (line.about for line in outcome.lines)
            require_role(snapshot.platform, asked, None, about, overrides=False)
            unchanged = conditions(snapshot, None)
            await self.versions.keep(snapshot.services, outcome.services, unchanged)
            who = asked_by(change, None, asked)
            what = f"rollout {change.verb}"
            committed = await self.commit(what, outcome, unchanged, who)
            if committed is None:
                return None
            return await self._preview(snapshot, outcome, Judgement(), committed)

        return await self._insisting.until_done(attempt)

    async def release_volume(self, name: str, asked: Asked, *, give_up: bool) -> Volume:
        """See `Releasing.take`."""
        return await self._releasing.take(name, asked, give_up=give_up)

    async def _undone(self, change: RolloutChange, service: Service) -> Change:
        """Return the change to what the last version before ran that did not fail, anew.

        What else its spec says stays: a number of replicas is no matter of a version. One that
        ran the same, as before a restart, is passed over.
        """
        now = service.spec.said_parts
        history = await self.versions.read(service)
        failed = {each.version for each in service.failed}
        before = [
            each.service.spec
            for each in history.versions[1:]
            if each.service.version < service.version and each.service.version not in failed
            if each.service.spec.said_parts != now
        ]
        if not before:
            raise ConflictError(f"no earlier version of {service.name} is kept")
        then = before[0]
        spec = replace(service.spec, run=then.run, probe=then.probe, liveness=then.liveness)
        return Change(services=(spec,), by=change.by, why=change.why or "undo")

    async def audit(self, after: int, limit: int) -> AuditPage:
        """Return what operators did, by records with numbers > `after`."""
        return await self.records.read(after, limit)

    async def _outcome(self, read: _Read, change: Change) -> Outcome:
        """Return what the change makes of the snapshot, if it is sound."""
        snapshot, stored = read
        if change.revision not in {None, snapshot.revision}:
            raise ConflictError(
                f"the last commit is {snapshot.revision}, not {change.revision}; "
                "plan again and look at the difference"
            )
        await self._check(snapshot, change)
        return apply_change(snapshot, change, stored.secrets_last)

    async def _check(self, snapshot: Snapshot, change: Change) -> None:
        """Refuse what the spec files' own rules refuse, whoever sent it."""
        if len(change.services) + len(change.jobs) > SERVICES_MAX:
            how = "first give each part a label of its own" if change.prune else "split it"
            what = "services and jobs"
            raise UsageError(f"at most {SERVICES_MAX} {what} at once in a change; {how}")
        names = [spec.name for spec in change.services]
        names += [f"job {spec.name}" for spec in change.jobs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(f"the change names a service twice: {', '.join(twice)}")
        platform = change.platform or snapshot.platform
        found = [("platform", check_platform(change.platform) if change.platform else ())]
        for spec in change.services:
            found.append((f"service/{spec.name}", check_service(spec, platform)))
            await self._clock.sleep(0)  # on a large platform each takes a millisecond
        found += [(f"job/{spec.name}", check_job(spec, platform)) for spec in change.jobs]
        problems = [_located(about, problem) for about, some in found for problem in some]
        if problems:
            raise SpecError(tuple(problems))

    async def _judge(self, before: Snapshot, after: Snapshot) -> Judgement:
        now_ms = self._clock.unix_ms()
        judgement = judge(before, after, now_ms)
        leaving = await judge_leaving(self._store, before.platform, after.platform, now_ms)
        judgement = replace(judgement, verdicts=(*judgement.verdicts, *leaving))
        if is_admission_due(before, after):
            work = partial(judge_admission, before, after)
            found = await self.controller.aside.run(work_of(after), work)
            judgement = with_admission(judgement, found, after.platform.guards)
        if not judgement.claims:
            return judgement
        answers, silence = await ask_origins(self._origins, before, judgement.claims)
        return with_origins(judgement, answers, silence)

    async def commit(
        self,
        what: str,
        outcome: Outcome,
        conditions: Sequence[Condition],
        asked: Asked,
        beside: Sequence[Put | Delete] = (),
    ) -> int | None:
        """Store an outcome and tell of it; return the last commit's revision, None if lost."""
        if not outcome.lines:
            return outcome.snapshot.revision
        mark = commit_mark(self.controller.name, self._clock.unix_ms())
        writes: list[Put | Delete] = [mark]
        if outcome.platform:
            writes.append(Put(key=PLATFORM_KEY, value=encode(outcome.platform)))
        writes += [Put(key=service_key(s.name), value=encode(s)) for s in outcome.services]
        writes += [Delete(key=service_key(name)) for name in outcome.deleted]
        writes += [Put(key=job_key(each.name), value=encode(each)) for each in outcome.jobs]
        accepted = [
            self._journal.tell(
                line.about, f"{line.action} accepted", detail=signed(line.detail, asked.by)
            )
            for line in outcome.lines
        ]
        lines = [f"{line.about} {line.action}: {line.detail}" for line in outcome.lines]
        sealed = await self.records.seal(what, lines, asked)
        writes += [*map(self._journal.put, accepted), *beside, *sealed.writes]
        committed = await self._store.commit(writes, (*conditions, sealed.condition))
        if committed:
            after = replace(outcome.snapshot, revision=committed)
            await forget_parts_of(self._store, after, outcome.deleted)
        return committed

    async def _preview(
        self,
        before: Snapshot,
        outcome: Outcome,
        judgement: Judgement,
        revision: int,
        two_people: str = "",
    ) -> PlanPreview:
        after = replace(outcome.snapshot, revision=revision)

        def plans() -> tuple[Plan, Plan]:
            plan = decide(after)
            return plan, decide(before) if outcome.lines else plan

        plan, going_on = await self.controller.aside.run(work_of(after), plans)
        return PlanPreview(
            revision=revision,
            changes=outcome.lines,
            plan=plan,
            under_way=under_way(going_on, plan),
            routing=judgement.routing,
            verdicts=judgement.verdicts,
            doubts=judgement.doubts,
            two_people=two_people,
        )


def _located(about: str, problem: Problem) -> Problem:
    """Say which word a problem is in, as there is no file any more."""
    return problem if problem.file else replace(problem, file=about)
