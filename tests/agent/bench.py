"""One machine and a controller in memory, in virtual time, and the verbs of the tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_network

from pltfrms.agent.control.targets import Targets
from pltfrms.agent.loop import Agent
from pltfrms.agent.world import World
from pltfrms.drivers.balancer.memory import MemoryBalancer
from pltfrms.drivers.bird.archive import NoArchive
from pltfrms.drivers.bird.memory import MemoryBird
from pltfrms.drivers.disk import MemoryDisk
from pltfrms.drivers.kernel.counters import ByteCounts
from pltfrms.drivers.kernel.memory import MemoryNetwork
from pltfrms.drivers.kernel.memory_filter import MemoryFilter
from pltfrms.drivers.wireguard.memory import MemoryWireGuard
from pltfrms.drivers.workload.memory import MemoryAsker, MemoryProber, MemoryWorkload
from pltfrms.errors import UnavailableError, VersionError
from pltfrms.model.messages.api import Heartbeat, HeartbeatReply, LeasesAsk, LeasesReply
from pltfrms.model.network.links import Link
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.machine import (
    MAIN_TABLE,
    PROTO_BIRD,
    SERVICE_TABLE,
    Instance,
    InstanceSpec,
    Nexthop,
    Route,
)
from pltfrms.model.running.plan import Allocation, Target
from pltfrms.model.running.state import InstanceStatus, MachineStatus
from pltfrms.model.running.vantage import Questions, VantageReply, VantageReport
from pltfrms.render.kernel import network_state
from tests.simulation.virtual import VirtualClock
from tests.strategies import make_allocation, make_platform, make_service, make_spec

PLATFORM = replace(make_platform({"fra": 2, "ams": 1}), links=(Link(a="fra-e1", b="ams-e1"),))
WEB = make_service(make_spec())
ONE = make_allocation("web.fra.1-1", "fra-n1", slot=1)
TWO = make_allocation("web.fra.2-1", "fra-n1", slot=2)
PREFIX = "198.51.100.1/32"
DEFAULTS = tuple(
    Route(
        prefix=ip_network(everything),
        table=MAIN_TABLE,
        proto=PROTO_BIRD,
        metric=32,
        nexthops=(Nexthop("fab-a", IPv6Address("fe80::e:1")),),
    )
    for everything in ("0.0.0.0/0", "::/0")
)
"""What edges tell a machine first, by IP version."""


def make_target(generation: int, *allocations: Allocation, machine: str = "fra-n1") -> Target:
    """Return a target with the service `web` and these allocations."""
    target = Target(machine=machine, generation=generation, platform=PLATFORM, services=(WEB,))
    return replace(target, allocations=allocations)


@dataclass
class Controllers:
    """`ports.ControlPlane`: any controller, or none."""

    clock: VirtualClock
    alive: bool = True
    latest: Target | None = None
    known: int = 0
    """What heartbeats are told to be the newest generation."""
    made_of: str = ""
    """What heartbeats are told that it is made of."""
    asked: int = 0
    """How often a target was asked for."""
    heartbeats: list[Heartbeat] = field(default_factory=list)
    bug: str = ""
    """What a heartbeat raises, as our own code might."""
    strange: str = ""
    """What is not understood of the newest target."""
    clock_ahead_ms: int = 0
    deaf: bool = False
    """Long polls hear of nothing new."""
    questions: Questions | None = None
    """What vantage points are told to ask."""
    reports: list[VantageReport] = field(default_factory=list)
    leases_had: tuple[int, ...] = ()
    leases_asked: list[LeasesAsk] = field(default_factory=list)
    turn: str = ""
    """Which routing policy may be put in force, as heartbeats are told."""

    async def heartbeat(self, heartbeat: Heartbeat) -> HeartbeatReply:
        if not self.alive:
            raise UnavailableError("no controller answers")
        if self.bug:
            raise IndexError(self.bug)
        self.heartbeats.append(heartbeat)
        return HeartbeatReply(
            generation=self.known,
            made_of=self.made_of,
            turn=self.turn,
            controller="fra-c1",
            unix_ms=self.clock.unix_ms() + self.clock_ahead_ms,
        )

    async def target(self, current: Target, after: int, wait_ms: int) -> Target | None:
        assert current.machine
        self.asked += 1
        if not self.alive:
            raise UnavailableError("no controller answers")
        deaf = self.deaf
        for _ in range(wait_ms // 10):
            latest = self.latest
            if not deaf and latest is not None and latest.generation != after:
                if self.strange:
                    raise VersionError(self.strange)
                return latest
            await self.clock.sleep(0.01)
        return None

    async def report(self, report: VantageReport, token: str = "") -> VantageReply:
        assert not token
        if not self.alive:
            raise UnavailableError("no controller answers")
        self.reports.append(report)
        return VantageReply(controller="fra-c1", questions=self.questions)

    async def leases(self, ask: LeasesAsk) -> LeasesReply:
        if not self.alive:
            raise UnavailableError("no controller answers")
        self.leases_asked.append(ask)
        return LeasesReply(leases=self.leases_had if not ask.end else ())

    async def close(self) -> None:
        """Nothing is open."""

    def events(self, what: str) -> list[str]:
        """Return the details of all events called `what` that were heard."""
        return [
            f"{event.about}: {event.detail}"
            for heartbeat in self.heartbeats
            for event in heartbeat.events
            if event.what == what
        ]


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that was done to an instance, and what the routes were then."""

    what: str
    allocation: str
    at: float
    routed: frozenset[str]
    """Devices that the service's prefix led to."""


class WatchedNetwork(MemoryNetwork):
    """Remembers every change of routes that an agent made."""

    def __init__(self, devices: Iterable[str], sysctls: Iterable[str]) -> None:
        super().__init__(devices, sysctls)
        self.sentences: list[str] = []

    async def apply_routes(
        self, tables: Sequence[int], routes: Sequence[Route]
    ) -> tuple[str, ...]:
        sentences = await super().apply_routes(tables, routes)
        self.sentences += sentences
        return sentences


class WatchedWorkload(MemoryWorkload):
    """Remembers every start and stop with the routes at that moment; can be blinded."""

    def __init__(self, clock: VirtualClock, network: MemoryNetwork) -> None:
        super().__init__(clock, network)
        self.deeds: list[Deed] = []
        self.watched = network
        self.fault = ""

    async def running(self) -> Mapping[str, Instance]:
        if self.fault:
            raise OSError(self.fault)
        return await super().running()

    async def start(self, spec: InstanceSpec) -> Instance:
        await self._remember("start", spec.allocation)
        return await super().start(spec)

    async def stop(self, instance: Instance, grace_ms: int) -> str:
        await self._remember("stop", instance.allocation)
        return await super().stop(instance, grace_ms)

    async def _remember(self, what: str, allocation: str) -> None:
        routed = frozenset(await devices(self.watched))
        self.deeds.append(Deed(what, allocation, self.clock.monotonic(), routed))


@dataclass
class Pinger:
    """Every link takes this long."""

    rtt_ms: float | None = 9.0
    asked_in_doubt: bool | None = None
    """Whether the last answer need not have been waited for; None: none was asked for."""

    async def ping(
        self, interface: str, address: IPv6Address, in_doubt: Callable[[], bool]
    ) -> float | None:
        self.asked_in_doubt = in_doubt()
        assert interface == "bb-ams-e1"
        state = network_state(PLATFORM, "ams-e1")
        assert any(
            str(address) == str(far.ip)
            for device in state.devices
            if device.name == "bb-fra-e1"
            for far in device.addresses
        )
        return self.rtt_ms


async def devices(network: MemoryNetwork, prefix: str = PREFIX) -> set[str]:
    """Return the devices that a prefix of table 100 leads to."""
    return {hop.device for route in await routes(network, prefix) for hop in route.nexthops}


async def routes(
    network: MemoryNetwork, prefix: str = PREFIX, table: int = SERVICE_TABLE
) -> list[Route]:
    """Return the routes of a prefix."""
    return [route for route in await network.routes(table) if str(route.prefix) == prefix]


class Bench:
    """A machine that outlives its agents, and the controllers."""

    def __init__(self, machine: str = "fra-n1", platform: Platform = PLATFORM) -> None:
        self.machine = machine
        self.platform = platform
        """What the machine's own file says."""
        self.boot = "boot-1"
        self.clock = VirtualClock()
        state = network_state(platform, machine)
        self.network = WatchedNetwork(
            [device.name for device in state.devices], [path for path, _ in state.sysctls]
        )
        for default in DEFAULTS:
            self.network.set_route(default)
        self.workload = WatchedWorkload(self.clock, self.network)
        self.asker = MemoryAsker(self.clock)
        self.controllers = Controllers(self.clock)
        self.bird = MemoryBird(self.clock)
        self.archive = NoArchive()
        self.tunnels = MemoryWireGuard()
        self.packet_filter = MemoryFilter()
        self.egress_filter = MemoryFilter()
        self.role_filter = MemoryFilter()
        self.balancer = MemoryBalancer(self.clock, lambda: self.network.addresses)
        self.byte_counts: dict[str, ByteCounts] = {}
        self.frozen = False
        self.followed: list[Platform] = []
        self.told_roles: list[bool] = []
        """Whether it is a controller, as it was told."""
        self.begins = True
        self.disk = MemoryDisk()
        self.pinger = Pinger()
        self.agent: Agent | None = None

    @property
    def status(self) -> MachineStatus:
        assert self.agent is not None
        return self.agent.status

    @property
    def instances(self) -> Mapping[str, InstanceStatus]:
        return {instance.allocation: instance for instance in self.status.instances}

    def make_world(self) -> World:
        """Return all ports of the machine."""
        return World(
            boot=self.boot,
            clock=self.clock,
            control_plane=self.controllers,
            network=self.network,
            workload=self.workload,
            prober=MemoryProber(self.workload),
            asker=self.asker,
            bird=self.bird,
            disk=self.disk,
            pinger=self.pinger,
            archive=self.archive,
            tunnels=self.tunnels,
            packet_filter=self.packet_filter,
            egress_filter=self.egress_filter,
            role_filter=self.role_filter,
            balancer=self.balancer,
            byte_counts=lambda: self.byte_counts,
            frozen_here=lambda: self.frozen,
            follow_controllers=self.followed.append,
            follow_role=self._follow_role,
        )

    async def _follow_role(self, *, controller: bool) -> None:
        self.told_roles.append(controller)
        if not self.begins:
            raise UnavailableError("systemd says no")

    @contextlib.asynccontextmanager
    async def life(self, seconds: float = 2.0) -> AsyncIterator[Agent]:
        """Run an agent; let it settle first."""
        self.bird.forget_us()
        targets = Targets(self.machine, self.disk, lambda: self.platform)
        self.agent = Agent(self.make_world(), targets)
        running = asyncio.create_task(self.agent.run())
        try:
            await self.passes(seconds)
            yield self.agent
        finally:
            assert not running.done(), running.exception()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def order(self, target: Target, seconds: float = 2.0) -> None:
        """Let the controllers want this, and give the agent time to obey."""
        self.controllers.latest = target
        self.controllers.known = target.generation
        await self.passes(seconds)

    async def passes(self, seconds: float) -> None:
        """Let time pass."""
        await self.clock.sleep(seconds)

    async def seconds_until(
        self, wanted: Callable[[], Awaitable[bool]], most: float = 60.0
    ) -> float:
        """Return how long until `await wanted()` is true; fail after `most` seconds."""
        begun = self.clock.monotonic()
        while not await wanted():
            assert self.clock.monotonic() - begun < most, self.status
            await self.clock.sleep(0.005)
        return self.clock.monotonic() - begun
