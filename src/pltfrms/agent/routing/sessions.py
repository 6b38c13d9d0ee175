"""Know the sessions of this machine's BIRD: whether they are up, and what they carry."""

import asyncio
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from pltfrms.agent.problems import Problems
from pltfrms.agent.routing.witness import Absences, Witness
from pltfrms.agent.world import World
from pltfrms.drivers.clock import wait_event
from pltfrms.errors import UnavailableError
from pltfrms.model.network.peering import Reject
from pltfrms.model.running.machine import INSTANCE_TABLE, MAIN_TABLE, BgpState
from pltfrms.model.running.state import NOT_KNOWN, SessionStatus

SESSIONS_SECONDS: Final = 2.0
COALESCE_SECONDS: Final = 0.05
"""The sessions of all fabrics with a machine end at nearly the same time."""
NODE_COALESCE_SECONDS: Final = 0.2
"""Where routes come and go with the instances of others: so often at most is BIRD asked."""
REJECTS_SECONDS: Final = 30.0
SETTLE_SECONDS: Final = 1.0
"""BIRD hears of a route in the kernel at once, and tells its peers soon after."""
_EXACT_BELOW = 101
_INSIDE = ("node.", "edge.", "controller.")
_OUTSIDE = ("peer.",)


class Sessions:
    """What BIRD said about its sessions when it was asked last."""

    def __init__(
        self,
        world: World,
        problems: Problems,
        poke: Callable[[], None],
        *,
        is_edge: bool,
    ) -> None:
        """Call `poke` (which must not block) when what is to be reported changes."""
        self._world = world
        self._is_edge = is_edge
        self._problems = problems
        self._poke = poke
        self._rejects: Mapping[str, Mapping[int, int]] = {}
        self._witness = Witness()
        self._hint = asyncio.Event()
        self.own_asn = 0
        """Whose reasons of refusal are read; 0: not known yet."""
        self.answers = False
        """Whether BIRD answered when it was asked last."""
        self.statuses: tuple[SessionStatus, ...] = ()
        self.imported: Mapping[str, int] = {}
        """How many routes each session brought when BIRD answered last, exactly."""
        self.absences = Absences()
        """What an edge says of its nodes."""
        self._settled_at = 0.0
        """Before that (monotonic seconds) BIRD may not have followed what we announce."""

    async def run(self) -> None:
        """Watch for ever, and at once when routes say that another machine may be gone."""
        coalesce = COALESCE_SECONDS if self._is_edge else NODE_COALESCE_SECONDS
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_rejects())
            tasks.create_task(self._listen())
            while True:
                self._hint.clear()
                with self._problems.watch("BIRD"):
                    await self.look()
                if await wait_event(self._hint, self._world.clock, SESSIONS_SECONDS):
                    await self._world.clock.sleep(coalesce)

    async def _listen(self) -> None:
        """Hear of what ends with a session: instances at edges, elsewhere ways to an edge."""
        what = "routes of instances" if self._is_edge else "routes to edges"
        table = INSTANCE_TABLE if self._is_edge else MAIN_TABLE
        while True:
            with self._problems.watch(what):
                async for _ in self._world.network.table_changes(table):
                    self._hint.set()
            await self._world.clock.sleep(SESSIONS_SECONDS)

    async def look(self) -> tuple[BgpState, ...]:
        """Ask BIRD now; UnavailableError if it does not answer."""
        settled = self._world.clock.monotonic() >= self._settled_at
        try:
            states = await self._world.bird.sessions()
        except UnavailableError as error:
            self.answers = False
            self._witness.forget()
            self._report(
                Absences(),
                tuple(
                    SessionStatus(
                        name=each.name, up=False, detail=f"{NOT_KNOWN}{error}", counted=False
                    )
                    for each in self.statuses
                ),
            )
            raise
        self.answers = True
        self.imported = {state.name: state.imported for state in states}
        before = {session.name: session for session in self.statuses}
        statuses = [self._status(state, before.get(state.name)) for state in states]
        self._report(
            self._witness.see(states, self._world.clock.monotonic()),
            tuple(each if settled else replace(each, counted=False) for each in statuses),
        )
        return states

    def doubt_counts(self) -> None:
        """Hear that what we announce has changed: counts of before say nothing of it."""
        self._settled_at = self._world.clock.monotonic() + SETTLE_SECONDS
        self._report(
            self.absences, tuple(replace(each, counted=False) for each in self.statuses)
        )

    @property
    def inside(self) -> bool | None:
        """Whether any session with another machine of ours is up; None: not known."""
        names = self._names(_INSIDE)
        return self.any_up(names) if names else None

    def any_up(self, names: AbstractSet[str]) -> bool | None:
        """Return whether any of these sessions is up; None: not known."""
        if not self.answers:
            return None
        return any(session.up for session in self.statuses if session.name in names)

    def _names(self, prefixes: tuple[str, ...]) -> AbstractSet[str]:
        return {each.name for each in self.statuses if each.name.startswith(prefixes)}

    def _status(self, state: BgpState, before: SessionStatus | None) -> SessionStatus:
        old = before or SessionStatus(name=state.name, up=False)
        rejects = self._rejects.get(state.name, {}) if state.filtered else {}
        words = {reason.number: reason.value for reason in Reject}
        return SessionStatus(
            name=state.name,
            up=state.up,
            detail=state.detail,
            imported=steady(old.imported, state.imported),
            exported=steady(old.exported, state.exported),
            filtered=steady(old.filtered, state.filtered),
            rejects={
                words[number]: steady(old.rejects.get(words[number], 0), count)
                for number, count in rejects.items()
                if number in words
            },
            counted=old.up or not state.up or state.exported > 0,
        )

    def _report(self, absences: Absences, statuses: tuple[SessionStatus, ...]) -> None:
        if (absences, statuses) != (self.absences, self.statuses):
            self.absences, self.statuses = absences, statuses
            self._poke()

    async def _watch_rejects(self) -> None:
        while True:
            if self.own_asn and any(s.filtered for s in self.statuses):
                with self._problems.watch("refused routes"):
                    self._rejects = await self._world.bird.rejects(self.own_asn)
            await self._world.clock.sleep(REJECTS_SECONDS)


def steady(before: int, count: int) -> int:
    """Return a count to report: exact up to 100, above that two digits.

    What was said before (`before`, of our making) is said again while the count is within one
    step of it, so that a count at the edge of two steps does not go to and fro.
    """
    if count < _EXACT_BELOW:
        return count
    step: int = 10 ** (len(str(count)) - 2)
    if before >= _EXACT_BELOW - 1 and abs(count - before) < step:
        return before
    return round(count / step) * step
