"""What was observed: contact, status, and all of it at one revision (`Snapshot`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pltfrms.errors import NotFoundError
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.inquiries import Tally
from pltfrms.model.running.plan import Allocation, Reason
from pltfrms.model.running.volumes import Volume, VolumeStatus
from pltfrms.model.services.jobs import Job, JobRun, RunStatus
from pltfrms.model.services.secrets import SecretNote
from pltfrms.model.services.service import Service


class Phase(StrEnum):
    """Where an instance is in its life, as its agent sees it."""

    STARTING = "starting"
    READY = "ready"
    """Probes succeed; its prefix is announced."""
    UNHEALTHY = "unhealthy"
    """Probes fail. One that does not answer is not announced, and about to be restarted; one
    that does (`InstanceStatus.unwell`) stands by for where nobody better serves."""
    BACKOFF = "backoff"
    """Failed repeatedly; waits before the next start."""
    DRAINING = "draining"
    """To be stopped; gets no new flows, and serves those that it has for a while."""
    STOPPING = "stopping"


class Contact(StrEnum):
    """What the controllers know of a machine's life."""

    PRESENT = "present"
    LOST = "lost"
    """No heartbeat, and no edge has a session with it any more. Not the same as dead."""
    UNKNOWN = "unknown"
    """No heartbeat, and nothing else that says whether it lives; or this controller has not
    watched long enough to judge."""


class RoleState(StrEnum):
    """Whether an instance has a role of its service."""

    HELD = "held"
    """It says so, and nobody has a better right: its node announces it."""
    YIELDED = "yielded"
    """It says so, and somebody else has a better right: it is not announced."""
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleStatus:
    """What an instance is to a role, and why."""

    role: str
    state: RoleState
    reason: Reason
    epoch: int | None = None
    """That it says; None: it says none, or none is asked for."""
    shared: bool = False
    """Others may have it at the same time."""
    detail: str = ""

    @property
    def is_alone(self) -> bool:
        """Whether it is that of who has a role which one alone may have."""
        return self.state is RoleState.HELD and not self.shared

    @property
    def sentence(self) -> str:
        """All of it in words."""
        epoch = "" if self.epoch is None else f", epoch {self.epoch}"
        detail = f"; {self.detail}" if self.detail else ""
        return f"{self.role} {self.state}{epoch}: {self.reason.sentence}{detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The most that an instance had to do, as an average over a quarter of a minute.

    Of the last day, or since its agent began. Told up to a third too high, and never too low;
    of who used all of the cpu promised to it, just that.
    """

    cpu_percent: int | None = None
    """Of the cores promised to it; None: not known."""
    connections: int | None = None
    """TCP connections that it accepted in a second; None: not known."""
    hours: int
    """In so many hours it was measured, the present one among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStatus:
    """One instance as its agent reports it."""

    allocation: str
    phase: Phase
    restarts: int = 0
    slot: int = 0
    """Of its allocation, which may not be recorded any more; 0: not known."""
    detail: str = ""
    """One sentence: the last thing that happened to it."""
    unwell: bool = False
    """UNHEALTHY: it answers so itself, and serves where nobody better does."""
    failure: str = ""
    """One sentence how it failed last, such as its exit status and last words; empty if it
    has not, or has been ready for a minute since."""
    tally: Tally | None = None
    """What it answered to the inquiry of its target; None: there is none, or no answer yet."""
    cpu_percent: int | None = None
    """How much of the cores promised to it it uses, as an average over a quarter of a minute.
    Rounded, and told anew only after a change that matters. None: not known, or not needed."""
    connections: int | None = None
    """How many TCP connections it accepts in a second; told as rarely as its cpu."""
    peak: Peak | None = None
    """None: not known."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Packets that it refused, by why: `not-declared` and `not-a-client`; read once a minute,
    and told as rarely as its cpu. Empty: nothing, or not known."""
    roles: tuple[RoleStatus, ...] = ()
    """Of its service, by name."""
    held_up: str = ""
    """Why what is planned for its service waits: a hook runs in it, or has failed there."""


NOT_KNOWN: Final = "unknown: "
"""How agents begin what they say of sessions while their BIRD is silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStatus:
    """One BGP session as the machine's BIRD reports it."""

    name: str
    """Such as `peer.transit1.ipv4` or `edge.fra-e2`."""
    up: bool
    detail: str = ""
    imported: int = 0
    exported: int = 0
    filtered: int = 0
    """Routes accepted, announced, and refused; rounded, so that small changes stay at home."""
    rejects: Mapping[str, int] = field(default_factory=dict)
    """Refused routes by reason (a `Reject`); sessions with the outside only."""
    counted: bool = True
    """Whether that is of now. Not while BIRD is silent, and not before it was asked anew since
    the session came up, or since what the machine announces has changed."""

    @property
    def known(self) -> bool:
        """Whether `up` is of now: while BIRD is silent it is False, and says nothing."""
        return not self.detail.startswith(NOT_KNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideTable:
    """What an edge knows of ways to the outside in one address family (4 or 6)."""

    version: int
    default: bool
    """Whether a default route is in use, wherever it was learned."""
    routes: int
    """Other routes to the outside in use; rounded, so that small changes stay at home."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The traffic of a network interface, as an average over half a minute.

    Rounded, and told anew only after a lasting change, so that small changes stay at home.
    """

    received_bps: int
    sent_bps: int
    """Bits per second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatus:
    """A backbone link as one of its edges sees it."""

    up: bool
    """Whether the other end answers."""
    rtt_us: int = 0
    """Round trip time in microseconds, in steps of 10 %; told anew only after a lasting change
    of 20 %. 0: not measured yet."""
    loss_percent: int | None = None
    """How much of 30 questions got no answer, told when all were asked; None: not known yet."""


class RoutingState(StrEnum):
    """Where a machine is with its routing configuration."""

    CONFIRMED = "confirmed"
    """What is wanted runs, and was seen to be good."""
    WAITING = "waiting"
    """Something else is wanted; it is not this machine's turn, or nobody can say so."""
    TRYING = "trying"
    """What is wanted runs, and reverts by itself unless it is seen to be good."""
    REVERTED = "reverted"
    """What is wanted was tried and was not good; what ran before runs again."""
    FROZEN = "frozen"
    """Nothing is changed, because an operator said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingStatus:
    """What a machine's routing daemon runs, and what is wanted of it."""

    wanted: str = ""
    """Fingerprint of the policy (`render.bird.policy_fingerprint`) of the target."""
    running: str = ""
    """Fingerprint of the policy in force; empty: not known."""
    state: RoutingState = RoutingState.CONFIRMED
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
    version: str = ""
    """Of the agent; empty: of a release that does not say it."""
    boot: str = ""
    """Changes when the machine reboots."""
    generation: int = 0
    """Of the target that is applied now; 0 is the bootstrap target. Readers of the state see
    the last commit's while nothing since has changed what the target is made of."""
    made_of: str = ""
    """Fingerprint of what that target is made of; empty: not known."""
    recovery: str = ""
    """The newest recovery of the store in it; empty: there was none."""
    instances: tuple[InstanceStatus, ...] = ()
    sessions: tuple[SessionStatus, ...] = ()
    aggregates: tuple[AggregateStatus, ...] = ()
    routing: RoutingStatus = field(default_factory=RoutingStatus)
    balancer: str = ""
    """Why the director does not work on this machine; empty if it does, or is not wanted."""
    limits: str = ""
    """How resource limits are enforced, or why they are not."""
    clock_ahead_seconds: int = 0
    """How far its clock is ahead of a controller's; negative: behind; 0: they agree, or nobody
    knows."""
    problems: tuple[str, ...] = ()
    """What the agent could not do, one sentence each."""
    loads: Mapping[str, Load] = field(default_factory=dict)
    """Edges: by interface, of ports of external sessions and of backbone links. One that is
    missing here is not known."""
    links: Mapping[str, LinkStatus] = field(default_factory=dict)
    """Edges: by name of the link. One that is missing here is not known."""
    outside: tuple[OutsideTable, ...] = ()
    """Edges: what they know of the outside. A family that is missing here is not known."""
    missed: tuple[str, ...] | None = None
    """Edges: the nodes with which they had a session, or waited for one for long enough, and
    have none now. None: the agent is of a release that does not say it."""
    vanished: tuple[str, ...] = ()
    """Edges: those of `missed` that fell silent. Where a machine goes on, its kernel closes
    what a daemon leaves behind."""
    volumes: tuple[VolumeStatus, ...] | None = None
    """Nodes: what they have on their disks. None: not known."""
    runs: tuple[RunStatus, ...] = ()
    """Nodes: of jobs, those that they are told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineView:
    """Contact of a machine and for how long it has been so."""

    contact: Contact
    since_seconds: float
    why: str = ""
    """Why it is UNKNOWN, if that has been judged; one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that a decision may look at. Immutable; made by a controller from the store."""

    revision: int
    """Revision of the last commit; a plan is committed only if it is still the last one."""
    platform: Platform
    interventions: Interventions = field(default_factory=Interventions)
    services: Mapping[str, Service] = field(default_factory=dict)
    allocations: Mapping[str, Allocation] = field(default_factory=dict)
    statuses: Mapping[str, MachineStatus] = field(default_factory=dict)
    machines: Mapping[str, MachineView] = field(default_factory=dict)
    """A machine that is missing here is UNKNOWN."""
    numbers: Mapping[str, int] = field(default_factory=dict)
    """Highest number, by replica (`web.fra.1`), of allocations that are recorded no more."""
    now_ms: int = 0
    """Unix time of the controller that made it: what holds for a while is judged by it."""
    bakes_ms: Mapping[str, int] = field(default_factory=dict)
    """By service, how long that controller has itself seen the stage of its rollout bake."""
    lineage: tuple[str, ...] = ()
    """A word of each recovery of the store, the newest last."""
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    secrets: Mapping[str, SecretNote] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    runs: Mapping[str, JobRun] = field(default_factory=dict)
    """By id; of each job all that are not over, which is one at most, and the last that are."""
    runs_seen_ms: Mapping[str, int] = field(default_factory=dict)
    """By id, how long that controller has itself seen that a run may be running."""

    def service(self, name: str) -> Service:
        """Return a service; NotFoundError if there is none of that name."""
        found = self.services.get(name)
        if found is None:
            known = ", ".join(sorted(self.services)) or "none"
            raise NotFoundError(f"there is no service {name!r}; there are: {known}")
        return found

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
