"""Three controllers over one simulated store, and agents that obey, in virtual time."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random

from pltfrms.agent.routing.witness import Witness
from pltfrms.controller.asked.operations import Operations
from pltfrms.controller.planning.apart import Apart
from pltfrms.controller.planning.loop import Controller
from pltfrms.controller.records.state import PREFIX, Reader, Stored
from pltfrms.drivers.store.memory import MemoryStore, MemoryStoreState
from pltfrms.drivers.store.memory_members import MemoryMembers
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import Heartbeat
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.running.inquiries import Inquiry, Tally
from pltfrms.model.running.machine import BgpState
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import InstanceStatus, MachineStatus, Phase, SessionStatus
from pltfrms.model.running.volumes import VolumeState, VolumeStatus
from pltfrms.model.services.replicas import replicas_of
from pltfrms.model.services.service import Probe
from pltfrms.planner.upkeep.lineage import why_not_followed, word_of
from pltfrms.render.etcd import peer_url
from tests.controller.jobbing import RunBook
from tests.simulation.virtual import VirtualClock

START_SECONDS = 0.3
"""From starting an instance until it is ready."""


class Seat:
    """One controller machine: its daemon may crash and start again."""

    def __init__(self, cluster: "Cluster", name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.store = MemoryStore(cluster.clock, cluster.state)
        self.clock = cluster.clock
        """What it takes the time from; its wall clock may be wrong."""
        self.operations: Operations | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def controller(self) -> Controller:
        assert self.operations
        return self.operations.controller

    def start(self) -> None:
        if self.task is None:
            random = Random(self.cluster.random.random())  # noqa: S311 - a simulation
            members = self.cluster.members
            controller = Controller(
                self.store,
                self.clock,
                self.name,
                self.cluster.platform,
                random,
                apart=Apart(lease_store=self.store, members=members),
            )
            self.operations = Operations(controller)
            self.task = asyncio.create_task(controller.run())

    async def crash(self) -> None:
        self.operations = None
        if self.task:
            task, self.task = self.task, None
            task.cancel()
            if task is not asyncio.current_task():
                await asyncio.gather(task, return_exceptions=True)


class Agent:
    """One machine: fetches its target, runs its instances, reports."""

    def __init__(self, cluster: "Cluster", name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.cut = False
        """No controller can be reached; instances go on."""
        self.dead = False
        self.bird = True
        """Its routing daemon runs."""
        self.says_missed = True
        """Its release says which nodes it misses."""
        self.generation = 0
        self.made_of = ""
        self.lineage: tuple[str, ...] = ()
        self.heard = 0
        """The newest generation that it knows to want nothing else; it takes no older one."""
        self.fetched = 0
        """Targets that it took."""
        self.key = ""
        """What its secrets are to be sealed to."""
        self.ready_at: dict[str, float] = {}
        self.versions: dict[str, int] = {}
        """Of what is to run here."""
        self.inquiries: dict[Inquiry, float] = {}
        """What it asks instances, and since when."""
        self.disk: set[str] = set()
        self.recorded: set[str] = set()
        """Volumes that are on it, whatever happens to the machine."""
        self.book = RunBook()
        self.refused = 0
        """Heartbeats that a controller did not take."""
        self.edge = platform_edge(cluster.platform, name)

    async def run(self) -> None:
        await self.cluster.clock.sleep(self.cluster.random.random())
        while True:
            lives = not self.dead
            now, job = self.cluster.clock.monotonic(), self.cluster.job
            self.book.look(now, *job, lives=lives)
            if self.dead:
                self.ready_at.clear()
                self.generation, self.heard, self.made_of, self.lineage = 0, 0, "", ()
            elif not self.cut:
                await self._talk()
            await self._rest()

    async def _rest(self) -> None:
        """Wait for the next heartbeat; an edge reports at once when its sessions change."""
        if self.edge is None:
            await self.cluster.clock.sleep(0.5 if self._starting() else 1.0)
            return
        for _ in range(10):
            await self.cluster.clock.sleep(0.1)
            if self.edge.look(self):
                return

    def running(self) -> Iterator[str]:
        now = self.cluster.clock.monotonic()
        yield from (
            name for name, at in self.ready_at.items() if at <= now and not self._fails(name)
        )

    def _fails(self, name: str) -> bool:
        after = self.cluster.broken.get(self.versions.get(name, 0))
        now = self.cluster.clock.monotonic()
        return after is not None and now >= self.ready_at[name] + after

    def _starting(self) -> bool:
        return len(set(self.running())) < len(self.ready_at)

    async def _talk(self) -> None:
        for seat in self.cluster.seats.values():
            operations = seat.operations
            if operations is None:
                continue
            try:
                beat = Heartbeat(status=self._status(), heard=self.heard)
                reply = await operations.heartbeat(beat)
            except UnavailableError:
                self.refused += 1
                continue
            if reply.made_of and reply.made_of == self.made_of:
                self.heard = max(self.heard, reply.generation)
            with suppress(UnavailableError):
                if reply.generation > self.generation and reply.made_of != self.made_of:
                    known = (self.generation, 0, self.made_of, self.key)
                    self._obey(await operations.target(self.name, *known))
                return

    def _obey(self, target: Target | None) -> None:
        if target and why_not_followed(self.lineage, target.lineage):
            return
        if target and target.generation > max(self.generation, self.heard):
            self.fetched += 1
            self.heard = target.generation
            self.generation, self.made_of = target.generation, target.made_of
            self.lineage = target.lineage
            self.book.orders = target.runs
            now = self.cluster.clock.monotonic()
            self.inquiries = {each: self.inquiries.get(each, now) for each in target.inquiries}
            ready = now + START_SECONDS
            self.versions = {a.id: a.version for a in target.allocations}
            kept = (v for v in target.volumes if v.state is not VolumeState.RELEASED)
            self.recorded = {v.id for v in kept}
            gone = {each.id for each in target.volumes if each.made} - self.disk
            self.disk |= {a.volume for a in target.allocations if a.volume} - gone
            released = (v for v in target.volumes if v.state is VolumeState.RELEASED)
            self.disk -= {v.id for v in released}
            self.ready_at = {a.id: self.ready_at.get(a.id, ready) for a in target.allocations}

    def _status(self) -> MachineStatus:
        running = set(self.running())
        return MachineStatus(
            machine=self.name,
            generation=self.generation,
            made_of=self.made_of,
            recovery=word_of(self.lineage),
            instances=tuple(
                self._instance(name, ready=name in running) for name in sorted(self.ready_at)
            ),
            sessions=self.edge.sessions if self.edge else (),
            missed=self.edge.absences.missed if self.edge and self.says_missed else None,
            vanished=self.edge.absences.vanished if self.edge else (),
            runs=self.book.statuses,
            volumes=tuple(
                VolumeStatus(volume=each, bytes=0 if each in self.disk else None)
                for each in sorted(self.disk | self.recorded)
            ),
        )

    def _instance(self, name: str, *, ready: bool) -> InstanceStatus:
        if self._fails(name):
            return InstanceStatus(
                allocation=name, phase=Phase.BACKOFF, restarts=3, failure="ended: exit code 1"
            )
        phase = Phase.READY if ready else Phase.STARTING
        tally = self._tally(name) if ready else None
        cpu_percent = self.cluster.busy(name) if ready else None
        return InstanceStatus(
            allocation=name, phase=phase, tally=tally, cpu_percent=cpu_percent
        )

    def _tally(self, name: str) -> Tally | None:
        """Return what an instance has answered to what it is asked now."""
        version, now = self.versions[name], self.cluster.clock.monotonic()
        for inquiry, since in self.inquiries.items():
            mine = name.startswith(f"{inquiry.service}.") and version in inquiry.versions
            if not mine or version in self.cluster.mute:
                continue
            tally, step = Tally(inquiry=inquiry.id), inquiry.interval_ms / 1000
            for number in range(min(int((now - since) / step), 500)):
                age = since + number * step - self.ready_at[name]
                ms = self.cluster.answer(version, inquiry.probe, age)
                tally = (
                    tally.with_failure(f"{inquiry.probe.path} answers 500")
                    if ms is None
                    else tally.with_answer(ms)
                )
            return tally
        return None


class EdgeSessions:
    """The sessions of an edge with the nodes of its datacenter, as BIRD has them."""

    def __init__(self, nodes: tuple[str, ...]) -> None:
        self._nodes = nodes
        self.deaf_to: tuple[str, ...] | str = ()
        """Nodes that only this edge does not hear."""
        self._details: dict[str, str] = {}
        self.witness = Witness()
        self.absences = self.witness.see((), 0.0)
        self.sessions: tuple[SessionStatus, ...] = ()

    def restart(self) -> None:
        """Forget all, as a BIRD and an agent do that start together."""
        self._details.clear()
        self.witness.forget()

    def look(self, edge: Agent) -> bool:
        """See how the nodes are; return whether that is news."""
        agents = edge.cluster.agents
        for name in self._nodes:
            node = agents[name]
            silent = node.dead or name in self.deaf_to
            if node.bird and not silent:
                self._details[name] = "Established"
            elif self._details.get(name) == "Established":
                lost = "Error: BFD session down" if silent else "Socket: Connection closed"
                self._details[name] = f"Active {lost}"
        states = [
            BgpState(name=f"node.{name}.a", up=detail == "Established", detail=detail)
            for name in self._nodes
            if (detail := self._details.get(name, "Active"))
        ]
        before = (self.absences, self.sessions)
        self.absences = self.witness.see(states, edge.cluster.clock.monotonic())
        self.sessions = tuple(
            SessionStatus(name=state.name, up=state.up, detail=state.detail) for state in states
        )
        return before != (self.absences, self.sessions)


def platform_edge(platform: Platform, name: str) -> EdgeSessions | None:
    """Return the sessions of an edge of ours; None if the machine is none."""
    machine = platform.machine(name)
    if machine.role is not Role.EDGE or machine.external:
        return None
    nodes = platform.machines_of(Role.NODE, machine.datacenter)
    return EdgeSessions(tuple(node.name for node in nodes))


class Cluster:
    """Everything, and what a test wants to know of it."""

    def __init__(self, platform: Platform, seed: int = 1) -> None:
        self.platform = platform
        self.random = Random(seed)  # noqa: S311 - a simulation, no secret
        self.clock = VirtualClock()
        self.state = MemoryStoreState(self.clock)
        self.members = MemoryMembers(self.clock, self.state)
        controllers = platform.machines_of(Role.CONTROLLER)
        self.members.peers = {each.name: peer_url(platform, each) for each in controllers}
        names = [machine.name for machine in controllers]
        self.state.room.file_bytes, self.state.room.leader = dict.fromkeys(names, 0), names[0]
        self.seats = {name: Seat(self, name) for name in names}
        self.agents = {m.name: Agent(self, m.name) for m in platform.machines}
        self.broken: dict[int, float] = {}
        """How long an instance of a version is ready before it fails, seconds."""
        self.answer: Callable[[int, Probe, float], float | None] = lambda *_: 5.0
        """In how many ms an instance of a version answers so long after it was ready; None: it
        fails."""
        self.busy: Callable[[str], int | None] = lambda _: None
        """How much of its cores the instance of an allocation uses, in percent."""
        self.job: tuple[float, int] = (3.0, 0)
        """How long a run of a job takes, seconds, and its exit code."""
        self.mute: set[int] = set()
        """Versions of whose answers nothing is heard."""
        self._reader = Reader()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for seat in self.seats.values():
            seat.start()
        self.start_agents()

    def start_agents(self) -> None:
        self._tasks += [asyncio.create_task(agent.run()) for agent in self.agents.values()]

    def require_alive(self) -> None:
        """Raise what ended an agent or a controller, unless the test itself did."""
        for task in (*self._tasks, *(seat.task for seat in self.seats.values())):
            if task and task.done():
                task.result()

    @property
    def operations(self) -> Operations:
        """The API of any controller that runs."""
        return next(s.operations for s in self.seats.values() if s.operations)

    def stored(self) -> Stored:
        """What is really in the store."""
        return self._reader.read(self.state.list(PREFIX))

    def serving(self, service: str) -> list[str]:
        """The replicas that really run somewhere, as `fra.1`, each once."""
        running = {name for agent in self.agents.values() for name in agent.running()}
        replicas = {name.rpartition("-")[0] for name in running}
        return sorted(r.removeprefix(f"{service}.") for r in replicas if r.startswith(service))

    async def until(self, condition: Callable[[], bool], seconds: float) -> float:
        """Wait for a condition; return after how long it held."""
        began = self.clock.monotonic()
        while not condition():
            waited = self.clock.monotonic() - began
            assert waited < seconds, f"not so within {seconds} s: {self.describe()}"
            await self.clock.sleep(0.05)
        return self.clock.monotonic() - began

    def describe(self) -> str:
        allocations = self.stored().allocations.values()
        lines = [f"{a.id}@{a.node} v{a.version} {a.reason}" for a in allocations]
        contacts = {
            seat.name: {
                name: view.contact.value
                for name, view in seat.controller.view.snapshot().machines.items()
                if view.contact != "present"
            }
            for seat in self.seats.values()
            if seat.operations and seat.controller.view.fresh
        }
        return f"{lines} {contacts}"

    def settled(self, service: str) -> bool:
        """Whether each wanted replica has exactly one allocation, which really runs."""
        stored = self.stored()
        known = stored.services.get(service)
        if known is None or stored.platform is None:
            return False
        wanted = sorted(
            f"{datacenter}.{replica}"
            for datacenter, count in replicas_of(stored.platform, known.spec).items()
            for replica in range(1, count + 1)
        )
        allocations = [a for a in stored.allocations.values() if a.service == service]
        placed = sorted(f"{a.datacenter}.{a.replica}" for a in allocations)
        running = {name for agent in self.agents.values() for name in agent.running()}
        return (
            placed == wanted
            and {a.id for a in allocations} == {r for r in running if r.startswith(service)}
            and {a.version for a in allocations} == {known.version}
        )

    def unsafe(self) -> list[str]:
        """Return what no state of the store may show, whatever fails."""
        stored = self.stored()
        problems = []
        slots = [(a.node, a.slot) for a in stored.allocations.values()]
        if len(set(slots)) != len(slots):
            problems.append(f"a slot is used twice: {sorted(slots)}")
        for node, service in {(a.node, a.service) for a in stored.allocations.values()}:
            here = [
                a for a in stored.allocations.values() if (a.node, a.service) == (node, service)
            ]
            replaced = {a.replaces for a in here}
            left = [a.id for a in here if a.id not in replaced]
            known = stored.services.get(service)
            if known and len(left) > known.spec.max_per_node:
                problems.append(f"{node} has {left}")
        return problems
