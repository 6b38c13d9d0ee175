"""What was observed: contact, status, and all of it at one revision (`Snapshot`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pltfrms.model.plan import Allocation, Reason
from pltfrms.model.service import Service
from pltfrms.model.topology import Platform


class Phase(StrEnum):
    """Where an instance is in its life, as its agent sees it."""

    STARTING = "starting"
    READY = "ready"
    """Probes succeed; its prefix is announced."""
    UNHEALTHY = "unhealthy"
    """Probes fail; not announced; about to be restarted."""
    BACKOFF = "backoff"
    """Failed repeatedly; waits before the next start."""
    STOPPING = "stopping"


class Contact(StrEnum):
    """What the controllers know of a machine's life."""

    PRESENT = "present"
    LOST = "lost"
    """No heartbeat for longer than the contact TTL. Not the same as dead."""
    UNKNOWN = "unknown"
    """Not heard of yet by this controller, which has not watched long enough to judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStatus:
    """One instance as its agent reports it."""

    allocation: str
    phase: Phase
    restarts: int = 0
    detail: str = ""
    """One sentence: the last thing that happened to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStatus:
    """One BGP session as the machine's BIRD reports it."""

    name: str
    up: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateStatus:
    """Whether an edge announces an aggregate, and why."""

    prefix: str
    announced: bool
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineStatus:
    """What an agent reports; kept in the store, changed only when it differs."""

    machine: str
    boot: str = ""
    """Changes when the machine reboots."""
    generation: int = 0
    """Of the target that is applied now; 0 is the bootstrap target."""
    instances: tuple[InstanceStatus, ...] = ()
    sessions: tuple[SessionStatus, ...] = ()
    aggregates: tuple[AggregateStatus, ...] = ()
    limits: str = ""
    """How resource limits are enforced, or why they are not."""
    problems: tuple[str, ...] = ()
    """What the agent could not do, one sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineView:
    """Contact of a machine and for how long it has been so."""

    contact: Contact
    since_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that a decision may look at. Immutable; made by a controller from the store."""

    revision: int
    """Revision of the last commit; a plan is committed only if it is still the last one."""
    platform: Platform
    services: Mapping[str, Service] = field(default_factory=dict)
    allocations: Mapping[str, Allocation] = field(default_factory=dict)
    statuses: Mapping[str, MachineStatus] = field(default_factory=dict)
    machines: Mapping[str, MachineView] = field(default_factory=dict)
    """A machine that is missing here is UNKNOWN."""

    def instance(self, allocation: str) -> InstanceStatus | None:
        """Return what the node of an allocation last said of it, if anything."""
        wanted = self.allocations.get(allocation)
        status = self.statuses.get(wanted.node) if wanted else None
        for instance in status.instances if status else ():
            if instance.allocation == allocation:
                return instance
        return None

    def contact(self, machine: str) -> Contact:
        """Return the contact state of a machine."""
        view = self.machines.get(machine)
        return view.contact if view else Contact.UNKNOWN
