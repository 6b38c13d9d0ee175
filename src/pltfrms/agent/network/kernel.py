"""Keep the kernel's network as it is wanted, whoever changes it."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

import structlog

from pltfrms.agent.freeze import Frost
from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.drivers.clock import wait_event
from pltfrms.model.running.machine import NetworkState, Route

RECONCILE_SECONDS: Final = 1.0
COALESCE_SECONDS: Final = 0.05
"""After a hint: one change rarely comes alone, and the director has the first turn."""
PAUSE_SECONDS: Final = 0.2
"""After a pass: hints that never end must not eat the processor."""
STATE_SECONDS: Final = 0.5
"""Shortest time between two looks at addresses, rules and sysctls, which cost the most."""
_log = structlog.get_logger()
_NOT_DONE: Final = ("missing", "refused")
_MISSING: Final = "missing "
_SHOWN = 5


class RouteSource(Protocol):
    """Who decides the routes of a table that is this machine's own."""

    @property
    def table(self) -> int:
        """The kernel table that is ours."""
        ...

    async def observe(self) -> float:
        """Look at the world; return in how many seconds to look again at the latest."""
        ...

    def routes(self) -> tuple[Route, ...] | None:
        """Return the wanted routes; None = not known, touch nothing."""
        ...

    def owners(self) -> Mapping[str, str]:
        """Return whom a device of these routes belongs to, in the words of operators."""
        ...


class Kernel:
    """Addresses, rules, sysctls and the routes of our tables, reconciled."""

    def __init__(
        self,
        world: World,
        journal: Journal,
        problems: Problems,
        about: str,
        sources: Sequence[RouteSource],
        frost: Frost,
    ) -> None:
        """Call `about` the machine in events; one that is only a controller has no source."""
        self._world = world
        self._journal = journal
        self._problems = problems
        self._about = about
        self._sources = sources
        self._frost = frost
        self._state: NetworkState | None = None
        self._applied_state: NetworkState | None = None
        self._state_due_at = 0.0
        self._applied_routes: Mapping[int, tuple[Route, ...]] | None = None
        """By table."""
        self._hint = asyncio.Event()
        self._pass_busy = asyncio.Lock()
        self._routes_busy = asyncio.Lock()

    def want(self, state: NetworkState) -> None:
        """Set what everything but the routes must look like from the next pass on."""
        self._state = state

    async def run(self) -> None:
        """Reconcile on every hint and every second, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            while True:
                self._hint.clear()
                seconds = await self.reconcile()
                await self._world.clock.sleep(PAUSE_SECONDS)
                if await wait_event(self._hint, self._world.clock, seconds - PAUSE_SECONDS):
                    await self._world.clock.sleep(COALESCE_SECONDS)

    async def reconcile(self) -> float:
        """Make one pass; return in how many seconds to make the next."""
        async with self._pass_busy:
            seconds = RECONCILE_SECONDS
            for source in self._sources:
                with self._problems.watch(f"observing routes of table {source.table}"):
                    seconds = min(seconds, await source.observe())
            await self.apply_routes()
            due_seconds = RECONCILE_SECONDS
            if not self._frost.reason:
                with self._problems.watch("network"):
                    due_seconds = await self._apply_state_when_due()
        return min(seconds, due_seconds)

    async def apply_routes(self) -> None:
        """Make the routes of our tables the wanted ones; never fails, and ends what it began.

        While frozen they stay as they are.
        """
        await asyncio.shield(asyncio.ensure_future(self._apply_routes_safely()))

    async def _apply_routes_safely(self) -> None:
        async with self._routes_busy:
            with self._problems.watch("routes"):
                await self._apply_routes()

    async def _apply_routes(self) -> None:
        found = {source.table: source.routes() for source in self._sources}
        wanted = {table: routes for table, routes in found.items() if routes is not None}
        if not wanted or self._frost.reason:
            return
        every = [route for routes in wanted.values() for route in routes]
        sentences = await self._world.network.apply_routes(tuple(wanted), every)
        done = self._sort_out("routes", sentences)
        # A device that comes or goes is no foreign change, nor what a later pass makes of it.
        complete = len(done) == len(sentences)
        if done and complete and wanted == self._applied_routes:
            self._journal.say(self._about, "route restored", _shown(done))
        self._applied_routes = wanted if complete else None

    async def _apply_state_when_due(self) -> float:
        """Apply what has changed now, and look for foreign changes at a bounded rate."""
        now = self._world.clock.monotonic()
        if self._state == self._applied_state and now < self._state_due_at:
            return self._state_due_at - now
        await self._apply_state()
        self._state_due_at = self._world.clock.monotonic() + STATE_SECONDS
        return RECONCILE_SECONDS

    async def _apply_state(self) -> None:
        state = self._state
        if state is None:
            return
        sentences = await self._world.network.apply_state(state)
        done = self._sort_out("network", sentences)
        if done and state == self._applied_state:
            rules = tuple(sentence for sentence in done if " rule " in sentence)
            others = tuple(sentence for sentence in done if sentence not in rules)
            if rules:
                self._journal.say(self._about, "rule restored", _shown(rules))
            if others:
                self._journal.say(self._about, "network restored", _shown(others))
        self._applied_state = state

    def _sort_out(self, part: str, sentences: tuple[str, ...]) -> tuple[str, ...]:
        """Return the sentences of what was done; the others become the part's problem."""
        left = [sentence for sentence in sentences if sentence.startswith(_NOT_DONE)]
        done = tuple(sentence for sentence in sentences if sentence not in left)
        if done:
            _log.info("network reconciled", part=part, sentence=_shown(done))
        owners: dict[str, str] = {}
        for source in self._sources if left else ():
            owners |= source.owners()
        self._problems.set(f"{part} incomplete", _shown(_with_owners(left, owners)))
        return done

    async def _listen(self) -> None:
        while True:
            with self._problems.watch("kernel notifications"):
                async for _ in self._world.network.changes():
                    self._hint.set()
            await self._world.clock.sleep(RECONCILE_SECONDS)


def _with_owners(sentences: Iterable[str], owners: Mapping[str, str]) -> Iterator[str]:
    """Yield sentences about routes; those about the device of an owner once, and his."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for sentence in sentences:
        device = sentence.removeprefix(_MISSING).partition(" ")[0]
        owner = owners.get(device) if sentence.startswith(_MISSING) else None
        if owner is None:
            yield sentence
            continue
        counts[owner] += 1
        first.setdefault(owner, sentence)
    for owner, sentence in first.items():
        more = f" and {counts[owner] - 1} more routes" if counts[owner] > 1 else ""
        yield f"{owner} gets no packets: {sentence}{more}"


def _shown(sentences: Iterable[str]) -> str:
    every = tuple(sentences)
    more = f"; and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return "; ".join(every[:_SHOWN]) + more
