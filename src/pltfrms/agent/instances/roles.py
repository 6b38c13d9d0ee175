"""Ask the instances of a node which roles they have, and hear who has them elsewhere."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from pltfrms.agent.instances.orders import addresses_of
from pltfrms.agent.instances.runner import Runner
from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.model.network.topology import Role
from pltfrms.model.running.machine import ROLE_TABLE, Instance, ProbeAnswer, Route
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import Phase, RoleState, RoleStatus
from pltfrms.model.running.texts import shortened
from pltfrms.model.services.roles import CLAIM_STEP, claim_of, epoch_of, role_prefixes
from pltfrms.model.services.service import RoleSpec
from pltfrms.planner.instances.roles import NOTHING_SAID, RoleSaid, asked, decide_role

WORDS_MAX: Final = 200
"""Characters of what an instance says: a line of `status`."""
_Key = tuple[str, RoleSpec]
"""An allocation, and a role of its service."""
_Held = tuple[tuple[str, str], int]
"""An allocation and the name of a role, and its claim; 0: it is shared."""


class RoleKeeper:
    """Who of a node's instances has which role, as far as they say it and none is better."""

    def __init__(
        self,
        world: World,
        journal: Journal,
        problems: Problems,
        settle: Callable[[], Awaitable[None]],
        runners: Mapping[str, Runner],
    ) -> None:
        """Ask nobody yet; `settle` makes routes follow."""
        self._world = world
        self._journal = journal
        self._problems = problems
        self._settle = settle
        self._runners = runners
        self._place = (0, 0)
        self._tasks: dict[_Key, asyncio.Task[None]] = {}
        self._said: dict[_Key, tuple[Instance, RoleSaid]] = {}
        self._before: Mapping[tuple[str, str], int] = {}
        self._heard: Mapping[str, int] = {}
        """The highest claim of others, by prefix."""
        self._floors: dict[tuple[str, str], int] = {}
        """The highest epoch that anybody had, by service and role, since it runs here."""
        self._told: dict[tuple[str, str], RoleStatus] = {}

    def found(self, routes: Iterable[Route]) -> None:
        """Learn what was announced before us: it stays until the instance was asked."""
        self._before = {
            (str(route.prefix), hop.device): route.metric
            for route in routes
            for hop in route.nexthops
        }

    def follow(self, target: Target, tasks: asyncio.TaskGroup) -> None:
        """Ask who runs or is to run here, in his own version, and nobody else any more."""
        node = target.platform.machine(target.machine)
        datacenter = target.platform.datacenter(node.datacenter)
        self._place = (datacenter.id, node.id_as(Role.NODE))
        wanted = {
            (name, role)
            for name, runner in self._runners.items()
            if runner.service is not None
            for role in runner.service.spec.roles
        }
        for key in self._tasks.keys() - wanted:
            self._tasks.pop(key).cancel()
            self._forget(key)
        for key in wanted - self._tasks.keys():
            self._recall(key)
            self._tasks[key] = tasks.create_task(self._ask(key))
        self._before = {}
        self._drop_floors()
        self._tell()  # what was found counts at once: who is to end may have to hand over

    def gone(self, name: str) -> None:
        """Ask one no more whose runner has ended."""
        for key in [key for key in self._tasks if key[0] == name]:
            self._tasks.pop(key).cancel()
            self._forget(key)
        self._drop_floors()

    @property
    def held(self) -> frozenset[_Held]:
        """Who is to be announced now."""
        return frozenset(
            ((name, status.role), self._claim(status))
            for name, some in self._decided().items()
            for status in some
            if status.state is RoleState.HELD
        )

    def holds(self, name: str) -> bool:
        """Return whether an instance has a role that one alone may have."""
        return any(each.is_alone for each in self.statuses(name))

    def statuses(self, name: str) -> tuple[RoleStatus, ...]:
        """Return what to report of an instance."""
        return tuple(each for (one, _), each in sorted(self._told.items()) if one == name)

    async def look(self) -> None:
        """See who claims our roles elsewhere; who cannot be read stays as he was."""
        if not self._tasks:
            return
        with self._problems.watch("roles elsewhere"):
            heard: dict[str, int] = {}
            for route in await self._world.network.routes(ROLE_TABLE):
                prefix = str(route.prefix)
                heard[prefix] = max(route.metric, heard.get(prefix, 0))
            self._heard = heard
        self._tell()

    # ---- asking ----------------------------------------------------------------------------

    async def _ask(self, key: _Key) -> None:
        clock, (name, role) = self._world.clock, key
        while True:
            runner = self._runners.get(name)
            instance = runner.instance if runner else None
            if runner and instance and not _ends(runner):
                said = self._known(key, instance)
                with self._problems.watch(f"asking {name} for role {role.name}"):
                    said = asked(said, role, await self._answer(runner, instance, role))
                self._said[key] = instance, said
            if self._tell():
                await self._settle()
            await clock.sleep(role.probe.interval_ms / 1000)

    async def _answer(self, runner: Runner, instance: Instance, role: RoleSpec) -> ProbeAnswer:
        # Of one that is not wanted any more, and drains, there is no order, but its service.
        addresses = addresses_of(runner.service) if runner.service else ()
        said = await self._world.prober.probe(instance, role.probe, addresses)
        return replace(said, failure=shortened(said.failure, WORDS_MAX))

    def _known(self, key: _Key, instance: Instance) -> RoleSaid:
        """Return what an instance said last."""
        whose, said = self._said.get(key, (None, NOTHING_SAID))
        if whose == instance:
            return said
        return NOTHING_SAID

    def _recall(self, key: _Key) -> None:
        """Take what was announced before us for what an instance said that we have found."""
        runner = self._runners[key[0]]
        if runner.instance is None:
            return
        device = runner.instance.device
        claim = max((self._before.get((p, device), 0) for p in self._prefixes(key)), default=0)
        if claim:
            epoch = epoch_of(claim) if claim >= CLAIM_STEP else 0
            self._said[key] = runner.instance, RoleSaid(has=True, epoch=epoch, known=False)

    def _prefixes(self, key: _Key) -> Iterator[str]:
        runner = self._runners.get(key[0])
        roles = runner.service.roles if runner and runner.service else ()
        yield from map(str, role_prefixes(roles, (key[1].name,)))

    def _forget(self, key: _Key) -> None:
        name, role = key
        self._said.pop(key, None)
        self._told.pop((name, role.name), None)
        for part in (f"asking {name} for role {role.name}", _part(name, role.name)):
            self._problems.set(part, "")

    def _drop_floors(self) -> None:
        """Forget the epochs of services that do not run here any more: one made anew begins."""
        here = {each.service.name for each in self._runners.values() if each.service}
        self._floors = {key: each for key, each in self._floors.items() if key[0] in here}

    # ---- deciding --------------------------------------------------------------------------

    def _decided(self) -> Mapping[str, tuple[RoleStatus, ...]]:
        found: dict[str, tuple[RoleStatus, ...]] = {}
        for which, said in self._sharing().items():
            key = next((name, role) for name, (role, _) in said.items())
            heard = max((self._heard.get(each, 0) for each in self._prefixes(key)), default=0)
            floor = self._floors.get(which, 0)
            if heard:
                floor = max(floor, epoch_of(heard))
            statuses = decide_role(said, self._place, heard, floor)
            highest = [s.epoch or 0 for s in statuses.values() if s.state is RoleState.HELD]
            self._floors[which] = max(floor, *highest, 0)
            for name, status in statuses.items():
                found[name] = (*found.get(name, ()), status)
        return found

    def _sharing(self) -> Mapping[tuple[str, str], dict[str, tuple[RoleSpec, RoleSaid]]]:
        """Return who says what, by service and role: two versions may be asked differently."""
        found: dict[tuple[str, str], dict[str, tuple[RoleSpec, RoleSaid]]] = {}
        for key in sorted(self._tasks, key=lambda key: (key[0], key[1].name)):
            name, role = key
            runner = self._runners.get(name)
            if runner is None or runner.service is None:
                continue
            said = RoleSaid(words="it does not run, or is about to end")
            if runner.instance is not None and not _ends(runner):
                said = self._known(key, runner.instance)
            found.setdefault((runner.service.name, role.name), {})[name] = role, said
        return found

    def _claim(self, status: RoleStatus) -> int:
        return 0 if status.shared else claim_of(status.epoch or 0, *self._place)

    def _tell(self) -> bool:
        """Say what has changed; return whether routes are to follow."""
        moved = False
        now = {(name, s.role): s for name, some in self._decided().items() for s in some}
        for (name, role), status in now.items():
            before = self._told.get((name, role))
            if before == status:
                continue
            was, has = (
                each is not None and each.state is RoleState.HELD for each in (before, status)
            )
            moved = moved or was or has
            if was is not has:
                what = "role taken" if has else "role lost"
                self._journal.say(name, what, status.sentence, status.reason)
            yielded = status.state is RoleState.YIELDED
            self._problems.set(_part(name, role), status.sentence if yielded else "")
        self._told = now
        return moved


def _ends(runner: Runner) -> bool:
    """Return whether an instance is about to end: what it says of its roles does not count."""
    return runner.health.phase in {Phase.STOPPING, Phase.BACKOFF}


def _part(name: str, role: str) -> str:
    """Return how problems call a role that an instance has no right to."""
    return f"role {role} of {name}"
