"""Which services are left to other datacenters, as all of their instances here are ill."""

from collections.abc import Sequence
from typing import Final

from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.model.network.topology import Role
from pltfrms.model.running.balancer import BalancedService, Candidate, is_panic
from pltfrms.model.running.machine import REMOTE_TABLE, Route
from pltfrms.model.running.plan import Target

HOLD_SECONDS: Final = 3.0
"""What all instances ask for fails for all of them within so long, and is back for all of them
within so long. Meanwhile clients stay where they are: connections do not survive a move."""
LOOK_SECONDS: Final = 0.5
_PROBLEM: Final = "services elsewhere"


class Elsewhere:
    """What an edge knows of it; nobody else does."""

    def __init__(self, world: World, problems: Problems) -> None:
        """Know of no service that is ill here."""
        self._world = world
        self._problems = problems
        self.all: frozenset[int] = frozenset()
        """The services that are left to others, by id."""
        self._ill: dict[int, BalancedService] = {}
        """Those whose instances here are all ill."""
        self._since: dict[int, float] = {}
        """Since when others serve those, in monotonic seconds."""
        self._look_at = 0.0

    @property
    def ill(self) -> tuple[BalancedService, ...]:
        """The services whose instances here answer, and all say that they are ill."""
        return tuple(self._ill.values())

    def hear(
        self, number: int, service: BalancedService | None, some: Sequence[Candidate]
    ) -> None:
        """Learn who can serve a service here."""
        if service is not None and is_panic(each.state for each in some):
            if number not in self._ill:
                self._look_at = 0.0
            self._ill[number] = service
        else:
            self._ill.pop(number, None)
            self._since.pop(number, None)
            self.all -= {number}

    async def look(self, target: Target | None) -> set[int]:
        """See who serves elsewhere; return the services for which something has changed."""
        now = self._world.clock.monotonic()
        is_edge = target and target.platform.machine(target.machine).has(Role.EDGE)
        if not is_edge or not self._ill or now < self._look_at:
            return set()
        self._look_at = now + LOOK_SECONDS
        with self._problems.watch(_PROBLEM):
            return self._see(await self._world.network.routes(REMOTE_TABLE), now)
        return set()

    def _see(self, told: Sequence[Route], now: float) -> set[int]:
        served = {route.prefix for route in told}
        installed = self._world.balancer.installed()
        since: dict[int, float] = {}
        for number, service in self._ill.items():
            if not served.isdisjoint(service.prefixes):
                # Who has no table here has its clients elsewhere already.
                begun = now if number in installed else now - HOLD_SECONDS
                since[number] = self._since.get(number, begun)
        self._since, before = since, self.all
        self.all = frozenset(n for n, at in since.items() if now - at >= HOLD_SECONDS)
        return set(before ^ self.all)
