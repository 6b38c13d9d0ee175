"""Observe, plan, commit: what every controller does all the time, without a leader.

Any number of controllers may plan from the same state at once: a commit is guarded by the
revision of the commit before, so that one wins, and the others look again. The rank only
makes them start one after the other, which saves work. It is not needed for correctness.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import structlog

from pltfrms.codec import encode
from pltfrms.controller.contact.measured import MeasuredStore, Trouble
from pltfrms.controller.contact.polls import Polls
from pltfrms.controller.contact.presence import Presence, presence_ttl_seconds
from pltfrms.controller.contact.view import View, make_mirror
from pltfrms.controller.counters import Counters
from pltfrms.controller.keeping.upkeep import Upkeep
from pltfrms.controller.planning.apart import Apart
from pltfrms.controller.planning.deciding import Deciding
from pltfrms.controller.planning.insisting import GIVE_WAY_SECONDS, Insisting, nobody_waits
from pltfrms.controller.planning.jobs import Jobs
from pltfrms.controller.planning.rolling import commit_rollouts
from pltfrms.controller.planning.tidying import forget_machines, forget_parts, keep_volumes
from pltfrms.controller.records.journal import MACHINE_IN_CONTACT, EventLog
from pltfrms.controller.records.state import (
    NUMBERS,
    PLATFORM_KEY,
    Stored,
    commit_mark,
    lost_key,
    number_key,
    unchanged_since,
    volume_key,
)
from pltfrms.controller.records.steps import in_batches, remember, writes_of
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.store.ports import Condition, Delete, Members, Put, Store
from pltfrms.drivers.store.transaction import MAX_OPERATIONS, batches
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import Event
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.running.plan import Note, Place, Plan, Reason, Step
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.planner.placement.drafting.numbers import numbers_left, unneeded_numbers
from pltfrms.planner.upkeep.forgetting import deleted_volumes

BATCH_STEPS = (MAX_OPERATIONS - 3) // 3
"""Steps of one transaction; each is three writes: an allocation, an event, maybe a number. Of
the other three operations, one marks the commit, and two are conditions."""
RANK_SECONDS = 0.7
"""What a controller waits, times its rank, before it commits what others should have."""
IDLE_SECONDS = 1.0
"""Longest time between two looks: some decisions are due by time alone."""
RETRY_SECONDS = 0.5
CATCH_BREATH_SECONDS_MAX = 0.25
"""Between two looks of which the first found nothing to do: as long as that one took."""
PRUNE_SECONDS = 60.0
AUDIT_SECONDS = 60.0
"""So often a plan is made although there is nothing new to plan."""
_LOST = "machine lost"
_ALARMS = {Reason.PANIC: "all instances say that they are unhealthy"}
_BROKEN = "nothing of the plan is done, for it breaks rules (a bug, please report it)"
_MISSED = "planning missed a change and was done late (a bug, please report it)"
_RULES_SAID = 3

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Told:
    """What was written into the journal, and is not told again while it is so."""

    lost: set[str] = field(default_factory=set)
    notes: frozenset[tuple[str, Reason]] = frozenset()
    problems: tuple[str, ...] = ()
    broken: str = ""
    divergences: int = 0


class Controller:
    """One controller's loop. `name` is the machine it runs on."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        name: str,
        bootstrap: Platform,
        random: Random,
        *,
        apart: Apart | None = None,
    ) -> None:
        """Start with `bootstrap` as the platform if the store is empty.

        Without `apart` heartbeats share `store`, and all is computed here.
        """
        self.name = name
        self.clock = clock
        self.counters = Counters()
        trouble = Trouble()
        self.store: Store = MeasuredStore(store, clock, self.counters, trouble)
        apart = apart or Apart(lease_store=store)
        self.lease_store: Store = MeasuredStore(
            apart.lease_store, clock, self.counters, trouble
        )
        self.journal = EventLog(self.store, clock, name, random)
        self._mirror = make_mirror(self.store, clock, random)
        self.view = View(self.lease_store, clock, self._mirror, trouble)
        self._presence = Presence(
            self.lease_store,
            clock,
            name,
            self._presence_ttl_seconds,
            lambda: "; ".join(self.problems),
        )
        self.notes: tuple[Note, ...] = ()
        """What the last plan could not do."""
        self.aside, self.backups, self.values = apart.aside, apart.backups, apart.values
        self.deciding = Deciding(self.aside, self.counters)
        self.jobs, self._bootstrap = Jobs(self.store, self.journal, clock), bootstrap
        self.upkeep = self._upkeep(apart.members)
        self.polls, self._random = Polls(self.view, clock), random
        self.insisting = Insisting(self.store, clock, random)
        self._waiting: tuple[int, float] | None = None
        self._refused_since: float | None = None
        """Since when (monotonic) no batch of ours was committed; None: the last one was."""
        self._told = _Told()
        self._problems: tuple[str, ...] = ()
        self._broken = ""
        """Which rules the last plan broke, one sentence; empty: none, or no plan is made."""
        self._pruned_at = self._audited_at = clock.monotonic()
        self._missed = ""
        """What the last audit found that should have been planned, one sentence."""

    @property
    def platform(self) -> Platform:
        """That of the store; until it is known, the one that we began with."""
        return self.view.platform or self._bootstrap

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps this controller from deciding, or from knowing all; one sentence each."""
        late = self.backups.problem if self.backups else ""
        sealed = self.values.problem(self.view.secrets_key, self.view.secrets)
        own = (self._broken, self._missed, self.view.slowness, late, sealed)
        return (*self._problems, *filter(None, own))

    @property
    def unreadable_count(self) -> int:
        """How many documents cannot be read here."""
        return len(self._problems)

    @property
    def why_idle(self) -> str:
        """Why nothing is decided here now, one sentence; empty: it is."""
        try:
            self.view.snapshot()
        except UnavailableError as error:
            return str(error)
        if self.upkeep and self.upkeep.full:
            return "the store is full and takes no writes; `pltfrms status` says more"
        return self._broken

    async def run(self) -> None:
        """Keep the platform as it is wanted, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mirror.run())
            group.create_task(self.journal.run())
            group.create_task(self.view.follow())
            group.create_task(self.polls.run())
            group.create_task(self.view.feel_lateness())
            group.create_task(self.view.suspicions.run())
            group.create_task(self._presence.run())
            group.create_task(self._cycles())
            if self.upkeep:
                group.create_task(self.upkeep.run())
            if self.backups:
                group.create_task(self.backups.run())

    def _upkeep(self, members: Members | None) -> Upkeep | None:
        if members is None:
            return None
        return Upkeep(members, self.store, self.clock, self.name, self.view, self.journal)

    def _presence_ttl_seconds(self) -> int:
        return presence_ttl_seconds(self.platform.timers.contact_ttl_seconds)

    async def _cycles(self) -> None:
        while True:
            began, seen = self.clock.monotonic(), self.view.revision
            try:
                pause = await self.cycle()
            except UnavailableError as error:
                _log.warning("nothing decided", reason=str(error))
                pause = RETRY_SECONDS
            except Exception:  # noqa: BLE001 - a bug in planning must not end heartbeats
                _log.exception("cycle failed")
                pause = IDLE_SECONDS
            if pause > 0:  # while change follows change, no more than half of the time is ours
                took = self.clock.monotonic() - began
                await self.clock.sleep(min(took, CATCH_BREATH_SECONDS_MAX))
            await self.view.wait(pause * self._random.uniform(0.8, 1.0), seen)

    async def cycle(self) -> float:
        """Look, plan and commit once; return how long nothing needs to be done (seconds).

        Raises:
            UnavailableError: the store does not answer. What was being committed may be
                committed or not; the next cycle looks.
        """
        stored = self.view.stored()
        if stored.platform is None and not stored.unreadable:
            await self._put_bootstrap()
            return 0.0
        await self.view.confirm_contacts()
        await self._tell_problems(stored.problems)
        await self._tell_contacts(stored)
        await self._tell_divergences()
        pruned = await self._prune()
        if stored.unreadable:
            self._broken = self._told.broken = ""
            return IDLE_SECONDS
        snapshot = self.view.snapshot()
        if pruned:
            await forget_machines(self.store, snapshot)
            await forget_parts(self.store, snapshot)
        if not stored.unread and await self._tidy(snapshot, pruned=pruned):
            return 0.0
        plan = await self._sound_plan(snapshot)
        undecided = Contact.UNKNOWN in {view.contact for view in snapshot.machines.values()}
        idle = RETRY_SECONDS if undecided else IDLE_SECONDS
        if not (plan.steps or plan.rollouts):
            self._waiting = None
            await self._audit(snapshot)
            return idle
        patience = self._patience(snapshot)
        if patience > 0:
            return min(patience, idle)
        done = await self._roll(plan, snapshot)
        done = done and await self._commit(plan, snapshot.numbers)
        return 0.0 if done else RETRY_SECONDS

    async def _tidy(self, snapshot: Snapshot, *, pruned: bool) -> bool:
        """Do what is due beside a plan; return whether there was anything."""
        if await self._forget_volumes(snapshot, made=not pruned):
            return True
        if pruned and await self._forget_numbers(snapshot):
            return True
        mark, now_ms = self._commit_mark(), self.clock.unix_ms()
        done = await keep_volumes(self.store, self.journal, mark, snapshot, now_ms)
        if done == 0 and snapshot.jobs:
            done = await self.jobs.keep(snapshot, mark, self._rank(snapshot))
        await self._wait_until_seen(snapshot.revision + 1 if done is None else done)
        return done != 0

    async def _sound_plan(self, snapshot: Snapshot) -> Plan:
        """Return what to do now: nothing if the plan breaks a rule, which is a bug of ours."""
        decision = await self.deciding.decide(snapshot)
        await self._tell_notes(decision.plan.notes)
        await self._tell_broken(decision.broken)
        return replace(decision.plan, steps=(), rollouts=()) if self._broken else decision.plan

    async def _audit(self, snapshot: Snapshot) -> None:
        """Now and then, plan although nothing new is known: it must be the same plan."""
        now = self.clock.monotonic()
        if now - self._audited_at < AUDIT_SECONDS:
            return
        self._audited_at = now
        missed = await self.deciding.audit(snapshot)
        self._missed = f"{_MISSED}: {missed}" if missed else ""
        if missed:
            self.counters.missed += 1
            _log.error("an audit found a change that was missed", problem=missed)
            await self.journal.write(
                (self.journal.tell("plan", "plan missed a change", detail=missed),)
            )

    def _patience(self, snapshot: Snapshot) -> float:
        """Return how long controllers before us still have to commit what is needed."""
        now = self.clock.monotonic()
        if self._waiting is None or self._waiting[0] != snapshot.revision:
            self._waiting = (snapshot.revision, now)
        return self._waiting[1] + self._rank(snapshot) * RANK_SECONDS - now

    def _rank(self, snapshot: Snapshot) -> int:
        names = [machine.name for machine in snapshot.platform.machines_of(Role.CONTROLLER)]
        return names.index(self.name) if self.name in names else len(names)

    async def _put_bootstrap(self) -> None:
        writes = (Put(key=PLATFORM_KEY, value=encode(self._bootstrap)), self._commit_mark())
        conditions = (
            Condition(key=PLATFORM_KEY, mod_revision=0),
            unchanged_since(0),
        )
        if await self.store.commit(writes, conditions):
            _log.info("platform stored", platform=self._bootstrap.name)
        await self.view.wait(RETRY_SECONDS)

    async def _roll(self, plan: Plan, snapshot: Snapshot) -> bool:
        """Commit what becomes of rollouts; False if somebody else committed in between."""
        if not plan.rollouts:
            return True
        committed = await commit_rollouts(
            self.store,
            self.journal,
            snapshot,
            plan.rollouts,
            self._commit_mark(),
            self._conditions(plan.revision),
        )
        if committed is None:
            self._refused(plan.revision)
            return False
        revision, reasons = committed
        self.counters.rollouts.update(reasons)
        _log.info("rollouts changed", revision=revision, steps=len(reasons))
        self._waiting = self._refused_since = None
        await self._wait_until_seen(revision)
        return True

    def _refused(self, revision: int) -> None:
        self.counters.conflicts += 1
        self._refused_since = self._refused_since or self.clock.monotonic()
        _log.info("plan refused", revision=revision)

    async def _commit(self, plan: Plan, numbers: Mapping[str, int]) -> bool:
        """Commit the plan in batches; False if somebody else committed in between."""
        revision = plan.revision
        for steps in in_batches(plan.steps, BATCH_STEPS):
            writes: list[Put | Delete] = [self._commit_mark()]
            for step in steps:
                writes += writes_of(step, self.clock.unix_ms())
                writes.append(self.journal.put(self._event(step)))
            left = numbers_left(numbers, steps)
            numbers = {**numbers, **left}
            writes += [remember(*each) for each in left.items()]
            committed = await self.store.commit(writes, self._conditions(revision))
            if committed is None:
                self._refused(revision)
                return False
            self._count(steps, committed)
            revision = committed
            self._refused_since = None
        self._waiting = None
        await self._wait_until_seen(revision)
        return True

    def _conditions(self, revision: int) -> tuple[Condition, ...]:
        """Return under which conditions a batch may be committed: operators come first."""
        since = self._refused_since
        patient = since is None or self.clock.monotonic() - since < GIVE_WAY_SECONDS
        return (unchanged_since(revision), *((nobody_waits(),) if patient else ()))

    async def _wait_until_seen(self, revision: int) -> None:
        """Give the mirror a moment to show our own commit, instead of planning it again."""
        deadline = self.clock.monotonic() + RETRY_SECONDS
        while self.view.stored().commit < revision and self.clock.monotonic() < deadline:
            await self.view.wait(deadline - self.clock.monotonic())

    def _commit_mark(self) -> Put:
        return commit_mark(self.name, self.clock.unix_ms())

    def _count(self, steps: Sequence[Step], revision: int) -> None:
        self.counters.commits += 1
        self.counters.steps.update(step.reason for step in steps)
        _log.info("plan committed", revision=revision, steps=len(steps))

    def _event(self, step: Step) -> Event:
        allocation = step.allocation
        placed = isinstance(step, Place)
        gone = step.gives_up if isinstance(step, Place) else None
        replaces = f", replaces {allocation.replaces}" if allocation.replaces else ""
        replaces += f"; gives up {gone.id}, which stays recorded: {gone.why}" if gone else ""
        return self.journal.tell(
            allocation.id,
            "replica placed" if placed else "replica stopped",
            reason=step.reason,
            detail=f"on {allocation.node}{replaces if placed else ''}",
        )

    # ---- telling ---------------------------------------------------------------------------

    async def _tell_contacts(self, stored: Stored) -> None:
        """Say which machines were lost; who finds one again says so at its heartbeat.

        That it is told stands beside the machine in the store while it is lost: so that each
        loss is told once, also when the controller that should have told it is gone. One of
        the release before writes it to the journal alone. What was never heard of is not lost.
        """
        contacts = self.view.contacts()
        lost = {
            name
            for name, contact in contacts.items()
            if contact is Contact.LOST and stored.has_heard_of(name)
        }
        self._told.lost = lost & (self._told.lost | stored.told_lost)
        self._told.lost |= {
            name
            for name in lost - self._told.lost
            if self.journal.last(f"machine/{name}", {_LOST, MACHINE_IN_CONTACT}) == _LOST
        }
        if not self.view.is_first(self.name):
            return
        untold = sorted(lost - self._told.lost)
        writes: list[Put | Delete] = [
            self.journal.put(
                self.journal.tell(f"machine/{name}", _LOST, reason=Reason.NODE_LOST)
            )
            for name in untold
        ]
        writes += [
            Put(key=lost_key(name), value=b"told") for name in sorted(lost - stored.told_lost)
        ]
        gone = {name for name, each in contacts.items() if each is not Contact.PRESENT}
        writes += [Delete(key=lost_key(name)) for name in sorted(stored.told_lost - gone)]
        for batch in batches(writes):
            await self.store.commit(batch)
        self._told.lost |= lost

    async def _tell_problems(self, problems: tuple[str, ...]) -> None:
        """Say what cannot be read; each controller for itself, as versions may differ.

        Like all that is told here, it counts as told when it is stored, not before.
        """
        self._problems = problems
        new = [problem for problem in problems if problem not in self._told.problems]
        for problem in new:
            _log.error("document cannot be read", problem=problem)
        events = [
            self.journal.tell("store", "document cannot be read", detail=problem)
            for problem in new
        ]
        if self._told.problems and not problems:
            _log.info("all documents can be read again")
            events.append(self.journal.tell("store", "all documents can be read again"))
        if events:
            await self.journal.write(events)
        self._told.problems = problems

    async def _tell_divergences(self) -> None:
        """Say that what we decided by was not what the store held."""
        count = self.view.divergences
        if count > self._told.divergences:
            detail = f"{count - self._told.divergences} keys; the store is believed"
            event = self.journal.tell("store", "known otherwise than stored", detail=detail)
            await self.journal.write((event,))
        self._told.divergences = count

    async def _tell_broken(self, rules: tuple[str, ...]) -> None:
        self._broken = ""
        if rules:
            self.counters.broken_plans += 1
            left = len(rules) - _RULES_SAID
            more = f"; and {left} more" if left > 0 else ""
            self._broken = f"{_BROKEN}: {'; '.join(rules[:_RULES_SAID])}{more}"
        if self._broken and self._broken != self._told.broken:
            _log.error("plan breaks a rule", problem=self._broken)
            event = self.journal.tell("plan", "plan breaks a rule", detail=self._broken)
            await self.journal.write((event,))
        self._told.broken = self._broken

    async def _tell_notes(self, notes: tuple[Note, ...]) -> None:
        self.notes = notes
        events = [
            self.journal.tell(
                note.about,
                _ALARMS.get(note.reason, "cannot be done now"),
                reason=note.reason,
                detail=note.detail,
            )
            for note in notes
            if (note.about, note.reason) not in self._told.notes
        ]
        await self._tell(events)
        self._told.notes = frozenset((note.about, note.reason) for note in notes)

    async def _tell(self, events: Sequence[Event]) -> None:
        if events and self.view.is_first(self.name):
            await self.journal.write(events)

    # ---- cleaning --------------------------------------------------------------------------

    async def _prune(self) -> bool:
        due = self.clock.monotonic() - self._pruned_at >= PRUNE_SECONDS
        if not due or not self.view.is_first(self.name):
            return False
        self._pruned_at = self.clock.monotonic()
        await self.journal.prune()
        return True

    async def _forget_volumes(self, snapshot: Snapshot, *, made: bool) -> bool:
        """Forget volumes that their nodes have deleted; return whether there were any."""
        if not self.view.is_first(self.name):
            return False
        gone = deleted_volumes(snapshot, made=made)[: MAX_OPERATIONS - 2]
        if gone:
            writes: list[Put | Delete] = [self._commit_mark()]
            writes += [Delete(key=volume_key(volume)) for volume in gone]
            committed = await self.store.commit(writes, (unchanged_since(snapshot.revision),))
            await self._wait_until_seen(committed or snapshot.revision + 1)
        return bool(gone)

    async def _forget_numbers(self, snapshot: Snapshot) -> bool:
        """Forget some numbers that nobody needs; return whether there were any."""
        if not unneeded_numbers(snapshot, dict.fromkeys(snapshot.numbers, 0)):
            return False
        listing = await self.store.list(NUMBERS)
        written_at = {e.key.removeprefix(NUMBERS): e.mod_revision for e in listing.entries}
        unneeded = unneeded_numbers(snapshot, written_at)[: MAX_OPERATIONS - 2]
        if unneeded:
            writes: list[Put | Delete] = [self._commit_mark()]
            writes += [Delete(key=number_key(replica)) for replica in unneeded]
            committed = await self.store.commit(writes, (unchanged_since(snapshot.revision),))
            await self._wait_until_seen(committed or 0)
        return bool(unneeded)
