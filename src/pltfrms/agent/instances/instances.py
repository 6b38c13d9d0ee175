"""All instances of a node: adopt what runs, follow the target, say what is routed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv6Address, ip_network
from typing import Final, Protocol

from pltfrms.agent.instances.answering import Answering
from pltfrms.agent.instances.drains import Drains
from pltfrms.agent.instances.inquiring import Inquiring
from pltfrms.agent.instances.measuring import Measuring
from pltfrms.agent.instances.members import MemberKeeper
from pltfrms.agent.instances.naming import Naming
from pltfrms.agent.instances.orders import Order, Surroundings, addresses_of
from pltfrms.agent.instances.refusals import Refusals
from pltfrms.agent.instances.roles import RoleKeeper
from pltfrms.agent.instances.routed import MadeOf, routes_of
from pltfrms.agent.instances.runner import Runner
from pltfrms.agent.instances.runs import RunKeeper
from pltfrms.agent.instances.volumes import VolumeKeeper
from pltfrms.agent.instances.zones import NameServer, Zones
from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.model.network.topology import Role
from pltfrms.model.running.balancer import Candidate, CandidateState, is_panic
from pltfrms.model.running.machine import (
    PROTO_BACKUP,
    SERVICE_TABLE,
    Instance,
    InstanceSpec,
    Route,
)
from pltfrms.model.running.plan import Allocation, Target
from pltfrms.model.running.state import InstanceStatus, Phase
from pltfrms.model.services.service import Service
from pltfrms.planner.instances.instances import (
    instance_device,
    instance_secrets,
    instance_spec,
)
from pltfrms.planner.instances.mass import is_its_turn, start_delays
from pltfrms.planner.instances.runs import is_run
from pltfrms.render.detour import render_detour
from pltfrms.render.egress import Leaver
from pltfrms.render.ports import render_ports

_ADOPT_RETRY_SECONDS = 0.5
_ROTATE_SECONDS: Final = 5.0
_LOOK_AGAIN_SECONDS = 1.0


class Spreading(Protocol):
    """Who spreads flows over instances, and knows them by routes."""

    @property
    def reachable(self) -> frozenset[str] | None:
        """The devices of instances that take packets of directors; None: not known yet."""

    @property
    def elsewhere(self) -> frozenset[int]:
        """The services, by id, whose instances here are ill while others serve elsewhere."""

    def candidates_of(self, service: int) -> tuple[Candidate, ...]:
        """Return who serves a service in this datacenter, by its id; nobody: not known."""


class Instances:
    """The runners of a node. A `kernel.RouteSource`."""

    table: Final = SERVICE_TABLE

    def __init__(
        self,
        world: World,
        journal: Journal,
        problems: Problems,
        settle: Callable[[], Awaitable[None]],
        director: Spreading,
    ) -> None:
        """Call `settle` to make routes follow; it returns when they do."""
        self._world = world
        self._journal = journal
        self._problems = problems
        self._drains = Drains(world.disk, problems)
        self._answering = Answering(world, problems)
        self._measuring = Measuring(world)
        self._naming = Naming(world, problems)
        self._zones = Zones(world, problems, self._name_servers)
        self.volumes = VolumeKeeper(world, problems)
        self.jobs = RunKeeper(world, journal, problems, settle)
        self._refusals = Refusals(world, problems)
        self._runners: dict[str, Runner] = {}
        self._roles = RoleKeeper(world, journal, problems, settle, self._runners)
        self._members = MemberKeeper(world, journal, problems, self._runners, self._roles.holds)
        self._around = Surroundings(
            world=world,
            journal=journal,
            problems=problems,
            settle=settle,
            is_free=self._is_free,
            drains=self._drains,
            drainable=self._drainable,
            stays=self._stays,
            hooks=self._members.hooks,
        )
        self._settle = settle
        self._director = director
        self._target: Target | None = None
        self._versions: tuple[Service, ...] = ()
        self._found: dict[str, Instance] | None = None
        """Ran before us and are in no target yet; None until we could look."""
        self._announced: Mapping[tuple[str, str], int] = {}
        """Protocol numbers of (prefix, device) that were routed when we looked."""
        self._inquiring = Inquiring(world, problems, self._runners.get)
        self._named: dict[str, frozenset[str]] = {}
        """Who was said last to have which problem."""
        self._tasks: asyncio.TaskGroup | None = None
        self._routes: tuple[MadeOf, tuple[Route, ...]] | None = None
        """What was wanted last, and what it was made of."""

    @property
    def statuses(self) -> tuple[InstanceStatus, ...]:
        """What to report, by allocation id."""
        return tuple(self._status(*each) for each in sorted(self._runners.items()))

    def _status(self, name: str, runner: Runner) -> InstanceStatus:
        scale = runner.service.spec.scale if runner.service else None
        cpu_percent, connections, peak = self._measuring.of(name, scale)
        return replace(
            runner.status,
            tally=self._inquiring.told.get(name),
            cpu_percent=cpu_percent,
            connections=connections,
            peak=peak,
            refused=self._refusals.counts.get(name, {}),
            roles=self._roles.statuses(name),
            held_up=self._members.hooks.held_up(name),
        )

    def apply(self, target: Target, versions: tuple[Service, ...]) -> None:
        """Follow a target from now on; `versions` has the services as allocations run them.

        What cannot be derived from it stays as it was, and is a problem.
        """
        self._target, self._versions = target, versions
        self._naming.want(target, self._members.parts.hosts(target))
        self._members.hooks.follow(target)
        if target.generation:
            self.jobs.apply(target)
        if self._tasks is not None and self._found is not None:
            self._follow(target, self._tasks, self._found)

    async def run(self) -> None:
        """Adopt, then drive all instances for ever."""
        while self._found is None:
            with self._problems.watch("looking for running instances"):
                await self._look()
            self._hear_of_records()
            if self._found is None:
                await self._world.clock.sleep(_ADOPT_RETRY_SECONDS)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._naming.run())
            tasks.create_task(self.jobs.run())
            tasks.create_task(self._zones.run())
            tasks.create_task(self._members.run())
            if self._target is not None:
                self._follow(self._target, tasks, self._found)
                await self._settle()
            while True:
                await self._world.clock.sleep(_ROTATE_SECONDS)
                with self._problems.watch("instance logs"):
                    await self._world.workload.rotate_logs(self._images())
                self._hear_of_records()
                self._name_hogs()
                with self._problems.watch("load of instances"):
                    self._measuring.look(self._runners.values())
                running = (each.instance for each in self._runners.values() if each.instance)
                await self._refusals.look(tuple(running))
                if self._target is not None:
                    with self._problems.watch("volumes"):
                        used = self._volumes_in_use()
                        await self.volumes.look(self._target, self._services(), used)

    def _images(self) -> frozenset[str] | None:
        """Return the images of all services that we were told of; None: of none yet.

        Who waits for its turn after a boot, or for its next try, is to find its own.
        """
        target = self._target
        if target is None or target.generation == 0:
            return None
        boxes = (each.spec.run.container for each in (*target.services, *self._versions))
        return frozenset((*(box.image for box in boxes if box), *self.jobs.images))

    # ---- routes ----------------------------------------------------------------------------

    async def observe(self) -> float:
        """See `kernel.RouteSource`: runners tell us everything else themselves."""
        target = self._target
        await self._roles.look()
        await self._members.look(target)
        if target is not None and not self._answering.possible:
            if target.platform.machine(target.machine).has(Role.EDGE):
                self._answering.assume()  # nobody tells an edge how to answer
            else:
                versions = {each.version for one in target.services for each in one.prefixes}
                await self._answering.look(versions)
        return _LOOK_AGAIN_SECONDS

    def routes(self) -> tuple[Route, ...] | None:
        """See `kernel.RouteSource`.

        Before we have looked, and before a controller has ever told us what should be here,
        what is in the kernel is better than what we know.
        """
        target, balanced = self._target, self._director.reachable
        if self._tasks is None or target is None or target.generation == 0 or balanced is None:
            return None
        runners = self._runners.values()
        told = runners if self._answering.possible else ()
        jobs = self.jobs.driven
        made_of = (
            target,
            balanced,
            (*((each.name, each.allocation, each.service) for each in runners), *jobs),
            frozenset(
                (
                    *(each.name for each in runners if each.instance is not None),
                    *(name for name, _, _ in jobs),
                )
            ),
            (
                frozenset(each.name for each in told if each.ready),
                frozenset(each.name for each in told if each.standing_by),
                frozenset(each.name for each in told if each.draining),
            ),
            (
                self._director.elsewhere,
                self._roles.held if told else frozenset(),
                self._members.heard,
            ),
        )
        if self._routes is None or self._routes[0] != made_of:
            self._routes = made_of, routes_of(*made_of)
        return self._routes[1]

    def owners(self) -> Mapping[str, str]:
        """Return the allocation of every device, also of one that has just gone."""
        return {
            instance_device(runner.allocation.slot): runner.name
            for runner in self._runners.values()
            if runner.allocation
        }

    def leavers(self) -> tuple[Leaver, ...] | None:
        """Return the instances that are wanted here, or still run, by slot.

        None: not known yet, as for `routes`.
        """
        target = self._target
        if self._tasks is None or target is None or target.generation == 0:
            return None
        services = {each.name: each for each in target.services}
        known = {each.slot: services.get(each.service) for each in target.allocations}
        for runner in self._runners.values():
            if runner.allocation and runner.service:
                known.setdefault(runner.allocation.slot, runner.service)
        for _, allocation, its in self.jobs.driven:
            known.setdefault(allocation.slot, its)
        return tuple(
            Leaver(device=instance_device(slot), slot=slot, spec=service.spec)
            for slot, service in sorted(known.items())
            if service is not None and service.spec.run.adopted is None
        )

    def addresses(self) -> Mapping[str, IPv6Address]:
        """Return the unicast address of every instance that has its network, by device."""
        target = self._target
        if target is None:
            return {}
        platform = target.platform
        return {
            runner.instance.device: platform.instance6(
                platform.machine(target.machine), runner.service.id, runner.allocation.slot
            )
            for runner in self._runners.values()
            if runner.instance and runner.service and runner.allocation
        }

    # ---- following -------------------------------------------------------------------------

    async def _look(self) -> None:
        running = await self._world.workload.running()
        routes = await self._world.network.routes(SERVICE_TABLE)
        self._announced = {
            (str(route.prefix), hop.device): route.proto
            for route in routes
            for hop in route.nexthops
        }
        self._roles.found(routes)
        if self._announced:  # it was told before we began
            self._answering.assume()
        self._drains.read(tuple(running.values()))
        self.jobs.read(running)
        self._found = {name: each for name, each in running.items() if not is_run(name)}

    def _name_hogs(self) -> None:
        self._name("load", self._world.workload.hogs())
        self._name("io", self._unlimited())

    def _name(self, what: str, said: Mapping[str, str]) -> None:
        for name in {*self._named.get(what, ()), *said}:
            self._problems.set(f"{what} of {name}", said.get(name, ""))
        self._named[what] = frozenset(said)

    def _unlimited(self) -> Mapping[str, str]:
        """Return why the use of the disk is not limited that services say limits of."""
        wanted = {
            order.run.job: instance
            for order, instance in self.jobs.alive
            if order.run.spec.run.io
        } | {
            runner.order.service.name: runner.instance
            for runner in self._runners.values()
            if runner.order and runner.instance and runner.order.spec.io
        }
        return {name: self._world.workload.io_free(each) for name, each in wanted.items()}

    def _hear_of_records(self) -> None:
        said = self._world.workload.records()
        self._problems.set("instance records", said.wrong)
        for each in said.mended:
            self._journal.say(each.allocation, "instance record mended", each.detail)

    def _follow(
        self, target: Target, tasks: asyncio.TaskGroup, found: dict[str, Instance]
    ) -> None:
        services = self._services()
        new = [a.id for a in target.allocations if a.id not in {*found, *self._runners}]
        delays = start_delays(new)
        for allocation in target.allocations:
            with self._problems.watch(f"order for {allocation.id}"):
                runner = self._runners.get(allocation.id)
                runs = allocation.id in found or bool(runner and runner.instance)
                order = self._order(target, allocation, services, runs=runs)
                delay = delays.get(allocation.id, 0.0)
                self._runner(allocation, order, tasks, found, delay).revise(order)
        if target.generation == 0:
            return  # nobody has told us yet what should run: an empty list orders nothing
        wanted = {allocation.id for allocation in target.allocations}
        for name in [name for name in found if name not in wanted]:
            instance = found.pop(name)
            drain = self._drains.of(instance)
            runner = self._new_runner(name, instance, drain.service if drain else None)
            self._add(runner, tasks)
        for name, runner in self._runners.items():
            if name not in wanted:
                runner.revise(None)
        self._inquiring.follow(target, tasks)
        self._roles.follow(target, tasks)

    def _services(self) -> Mapping[tuple[str, int], Service]:
        return {(service.name, service.version): service for service in self._versions}

    def _order(
        self,
        target: Target,
        allocation: Allocation,
        services: Mapping[tuple[str, int], Service],
        *,
        runs: bool,
    ) -> Order:
        service = services.get((allocation.service, allocation.version))
        exact = service is not None
        if service is None:
            service = next(each for each in target.services if each.name == allocation.service)
        secrets = instance_secrets(target, service, runs=runs)
        spec = instance_spec(target.platform, service, allocation, secrets)
        ids = {each.name: each.id for each in target.balanced} if service.spec.clients else {}
        made = any(each.made for each in target.volumes if each.id == allocation.volume)
        return Order(
            allocation=allocation,
            spec=replace(
                spec,
                ports=render_detour(service.spec, spec)
                or render_ports(target.platform, service, ids),
                live=(
                    *self._zones.of(target, service),
                    *self._members.parts.of(target, service, runs=runs),
                    *self._members.peers.of(target, service, allocation),
                ),
                volume_made=made,
            ),
            service=service,
            exact=exact,
        )

    def _name_servers(self) -> Iterator[NameServer]:
        """Yield those that have answered already: who starts finds its zones as they are."""
        for runner in self._runners.values():
            order, instance = runner.order, runner.instance
            if order is None or instance is None or runner.health.phase is Phase.STARTING:
                continue
            use = order.service.spec.run.zones
            if use is not None and order.exact:
                yield instance, order.spec, use

    def _runner(
        self,
        allocation: Allocation,
        order: Order,
        tasks: asyncio.TaskGroup,
        found: dict[str, Instance],
        delay: float,
    ) -> Runner:
        runner = self._runners.get(allocation.id)
        if runner is None:
            instance = found.pop(allocation.id, None)
            runner = self._new_runner(allocation.id, instance, order.service, delay)
            runner.revise(order)
            self._add(runner, tasks)
        return runner

    def _new_runner(
        self, name: str, found: Instance | None, service: Service | None, delay: float = 0.0
    ) -> Runner:
        device = found.device if found else ""
        prefixes = map(ip_network, addresses_of(service) if service else ())
        had = {self._announced.get((str(each), device)) for each in prefixes} - {None}
        return Runner(
            name,
            self._around,
            found,
            announced=bool(had),
            stood_by=had == {PROTO_BACKUP},
            delay=delay,
        )

    def _add(self, runner: Runner, tasks: asyncio.TaskGroup) -> None:
        self._runners[runner.name] = runner
        tasks.create_task(self._drive(runner))

    async def _drive(self, runner: Runner) -> None:
        await runner.run()
        del self._runners[runner.name]
        self._roles.gone(runner.name)
        self._members.hooks.gone(runner.name)
        await self._settle()

    def _drainable(self, service: Service, instance: Instance) -> bool:
        """See `runner.Surroundings`: only directors lead flows to who is not announced.

        They forget a service that is deleted, and so do clients.
        """
        target, reachable = self._target, self._director.reachable
        if target is None or not target.platform.director or not service.spec.drain_ms:
            return False
        found = reachable is None or instance.device in reachable
        return found and service.id in {each.id for each in target.balanced}

    def _stays(self, order: Order, restarts: int) -> bool:
        """See `runner.Surroundings`. Where nobody balances, nobody knows how others are.

        A first restart may help, if it is its turn; one that did not help is no help.
        """
        target, allocation = self._target, order.allocation
        known = self._director.candidates_of(order.service.id)
        if target is None or not is_panic(one.state for one in known):
            return False
        platform, ill = target.platform, CandidateState.BACKUP
        node = platform.machine(target.machine)
        own = platform.instance6(node, order.service.id, allocation.slot)
        unwell = [one.address for one in known if one.state is ill]
        if restarts or own not in unwell:
            return True
        site, now_ms = allocation.datacenter, self._world.clock.unix_ms()
        return not is_its_turn(platform, order.service, site, allocation.replica, now_ms)

    def _is_free(self, spec: InstanceSpec) -> bool:
        """See `runner.Surroundings`."""
        if self._members.ends.holds_up(spec.allocation):
            return False
        there = [runner for runner in self._runners.values() if runner.instance]
        held = {runner.instance.device for runner in there if runner.instance}
        found = {instance.device for instance in (self._found or {}).values()}
        volumes = self._volumes_in_use()
        return spec.device not in held | found and spec.volume not in volumes

    def _volumes_in_use(self) -> frozenset[str]:
        there = (each.allocation for each in self._runners.values() if each.instance)
        return frozenset(each.volume for each in there if each) - {""}
