"""A platform that runs jobs, in miniature: a store, controllers, nodes, and a clock each."""

from dataclasses import dataclass, field, replace
from random import Random

from pltfrms.model.running.state import Contact, MachineStatus, MachineView, Snapshot
from pltfrms.model.services.jobs import (
    OVER,
    Job,
    JobRun,
    JobSpec,
    RunOrder,
    RunPhase,
    RunReason,
    RunState,
    RunStatus,
)
from pltfrms.model.services.service import Run
from pltfrms.planner.jobs.deciding import decide_jobs
from pltfrms.planner.jobs.holding import RunAction, RunClaim, action_for
from pltfrms.planner.jobs.steps import JobStep, JobVerb
from pltfrms.planner.placement.orders import orders_of
from tests.strategies import make_platform

START_MS = 1_796_000_000_000
TIMEOUT_MS = 30_000
LOST_MS = 15_000
PLATFORM = make_platform({"fra": 2, "ams": 1}, others=False)
NODES = tuple(node.name for node in PLATFORM.machines if node.name.rpartition("-")[2][0] == "n")


def make_job(schedule: str = "* * * * *", retries: int = 1) -> Job:
    spec = JobSpec(
        name="backup",
        run=Run(process=("true",), stop_grace_ms=1000),
        schedule=schedule,
        timeout_ms=TIMEOUT_MS,
        retries=retries,
    )
    return Job(spec=spec, version=1, decided_ms=START_MS)


def applied(snapshot: Snapshot, step: JobStep) -> Snapshot:
    """Return the snapshot after a step was committed."""
    jobs, runs = dict(snapshot.jobs), dict(snapshot.runs)
    if step.verb is JobVerb.FORGET:
        del runs[step.about]
    if step.job is not None:
        jobs[step.job.name] = step.job
    if step.run is not None:
        runs[step.run.id] = step.run
    return replace(snapshot, revision=snapshot.revision + 1, jobs=jobs, runs=runs)


@dataclass
class Controller:
    """Decides by what it saw last, however long ago that was."""

    ahead_ms: int
    speed: float
    view: Snapshot
    alive: bool = True
    seen: dict[tuple[str, str], float] = field(default_factory=dict)


@dataclass
class Process:
    """A run that is alive."""

    run: JobRun
    since_ms: float


@dataclass
class Node:
    """A machine with its agent: claims are in its memory, records on its disk."""

    name: str
    speed: float
    reaches: bool = True
    heard_at_ms: float = 0.0
    orders: tuple[RunOrder, ...] = ()
    claims: dict[str, RunClaim] = field(default_factory=dict)
    records: dict[str, RunStatus] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)


class Small:
    """All of it. Anything may happen at any time, in any order."""

    def __init__(self, seed: int, job: Job) -> None:
        self.random = Random(seed)  # noqa: S311 - a simulation, no secret
        self.now_ms = float(START_MS)
        self.stored = Snapshot(revision=1, platform=PLATFORM, jobs={job.name: job})
        self.controllers = [
            Controller(self.random.randint(-5000, 5000), self._speed(), self.stored)
            for _ in range(3)
        ]
        self.nodes = [Node(name, self._speed(), heard_at_ms=self.now_ms) for name in NODES]
        self.began: dict[str, int] = {}
        self.ever: set[str] = set()
        self.words = 0

    def _speed(self) -> float:
        return self.random.uniform(0.997, 1.003)

    # ---- what happens ----------------------------------------------------------------------

    def act(self) -> None:
        often = (self.tick, self.decide, self.decide, self.tell, self.obey)
        seldom = (self.die, self.cut, self.restart, self.boot, self.finish)
        self.random.choice((*(often * 8), *seldom))()
        self.check()

    def tick(self) -> None:
        seconds = self.random.choice((0.1, 0.5, 0.5, 1, 1, 1, 1, 2, 2, 5, 5, 20, 61))
        self.now_ms += seconds * 1000
        for node in self.nodes:
            for name, process in list(node.processes.items()):
                alive_ms = (self.now_ms - process.since_ms) * node.speed
                # Its init ends it by itself: nobody has to live for that.
                if alive_ms >= process.run.spec.timeout_ms + process.run.spec.run.stop_grace_ms:
                    self._end(node, name, RunReason.TOO_LONG, 137)

    def decide(self) -> None:
        controller = self.random.choice(self.controllers)
        if not controller.alive:
            return
        if self.random.random() < 0.7:
            self.look(controller)
        self._commit(controller)

    def look(self, controller: Controller) -> None:
        controller.view = replace(self.stored, machines=self._contacts())
        begun = {
            (run.id, run.claim)
            for run in controller.view.runs.values()
            if run.state in {RunState.RUNNING, RunState.UNKNOWN}
        }
        controller.seen = {each: controller.seen.get(each, self.now_ms) for each in begun}

    def snapshot(self, controller: Controller) -> Snapshot:
        return replace(
            controller.view,
            now_ms=int(self.now_ms) + controller.ahead_ms,
            runs_seen_ms={
                run: int((self.now_ms - since) * controller.speed)
                for (run, _), since in controller.seen.items()
            },
        )

    def die(self) -> None:
        """End a controller, or start it anew, with nothing in its memory."""
        controller = self.random.choice(self.controllers)
        controller.alive = self.random.random() < 0.8
        controller.seen = {}
        if controller.alive:
            self.look(controller)

    def cut(self) -> None:
        node = self.random.choice(self.nodes)
        node.reaches = self.random.random() < 0.7

    def tell(self) -> None:
        """Let nodes tell how they are, and be told what to do by who may know little."""
        for node in self.nodes:
            if node.reaches and self.random.random() < 0.6:
                controller = self.random.choice(self.controllers)
                if self.random.random() < 0.8:
                    self.report(node)
                if controller.alive:
                    node.orders = orders_of(controller.view).get(node.name, ())

    def report(self, node: Node) -> None:
        node.heard_at_ms = self.now_ms
        asking = (
            RunStatus(run=run, phase=RunPhase.ASKING, claim=claim.word)
            for run, claim in node.claims.items()
            if run not in node.records
        )
        told = {order.run.id for order in node.orders}
        said = (each for run, each in node.records.items() if run in told or run in self.open())
        status = MachineStatus(machine=node.name, runs=(*asking, *said))
        self.stored = replace(self.stored, statuses={**self.stored.statuses, node.name: status})

    def open(self) -> set[str]:
        return {run.id for run in self.stored.runs.values() if run.state not in OVER}

    def obey(self) -> None:
        for node in self.nodes:
            if self.random.random() < 0.6:
                for order in node.orders:
                    self._obey(node, order)

    def restart(self) -> None:
        """Start an agent anew: what it has in its memory is gone, also what it was told."""
        node = self.random.choice(self.nodes)
        node.claims = {}

    def boot(self) -> None:
        node = self.random.choice(self.nodes)
        for name in list(node.processes):
            self._end(node, name, None, None)
        node.claims, node.orders = {}, ()

    def finish(self) -> None:
        node = self.random.choice(self.nodes)
        for name in list(node.processes):
            self._end(node, name, None, self.random.choice((0, 0, 1)))

    # ---- inside ----------------------------------------------------------------------------

    def _contacts(self) -> dict[str, MachineView]:
        return {node.name: self._contact(node) for node in self.nodes}

    def _contact(self, node: Node) -> MachineView:
        silent_ms = self.now_ms - node.heard_at_ms
        contact = Contact.PRESENT
        if silent_ms > LOST_MS:
            contact = self.random.choice((Contact.LOST, Contact.UNKNOWN))
        return MachineView(contact=contact, since_seconds=silent_ms / 1000)

    def _obey(self, node: Node, order: RunOrder) -> None:
        run, clock_ms = order.run, int(self.now_ms * node.speed)
        process = node.processes.get(run.id)
        alive_ms = int((self.now_ms - process.since_ms) * node.speed) if process else None
        action = action_for(
            order,
            node.claims.get(run.id),
            clock_ms,
            recorded=run.id in node.records,
            alive_ms=alive_ms,
        )
        if action is RunAction.ASK:
            self.words += 1
            node.claims[run.id] = RunClaim(word=f"w{self.words}", asked_ms=clock_ms)
        elif action is RunAction.REFUSE:
            node.records[run.id] = RunStatus(run=run.id, phase=RunPhase.NEVER)
        elif action is RunAction.BEGIN:
            self.began[run.id] = self.began.get(run.id, 0) + 1
            node.records[run.id] = RunStatus(
                run=run.id, phase=RunPhase.RUNNING, claim=run.claim, began_ms=int(self.now_ms)
            )
            node.processes[run.id] = Process(run, self.now_ms)
        elif action is RunAction.END:
            self._end(
                node, run.id, RunReason.STOPPED if order.stop else RunReason.TOO_LONG, 143
            )

    def _end(self, node: Node, run: str, reason: RunReason | None, code: int | None) -> None:
        del node.processes[run]
        node.records[run] = replace(
            node.records[run],
            phase=RunPhase.ENDED,
            ended_ms=int(self.now_ms),
            exit_code=code,
            reason=reason,
        )

    # ---- what must hold --------------------------------------------------------------------

    def check(self) -> None:
        alive = [run for node in self.nodes for run in node.processes]
        assert len(alive) <= 1, f"at the same time: {alive}"
        assert max(self.began.values(), default=0) <= 1, f"twice: {self.began}"
        waiting = self.open()
        assert len(waiting) <= 1, f"not over: {waiting}"
        assert set(alive) <= waiting, f"{alive} alive, and over: {waiting} are not"

    def heal(self) -> None:
        """Let everybody live and hear everybody for as long as a lease takes."""
        for node in self.nodes:
            node.reaches = True
        for controller in self.controllers:
            controller.alive = True
        job = self.stored.jobs["backup"]
        quiet = replace(job, spec=replace(job.spec, schedule="", retries=0))
        self.stored = replace(self.stored, revision=self.stored.revision + 1)
        self.stored = replace(self.stored, jobs={"backup": quiet})
        for _ in range(400):
            for node in self.nodes:
                self._follow(node)
            for controller in self.controllers:
                self.look(controller)
                self._commit(controller)
            self.check()
            if not self.open():
                return
            self.tick()
        raise AssertionError(f"never over: {[self.stored.runs[each] for each in self.open()]}")

    def _commit(self, controller: Controller) -> None:
        """Do what a controller decides, while nobody else has committed since it looked."""
        for step in decide_jobs(self.snapshot(controller)).steps:
            if controller.view.revision == self.stored.revision:
                machines = controller.view.machines
                self.stored = applied(self.stored, step)
                controller.view = replace(self.stored, machines=machines)
                self.ever |= set(self.stored.runs)

    def _follow(self, node: Node) -> None:
        self.report(node)
        node.orders = orders_of(self.stored).get(node.name, ())
        for order in node.orders:
            self._obey(node, order)
