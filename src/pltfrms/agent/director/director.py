"""Keep the director's tables what the routes of ready instances say.

Nothing but the kernel's table 105 is asked, so neither the store nor a controller takes part in
a reaction. The kernel tells of each route that changes, and only that service's table is made
anew; that nothing was missed is checked beside, each second. While this does not run the
program in the kernel goes on with the tables it has; if that lasts, the missing heartbeat makes
it leave all packets to the kernel's routes.
"""

import asyncio
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from ipaddress import IPv6Address
from typing import Final

import structlog

from pltfrms.agent.director.candidates import Candidates
from pltfrms.agent.director.elsewhere import Elsewhere
from pltfrms.agent.director.guests import Guests
from pltfrms.agent.director.tables import RETRY_SECONDS, PutTables, Wanted
from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.drivers.clock import wait_event
from pltfrms.drivers.kernel.ports import HostRoutes
from pltfrms.errors import UnavailableError
from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.model.running.balancer import (
    BalancedService,
    BalancerMode,
    BalancerView,
    Candidate,
)
from pltfrms.model.running.machine import (
    INSTANCE_TABLE,
    LOCAL_TABLE,
    MAIN_TABLE,
    REMOTE_TABLE,
    told_defaults,
)
from pltfrms.model.running.plan import Target
from pltfrms.planner.balancing.balancing import hooks_of, settings_of

BEAT_SECONDS: Final = 1.0
"""Longest time between two heartbeats, and between two looks at the whole table."""
AUDIT_SECONDS: Final = 5.0
"""If the table could not be read for so long, nobody may say that ours are right."""
REST_SECONDS: Final = 0.1
"""Longest time from one look to the next when one was not enough."""
COALESCE_SECONDS: Final = 0.003
"""Before somebody new is let in, who rarely comes alone. Who goes waits for nobody."""
SLICE_SECONDS: Final = 0.25
"""A table takes 2 ms and more to let somebody new in, and there may be thousands of them. After
so long, or a hint, look who has gone meanwhile: that cannot wait."""
ALONE_SECONDS: Final = 0.2
"""Sessions that are lost together are not lost at the same instant."""
REUNION_SECONDS: Final = 3.0
"""After we are not cut off any more, until all that is there has been told to us."""
PATIENT_SECONDS: Final = 7.0
"""Instead, where nothing new is sent to those who are kept: any session is back by then."""
_PROBLEM: Final = "director"
_DEVICES: Final = "director devices"
_SERVICES: Final = "director services"
_LISTENING: Final = "director listening"
_AUDIT: Final = "director audit"
_INSIDE: Final = ("node.", "edge.")
"""How sessions with machines of ours begin that know of instances."""
_NAMED: Final = 3
"""Devices in one sentence."""

_log = structlog.get_logger()


class Director:
    """The balancer of one edge or node."""

    def __init__(self, world: World, journal: Journal, problems: Problems) -> None:
        """Do nothing before a target says for which services."""
        self._world = world
        self._journal = journal
        self._problems = problems
        self._target: Target | None = None
        self._services: Mapping[int, BalancedService] = {}
        self._instances: Mapping[str, IPv6Address] | None = None
        """Addresses by device; None until somebody has looked what runs here."""
        self._mode = BalancerMode.STARTING
        self._detail = ""
        self._attached: frozenset[str] | None = None
        self._gone: set[str] = set()
        """Devices of instances that have ended since somebody began to attach."""
        self._tables = PutTables(world.balancer, world.clock)
        self._candidates = Candidates()
        self._dirty: set[int] = set()
        """Services of which something has changed."""
        self._new: set[int] = set()
        """Those whose tables are to get somebody new, which takes longer."""
        self._audited_at: float | None = None
        """None until we have seen the whole table once."""
        self._attached_at: float | None = None
        self._reunited_at: float | None = None
        self._guests = Guests()
        self._elsewhere = Elsewhere(world, problems)
        self._unsure = asyncio.Event()
        self._hint = asyncio.Event()
        self._busy = asyncio.Lock()

    @property
    def complaint(self) -> str:
        """Why the kernel spreads the load although the director is wanted, for the status."""
        wanted = self._target is not None and self._target.platform.director
        return self._detail if wanted and self._mode is BalancerMode.KERNEL else ""

    @property
    def reachable(self) -> frozenset[str] | None:
        """The devices of instances that take packets of directors; None: not known yet."""
        return frozenset() if self._mode is BalancerMode.KERNEL else self._attached

    def candidates_of(self, service: int) -> tuple[Candidate, ...]:
        """Return who serves a service here, by its id, as routes tell; nobody: not known."""
        return self._candidates.of(service) if self._mode is BalancerMode.DIRECTOR else ()

    @property
    def elsewhere(self) -> frozenset[int]:
        """The services, by id, whose instances here are ill while others serve elsewhere."""
        return self._elsewhere.all if self._mode is BalancerMode.DIRECTOR else frozenset()

    @property
    def ill(self) -> tuple[BalancedService, ...]:
        """The services whose instances here answer, and all say that they are ill."""
        return self._elsewhere.ill if self._mode is BalancerMode.DIRECTOR else ()

    def want(self, target: Target) -> None:
        """Balance the services of a target from now on."""
        self._target = target
        before = self._services
        self._services = {service.id: service for service in target.balanced}
        numbers = before.keys() | self._services.keys()
        self._dirty |= {n for n in numbers if before.get(n) != self._services.get(n)}
        self._hint.set()

    async def attach(self, instances: Mapping[str, IPv6Address]) -> None:
        """See the packets of these instances (addresses by device) when this returns.

        What fails is a problem, and `reachable` says what has come of it.
        """
        self.see(instances)
        if self._mode is BalancerMode.DIRECTOR:
            with self._problems.watch(_DEVICES):
                await self._attach()

    def see(self, instances: Mapping[str, IPv6Address]) -> None:
        """See the packets of these instances from the next pass on.

        Another instance may have the name of one that has ended, for a device that is new.
        """
        ended = (self._instances or {}).keys() - instances.keys()
        self._gone |= ended
        if self._attached is not None:
            self._attached -= ended
        self._instances = dict(instances)

    async def begin(self) -> None:
        """Start the program if it is wanted and can be, before anything else happens."""
        target = self._target
        if target is not None and target.platform.director:
            await self._start(target)

    async def run(self) -> None:
        """Start the program, then follow the routes, for ever."""
        with closing(await self._open()) as routes:
            self._candidates, self._audited_at = Candidates(), None
            beside = [
                asyncio.ensure_future(self._listen(routes)),
                asyncio.ensure_future(self._audit(routes)),
            ]
            try:
                while True:
                    self._hint.clear()
                    seconds = await self._pass(routes)
                    await wait_event(self._hint, self._world.clock, seconds)
            finally:
                for each in beside:
                    each.cancel()
                await asyncio.gather(*beside, return_exceptions=True)

    async def _pass(self, routes: HostRoutes) -> float:
        """Do what is to be done now; return seconds until there is more, without a hint."""
        target = self._target
        if target is None:
            return BEAT_SECONDS
        if not target.platform.director:
            await self._leave_to_kernel()
            return BEAT_SECONDS
        if self._mode is not BalancerMode.DIRECTOR and not await self._start(target):
            return RETRY_SECONDS
        seconds = BEAT_SECONDS
        if self._audited_at is None:
            return seconds
        with self._problems.watch(_PROBLEM):
            seconds = await self._follow(routes)
            now = self._world.clock.monotonic()
            if self._attached_at is None or now >= self._attached_at + BEAT_SECONDS:
                self._attached_at = now
                with self._problems.watch(_DEVICES):
                    await self._attach()
            if now > self._audited_at + AUDIT_SECONDS:
                raise UnavailableError(f"routes of table {INSTANCE_TABLE} cannot be read")
            # Tables are right, or are there no more: only then may this be said.
            self._world.balancer.beat()
        return seconds

    # ---- starting and stopping -------------------------------------------------------------

    async def _start(self, target: Target) -> bool:
        try:
            settings = settings_of(target.platform, target.machine)
            how = await self._world.balancer.start(settings)
        except UnavailableError as error:
            if str(error) != self._detail:
                self._say("director not possible", str(error))
            self._mode, self._detail = BalancerMode.KERNEL, str(error)
            return False
        self._mode, self._detail = BalancerMode.DIRECTOR, how
        self._forget_all()
        self._say("director started", how)
        return True

    async def _leave_to_kernel(self) -> None:
        if self._mode is BalancerMode.KERNEL:
            return
        with self._problems.watch(_PROBLEM):
            await self._world.balancer.stop()
            self._mode, self._detail = BalancerMode.KERNEL, "the platform says director: false"
            self._forget_all()
            self._say("director stopped", self._detail)

    def _forget_all(self) -> None:
        self._tables.forget_all()
        self._dirty |= self._candidates.services()
        self._problems.set(_SERVICES, "")

    async def _attach(self) -> None:
        async with self._busy:
            target, instances = self._target, self._instances
            if target is None or instances is None:
                return
            self._gone.clear()
            hooks = hooks_of(target.platform, target.machine, instances)
            sentences = await self._world.balancer.attach(hooks)
            not_done = [word for word in sentences if word.startswith(("missing ", "refused "))]
            absent = {word.split()[1].removesuffix(":") for word in not_done}
            self._attached = frozenset(instances) - absent - self._gone
            refused = [word for word in not_done if word.startswith("refused ")]
            if refused:
                raise UnavailableError("; ".join(refused[:_NAMED]))

    # ---- following -------------------------------------------------------------------------

    async def _open(self) -> HostRoutes:
        while True:
            with self._problems.watch(_LISTENING):
                return self._world.network.follow(INSTANCE_TABLE)
            await self._world.clock.sleep(BEAT_SECONDS)

    async def _listen(self, routes: HostRoutes) -> None:
        while True:
            with self._problems.watch(_LISTENING):
                while True:
                    await routes.wait()
                    self._hint.set()
            await self._world.clock.sleep(BEAT_SECONDS)

    async def _audit(self, routes: HostRoutes) -> None:
        """Look at the whole table each second, and when something that was told is lost."""
        clock = self._world.clock
        while True:
            self._unsure.clear()
            begun = clock.monotonic()
            with self._problems.watch(_AUDIT):
                await routes.audit()
                self._audited_at = clock.monotonic()
                self._hint.set()
            # Where much is lost, half of a core is enough.
            await clock.sleep(min(clock.monotonic() - begun, REST_SECONDS))
            await wait_event(self._unsure, clock, BEAT_SECONDS)

    def _hear(self, routes: HostRoutes) -> None:
        """Take what was told."""
        self._hint.clear()
        now = self._world.clock.monotonic()
        self._candidates.hear(routes.news(), now)
        if routes.unsure:
            self._unsure.set()
        self._candidates.expire(now)
        self._dirty |= self._candidates.take_changed()

    async def _follow(self, routes: HostRoutes) -> float:
        """Make the tables that have changed; return seconds until the next may."""
        self._hear(routes)
        if await self._knows(routes):
            try:
                await self._make(routes)
            finally:
                self._problems.set(_SERVICES, self._tables.refusals)
        due, now = self._candidates.due, self._world.clock.monotonic()
        return BEAT_SECONDS if due is None else min(BEAT_SECONDS, max(0.0, due - now))

    async def _knows(self, routes: HostRoutes) -> bool:
        """Return whether to believe in what we know; else what the kernel has is the best.

        A machine that is cut off from all others loses their routes, which says nothing of
        their instances. When it is back it must not lead old flows astray, so it goes on with
        whom it knew, until it has had the time to hear of everybody.
        """
        now = self._world.clock.monotonic()
        self._candidates.forget_old(now)
        if self._is_alone() and await self._is_cut_off():
            await self._world.clock.sleep(ALONE_SECONDS)
            self._hear(routes)
            still_alone = self._is_alone() and await self._is_cut_off()
            unheard = still_alone and not await self._hears_a_node()
            if unheard and not self._keep(now) and not self._serves_itself:
                return False
        if self._candidates.keeps and self._reunited_at is not None:
            seconds = PATIENT_SECONDS if self._serves_itself else REUNION_SECONDS
            if now - self._reunited_at >= seconds:
                self._candidates.release()
                self._reunited_at = None
                _log.info("candidates known again")
        elif self._candidates.keeps and not await self._is_cut_off():
            self._reunited_at = now
        self._dirty |= self._candidates.take_changed()
        return True

    def _keep(self, now: float) -> bool:
        self._reunited_at = None
        before = self._candidates.keeps
        own = (self._instances or {}).values() if self._serves_itself else None
        kept = self._candidates.keep(now, own)
        if kept and not before:
            _log.warning("cut off from all others", candidates_kept=self._candidates.keeps)
        return kept

    def _is_alone(self) -> bool:
        return self._candidates.are_all_in(frozenset((self._instances or {}).values()))

    async def _is_cut_off(self) -> bool:
        """Whether no other machine of ours tells us anything.

        Nodes have default routes from edges; edges hear of services from anywhere. Where an
        edge is a node, its own services hide those of others: it asks for its sessions. What
        other datacenters have told an edge stays for half a minute after its last line is dead.
        """
        network, target = self._world.network, self._target
        if target is None:
            return False
        me = target.platform.machine(target.machine)
        if self._serves_itself:
            return await self._hears_nobody(target, me)
        if me.has(Role.NODE):
            return not told_defaults(await network.routes(MAIN_TABLE))
        told = await network.routes(LOCAL_TABLE) or await network.routes(REMOTE_TABLE)
        return not told or await self._has_no_line(target.platform, me)

    @property
    def _serves_itself(self) -> bool:
        """Whether what comes in from outside may stay on this machine."""
        if self._target is None:
            return False
        me = self._target.platform.machine(self._target.machine)
        return me.has(Role.EDGE) and me.has(Role.NODE)

    async def _hears_nobody(self, target: Target, me: Machine) -> bool:
        """Whether there are others in this datacenter, and no session with any machine."""
        here = [each for each in target.platform.machines if each.datacenter == me.datacenter]
        if sum(each.forwards for each in here) == 1:
            return False
        try:
            sessions = await self._world.bird.sessions()
        except UnavailableError:
            return False
        heard = any(each.up and each.name.startswith(_INSIDE) for each in sessions)
        return not heard or await self._has_no_line(target.platform, me)

    async def _has_no_line(self, platform: Platform, me: Machine) -> bool:
        """Whether BFD hears nobody in any fabric, or over any link."""
        ports = platform.inside_interfaces(me)
        try:
            lines = await self._world.bird.liveness()
        except UnavailableError:
            return False
        return not any(each.up and each.interface in ports for each in lines)

    async def _hears_a_node(self) -> bool:
        """Whether a node has a session with this edge: by that it says that nobody is ready."""
        try:
            sessions = await self._world.bird.sessions()
        except UnavailableError:
            return False
        return any(each.up and each.name.startswith("node.") for each in sessions)

    def _wanted(self, number: int) -> Wanted | None:
        service, some = self._services.get(number), self._candidates.of(number)
        self._elsewhere.hear(number, service, some)
        if service is None or not some or number in self._elsewhere.all:
            return None
        return service, some, self._guests.of(number)

    async def _make(self, routes: HostRoutes) -> None:
        clock = self._world.clock
        self._dirty |= self._guests.see(self._target, clock.monotonic(), clock.unix_ms())
        await self._make_urgent()
        self._dirty |= self._tables.strays() | self._tables.due()
        self._dirty |= await self._elsewhere.look(self._target)
        await self._make_urgent()
        if self._new:
            await clock.sleep(COALESCE_SECONDS)
            self._hear(routes)
            await self._make_urgent()
            await self._make_new()
        if self._tables.due():  # there is room now
            self._hint.set()

    async def _make_urgent(self) -> None:
        """Take away who has gone: that is quick, and cannot wait."""
        for number in sorted(self._dirty):
            wanted = self._wanted(number)
            self._new.discard(number)
            if wanted is None:
                self._tables.forget(number)
            elif self._tables.is_new(number, wanted):
                self._new.add(number)
            elif self._tables.needs(number, wanted):
                self._tables.put(number, wanted)
                await self._world.clock.sleep(0)
            self._dirty.discard(number)

    async def _make_new(self) -> None:
        started = self._world.clock.monotonic()
        for number in sorted(self._new):
            wanted = self._wanted(number)
            if wanted is not None and self._tables.needs(number, wanted):
                self._tables.put(number, wanted)
                await self._world.clock.sleep(0)
            self._new.discard(number)
            passed = self._world.clock.monotonic() - started
            if self._new and (self._hint.is_set() or passed > SLICE_SECONDS):
                self._hint.set()
                return

    def _say(self, what: str, detail: str) -> None:
        target = self._target
        self._journal.say(f"machine/{target.machine if target else ''}", what, detail)

    # ---- looking ---------------------------------------------------------------------------

    def view(self) -> BalancerView:
        """Return all there is to see; UnavailableError if the kernel does not tell."""
        target = self._target
        if target is None or self._mode is not BalancerMode.DIRECTOR:
            machine = target.machine if target else ""
            return BalancerView(machine=machine, mode=self._mode, detail=self._detail)
        counts = self._world.balancer.counts()
        return BalancerView(
            machine=target.machine,
            mode=self._mode,
            detail="; ".join(filter(None, (self._detail, self._tables.refusals))),
            heartbeat_age_ms=self._world.balancer.beat_age_ms(),
            devices=hooks_of(target.platform, target.machine, self._instances or {}),
            tables=self._tables.views(counts),
            totals=counts.totals,
        )

    def glance(self) -> BalancerView:
        """Return what there is to see without tables; nothing but the mode if nobody tells."""
        view = BalancerView(machine="", mode=self._mode)
        if self._mode is not BalancerMode.DIRECTOR:
            return view
        try:
            totals = self._world.balancer.counts().totals
            age_ms = self._world.balancer.beat_age_ms()
        except UnavailableError:
            return view
        return replace(view, heartbeat_age_ms=age_ms, totals=totals)

    def row(self, service_id: int, row: int) -> tuple[IPv6Address, ...]:
        """Return what the kernel has in a row, without guests.

        Raises:
            UnavailableError: it does not tell.
        """
        if self._mode is not BalancerMode.DIRECTOR:
            return ()
        kernel = self._world.balancer.row(service_id, row)
        guests = frozenset(self._guests.all)
        return tuple(address for address in kernel if address not in guests)
