"""What the agent of a node does for the members of services that run there."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from pltfrms.agent.instances.ended_leases import EndedLeases
from pltfrms.agent.instances.hooks import HookKeeper
from pltfrms.agent.instances.peers import Listed, Peers
from pltfrms.agent.instances.runner import Runner
from pltfrms.agent.instances.store_parts import PartUser, StoreParts
from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.model.running.machine import ROLE_TABLE
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import Phase
from pltfrms.planner.instances.routes import member_claims

SURPASSED: Final = "another node has a newer volume of this replica, and so its address"


class MemberKeeper:
    """Their addresses as far as nobody else claims them, their file of peers, their hooks.

    And their part of the store, which others may have, too.
    """

    def __init__(
        self,
        world: World,
        journal: Journal,
        problems: Problems,
        runners: Mapping[str, Runner],
        holds: Callable[[str], bool],
    ) -> None:
        """Have heard of nobody yet; `holds` tells who has a role that one alone may have."""
        self._world = world
        self._problems = problems
        self._runners = runners
        self.hooks = HookKeeper(world, journal, problems, runners, holds)
        self.peers = Peers(world, problems, self._listed)
        self.parts = StoreParts(world, problems, self._running)
        self.ends = EndedLeases(world, journal, runners)
        self._said: frozenset[str] = frozenset()
        self.heard: frozenset[tuple[str, int]] = frozenset()
        """Prefixes, each with the highest claim to it."""

    async def run(self) -> None:
        """Run hooks, tell of peers and of the store, and end leases there, for ever."""
        await asyncio.gather(
            self.hooks.run(), self.peers.run(), self.parts.run(), self.ends.run()
        )

    def _running(self) -> Iterator[PartUser]:
        for runner in self._runners.values():
            if runner.order is not None and runner.instance is not None:
                yield runner.instance, runner.order.spec

    def _listed(self) -> Iterator[Listed]:
        """Yield those that know of the other replicas of their service."""
        for runner in self._runners.values():
            order, instance = runner.order, runner.instance
            if order is not None and instance is not None and order.allocation.volume:
                answered = runner.health.phase is not Phase.STARTING
                yield instance, order.spec, order.service.spec.run.peers_signal, answered

    async def look(self, target: Target | None) -> None:
        """See who claims what; who cannot be read stays as he was.

        Who is not wanted here any more counts for as long as it runs.
        """
        self.ends.look()
        claims = dict(member_claims(self._seen(target))) if target is not None else {}
        if claims:
            with self._problems.watch("replicas elsewhere"):
                heard: dict[str, int] = {}
                for route in await self._world.network.routes(ROLE_TABLE):
                    prefix = str(route.prefix)
                    if prefix in claims:
                        heard[prefix] = max(route.metric, heard.get(prefix, 0))
                self.heard = frozenset(heard.items())
        highest = dict(self.heard)
        said = {
            f"{prefix} of {name}"
            for prefix, (name, claim) in claims.items()
            if highest.get(prefix, 0) > claim
        }
        for part in self._said | said:
            self._problems.set(part, SURPASSED if part in said else "")
        self._said = frozenset(said)

    def _seen(self, target: Target) -> Target:
        runners = self._runners.values()
        allocations = tuple(each.allocation for each in runners if each.allocation)
        services = {each.service.name: each.service for each in runners if each.service}
        services |= {each.name: each for each in target.services if each.name in services}
        return replace(target, allocations=allocations, services=tuple(services.values()))
