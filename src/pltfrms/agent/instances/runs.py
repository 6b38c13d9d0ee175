"""Runs of jobs on a node: each begins at most once, as `planner.jobs.holding` says.

A record of a run is on the disk before it begins. What it is begun by is in memory only.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pltfrms import codec
from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.errors import PltfrmsError, UnavailableError
from pltfrms.model.running.machine import Instance, InstanceSpec
from pltfrms.model.running.plan import Allocation, Target
from pltfrms.model.running.texts import shortened
from pltfrms.model.services.jobs import RunOrder, RunPhase, RunReason, RunStatus
from pltfrms.model.services.service import Service
from pltfrms.planner.instances.instances import instance_secrets
from pltfrms.planner.instances.runs import (
    as_allocation,
    as_service,
    exit_code_of,
    is_run,
    run_spec,
    was_late,
)
from pltfrms.planner.jobs.holding import RunAction, RunClaim, action_for
from pltfrms.planner.jobs.leases import START_MS

RUNS_FILE: Final = "runs.json"
_LOOK_SECONDS: Final = 0.5
_KEPT: Final = 200
"""Records of runs that are over; older ones have numbers that no order has any more."""
_PROBLEM: Final = "memory of runs"
_FORGOTTEN: Final = "the memory of its node is lost, so whether it began is not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What is known here of a run that began, or never will."""

    status: RunStatus
    order: RunOrder | None = None
    """As it was begun, while it is alive; None: it was not, or by whom nobody knows."""
    instance: Instance | None = None
    begun_at: float = 0.0
    """Monotonic seconds, which count from boot."""
    boot: str = ""
    ending: RunReason | None = None
    """Why we have ended it, or are about to."""


class RunKeeper:
    """The runs of a node."""

    def __init__(
        self,
        world: World,
        journal: Journal,
        problems: Problems,
        settle: Callable[[], Awaitable[None]],
    ) -> None:
        """Call `settle` to make routes follow, and to have it told."""
        self._world = world
        self._journal = journal
        self._problems = problems
        self._settle = settle
        self._target: Target | None = None
        self._orders: dict[str, RunOrder] = {}
        self._claims: dict[str, RunClaim] = {}
        self._records: dict[str, RunRecord] = {}
        self._driven: set[str] = set()
        self._watched: set[str] = set()
        self._gone: frozenset[str] = frozenset()
        """What has ended before we began; how is to be read yet."""
        self._words = 0
        self._life = ""
        """What all words of this agent begin with."""
        self._remembers = False
        """Whether what has no record did not begin by a word of an agent before us."""
        self._news = asyncio.Event()

    # ---- what others ask -------------------------------------------------------------------

    @property
    def statuses(self) -> tuple[RunStatus, ...]:
        """What to report: of orders, and of what is alive although nobody orders it."""
        asking = (
            RunStatus(run=name, phase=RunPhase.ASKING, claim=claim.word)
            for name, claim in sorted(self._claims.items())
            if name in self._orders and name not in self._records
        )
        said = (
            record.status
            for name, record in sorted(self._records.items())
            if name in self._orders or record.status.phase is RunPhase.RUNNING
        )
        return (*asking, *said)

    @property
    def driven(self) -> tuple[tuple[str, Allocation, Service], ...]:
        """Return what is alive, as if it were instances of services of their own."""
        return tuple(
            (order.run.id, as_allocation(order.run), as_service(order.run))
            for order, _ in self.alive
        )

    @property
    def images(self) -> Iterator[str]:
        """Yield the images that orders want."""
        for order in self._orders.values():
            if box := order.run.spec.run.container:
                yield box.image

    @property
    def alive(self) -> Iterator[tuple[RunOrder, Instance]]:
        """Yield what is alive, and how it was ordered."""
        for _, record in sorted(self._records.items()):
            if record.status.phase is RunPhase.RUNNING and record.instance and record.order:
                yield record.order, record.instance

    # ---- following -------------------------------------------------------------------------

    def read(self, running: Mapping[str, Instance]) -> None:
        """Recall what an agent before us knew, and find what still runs."""
        self._life = f"{self._world.boot}/{int(self._world.clock.monotonic() * 1_000_000)}/"
        with self._problems.watch(_PROBLEM):
            text = self._world.disk.read(RUNS_FILE)
            known = codec.decode(tuple[RunRecord, ...], text) if text else ()
            self._records = {each.status.run: each for each in known}
            self._remembers = bool(text)
        going = (n for n, r in self._records.items() if r.status.phase is RunPhase.RUNNING)
        self._gone = frozenset(going) - running.keys()
        for name, instance in running.items():
            record = self._records.get(name)
            if record and record.status.phase is RunPhase.RUNNING:
                self._records[name] = replace(record, instance=instance)
            elif is_run(name) and record is None:
                status = RunStatus(run=name, phase=RunPhase.RUNNING)
                now, boot = self._world.clock.monotonic(), self._world.boot
                self._records[name] = RunRecord(
                    status=status, instance=instance, begun_at=now, boot=boot
                )

    def apply(self, target: Target) -> None:
        """Follow a target from now on."""
        self._target = target
        self._orders = {order.run.id: order for order in target.runs}
        self._news.set()

    async def run(self) -> None:
        """Do what is ordered, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._news.clear()
                for name in self._orders.keys() - self._driven:
                    self._driven.add(name)
                    tasks.create_task(self._drive(name))
                for name, record in self._records.items():
                    if record.status.phase is RunPhase.RUNNING and name not in self._watched:
                        self._watched.add(name)
                        tasks.create_task(self._watch(name))
                await self._news.wait()

    async def _drive(self, name: str) -> None:
        while name in self._orders:
            with self._problems.watch(f"run {name}"):
                await self._obey(name, self._orders[name])
            await self._world.clock.sleep(_LOOK_SECONDS)
        self._claims.pop(name, None)
        self._driven.discard(name)
        self._problems.set(f"run {name}", "")

    async def _obey(self, name: str, order: RunOrder) -> None:
        now, record = self._world.clock.monotonic(), self._records.get(name)
        runs = record is not None and record.status.phase is RunPhase.RUNNING
        alive = runs and name not in self._gone
        action = action_for(
            order,
            self._claims.get(name),
            int(now * 1000),
            recorded=record is not None,
            alive_ms=int((now - record.begun_at) * 1000) if record and alive else None,
        )
        if action is RunAction.ASK:
            await self._ask(name, order)
        elif action is RunAction.REFUSE:
            self._refuse(order)
            await self._settle()
        elif action is RunAction.BEGIN:
            await self._begin(name, order)
        elif action is RunAction.END and record and record.instance:
            why = RunReason.STOPPED if order.stop else RunReason.TOO_LONG
            self._remember(replace(record, ending=why))
            grace_ms = order.run.spec.run.stop_grace_ms if order.stop else 0
            await self._world.workload.stop(record.instance, grace_ms)

    async def _ask(self, name: str, order: RunOrder) -> None:
        """Have what a start needs, which may take long; then ask, for that may not."""
        await self._world.workload.fetch(self._spec(order))
        if self._world.disk.read(RUNS_FILE) is None:
            self._write()  # so that who finds none knows that it is lost
        now = self._world.clock.monotonic()
        self._words += 1
        word = f"{self._life}{self._words}"
        self._claims[name] = RunClaim(word=word, asked_ms=int(now * 1000))
        await self._settle()

    def _refuse(self, order: RunOrder, why: str = "") -> None:
        """Record that it never begins here; or that nobody knows whether it has."""
        run = order.run
        status = RunStatus(run=run.id, phase=RunPhase.NEVER, detail=why)
        if not (self._remembers or run.claim.startswith(self._life)):
            status = replace(status, phase=RunPhase.ENDED, claim=run.claim, detail=_FORGOTTEN)
        self._remember(RunRecord(status=status))

    async def _begin(self, name: str, order: RunOrder) -> None:
        spec, clock = self._spec(order), self._world.clock
        began_ms = clock.unix_ms()
        status = RunStatus(
            run=name, phase=RunPhase.RUNNING, claim=order.run.claim, began_ms=began_ms
        )
        record = RunRecord(
            status=status, order=order, begun_at=clock.monotonic(), boot=self._world.boot
        )
        self._watched.add(name)
        try:
            self._remember(record)
            await self._start(spec, order, record)
        finally:
            self._watched.discard(name)
            self._news.set()
        await self._settle()

    async def _start(self, spec: InstanceSpec, order: RunOrder, record: RunRecord) -> None:
        """Start what is recorded, if that is on the disk, and still in time."""
        name, now_ms = order.run.id, int(self._world.clock.monotonic() * 1000)
        if self._world.disk.late(RUNS_FILE):
            self._end(name, record, RunReason.NOT_STARTED, "no record of it can be written")
            raise UnavailableError("its record cannot be written, so it does not begin")
        claim = self._claims.get(name)
        action = action_for(order, claim, now_ms, recorded=False, alive_ms=None)
        if action is not RunAction.BEGIN:
            self._refuse(order, "its record was written too late")
            return
        try:
            async with asyncio.timeout(START_MS / 1000):
                instance = await self._world.workload.start(spec)
        except TimeoutError:
            why = f"it took longer than {START_MS // 1000} s"
            self._end(name, record, RunReason.NOT_STARTED, why)
        except (PltfrmsError, OSError) as error:
            self._end(name, record, RunReason.NOT_STARTED, str(error))
        else:
            self._remember(replace(record, instance=instance))
            self._journal.say(f"job/{name}", "run started")

    async def _watch(self, name: str) -> None:
        with self._problems.watch(f"end of run {name}") as tried:
            await self._see_end(name)
        if tried.failed:
            await self._world.clock.sleep(_LOOK_SECONDS)
            self._news.set()
        self._watched.discard(name)
        await self._settle()

    async def _see_end(self, name: str) -> None:
        """Wait for the end of a run, also of one that ended while no agent lived."""
        record, how = self._records[name], ""
        if record.instance is not None and record.boot == self._world.boot:
            how = await self._world.workload.wait(record.instance)
            record = self._records[name]
        late = RunReason.TOO_LONG if was_late(how) else None
        self._end(name, record, record.ending or late, how)

    # ---- remembering -----------------------------------------------------------------------

    def _spec(self, order: RunOrder) -> InstanceSpec:
        target = self._target
        if target is None:
            raise UnavailableError("nobody has told us of it")
        secrets = instance_secrets(target, as_service(order.run))
        return run_spec(target.platform, order.run, secrets)

    def _end(self, name: str, record: RunRecord, reason: RunReason | None, how: str) -> None:
        status = replace(
            record.status,
            phase=RunPhase.ENDED,
            ended_ms=self._world.clock.unix_ms(),
            exit_code=exit_code_of(how),
            reason=reason,
            detail=shortened(how),
        )
        self._journal.say(f"job/{name}", "run over", how)
        self._remember(replace(record, status=status, order=None, instance=None))

    def _remember(self, record: RunRecord) -> None:
        self._records.pop(record.status.run, None)
        self._records[record.status.run] = record
        over = [
            name
            for name, each in self._records.items()
            if each.status.phase is not RunPhase.RUNNING and name not in self._orders
        ]
        for name in over[:-_KEPT]:
            del self._records[name]
        self._write()

    def _write(self) -> None:
        text = codec.encode(tuple(self._records.values()), tuple[RunRecord, ...])
        self._world.disk.write(RUNS_FILE, text)
