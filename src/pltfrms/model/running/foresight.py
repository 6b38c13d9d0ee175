"""What would be if something failed: what is said of it."""

from dataclasses import dataclass

from pltfrms.model.running.loads import LoadKind, ServiceLoad
from pltfrms.model.running.plan import Note, Step
from pltfrms.model.running.redundancy import Redundancy


@dataclass(frozen=True, slots=True, kw_only=True)
class CountForesight:
    """How many replicas of a service are ready in a datacenter."""

    service: str
    datacenter: str
    wanted: int
    now: int
    at_once: int
    """Right after the loss."""
    settled: int
    """When the planner has done what it can, and what it started has become ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomForesight:
    """What is promised to instances of what the nodes in contact have, in a datacenter."""

    datacenter: str
    cpu: float
    cpu_promised: float
    """Cores."""
    memory_bytes: int
    memory_promised: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """All of it."""

    lost: tuple[str, ...]
    """Machines and links, by name."""
    counts: tuple[CountForesight, ...]
    rooms: tuple[RoomForesight, ...]
    """When all is settled."""
    steps: tuple[Step, ...]
    """What the planner does until then."""
    notes: tuple[Note, ...]
    """What it cannot do then, and guards that hold it back."""
    short: tuple[str, ...] = ()
    """Services that are ready nowhere, or have fewer replicas than now where nodes are left."""
    undecided: str = ""
    """Why nothing is decided at all; empty if it is."""
    shortages: tuple[str, ...] = ()
    """Ports and links without room for the traffic that moves to them, and services without
    room for their load, with numbers."""
    doubts: tuple[str, ...] = ()
    """Where it is not known whether there is room."""
    redundancy: Redundancy
    """Whether one more failure is survived then."""
    loads: tuple[ServiceLoad, ...] = ()
    """What services have to do, by what is declared and what is measured now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A replica that finds no place, or a service that too few run, after one loss."""

    lost: str
    """`node/fra-n1`, `datacenter/fra`."""
    about: str
    """`web.fra.2`, or `service/web`."""
    why: str
    """One sentence, with numbers."""
    kind: LoadKind | None = None
    """Of what those who still run the service cannot do enough; None: nobody runs it, or a
    replica finds no place."""
    missing: int = 0
    """How much of that nobody can do then."""
