"""Who reaches whom inside, when something fails. Pure.

Corners are edges, fabrics (`fra/a`), and the nodes of a datacenter that are nothing else, all
together (`fra/*`): each of those has a port in each fabric, and nothing passes through them.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from pltfrms.model.network.links import Link
from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.model.running.redundancy import Loss

_NODES = "*"


@dataclass(frozen=True, slots=True)
class NextLoss:
    """One thing that fails, alone."""

    loss: Loss
    what: str
    """As `Weakness.what` has it."""


NOTHING = NextLoss(Loss.NOTHING, "")


def corner(machine: Machine) -> str:
    """Return the corner that a machine with instances is at."""
    return machine.name if machine.has(Role.EDGE) else f"{machine.datacenter}/{_NODES}"


def failures(platform: Platform) -> Iterator[NextLoss]:
    """Yield what may fail of the network: edges, fabrics, links, datacenters."""
    for edge in platform.machines_of(Role.EDGE):
        yield NextLoss(Loss.EDGE, edge.name)
    for datacenter in platform.datacenters:
        for fabric in datacenter.fabrics:
            yield NextLoss(Loss.FABRIC, f"{datacenter.name}/{fabric}")
    for link in platform.links:
        yield NextLoss(Loss.LINK, link.name)
    for datacenter in platform.datacenters:
        yield NextLoss(Loss.DATACENTER, datacenter.name)


class Ways:
    """Which corners reach each other while some machines are alive."""

    def __init__(
        self, platform: Platform, alive: Collection[str], links: Collection[Link]
    ) -> None:
        """`alive` are names of machines; others pass nothing on."""
        machines = [each for each in platform.machines if each.name in alive and each.forwards]
        fabrics = {
            f"{datacenter.name}/{fabric}": datacenter.name
            for datacenter in platform.datacenters
            for fabric in datacenter.fabrics
        }
        places = {corner(each): each.datacenter for each in machines}
        self.datacenter: Mapping[str, str] = {**fabrics, **places}
        """Of each corner."""
        self._joined = [
            (place, fabric, "")
            for place, datacenter in places.items()
            for fabric, where in fabrics.items()
            if where == datacenter
        ]
        self._joined += [
            (link.a, link.b, link.name) for link in links if link.a in alive and link.b in alive
        ]
        self._groups: dict[NextLoss, Mapping[str, str]] = {}

    def groups(self, failure: NextLoss) -> Mapping[str, str]:
        """Return of each corner that is left one that it reaches, the same for its group."""
        if failure not in self._groups:
            self._groups[failure] = self._grouped(failure)
        return self._groups[failure]

    def _grouped(self, failure: NextLoss) -> Mapping[str, str]:
        group = {
            place: place
            for place, datacenter in self.datacenter.items()
            if place != failure.what
            and (failure.loss is not Loss.DATACENTER or datacenter != failure.what)
        }

        def first(place: str) -> str:
            while group[place] != place:
                group[place] = group[group[place]]
                place = group[place]
            return place

        for one, other, link in self._joined:
            if one in group and other in group and (not link or link != failure.what):
                group[first(one)] = first(other)
        return {place: first(place) for place in group}
