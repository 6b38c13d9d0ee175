"""Watch that this edge, which announces, can also answer."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Final

from pltfrms import codec
from pltfrms.agent.routing.routing import Around
from pltfrms.agent.routing.sessions import steady
from pltfrms.errors import UnavailableError
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.machine import (
    ELSEWHERE_TABLE,
    PROTO_ACTIVE,
    PROTO_BIRD,
    PROTO_REACHABLE,
)
from pltfrms.model.running.state import OutsideTable
from pltfrms.planner.routing.way_back import WaysBack, has_way_back, lacking, way_back

FULL_SECONDS: Final = 30.0
"""To count a full table takes BIRD 0.4 s of work."""
SMALL_SECONDS: Final = 2.0
SMALL_ROUTES: Final = 10_000
LASTING_SECONDS: Final = 10.0
"""Tables fill after a start; what is lacking for less time is no news."""
WAYS_FILE: Final = "ways-back.json"
"""On disk: the families in which BGP has ever brought a way back. An agent that begins anew
while it brings none must know."""
_PART = "way back"
_READING: Final = "memory of ways back on disk"
_WRITING: Final = "memory of ways back"
_BRINGING = ("peer.", "edge.")
_LESS: Final = 0.95
"""A session that brings less than this part of what it brought may have lost one family."""
_NOBODY: Final = {4: ip_address("240.0.0.1"), 6: ip_address("3ffe::1")}
"""Addresses that no route leads to but one to everything."""
_EVERYTHING: Final = 3
"""A default route, or what stands for one: its two halves, or 2000::/3."""
_NOT_THE_SYSTEMS: Final = frozenset({PROTO_BIRD, *range(PROTO_ACTIVE, PROTO_REACHABLE + 1)})
"""Protocol numbers of BIRD and of us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signs:
    """What is asked for cheaply, and says when to count again."""

    imported: Mapping[str, int] = field(default_factory=dict)
    """By session that may tell of the outside."""
    far: int = 0
    """Machines and aggregates of ours that other datacenters tell of."""
    system: tuple[int, ...] = ()
    """Families in which the operating system has a default route."""

    def lessened(self, before: "_Signs") -> bool:
        """Return whether some way may be lost since."""
        fell = any(
            self.imported.get(name, 0) < count * _LESS
            for name, count in before.imported.items()
        )
        return fell or self.far < before.far or not set(before.system) <= set(self.system)


@dataclass(frozen=True, slots=True, kw_only=True)
class BroughtWays:
    """What must survive an agent."""

    families: tuple[int, ...]


class WayBack:
    """What BIRD knows of the outside, and whether that is enough for what is announced.

    The operating system's own default route is a way back, too. Where BGP has brought one
    before, and no neighbour is hops away, it may lead to a network for operators
    alone: there it keeps the last announcement, and no more.

    It tells; the announcer withdraws by it (see `planner.routing.aggregates`).
    """

    def __init__(
        self, around: Around, machine: str, in_force: Callable[[], Platform | None]
    ) -> None:
        """Judge by the platform `in_force`."""
        self._around = around
        self._world = around.world
        self._problems = around.problems
        self._machine = machine
        self._in_force = in_force
        self._lacking_since: float | None = None
        self._found_since: float | None = None
        self._lacks: tuple[str, ...] = ()
        """What was lacking last."""
        self._told = False
        self.tables: tuple[OutsideTable, ...] = ()
        """What to report; empty: not known."""
        self._known: Mapping[int, WaysBack] = {}
        self._brought: frozenset[int] = frozenset()
        """Families in which BGP has ever brought a way back, as far as we know."""
        self._kept: frozenset[int] | None = None
        """What the disk has of it; None until it could be read."""
        self._signs = _Signs()
        self._counts: Mapping[int, int] = {}
        """Routes at the last look, by family."""
        self._by_default = False
        """Whether a default route alone leads to everybody: no sign tells that it is lost."""
        self._unsteady_until = 0.0
        """Until then (monotonic seconds) BIRD may be at work on what was lost."""

    async def run(self) -> None:
        """Look for ever."""
        while True:
            with self._problems.watch("routes to the outside"):
                await self.look()
            await self._wait()

    def known(self, version: int) -> WaysBack:
        """Return how much can be answered in an address family, by the last look."""
        return self._known.get(version, WaysBack.UNKNOWN)

    async def _wait(self) -> None:
        """Wait for the next look: less long while little is known, or some may be lost."""
        small = not self.tables or any(each.routes < SMALL_ROUTES for each in self.tables)
        loading = WaysBack.LOADING in self._known.values()
        unsteady = self._world.clock.monotonic() < self._unsteady_until
        soon = small or loading or self._by_default or unsteady
        waited = 0.0
        while waited < (SMALL_SECONDS if soon else FULL_SECONDS):
            await self._world.clock.sleep(SMALL_SECONDS)
            waited += SMALL_SECONDS
            with self._problems.watch("signs of routes to the outside"):
                if (await self._look_for_signs()).lessened(self._signs):
                    now = self._world.clock.monotonic()
                    self._unsteady_until = now + LASTING_SECONDS
                    return

    async def look(self) -> None:
        """Look once. If that fails nothing is known, and what was said stays said."""
        platform = self._in_force()
        try:
            if platform is not None:
                await self._look(platform)
        except UnavailableError:
            self._forget()
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        self.tables, self._known, self._counts = (), {}, {}

    async def _look(self, platform: Platform) -> None:
        signs = await self._look_for_signs()
        found = await self._world.bird.outside(platform.asn)
        self._signs = signs
        self._by_default = any(
            each.default and not has_way_back(platform, replace(each, default=False))
            for each in found
        )
        brought = self._remember(
            platform,
            {e.version for e in found if (e.default or e.routes) and has_way_back(platform, e)},
        )
        far = self._families_far_away(platform)
        trusted = {each for each in signs.system if each in far or each not in brought}
        tables = tuple(
            replace(each, default=each.default or each.version in trusted) for each in found
        )
        ways = {each.version: way_back(platform, tables, each.version) for each in tables}
        for each in tables:
            if ways[each.version] is WaysBack.NONE and each.version in signs.system:
                ways[each.version] = WaysBack.PART
            elif ways[each.version] is WaysBack.PART and self._grows(each):
                ways[each.version] = WaysBack.LOADING
        self._known, self._counts = ways, {each.version: each.routes for each in tables}
        before = {table.version: table.routes for table in self.tables}
        self.tables = tuple(
            replace(each, routes=steady(before.get(each.version, 0), each.routes))
            for each in tables
        )
        self._judge(tuple(lacking(platform, self._around.announced(), tables)))

    def _remember(self, platform: Platform, found: AbstractSet[int]) -> frozenset[int]:
        """Return the families in which BGP has ever brought a way back, with these.

        While the memory cannot be read, it may have brought one wherever there is a session.
        """
        if self._kept is None:
            self._kept = self._recall()
        self._brought |= found | (self._kept or frozenset())
        perhaps = _families_of_sessions(platform) if self._kept is None else frozenset()
        if perhaps <= self._brought != (self._kept or frozenset()):
            memory = BroughtWays(families=tuple(sorted(self._brought)))
            with self._problems.watch(_WRITING):
                self._world.disk.write(WAYS_FILE, codec.encode(memory))
                self._kept = self._brought
                self._problems.set(_READING, "")
        return self._brought | perhaps

    def _recall(self) -> frozenset[int] | None:
        """Return what the disk remembers; None if that cannot be read."""
        with self._problems.watch(_READING):
            text = self._world.disk.read(WAYS_FILE)
            if text is not None:
                return frozenset(codec.decode(BroughtWays, text).families)
            return frozenset()
        return None

    def _grows(self, table: OutsideTable) -> bool:
        """Return whether there are notably more routes than at the last look."""
        return self._counts.get(table.version, 0) < table.routes * _LESS

    def _families_far_away(self, platform: Platform) -> frozenset[int]:
        """Return the families in which a neighbour is hops away: by the system's routes."""
        sessions = [each for _, each in platform.sessions_of(self._machine) if each.multihop]
        return frozenset(theirs.version for each in sessions for theirs in each.theirs)

    async def _look_for_signs(self) -> _Signs:
        network = self._world.network
        ways = {version: await network.leading(nobody) for version, nobody in _NOBODY.items()}
        imported = self._around.sessions.imported
        return _Signs(
            imported={n: count for n, count in imported.items() if n.startswith(_BRINGING)},
            far=len(await network.routes(ELSEWHERE_TABLE)),
            system=tuple(
                version
                for version, way in ways.items()
                if way is not None
                and way.proto not in _NOT_THE_SYSTEMS
                and way.prefix.prefixlen <= _EVERYTHING
            ),
        )

    def _judge(self, lacks: tuple[str, ...]) -> None:
        """Tell what is lacking for long, and what comes and goes: found is what stays."""
        now = self._world.clock.monotonic()
        if lacks:
            self._lacks, self._found_since = lacks, None
            since = self._lacking_since = _since(self._lacking_since, now)
            if now - since >= LASTING_SECONDS:
                self._tell(lacks)
            return
        self._found_since = _since(self._found_since, now)
        if now - self._found_since >= LASTING_SECONDS:
            self._lacking_since = None
        self._tell(self._lacks if self._told and self._lacking_since is not None else ())

    def _tell(self, lacks: tuple[str, ...]) -> None:
        self._problems.set(_PART, "; ".join(lacks))
        if bool(lacks) != self._told:
            self._told = bool(lacks)
            what = "no way back" if lacks else "way back found"
            about = f"machine/{self._machine}"
            self._around.journal.say(about, what, "; ".join(lacks))


def _families_of_sessions(platform: Platform) -> frozenset[int]:
    """Return the families that BGP could bring a way back in: from any edge, by iBGP too."""
    sessions = (session for peer in platform.peers for session in peer.sessions)
    return frozenset(ours.version for session in sessions for ours in session.ours)


def _since(since: float | None, now: float) -> float:
    return now if since is None else since
