"""Whether a node that is not heard of is lost: evidence of two kinds. Pure.

A heartbeat that is missing says that a controller does not hear the machine, and no more. What
a node is for is served over its sessions with the edges of its datacenter, so they are asked
too: an edge that hears a node proves that it lives, and a node is lost only when an edge that
could hear it does not.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum, auto

from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.model.running.state import Contact, MachineStatus, Snapshot


class Word(Enum):
    """What one edge in contact says of one node."""

    HEARS = auto()
    """They have a session."""
    MISSES = auto()
    """Theirs ended, or has not come for long."""
    VANISHED = auto()
    """It ended in silence, as a dead machine ends it."""
    NOTHING = auto()
    """The edge, or its BIRD, has just begun, or its BIRD does not answer."""
    AS_BEFORE = auto()
    """Its agent is of a release that does not say what it misses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What there is beside a machine's heartbeats."""

    lives: str = ""
    """Who proves that it lives, one sentence; empty: nobody."""
    unknown: str = ""
    """Why nobody can say; empty: it is lost if its heartbeats are missing."""
    vanished: bool = False
    """Whether all who could hear it have heard it fall silent."""
    alone: bool = False
    """Whether nobody says anything of it: its heartbeats alone count."""
    idle: bool = False
    """Whether it carries no replicas: calling it lost moves nothing, and is in no hurry."""

    @property
    def why_not_lost(self) -> str:
        """Why a missing heartbeat does not say that it is lost; empty: it does."""
        return self.lives or self.unknown


def judge(
    platform: Platform,
    statuses: Mapping[str, MachineStatus],
    present: AbstractSet[str],
    names: Iterable[str],
) -> dict[str, Evidence]:
    """Return the evidence on machines, of which `present` are in contact.

    A machine without workload, or whose datacenter has no edge with our agent, has no witness:
    its heartbeats alone count. An edge that is not in contact says nothing: what it said last
    may be older than the silence of the node. Of a node that is an edge, too, the edges of
    other datacenters tell when no other edge of its own can.
    """
    machines = {machine.name: machine for machine in platform.managed}
    edges: dict[str, list[str]] = {}
    for machine in platform.managed:
        if machine.has(Role.EDGE):
            edges.setdefault(machine.datacenter, []).append(machine.name)
    heard = _Heard(platform, statuses)
    return {
        name: _evidence(machines[name], edges, present, heard)
        for name in names
        if name in machines
    }


def witnessed(snapshot: Snapshot, names: Iterable[str]) -> frozenset[str]:
    """Return those of some machines of which edges say now that they do not hear them.

    Others may be lost, too, by their heartbeats alone: what runs there may live.
    """
    present = {
        name for name, view in snapshot.machines.items() if view.contact is Contact.PRESENT
    }
    found = judge(snapshot.platform, snapshot.statuses, present, names)
    return frozenset(
        name for name, said in found.items() if not said.alone and not said.why_not_lost
    )


class _Heard:
    """What edges say, each status read once."""

    def __init__(self, platform: Platform, statuses: Mapping[str, MachineStatus]) -> None:
        self._statuses = statuses
        self._homes = {
            each.name: each.datacenter
            for each in platform.managed
            if each.has(Role.EDGE) and each.has(Role.NODE)
        }
        self._hears: dict[str, frozenset[str]] = {}

    def word_from_afar(self, edge: str, node: str) -> Word:
        """Return what an edge of another datacenter says of a node that is an edge, too.

        Their session may be up for long after its death, but the way to it is gone at once.
        """
        status = self._statuses.get(edge)
        if status is None or self._is_cut_off(status):
            return Word.NOTHING
        if node in (status.missed or ()):
            return Word.MISSES
        up = any(each.up and each.name == f"{Role.EDGE}.{node}" for each in status.sessions)
        return Word.HEARS if up else Word.NOTHING

    def _is_cut_off(self, edge: MachineStatus) -> bool:
        """Return whether it misses all of several other datacenters: they are not all dead."""
        home = self._homes.get(edge.machine)
        far = {name for name, datacenter in self._homes.items() if datacenter != home}
        several = len({self._homes[name] for name in far}) > 1
        return home is not None and several and far <= set(edge.missed or ())

    def word(self, edge: str, node: str) -> Word:
        """Return what an edge says of a node of its datacenter."""
        status = self._statuses.get(edge)
        if status is None:
            return Word.NOTHING
        if edge not in self._hears:
            self._hears[edge] = frozenset(_nodes_heard(status))
        if node in self._hears[edge]:
            return Word.HEARS
        if status.missed is None:
            return Word.AS_BEFORE
        if node not in status.missed:
            return Word.NOTHING
        return Word.VANISHED if node in status.vanished else Word.MISSES


def _nodes_heard(status: MachineStatus) -> Iterable[str]:
    """Yield the nodes with which an edge has a session, such as `node.fra-n1.a`."""
    for session in status.sessions:
        role, _, rest = session.name.partition(".")
        if session.up and role == Role.NODE:
            yield rest.rpartition(".")[0]


def _evidence(
    machine: Machine, edges: Mapping[str, list[str]], present: AbstractSet[str], heard: _Heard
) -> Evidence:
    name, is_edge = machine.name, machine.has(Role.EDGE)
    near = [edge for edge in edges.get(machine.datacenter, ()) if edge != name]
    if not machine.has(Role.NODE) or not (near or is_edge):
        return Evidence(alone=True, idle=not machine.has(Role.NODE))
    words = {edge: heard.word(edge, name) for edge in near if edge in present}
    if is_edge and not words:
        far = (edge for here in edges.values() for edge in here if edge not in (name, *near))
        words = {edge: heard.word_from_afar(edge, name) for edge in far if edge in present}
    hearing = [edge for edge, word in words.items() if word is Word.HEARS]
    if hearing:
        verb = "has" if len(hearing) == 1 else "have"
        return Evidence(lives=f"{_edges(hearing)} still {verb} a session with it")
    if not words:
        where = "other edge" if is_edge else f"edge of {machine.datacenter}"
        unknown = f"no {where} is in contact, which could say if it lives"
        return Evidence(unknown=unknown)
    if all(word is Word.NOTHING for word in words.values()):
        mute = _edges(list(words))
        return Evidence(unknown=f"{mute} cannot say (yet) if it lives")
    return Evidence(
        vanished=all(word is Word.VANISHED for word in words.values()),
        alone=not {Word.MISSES, Word.VANISHED}.intersection(words.values()),
    )


def _edges(names: list[str]) -> str:
    return f"edge{'s' if len(names) > 1 else ''} {', '.join(names)}"
