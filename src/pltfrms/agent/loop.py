"""The agent of one machine: what is wanted comes in, the machine becomes it, reports go out.

It needs nobody to start: the last good target is on disk, and without one the platform file is
enough to route. Losing controllers changes nothing but what can be reported.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from pltfrms import __version__
from pltfrms.agent.control.certificate import LOOK_SECONDS
from pltfrms.agent.control.fetching import Fetcher
from pltfrms.agent.control.reporting import Reporter
from pltfrms.agent.control.skew import ClockSkew
from pltfrms.agent.control.targets import Targets
from pltfrms.agent.control.vantage import VantagePoint
from pltfrms.agent.director.director import Director
from pltfrms.agent.freeze import Frost
from pltfrms.agent.instances.instances import Instances
from pltfrms.agent.journal import Journal
from pltfrms.agent.network.egress import EgressFilter
from pltfrms.agent.network.filter import EdgeFilter
from pltfrms.agent.network.kernel import Kernel, RouteSource
from pltfrms.agent.network.loads import Loads
from pltfrms.agent.network.roles import RoleRefusals
from pltfrms.agent.network.tunnels import Tunnels
from pltfrms.agent.patience import PatientDisk
from pltfrms.agent.problems import Problems
from pltfrms.agent.routing.announcer import Announcer
from pltfrms.agent.routing.costs import Costs
from pltfrms.agent.routing.permits import Permits
from pltfrms.agent.routing.routing import Around, Routing
from pltfrms.agent.routing.sessions import Sessions
from pltfrms.agent.routing.underlay import Underlay
from pltfrms.agent.routing.way_back import WayBack
from pltfrms.agent.scraped.machine_metrics import AgentUsage, MachineFigures, VantageFigures
from pltfrms.agent.world import World
from pltfrms.drivers.told import is_controller
from pltfrms.model.messages.api import Heartbeat, HeartbeatReply
from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import MachineStatus
from pltfrms.planner.upkeep.lineage import word_of
from pltfrms.planner.vantage.asking import asks_from
from pltfrms.render.kernel import network_state

_AGAIN_SECONDS = 1.0
_log = structlog.get_logger()


class Agent:
    """The parts of an agent, connected."""

    _applied = (0, "")
    """Generation of the target that is applied, and what it is made of."""

    def __init__(self, world: World, targets: Targets) -> None:
        """Prepare for the machine of `targets`."""
        machine = targets.machine
        self._about, self._targets = f"machine/{machine}", targets
        self._me = targets.current.platform.machine(machine)
        self._poked = asyncio.Event()
        self._journal = journal = Journal(machine, world.clock, self._poked.set)
        self._problems = problems = Problems(self._poked.set)
        self._disk = PatientDisk(world.disk, problems)
        self._world = world = self._remembering(world)
        self._frost = frost = Frost(world.frozen_here)
        self._costs = Costs(world, journal, problems, machine, frost, self._poked.set)
        self._permits = Permits(world.clock, world.disk, problems)
        self._sessions = Sessions(
            world, problems, self._poked.set, is_edge=self._me.has(Role.EDGE)
        )
        self._announcer = Announcer(
            world, journal, problems, self._sessions, frost, lambda: self._routing.platform
        )
        around = Around(
            world=world,
            journal=journal,
            problems=problems,
            poke=self._poked.set,
            costs=self._costs,
            permits=self._permits,
            frost=frost,
            sessions=self._sessions,
            announced=self._announcer.announced,
            controller_at=lambda: self._reporter.answered_at,
        )
        self._routing = Routing(around, machine)
        self._way_back = WayBack(around, machine, lambda: self._routing.platform)
        self._announcer.way_back = self._way_back.known
        self._tunnels = Tunnels(world.tunnels, world.clock, journal, problems, frost)
        self._underlay = Underlay(world, problems, frost, self._costs.hear)
        self._filter, self._role_refusals = (
            EdgeFilter(world, journal, problems, frost, lambda: self._routing.confirmed),
            RoleRefusals(world, problems, frost),
        )
        self._loads = Loads(world, problems, self._poked.set)
        self._director = director = Director(world, journal, problems)
        self._announcer.ill = lambda: director.ill
        self._instances = Instances(world, journal, problems, self._settle, self._director)
        self._egress = EgressFilter(world, journal, problems, frost, self._instances.leavers)
        self._kernel = Kernel(world, journal, problems, self._about, self._sources(), frost)
        self._fetcher = Fetcher(world, problems, targets, self._follow)
        self._skew, self._vantage = ClockSkew(problems), self._vantage_point()
        self._reporter = Reporter(world, journal, self._poked, self._report, self._hear)

    async def run(self) -> None:
        """Be the agent until cancelled, which leaves everything running as it is."""
        self._journal.say(self._about, "agent started", f"role {'+'.join(self._me.roles)}")
        self._problems.set("target on disk", self._targets.loss)
        await self._routing.begin()
        self._director.want(self._targets.current)
        if self._me.forwards:
            await self._director.begin()
        if self._me.forwards and not self._me.has(Role.NODE):
            await self._director.attach({})
        await self._follow()
        async with asyncio.TaskGroup() as tasks:
            for name, run in (
                ("kernel", self._kernel.run),
                ("routing", self._routing.run),
                ("sessions", self._sessions.run),
                ("archive", self._routing.keep_archive),
                ("heartbeats", self._reporter.run),
                ("targets", self._fetcher.run),
                ("certificate", self._keep_certificate),
                ("vantage point", self._vantage.run),
                ("disk", lambda: self._disk.run(self._world.clock)),
            ):
                tasks.create_task(self._keep(name, run))
            if self._me.forwards:
                tasks.create_task(self._keep("director", self._director.run))
            if self._me.has(Role.NODE):
                tasks.create_task(self._keep("egress", self._egress.run))
                tasks.create_task(self._instances.run())
            if self._me.has(Role.EDGE):
                tasks.create_task(self._keep("tunnels", self._tunnels.run))
                tasks.create_task(self._keep("underlay", self._underlay.run))
                tasks.create_task(self._keep("packet filter", self._filter.run))
                tasks.create_task(self._keep("roles", self._role_refusals.run))
                tasks.create_task(self._keep("costs", self._costs.run))
                tasks.create_task(self._keep("loads", self._loads.run))
                tasks.create_task(self._keep("way back", self._way_back.run))

    def _vantage_point(self) -> VantagePoint:
        world, targets = self._world, self._targets
        return VantagePoint(
            targets.machine,
            world.clock,
            world.asker,
            world.control_plane.report,
            lambda: asks_from(targets.current.platform, self._me),
        )

    async def _keep_certificate(self) -> None:
        while True:
            if self._world.certificate:
                with self._problems.watch("certificate of this machine"):
                    await self._world.certificate.look()
            await self._world.clock.sleep(LOOK_SECONDS)

    def _sources(self) -> tuple[RouteSource, ...]:
        sources: dict[Role, RouteSource] = {
            Role.NODE: self._instances,
            Role.EDGE: self._announcer,
        }
        return tuple(source for role, source in sources.items() if self._me.has(role))

    def _remembering(self, world: World) -> World:
        """Return the world with the disk that never fails us."""
        self._targets.remember_on(self._disk)
        return replace(world, disk=self._disk)

    @property
    def status(self) -> MachineStatus:
        """How the machine is now."""
        absences = self._sessions.absences
        return MachineStatus(
            machine=self._targets.machine,
            version=__version__,
            boot=self._world.boot,
            generation=self._applied[0],
            made_of=self._applied[1],
            recovery=word_of(self._targets.current.lineage),
            instances=self._instances.statuses,
            volumes=self._instances.volumes.statuses,
            runs=self._instances.jobs.statuses,
            sessions=self._sessions.statuses,
            aggregates=self._announcer.statuses,
            routing=self._routing.status,
            balancer=self._director.complaint,
            limits=self._world.workload.limits() if self._me.has(Role.NODE) else "",
            clock_ahead_seconds=self._skew.ahead_seconds,
            problems=self._problems.sentences,
            loads=self._loads.loads,
            links=self._costs.statuses,
            outside=self._way_back.tables,
            missed=(*absences.missed, *self._announcer.far_witness.missed)
            if self._me.has(Role.EDGE)
            else None,
            vanished=absences.vanished,
        )

    def figures(self, usage: AgentUsage) -> MachineFigures:
        """Return what Prometheus may know of the machine now."""
        world, vantage = self._world, self._vantage
        platform, certificate = self._targets.current.platform, world.certificate
        wanted = {*self._loads.interfaces, *platform.inside_interfaces(self._me)}
        try:
            traffic = {
                name: counts for name, counts in world.byte_counts().items() if name in wanted
            }
        except OSError:
            traffic = {}
        return MachineFigures(
            status=self.status,
            began_ms=vantage.began_ms,
            away_seconds=self._reporter.away_seconds,
            frozen=bool(self._frost.reason),
            events=len(self._journal),
            usage=usage,
            traffic=traffic,
            vantage=VantageFigures(tallies=vantage.tallies, results=vantage.results),
            balancer=self._director.glance() if self._me.forwards else None,
            certificate_ends_ms=certificate.ends_ms if certificate else None,
        )

    @property
    def director(self) -> Director:
        """For the looking glass."""
        return self._director

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a part for ever, again after a bug of ours has ended it."""
        while True:
            with self._problems.watch(name):
                await run()
            await self._world.clock.sleep(_AGAIN_SECONDS)

    async def _follow(self) -> None:
        """Make the machine what the current target says, part by part."""
        target = self._targets.current
        self._frost.follow(target.interventions.freeze)
        with self._problems.watch("network of the target"):
            self._kernel.want(network_state(target.platform, target.machine))
        with self._problems.watch("placements of the target"):
            self._permits.apply(target)
        with self._problems.watch("routing of the target"):
            self._routing.want(target.platform, target.interventions)
        with self._problems.watch("instances of the target"):
            self._instances.apply(target, self._targets.versions)
            self._egress.want(target.platform, target.machine)
        with self._problems.watch("links of the target"):
            self._costs.apply(target.platform)
            self._loads.want(target.platform, target.machine)
            self._tunnels.want(target.platform, target.machine)
            self._filter.want(target.platform, target.machine)
            self._role_refusals.want(target)
        self._announcer.apply(target)
        self._director.want(target)
        await self._kernel.reconcile()
        self._applied = (target.generation, target.made_of)
        self._poked.set()
        # Before a controller has told anything, whoever installs this machine starts it.
        if target.generation:
            with self._problems.watch("controller of the target"):
                # Last: a systemd that does not answer keeps nothing up.
                controller = is_controller(target.platform, target.machine)
                await self._world.follow_role(controller=controller)
        _log.info("target applied", generation=target.generation)

    def _hear(self, reply: HeartbeatReply, sent_ms: int) -> None:
        self._skew.hear(reply, sent_ms, self._world.clock.unix_ms())
        self._routing.hear_turn(reply.turn)
        self._fetcher.hear(reply.generation, reply.made_of)

    async def _settle(self) -> None:
        self._poked.set()
        self._egress.hear()
        addresses = self._instances.addresses()
        # An instance is announced when it can take packets; one that goes is withdrawn first.
        if addresses.keys() - (self._director.reachable or frozenset()):
            await self._director.attach(addresses)
        await self._kernel.apply_routes()
        self._director.see(addresses)

    def _report(self) -> tuple[Heartbeat, float]:
        timers = self._targets.current.platform.timers
        beat = Heartbeat(status=self.status, heard=self._targets.as_of)
        return beat, timers.heartbeat_ms / 1000
