"""Which datacenter should answer each network of clients. Pure.

A small BGP for the emulated internet: every network there is one router, its policy is that of
`render/templates`, and the paths settle in three steps, from us outwards: transits hear our
edges, then each other; route servers hear our edges; clients hear both (Gao-Rexford: no loops).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pltfrms.model.addresses import Prefix, contains
from pltfrms.model.network.announcements import Announcement
from pltfrms.model.network.interventions import DrainPhase
from pltfrms.model.network.lab import Lab, LabEyeball, LabTransit
from pltfrms.model.network.topology import Platform

_FROM_CUSTOMER: Final = 300
_FROM_PEER: Final = 200
_FROM_IXP: Final = 200
_FROM_TRANSIT: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    """A path to our aggregate, as a network outside has it."""

    preference: int
    length: int
    delay_us: int
    """Of the last link: what the lab's networks use as MED."""
    edge: str
    shutdown: bool
    no_export: bool

    @property
    def rank(self) -> tuple[int, int, int]:
        """Smaller is better; equal ranks share the traffic."""
        return (-self.preference, self.length, self.delay_us // 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catchment:
    """Where the traffic of one network of clients goes, for one address family."""

    client: str
    prefix: Prefix
    """The service's."""
    edges: tuple[str, ...]
    """By which it enters; several if the paths are equally good, none if there is no path."""
    datacenters: tuple[str, ...]
    """That answer."""


def catchments(
    platform: Platform,
    lab: Lab,
    announced: Iterable[Announcement],
    prefix: Prefix,
    serving: Sequence[str],
) -> tuple[Catchment, ...]:
    """Return the expected catchment of a service prefix, per network of clients.

    `announced` are the announcements that are really made (see `model.network.announcements`),
    `serving` the datacenters that serve the prefix. A datacenter where packets enter and that
    does not serve it hands them to the nearest one, by the delay of the backbone.
    """
    heard = [each for each in announced if each.visible and contains(each.prefix, prefix)]
    transits = _transits(lab, heard)
    servers = {
        ixp.name: _best(_from_us(heard, ixp.name, ixp.delays_us, preference=100))
        for ixp in lab.ixps
    }
    return tuple(
        _catchment(
            platform, lab, eyeball, prefix, serving, _eyeball(eyeball, transits, servers)
        )
        for eyeball in lab.eyeballs
    )


def _from_us(
    heard: Sequence[Announcement], peer: str, delays_us: Mapping[str, int], preference: int
) -> list[_Path]:
    return [
        _Path(
            preference=0 if each.drain is DrainPhase.SHUTDOWN else preference,
            length=1 + each.prepend,
            delay_us=delays_us.get(each.edge, 0),
            edge=each.edge,
            shutdown=each.drain is DrainPhase.SHUTDOWN,
            no_export=each.no_export,
        )
        for each in heard
        if each.peer == peer
    ]


def _transits(lab: Lab, heard: Sequence[Announcement]) -> dict[str, list[_Path]]:
    """Return the best paths of each transit."""
    own = {
        transit.name: _best(
            _from_us(heard, transit.name, transit.delays_us, preference=_FROM_CUSTOMER)
        )
        for transit in lab.transits
    }
    return {
        transit.name: _best(own[transit.name] + _from_peers(lab, transit, own))
        for transit in lab.transits
    }


def _from_peers(lab: Lab, transit: LabTransit, own: Mapping[str, list[_Path]]) -> list[_Path]:
    paths = []
    for other in lab.transits:
        delay_us = transit.peerings.get(other.name, other.peerings.get(transit.name))
        if delay_us is not None:
            paths += _passed_on(own[other.name], _FROM_PEER, delay_us)
    return paths


def _passed_on(paths: Sequence[_Path], preference: int, delay_us: int) -> list[_Path]:
    """Return what a neighbour hears: the paths that share the traffic of the first."""
    return [
        replace(
            path,
            preference=0 if path.shutdown else preference,
            length=path.length + 1,
            delay_us=delay_us,
        )
        for path in paths
        if not path.no_export
    ]


def _eyeball(
    eyeball: LabEyeball,
    transits: Mapping[str, list[_Path]],
    servers: Mapping[str, list[_Path]],
) -> list[_Path]:
    paths: list[_Path] = []
    for upstream, delay_us in eyeball.upstreams.items():
        if upstream in transits:
            paths += _passed_on(transits[upstream], _FROM_TRANSIT, delay_us)
        elif upstream in servers:  # a route server adds nothing to the path
            paths += [
                replace(path, length=path.length - 1)
                for path in _passed_on(servers[upstream], _FROM_IXP, delay_us)
            ]
    return _best(paths)


def _best(paths: list[_Path]) -> list[_Path]:
    best = min((path.rank for path in paths), default=None)
    return [path for path in paths if path.rank == best]


def _catchment(
    platform: Platform,
    lab: Lab,
    eyeball: LabEyeball,
    prefix: Prefix,
    serving: Sequence[str],
    paths: Sequence[_Path],
) -> Catchment:
    edges = tuple(dict.fromkeys(path.edge for path in paths))
    entered = dict.fromkeys(platform.machine(edge).datacenter for edge in edges)
    answering = {
        nearest
        for datacenter in entered
        for nearest in _nearest(platform, lab, datacenter, serving)
    }
    return Catchment(
        client=eyeball.name,
        prefix=prefix,
        edges=edges,
        datacenters=tuple(dc.name for dc in platform.datacenters if dc.name in answering),
    )


def _nearest(
    platform: Platform, lab: Lab, datacenter: str, serving: Sequence[str]
) -> tuple[str, ...]:
    """Return the serving datacenters with the least delay from one, over the backbone."""
    reached = {datacenter: 0}
    for _ in platform.datacenters:  # Bellman-Ford: paths are no longer than that
        for link in platform.links:
            ends = [platform.machine(end).datacenter for end in (link.a, link.b)]
            delay_us = lab.link_delays_us.get(link.name, 0)
            for here, there in (ends, ends[::-1]):
                if here in reached:
                    new = reached[here] + delay_us
                    reached[there] = min(new, reached.get(there, new))
    distances = {dc: reached[dc] for dc in serving if dc in reached}
    least = min(distances.values(), default=0)
    return tuple(dc for dc, distance in distances.items() if distance == least)
