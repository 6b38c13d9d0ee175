"""Origin validation: when sessions with the outside may open, and whether it works."""

from collections.abc import Sequence
from typing import Final

from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.errors import UnavailableError
from pltfrms.model.network.peering import OriginValidation
from pltfrms.model.running.machine import BgpState

SILENT_SECONDS: Final = 10.0
"""A cache is away for a moment now and then; that is no news."""
_PART = "origin validation"


class Validation:
    """Without a cache BIRD would take routes whose origin is invalid, and spread them.

    So a BIRD that starts keeps its sessions with the outside closed until it has heard of a
    cache, or for so long that silence is worse. What is open is never closed: caches that die
    later change nothing.
    """

    def __init__(self, world: World, problems: Problems) -> None:
        """Assume nothing about the BIRD that runs, if one does."""
        self._world = world
        self._problems = problems
        self._released = False
        self._holding_since: float | None = None
        """When this BIRD answered first."""
        self._silent_since: float | None = None
        """Since when no cache is up."""

    async def hold(self, wanted: OriginValidation, states: Sequence[BgpState] | None) -> bool:
        """Return whether sessions with the outside have to wait.

        `states` are BIRD's sessions now; None while it does not answer, and then the answer
        is for the BIRD that starts next.
        """
        if not wanted.caches:
            self._released = states is not None
            self._problems.set(_PART, "")
            return False
        if states is None:
            self._released, self._holding_since, self._silent_since = False, None, None
            return True
        now = self._world.clock.monotonic()
        up = await self._cache_is_up()
        if up or self._silent_since is None:
            self._silent_since = None if up else now
        if self._holding_since is None:
            self._holding_since = now
        open_already = any(each.up for each in states if each.name.startswith("peer."))
        waited = now - self._holding_since >= wanted.hold_seconds
        self._released = self._released or up or open_already or waited
        self._tell(now)
        return not self._released

    async def _cache_is_up(self) -> bool:
        try:
            return any(cache.up for cache in await self._world.bird.caches())
        except UnavailableError:
            return False

    def _tell(self, now: float) -> None:
        sentence = ""
        if not self._released:
            sentence = "sessions with the outside wait until an RPKI cache answers"
        elif self._silent_since is not None and now - self._silent_since >= SILENT_SECONDS:
            sentence = "no RPKI cache answers: what it has not told before counts as not found"
        self._problems.set(_PART, sentence)
