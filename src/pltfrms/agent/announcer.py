"""Which aggregates this edge announces: read what BIRD knows, decide, say why."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.model.machine import (
    AGGREGATE_TABLE,
    LOCAL_TABLE,
    PROTO_ACTIVE,
    PROTO_BACKUP,
    REMOTE_TABLE,
    Route,
)
from pltfrms.model.plan import Target
from pltfrms.model.state import AggregateStatus
from pltfrms.model.topology import Prefix
from pltfrms.planner.aggregates import (
    AggregateState,
    Reachable,
    aggregate_routes,
    decide_aggregates,
)

_LOOK_AGAIN_SECONDS = 1.0
_WAITING_SECONDS = 0.2
"""While a condition has to last before it counts."""


class Announcer:
    """The aggregates of an edge. A `kernel.RouteSource`."""

    table: Final = AGGREGATE_TABLE

    def __init__(
        self,
        world: World,
        journal: Journal,
        problems: Problems,
        bird_answers: Callable[[], bool],
    ) -> None:
        """While BIRD does not answer, what its tables say is not known."""
        self._world = world
        self._journal = journal
        self._problems = problems
        self._bird_answers = bird_answers
        self._target: Target | None = None
        self._states: Mapping[Prefix, AggregateState] | None = None
        """None until we know what was announced before us."""
        self.statuses: tuple[AggregateStatus, ...] = ()

    def apply(self, target: Target) -> None:
        """Follow a target from now on."""
        self._target = target

    async def observe(self) -> float:
        """Look at the tables that BIRD fills and decide; see `kernel.RouteSource`."""
        if self._target is None:
            return _LOOK_AGAIN_SECONDS
        if self._states is None:
            self._states = await self._announced_before_us()
        decision = decide_aggregates(
            self._target.platform,
            await self._reachable(self._target),
            self._states,
            self._world.clock.monotonic(),
        )
        before, self._states = self._states, decision.states
        if decision.statuses != self.statuses:
            self.statuses = decision.statuses
            self._tell(before)
        return _WAITING_SECONDS if decision.waiting else _LOOK_AGAIN_SECONDS

    def routes(self) -> tuple[Route, ...] | None:
        """See `kernel.RouteSource`."""
        return None if self._states is None else aggregate_routes(self._states)

    async def _announced_before_us(self) -> Mapping[Prefix, AggregateState]:
        routes = await self._world.network.routes(AGGREGATE_TABLE)
        return {
            route.prefix: AggregateState(announced=True)
            for route in routes
            if PROTO_ACTIVE <= route.proto <= PROTO_BACKUP
        }

    async def _reachable(self, target: Target) -> Reachable:
        known = self._bird_answers()
        return Reachable(
            # The bootstrap target has no services because nobody has told us of any.
            services=target.services if target.generation > 0 else None,
            local=await self._prefixes(LOCAL_TABLE) if known else None,
            remote=await self._prefixes(REMOTE_TABLE) if known else None,
        )

    async def _prefixes(self, table: int) -> AbstractSet[Prefix] | None:
        with self._problems.watch(f"reading table {table}"):
            return {route.prefix for route in await self._world.network.routes(table)}
        return None

    def _tell(self, before: Mapping[Prefix, AggregateState]) -> None:
        announced = {str(prefix) for prefix, state in before.items() if state.announced}
        for status in self.statuses:
            if status.announced != (status.prefix in announced):
                verb = "announced" if status.announced else "withdrawn"
                self._journal.say(
                    f"aggregate/{status.prefix}",
                    f"aggregate {verb}",
                    detail=status.reason.sentence,
                    reason=status.reason,
                )
