"""Watch that this edge, which announces, can also answer."""

from collections.abc import Callable
from typing import Final

from pltfrms.agent.routing.routing import Around
from pltfrms.agent.routing.sessions import steady
from pltfrms.errors import UnavailableError
from pltfrms.model.state import OutsideTable
from pltfrms.model.topology import Platform
from pltfrms.planner.routing.way_back import WaysBack, lacking, way_back

FULL_SECONDS: Final = 30.0
"""To count a full table takes BIRD 0.4 s of work."""
SMALL_SECONDS: Final = 2.0
SMALL_ROUTES: Final = 10_000
LASTING_SECONDS: Final = 10.0
"""Tables fill after a start; what is lacking for less time is no news."""
_PART = "way back"
_BRINGING = ("peer.", "edge.")


class WayBack:
    """What BIRD knows of the outside, and whether that is enough for what is announced.

    It tells; the announcer withdraws by it (see `planner.routing.aggregates`).
    """

    def __init__(
        self, around: Around, about: str, in_force: Callable[[], Platform | None]
    ) -> None:
        """Judge by the platform `in_force`; events are about `about`."""
        self._around = around
        self._world = around.world
        self._problems = around.problems
        self._about = about
        self._in_force = in_force
        self._lacking_since: float | None = None
        self._told = False
        self.tables: tuple[OutsideTable, ...] = ()
        """What to report; empty: not known."""
        self._seen: tuple[OutsideTable, ...] = ()
        self._carried = 0

    async def run(self) -> None:
        """Look for ever."""
        while True:
            with self._problems.watch("routes to the outside"):
                await self.look()
            await self._wait()

    def known(self, version: int) -> WaysBack:
        """Return how much can be answered in an address family, by the last look."""
        platform = self._in_force()
        if platform is None:
            return WaysBack.UNKNOWN
        return way_back(platform, self._seen, version)

    async def _wait(self) -> None:
        """Wait for the next look: less long while little is known, or much has changed."""
        small = any(table.routes < SMALL_ROUTES for table in self.tables)
        waited = 0.0
        while waited < (SMALL_SECONDS if small else FULL_SECONDS):
            await self._world.clock.sleep(SMALL_SECONDS)
            waited += SMALL_SECONDS
            if 2 * self._imported() < self._carried:
                return

    def _imported(self) -> int:
        """Return how many routes the sessions have brought that may tell of the outside."""
        sessions = self._around.sessions.statuses
        return sum(each.imported for each in sessions if each.name.startswith(_BRINGING))

    async def look(self) -> None:
        """Look once. While BIRD is silent nothing is known, and what was said stays said."""
        platform = self._in_force()
        if platform is None:
            return
        try:
            tables = await self._world.bird.outside(platform.asn)
        except UnavailableError:
            self.tables = self._seen = ()
            return
        self._seen, self._carried = tables, self._imported()
        before = {table.version: table.routes for table in self.tables}
        self.tables = tuple(
            OutsideTable(
                version=table.version,
                default=table.default,
                routes=steady(before.get(table.version, 0), table.routes),
            )
            for table in tables
        )
        self._judge(tuple(lacking(platform, self._around.announced(), tables)))

    def _judge(self, lacks: tuple[str, ...]) -> None:
        now = self._world.clock.monotonic()
        if not lacks:
            self._lacking_since = None
        elif self._lacking_since is None:
            self._lacking_since = now
        since = self._lacking_since
        lasting = since is not None and now - since >= LASTING_SECONDS
        self._tell(lacks if lasting else ())

    def _tell(self, lacks: tuple[str, ...]) -> None:
        self._problems.set(_PART, "; ".join(lacks))
        if bool(lacks) != self._told:
            self._told = bool(lacks)
            what = "no way back" if lacks else "way back found"
            self._around.journal.say(self._about, what, "; ".join(lacks))
