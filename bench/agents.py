"""Simulated agents: a process of them, with the calls, intervals and time limits of real ones.

Each has the client of a real agent (`HttpControlPlane`), sends heartbeats at the platform's
interval, waits for its target, says that all of it is ready, and writes down what it sees.
Edges say with which nodes they have sessions. Each asks from its own address, which `lo` has.
"""

import asyncio
import multiprocessing
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any

from pltfrms import codec
from pltfrms.agent.control.fetching import WAIT_MS
from pltfrms.agent.control.retrying import again_seconds, retry_seconds
from pltfrms.drivers.controlplane.agent_client import HttpControlPlane
from pltfrms.errors import PltfrmsError
from pltfrms.model.messages.api import Heartbeat
from pltfrms.model.network.topology import CONTROLLER_PORT, Machine, Platform, Role
from pltfrms.model.running.plan import Target, TargetNews
from pltfrms.model.running.state import (
    InstanceStatus,
    MachineStatus,
    Phase,
    RoutingStatus,
    SessionStatus,
)

_START_SPREAD_SECONDS = 1.0
"""Agents of a real platform have not started at the same instant."""
_TICK_SECONDS = 0.02

_WHERE = re.compile(r"\(?http://\S+|\('[^)]*\)")
"""What tells apart problems that are the same."""

_own_address: ContextVar[str] = ContextVar("own address")
"""Of the machine whose agent runs."""


@dataclass(slots=True)
class Seen:
    """What the agents of a process saw since they were asked last."""

    heartbeat_ms: list[float]
    heartbeats: int = 0
    """How many, where not all were timed."""
    refused: int = 0
    """Heartbeats that no controller took."""
    targets: int = 0
    """Newer targets that were fetched."""
    fetching_machines: int = 0
    """Machines that fetched any."""
    silent_ms_max: float = 0.0
    """The longest time between two heartbeats of one machine that were taken."""
    problems: Counter[str] = field(default_factory=Counter)
    """Why no controller took a heartbeat or gave a target, and how often."""


class Agents:
    """Agents of some machines, in a process of their own."""

    def __init__(self, platform: Platform, machines: Sequence[Machine]) -> None:
        """Start them."""
        self._pipe, far_end = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        arguments = (platform, tuple(machines), far_end)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        far_end.close()

    def change(self, per_second: float) -> None:
        """Let so many machines a second report a change of an instance."""
        self._order("change", per_second)

    def end(self, machine: str) -> None:
        """Let an agent fall silent, if it is one of these."""
        self._order("end", machine)

    def seen(self) -> Seen:
        """Return what they saw, and begin anew."""
        seen: Seen = self._order("seen", None)
        return seen

    def instances(self) -> int:
        """Return how many instances run where agents live."""
        return int(self._order("instances", None))

    def silent(self) -> int:
        """Return how many live whose heartbeats nobody has taken lately."""
        return int(self._order("silent", None))

    def version(self, service: str) -> int:
        """Return the newest version of a service that is to run at one of them; 0: none is."""
        return int(self._order("version", service))

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid or 0

    def check(self) -> None:
        """Raise RuntimeError if the process has ended, which happens when an agent breaks."""
        if not self._process.is_alive():
            raise RuntimeError("simulated agents have ended; why is on stderr")

    def _order(self, what: str, value: object) -> Any:
        try:
            self._pipe.send((what, value))
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise RuntimeError("simulated agents have ended; why is on stderr") from error

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()


def _serve(platform: Platform, machines: Sequence[Machine], pipe: Connection) -> None:
    connect = asyncio.open_connection

    async def connect_from_own_address(host: str, port: int, **others: Any) -> object:
        return await connect(host, port, local_addr=(_own_address.get(), 0), **others)

    setattr(asyncio, "open_connection", connect_from_own_address)  # noqa: B010 - no such type
    setattr(codec, "decode_fully", _Decoding(codec.decode_fully))  # noqa: B010 - as above
    asyncio.run(_Process(platform, machines, pipe).run())


class _Decoding:
    """Decodes the platform of a target once for all agents of the process.

    Each real agent does that on a machine of its own; 2 000 of them here would take 40 s of the
    processors that the controllers need.
    """

    def __init__(self, plain: Callable[[Any, bytes], Any]) -> None:
        self._plain = plain
        self._text, self._platform = b"", None

    def __call__(self, kind: Any, text: bytes) -> Any:
        head, mark, said = text.rpartition(b',"platform":{')  # the last field of news
        if kind is not TargetNews or not mark:
            return self._plain(kind, text)
        if self._text != said:
            self._text, self._platform = said, self._plain(kind, text).platform
        return replace(self._plain(kind, head + b"}"), platform=self._platform)


class _Process:
    def __init__(
        self, platform: Platform, machines: Sequence[Machine], pipe: Connection
    ) -> None:
        self._agents = {each.name: _Agent(platform, each) for each in machines}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._pipe = pipe
        self._changes_per_second = 0.0

    async def run(self) -> None:
        """Run until an agent breaks, which is no answer of a controller's."""
        async with asyncio.TaskGroup() as group:
            for number, (name, agent) in enumerate(self._agents.items()):
                delay = _START_SPREAD_SECONDS * number / len(self._agents)
                self._tasks[name] = group.create_task(agent.run(delay))
            group.create_task(self._change())
            group.create_task(self._follow_orders())

    async def _follow_orders(self) -> None:
        loop, orders = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._pipe.fileno(), orders.set)
        while True:
            await orders.wait()
            orders.clear()
            while self._pipe.poll():
                self._pipe.send(self._obey(*self._pipe.recv()))

    def _obey(self, order: str, value: object) -> object:
        if order == "seen":
            return self._seen()
        if order == "instances":
            return sum(len(self._agents[name].status.instances) for name in self._tasks)
        if order == "silent":
            return sum(self._agents[name].is_silent() for name in self._tasks)
        if order == "version":
            return max(
                (self._agents[name].version(str(value)) for name in self._tasks), default=0
            )
        if order == "change":
            self._changes_per_second = float(str(value))
        else:
            self._end(str(value))
        return None

    def _end(self, machine: str) -> None:
        """End an agent, if it is one of these; edges of its datacenter hear that at once."""
        if machine in self._tasks:
            self._tasks.pop(machine).cancel()
        for agent in self._agents.values():
            agent.miss(machine)

    def _seen(self) -> Seen:
        all_seen = Seen([])
        for name, agent in self._agents.items():
            one, agent.seen = agent.seen, Seen([])
            all_seen.heartbeat_ms += one.heartbeat_ms
            all_seen.refused += one.refused
            all_seen.problems += one.problems
            all_seen.targets += one.targets
            all_seen.fetching_machines += bool(one.targets)
            if name in self._tasks:
                all_seen.silent_ms_max = max(all_seen.silent_ms_max, one.silent_ms_max)
        return all_seen

    async def _change(self) -> None:
        """Let one machine after the other say that an instance restarted."""
        number, due = 0, 0.0
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            due += self._changes_per_second * _TICK_SECONDS
            if due < 1.0:
                continue
            busy = [each for each in self._agents.values() if each.status.instances]
            while due >= 1.0 and busy:
                busy[number % len(busy)].restart_one()
                number, due = number + 1, due - 1.0


class _Agent:
    def __init__(self, platform: Platform, me: Machine) -> None:
        controllers = sorted(
            platform.machines_of(Role.CONTROLLER),
            key=lambda each: (each.datacenter != me.datacenter, hash((each.name, me.name))),
        )
        self._client = HttpControlPlane(
            [f"http://[{platform.loopback6(each)}]:{CONTROLLER_PORT}" for each in controllers]
        )
        self._address = str(platform.loopback6(me))
        self._interval_seconds = platform.timers.heartbeat_ms / 1000
        self._poked = asyncio.Event()
        self._taken_at = 0.0
        self._target = Target(machine=me.name, generation=0, platform=platform)
        self._as_of = 0
        self.status = MachineStatus(machine=me.name, boot="bench")
        if me.role is Role.EDGE:
            nodes = platform.machines_of(Role.NODE, me.datacenter)
            sessions = tuple(_session(node.name, up=True) for node in nodes)
            self.status = replace(self.status, sessions=sessions, missed=())
        self.seen = Seen([])

    async def run(self, delay: float) -> None:
        """Send heartbeats and fetch targets until cancelled."""
        _own_address.set(self._address)
        await asyncio.sleep(delay)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report())
            group.create_task(self._fetch())

    def restart_one(self) -> None:
        """Change what is said of the first instance."""
        first, *others = self.status.instances
        changed = replace(first, restarts=first.restarts + 1)
        self.status = replace(self.status, instances=(changed, *others))
        self._poked.set()

    def is_silent(self) -> bool:
        """Return whether it has had no heartbeat taken for as long as a contact lasts."""
        passed = time.monotonic() - self._taken_at
        return not self._taken_at or passed > self._target.platform.timers.contact_ttl_seconds

    def version(self, service: str) -> int:
        """Return the newest version of a service that is to run here; 0: none is."""
        here = self._target.allocations
        return max((each.version for each in here if each.service == service), default=0)

    def miss(self, node: str) -> None:
        """Hear a node fall silent, if this is an edge that had a session with it."""
        heard, status = _session(node, up=True), self.status
        if heard in status.sessions:
            silent = _session(node, up=False)
            self.status = replace(
                status,
                sessions=tuple(silent if each == heard else each for each in status.sessions),
                missed=(*(status.missed or ()), node),
                vanished=(*status.vanished, node),
            )
            self._poked.set()

    async def _report(self) -> None:
        failures = 0
        while True:
            self._poked.clear()
            began = time.monotonic()
            try:
                reply = await self._client.heartbeat(Heartbeat(status=self.status))
            except (PltfrmsError, OSError) as error:
                self.seen.refused += 1
                self.seen.problems[f"heartbeat: {_WHERE.sub('-', str(error))}"] += 1
                failures += 1
                await asyncio.sleep(again_seconds(self.status.machine, failures, error))
                continue
            failures = 0
            if reply.made_of and reply.made_of == self._target.made_of:
                self._as_of = max(self._as_of, reply.generation)
            self._note_taken(began)
            try:
                async with asyncio.timeout(self._interval_seconds):
                    await self._poked.wait()
            except TimeoutError:
                pass

    def _note_taken(self, began: float) -> None:
        now = time.monotonic()
        self.seen.heartbeat_ms.append(1000 * (now - began))
        if self._taken_at:
            silent_ms = 1000 * (now - self._taken_at)
            self.seen.silent_ms_max = max(self.seen.silent_ms_max, silent_ms)
        self._taken_at = now

    async def _fetch(self) -> None:
        failures = 0
        while True:
            try:
                target = await self._client.target(self._target, self._as_of, WAIT_MS)
            except (PltfrmsError, OSError) as error:
                self.seen.problems[f"target: {_WHERE.sub('-', str(error))}"] += 1
                failures += 1
                await asyncio.sleep(retry_seconds(self.status.machine, failures))
                continue
            failures = 0
            if target is not None:
                self._follow(target)

    def _follow(self, target: Target) -> None:
        """Say that all of the target is so."""
        self.seen.targets += 1
        self._target, self._as_of = target, target.generation
        known = {each.allocation: each for each in self.status.instances}
        self.status = replace(
            self.status,
            generation=target.generation,
            made_of=target.made_of,
            routing=RoutingStatus(wanted="bench", running="bench"),
            instances=tuple(
                known.get(each.id)
                or InstanceStatus(allocation=each.id, phase=Phase.READY, slot=each.slot)
                for each in target.allocations
            ),
        )
        self._poked.set()


def _session(node: str, *, up: bool) -> SessionStatus:
    detail = "Established" if up else "Active Error: BFD session down"
    return SessionStatus(name=f"{Role.NODE}.{node}.a", up=up, detail=detail)
