"""Which nodes an edge misses: what it can say of their life, beside their own heartbeats.

That there is no session says nothing by itself: an edge that has just started, or whose BIRD
has, has none yet. So a node is missed when BIRD says how their session ended, or after so long
without one that it would have come.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pltfrms.model.running.machine import BgpState

WAIT_SECONDS: Final = 10.0
"""A session comes back within 6.5 s, whatever its timers have grown to."""
_ENDED = ("Error: ", "Received: ", "Socket: Connection closed", "Socket: Connection reset")
_SILENT = ("Error: BFD session down", "Error: Hold timer expired")
"""How BIRD 2 says that nothing was heard any more; all else a machine said that goes on."""


@dataclass(frozen=True, slots=True)
class Absences:
    """What an edge says of the nodes of its datacenter."""

    missed: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()


class Witness:
    """Remembers since when there is no session with a node."""

    def __init__(self) -> None:
        """Know nothing."""
        self._down_since: dict[str, float] = {}

    def forget(self) -> None:
        """Know nothing any more: BIRD does not answer."""
        self._down_since = {}

    def see(self, states: Iterable[BgpState], at: float) -> Absences:
        """Return what BIRD's sessions say at a time (monotonic seconds)."""
        nodes: dict[str, list[BgpState]] = {}
        for state in states:
            role, _, rest = state.name.partition(".")
            if role == "node":
                nodes.setdefault(rest.rpartition(".")[0], []).append(state)
        down = {name: some for name, some in nodes.items() if not any(s.up for s in some)}
        self._down_since = {name: self._down_since.get(name, at) for name in down}
        missed = [name for name in sorted(down) if self._misses(name, down[name], at)]
        vanished = [
            name for name in missed if all(_says(state, _SILENT) for state in down[name])
        ]
        return Absences(tuple(missed), tuple(vanished))

    def _misses(self, name: str, states: list[BgpState], at: float) -> bool:
        waited = at - self._down_since[name] >= WAIT_SECONDS
        return waited or all(_says(state, _ENDED) for state in states)


def _says(state: BgpState, words: tuple[str, ...]) -> bool:
    return any(word in state.detail for word in words)
