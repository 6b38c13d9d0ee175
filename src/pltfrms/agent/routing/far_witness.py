"""Which machines of other datacenters an edge does not reach any more.

A node that is an edge, too, may have no other edge beside it that could tell of its life. That
a far edge has no way to it says so: OSPF with BFD takes the way away, and with it what
iBGP alone tells of the machine (`Platform.mesh_mark`) leaves kernel table 104.
"""

from collections.abc import Set as AbstractSet
from typing import Final

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.topology import Machine, Platform, Role

WAIT_SECONDS: Final = 10.0
"""Whoever has not been reached since we began is missed after so long."""


class FarWitness:
    """Remembers whom this edge has reached."""

    def __init__(self) -> None:
        """Know nothing."""
        self._reached: set[str] = set()
        self._away_since: dict[str, float] = {}
        self.missed: tuple[str, ...] = ()
        """Names, sorted."""

    def see(
        self, platform: Platform, home: str, marks: AbstractSet[Prefix] | None, at: float
    ) -> None:
        """Take what table 104 has at a time (monotonic seconds); None: it is not known."""
        if marks is None:
            self._reached, self._away_since, self.missed = set(), {}, ()
            return
        there = {each.name: each for each in platform.managed if _is_told_of(each, home)}
        here = {name for name, each in there.items() if platform.mesh_mark(each) in marks}
        away = there.keys() - here
        self._away_since = {name: self._away_since.get(name, at) for name in away}
        self._reached = (self._reached | here) & there.keys()
        self.missed = tuple(
            name
            for name in sorted(away)
            if name in self._reached or at - self._away_since[name] >= WAIT_SECONDS
        )


def _is_told_of(machine: Machine, home: str) -> bool:
    both = machine.has(Role.EDGE) and machine.has(Role.NODE)
    return both and machine.datacenter != home
