"""Which aggregates this edge announces: read what BIRD knows, decide, say why."""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Final

from pltfrms.agent.freeze import Frost
from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.agent.routing.far_witness import FarWitness
from pltfrms.agent.routing.memory import Memory
from pltfrms.agent.routing.sessions import Sessions
from pltfrms.agent.world import World
from pltfrms.model.addresses import Prefix
from pltfrms.model.network.interventions import DrainPhase
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.running.balancer import BalancedService
from pltfrms.model.running.machine import (
    AGGREGATE_TABLE,
    ELSEWHERE_TABLE,
    LOCAL_TABLE,
    PROTO_ACTIVE,
    PROTO_BACKUP,
    REMOTE_TABLE,
    Route,
)
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import AggregateStatus
from pltfrms.planner.routing.aggregates import (
    AggregateState,
    Reachable,
    aggregate_routes,
    as_seen_by,
    datacenter_rank,
    decide_aggregates,
)
from pltfrms.planner.routing.way_back import WaysBack

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
        sessions: Sessions,
        frost: Frost,
        in_force: Callable[[], Platform | None],
    ) -> None:
        """While BIRD does not answer, what its tables say is not known.

        `in_force` tells whose policy BIRD runs. An aggregate comes and goes with it, not
        already with the target: that waits for this edge's turn, and may be taken back.
        """
        self._world = world
        self._journal = journal
        self._problems = problems
        self._sessions = sessions
        self._frost = frost
        self._in_force = in_force
        self.way_back: Callable[[int], WaysBack] = _unknown
        """Tells what can be answered in an address family."""
        self.ill: Callable[[], Iterable[BalancedService]] = tuple
        """Tells the services whose instances here all say that they are ill."""
        self._memory = Memory(world, problems)
        self.far_witness = FarWitness()
        self._outside = True
        """Whether anybody outside could be told when BIRD answered last."""
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
        whole = self._in_force() or self._target.platform
        platform = as_seen_by(whole, self._target.machine)
        if self._states is None:
            self._states = await self._before_us(platform)
        outside = self._sessions.any_up(self._telling(self._target, platform))
        self._outside = self._outside if outside is None else outside
        datacenter = platform.machine(self._target.machine).datacenter
        decision = decide_aggregates(
            platform,
            await self._reachable(self._target, whole),
            self._states,
            self._world.clock.monotonic(),
            rank=datacenter_rank(platform, datacenter),
            frozen=bool(self._frost.reason),
        )
        self._memory.keep(decision.states, outside=self._outside)
        before, self._states = self._states, decision.states
        if decision.statuses != self.statuses:
            self.statuses = decision.statuses
            self._tell(before)
        if _announced(decision.states) != _announced(before):
            self._sessions.doubt_counts()
        return _WAITING_SECONDS if decision.waiting else _LOOK_AGAIN_SECONDS

    def owners(self) -> Mapping[str, str]:
        """See `kernel.RouteSource`: aggregates are routes to nowhere."""
        return {}

    def routes(self) -> tuple[Route, ...] | None:
        """See `kernel.RouteSource`."""
        if self._states is None:
            return None
        return aggregate_routes(self._states, outside=self._outside)

    def announced(self) -> AbstractSet[Prefix]:
        """Return the aggregates that this edge means to announce now."""
        return _announced(self._states or {})

    def _telling(self, target: Target, platform: Platform) -> AbstractSet[str]:
        """Return the sessions with the outside that are not drained until they are silent."""
        edge, now_ms = target.machine, self._world.clock.unix_ms()
        me = platform.machine(edge)
        drain_of = target.interventions.drain_of
        return {
            f"peer.{name}.ipv{ours.version}"
            for name, (peer, session) in zip(
                platform.session_names(edge), platform.sessions_of(edge), strict=True
            )
            if drain_of(peer.name, me, session.interface, now_ms) is not DrainPhase.WITHDRAWN
            for ours in session.ours
        }

    async def _before_us(self, platform: Platform) -> Mapping[Prefix, AggregateState]:
        routes = await self._world.network.routes(AGGREGATE_TABLE)
        ours = [route for route in routes if PROTO_ACTIVE <= route.proto <= PROTO_BACKUP]
        prefixes = [aggregate.prefix for aggregate in platform.aggregates]
        states, self._outside = self._memory.recall(prefixes, ours)
        return states

    async def _reachable(self, target: Target, platform: Platform) -> Reachable:
        known = self._sessions.answers
        home = platform.machine(target.machine).datacenter
        edges = [edge for edge in platform.machines_of(Role.EDGE) if not edge.external]
        others = {platform.mesh_mark(edge) for edge in edges if edge.datacenter != home}
        elsewhere = await self._prefixes(ELSEWHERE_TABLE) if known else None
        heard = self._telling(target, platform)
        self.far_witness.see(platform, home, elsewhere, self._world.clock.monotonic())
        mesh = self._sessions.any_up({f"edge.{edge.name}" for edge in edges})
        local = await self._prefixes(LOCAL_TABLE) if known else None
        remote = await self._prefixes(REMOTE_TABLE) if known else None
        if local is not None and remote is not None:
            # Who is ill serves only where nobody is better, and then it does.
            last = (each.prefixes for each in self.ill() if remote.isdisjoint(each.prefixes))
            local |= frozenset(chain.from_iterable(last))
        return Reachable(
            # The bootstrap target has no services because nobody has told us of any.
            services=target.services if target.generation > 0 else None,
            parts=tuple(each.prefix for each in platform.service_aggregates),
            local=local,
            remote=remote,
            elsewhere=elsewhere,
            inside=self._sessions.inside,
            ways_back={version: self._way_back(version, heard) for version in (4, 6)},
            # Not by sessions: of other datacenters we may hear through a reflector of ours.
            backbone=None if elsewhere is None else mesh and not others.isdisjoint(elsewhere),
        )

    def _way_back(self, version: int, telling: AbstractSet[str]) -> WaysBack:
        """Return what can be answered; whom nobody hears attracts nothing to be answered."""
        family = {name for name in telling if name.endswith(f".ipv{version}")}
        heard = self._sessions.any_up(family)
        if heard is None:
            return WaysBack.UNKNOWN
        return self.way_back(version) if heard else WaysBack.UNHEARD

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


def _unknown(_version: int) -> WaysBack:
    return WaysBack.UNKNOWN


def _announced(states: Mapping[Prefix, AggregateState]) -> AbstractSet[Prefix]:
    return {prefix for prefix, state in states.items() if state.announced}
