"""The platform at least and at most: without and with those of whom nobody knows. Pure."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from pltfrms.model.addresses import Prefix, contains
from pltfrms.model.network.announcements import announcements
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.running.redundancy import Survival, Weakness
from pltfrms.model.running.state import Contact, Phase, Snapshot
from pltfrms.model.services.service import Service
from pltfrms.planner.redundancy.ways import NextLoss, Ways, corner
from pltfrms.planner.routing.visibility import is_heard

_Ready = Mapping[str, Mapping[str, list[str]]]
"""By corner and node: the ready allocations."""


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a service is announced and ready: two that are equal share all their answers."""

    edges: tuple[frozenset[str], ...]
    """For each of its prefixes, those that announce it."""
    corners: frozenset[str]

    def without(self, corner: str) -> "Stand":
        """Return it when nothing is ready at a corner any more."""
        return Stand(self.edges, self.corners - {corner})


@dataclass(slots=True)
class Belief:
    """Who is alive, who announces and what is ready."""

    platform: Platform
    alive: frozenset[str]
    announced: Mapping[Prefix, frozenset[str]]
    """The edges that announce each aggregate."""
    ready: Mapping[str, _Ready]
    """By service."""
    everywhere: Ways = field(init=False)
    within: Ways = field(init=False)
    """Within each datacenter alone, without links."""
    _stands: dict[tuple[str, str], Stand] = field(default_factory=dict)
    _edges: dict[tuple[Prefix, ...], dict[str, frozenset[str]]] = field(default_factory=dict)
    _answers: dict[tuple[Stand, NextLoss, bool], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Look who reaches whom."""
        self.everywhere = Ways(self.platform, self.alive, self.platform.links)
        self.within = Ways(self.platform, self.alive, ())

    def places(self, service: Service) -> frozenset[str]:
        """Return the datacenters in which something of a service is ready."""
        return frozenset(self.everywhere.datacenter[each] for each in self.ready[service.name])

    def stand(self, service: Service, datacenter: str = "") -> Stand:
        """Return where a service is, everywhere or in one datacenter."""
        key = (service.name, datacenter)
        if key not in self._stands:
            of, corners = self.everywhere.datacenter, self.ready[service.name]
            self._stands[key] = Stand(
                tuple(self._announcing(prefix, datacenter) for prefix in service.prefixes),
                frozenset(each for each in corners if datacenter in {"", of[each]}),
            )
        return self._stands[key]

    def answers(self, stand: Stand, failure: NextLoss, *, alone: bool) -> bool:
        """Return whether an edge of each prefix reaches a corner in spite of a failure.

        `alone`: without passing another datacenter.
        """
        key = (stand, failure, alone)
        if key not in self._answers:
            groups = (self.within if alone else self.everywhere).groups(failure)
            there = {groups[each] for each in stand.corners if each in groups}
            self._answers[key] = all(
                any(groups.get(edge) in there for edge in edges) for edges in stand.edges
            )
        return self._answers[key]

    def _announcing(self, prefix: Prefix, datacenter: str) -> frozenset[str]:
        covering = tuple(each for each in self.announced if contains(each, prefix))
        if covering not in self._edges:
            found = frozenset(edge for each in covering for edge in self.announced[each])
            self._edges[covering] = {"": found}
            for edge in self.platform.machines_of(Role.EDGE):
                here = self._edges[covering].get(edge.datacenter, frozenset())
                self._edges[covering][edge.datacenter] = here | ({edge.name} & found)
        return self._edges[covering].get(datacenter, frozenset())


@dataclass(frozen=True, slots=True)
class Beliefs:
    """Both."""

    least: Belief
    most: Belief

    def judge(self, holds: Callable[[Belief], bool]) -> Survival:
        """Return what the answers to one question come to."""
        if holds(self.least):
            return Survival.SURVIVED
        return Survival.NOT_KNOWN if holds(self.most) else Survival.NOT_SURVIVED


Subject = tuple[str, list[Weakness]]
"""What something is called, and what it does not survive for sure."""


def weak(about: str, failure: NextLoss, survival: Survival, why: str) -> list[Weakness]:
    """Return a weakness; nothing if the failure is survived."""
    if survival is Survival.SURVIVED:
        return []
    return [
        Weakness(about=about, loss=failure.loss, what=failure.what, survival=survival, why=why)
    ]


def beliefs_of(snapshot: Snapshot, now_ms: int) -> Beliefs:
    """Return both of a snapshot at a Unix time."""
    return Beliefs(
        _belief(snapshot, now_ms, {Contact.PRESENT}),
        _belief(snapshot, now_ms, {Contact.PRESENT, Contact.UNKNOWN}),
    )


def _belief(snapshot: Snapshot, now_ms: int, believed: Collection[Contact]) -> Belief:
    """Return a belief that believes machines with such a contact, and what they said last.

    Of those that are out of contact nobody knows whether they announce what they would announce
    if all is well; edges that others manage never tell.
    """
    platform, hopes = snapshot.platform, Contact.UNKNOWN in believed
    alive = frozenset(
        each.name
        for each in platform.machines
        if (hopes if each.external else snapshot.contact(each.name) in believed)
    )
    announced: dict[Prefix, set[str]] = {each.prefix: set() for each in platform.aggregates}
    for each in announcements(platform, snapshot.interventions, now_ms):
        if each.edge not in alive:
            continue
        told = is_heard(each, snapshot.statuses.get(each.edge))
        if told or (told is None and hopes):
            announced[each.prefix].add(each.edge)
    return Belief(
        platform=platform,
        alive=alive,
        announced={prefix: frozenset(edges) for prefix, edges in announced.items()},
        ready=_ready(snapshot, alive),
    )


def _ready(
    snapshot: Snapshot, alive: frozenset[str]
) -> dict[str, dict[str, dict[str, list[str]]]]:
    found: dict[str, dict[str, dict[str, list[str]]]] = {name: {} for name in snapshot.services}
    for machine in snapshot.platform.machines:
        status = snapshot.statuses.get(machine.name)
        if status is None or machine.name not in alive:
            continue
        place = corner(machine)
        for instance in status.instances:
            allocation = snapshot.allocations.get(instance.allocation)
            if allocation is None or allocation.node != machine.name:
                continue
            if instance.phase is Phase.READY and allocation.service in found:
                nodes = found[allocation.service].setdefault(place, {})
                nodes.setdefault(machine.name, []).append(allocation.id)
    return found
