"""Let OSPF look for its ways again after another edge was away for a moment.

BIRD 2.0.12 computes routes when what it knows of others changes. An edge that leaves and
comes back before it may say so (MinLSInterval, RFC 2328, 5 s) has said nothing new in the end:
routes were computed while it was away, and stay that way although it is there. A link that
flaps twice within five seconds would so stay unused, and all behind it unreachable.
"""

from collections.abc import Callable
from typing import Final

from pltfrms.agent.freeze import Frost
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.errors import UnavailableError
from pltfrms.model.running.machine import BfdState

LOOK_SECONDS: Final = 0.5
LOOK_SECONDS_MAX: Final = 2.0
_LINES_PER_SECOND: Final = 100
"""So many sessions are read at most: an edge of a large datacenter looks less often."""
AGAIN_SECONDS: Final = 6.0
"""Once more after the last change: what was held back has been said by then."""


class Underlay:
    """OSPF of one edge, watched through its BFD sessions."""

    def __init__(
        self,
        world: World,
        problems: Problems,
        frost: Frost,
        hear: Callable[[frozenset[BfdState] | None], None],
    ) -> None:
        """Know nothing yet; `hear` is told of all that BFD says, None: nothing."""
        self._hear = hear
        self._lines = 0
        self._world = world
        self._problems = problems
        self._frost = frost
        self._seen: frozenset[BfdState] | None = None
        self._again_at: float | None = None

    async def run(self) -> None:
        """Watch for ever; while frozen nothing is done."""
        while True:
            with self._problems.watch("underlay"):
                await self._look()
            await self._world.clock.sleep(look_seconds(self._lines))

    async def _look(self) -> None:
        try:
            liveness = await self._world.bird.liveness()
            self._lines = len(liveness)
            self._hear(liveness)
            if not self._frost.reason:
                await self._follow(liveness)
        except UnavailableError:
            self._seen = None  # the sessions say that BIRD is away
            self._hear(None)

    async def _follow(self, liveness: frozenset[BfdState]) -> None:
        now = self._world.clock.monotonic()
        changed = self._seen is not None and liveness != self._seen
        self._seen = liveness
        if changed:
            self._again_at = now + AGAIN_SECONDS
        elif self._again_at is None or now < self._again_at:
            return
        else:
            self._again_at = None
        await self._world.bird.find_ways()


def look_seconds(lines: int) -> float:
    """Return how long not to look where so many sessions are to be read."""
    return min(LOOK_SECONDS_MAX, max(LOOK_SECONDS, lines / _LINES_PER_SECOND))
