"""What travels between CLI, agents and controllers. JSON of these words over HTTP.

POST /v1/heartbeats          Heartbeat -> HeartbeatReply
GET  /v1/targets/{machine}?after=GENERATION&wait_ms=N   -> Target (200), or 204: nothing newer
GET  /v1/snapshot?stale=BOOL -> SnapshotView; with `stale` also while the store is away
POST /v1/vantage/reports     VantageReport -> VantageReply
POST /v1/vantage/tokens      VantageAsk -> VantageToken
GET  /v1/vantage             -> VantageAnswers, of all that this controller has heard
GET  /v1/view, /v1/stream    -> see `pltfrms.model.messages.picture`
POST /v1/plan                Change -> PlanPreview    (changes nothing)
POST /v1/apply               Change -> PlanPreview    (409 when `revision` is not the last)
DELETE /v1/services/{name}   -> PlanPreview
GET  /v1/services/{name}/versions -> ServiceHistory
GET  /v1/services/{name}/logs?instance=ID&lines=N&after=POSITION&ended=BOOL -> LogAnswers
POST /v1/rollouts            RolloutChange -> PlanPreview
POST /v1/interventions       InterventionChange -> InterventionReply
GET  /v1/routes/{machine}?prefix=PREFIX&session=NAME&filtered=BOOL -> list[RouteView]
GET  /v1/balancers           -> BalancerAnswers, of all edges and nodes
GET  /v1/balancers/{machine} -> BalancerView
GET  /v1/balancers/{machine}/row?service=ID&row=N     -> list of addresses, as the kernel has it
GET  /v1/events?after=SEQUENCE&wait_ms=N&limit=N&stale=BOOL -> list[Event], oldest first;
     503 when too many wait already
POST /v1/leases           LeasesAsk -> LeasesReply, of an agent about an instance that has ended
GET  /v1/prometheus/targets  -> what has metrics, as Prometheus' HTTP service discovery wants it
GET  /healthz (200 while the store answers, else 503; its text says if nothing is decided)
GET  /readyz  (200 while this controller decides, else 503) and /metrics (Prometheus)
Errors: the status code of `pltfrms.errors` with a body ErrorBody.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pltfrms.model.messages.guards import Doubt, Guard, RoutingChange, Verdict
from pltfrms.model.messages.store import StoreState
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.plan import Note, Plan
from pltfrms.model.running.redundancy import Redundancy
from pltfrms.model.running.state import MachineStatus, MachineView, Snapshot
from pltfrms.model.running.vantage import ClientEvidence
from pltfrms.model.services.jobs import JobSpec
from pltfrms.model.services.service import Service, ServiceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasesAsk:
    """An agent asks for the leases of an instance of its machine that has ended."""

    machine: str
    allocation: str
    end: tuple[int, ...] = ()
    """Those that are to end now, of which it has been told while nothing ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasesReply:
    """What a controller answers to that."""

    leases: tuple[int, ...] = ()
    """Those that were not named, and so have not ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, in words."""

    sequence: int = 0
    """Store revision of the event; 0 until it is stored."""
    at_ms: int
    """Unix time, milliseconds."""
    source: str
    """Machine (agent) or `controller/NAME`."""
    about: str
    """Such as `web.fra.1-3`, `machine/fra-n1`, `aggregate/198.51.100.0/24`."""
    what: str
    """Constant verb phrase: `instance ready`, `replica placed`, `route restored`."""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """An agent lives, and this is how it is."""

    status: MachineStatus
    events: tuple[Event, ...] = ()
    heard: int = 0
    """The newest generation that it has heard of, which may be later than what it follows: it
    takes no older one. 0: it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadHeartbeat:
    """A heartbeat of an agent of another version, as far as it is understood."""

    status: Mapping[str, object]
    """`MachineStatus` as JSON; its `machine` is understood by every version."""
    events: tuple[Event, ...] = ()
    heard: int = 0
    """As `Heartbeat` has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatReply:
    """Answer to a heartbeat."""

    generation: int
    """Newest generation the controller knows; a hint to fetch the target."""
    made_of: str = ""
    """Fingerprint of the machine's target of that generation: the same as of the one that it
    has says that there is nothing to fetch. Empty: the controller does not say."""
    turn: str = ""
    """Fingerprint of the routing policy that this machine may put in force now; empty: none.
    Edges change one after the other."""
    controller: str = ""
    """Who answers."""
    unix_ms: int = 0
    """Its clock; 0: it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an operator wants changed."""

    services: tuple[ServiceSpec, ...] = ()
    platform: Platform | None = None
    jobs: tuple[JobSpec, ...] = ()
    revision: int | None = None
    """Apply only if this is still the last commit; None to apply to whatever is there."""
    despite: tuple[Guard, ...] = ()
    """Guards that forbid it and are overridden; each is written down as an event."""
    by: str = ""
    """Who asks, for the audit."""
    why: str = ""
    prune: tuple[str, str] | None = None
    """A label, and what it says: who has it and is not in the change is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeLine:
    """One difference between what is and what is wanted."""

    about: str
    """`service/web`, `platform`."""
    action: str
    """`create`, `update`, `delete`."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPreview:
    """What a change would do, or did."""

    revision: int
    changes: tuple[ChangeLine, ...]
    plan: Plan
    """What the planner would do at once, were the change applied, and what it could not."""
    under_way: Plan = field(default_factory=lambda: Plan(revision=0))
    """Of `plan`, what is done without the change as well."""
    routing: tuple[RoutingChange, ...] = ()
    """What the neighbours will see."""
    verdicts: tuple[Verdict, ...] = ()
    """What guards say against it; `apply` refuses unless `despite` names each of them."""
    doubts: tuple[Doubt, ...] = ()
    """What guards could not judge."""
    two_people: str = ""
    """Why a second operator must approve it; empty: one is enough."""


class Verb(StrEnum):
    """What an operator may do to the network for a while."""

    DRAIN = "drain"
    UNDRAIN = "undrain"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    BLACKHOLE = "blackhole"
    UNBLACKHOLE = "unblackhole"
    RELEASE = "release"
    HOLD = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class InterventionChange:
    """An operator's wish about `Interventions`; what a verb does not need stays empty."""

    verb: Verb
    peer: str = ""
    edge: str = ""
    interface: str = ""
    datacenter: str = ""
    node: str = ""
    since_ms: int = 0
    """Of a drain that is to begin later (Unix time); 0: now."""
    wait_ms: int | None = None
    """Of a drain; None: the platform's `drain_wait_seconds`."""
    prefix: str = ""
    until_ms: int = 0
    """Unix time of its end: of a blackhole, a release, and a drain that ends by itself."""
    why: str = ""
    by: str = ""
    despite: tuple[Guard, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InterventionReply:
    """What an intervention does, or did."""

    revision: int
    changed: bool
    interventions: Interventions
    routing: tuple[RoutingChange, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    two_people: str = ""
    """Why a second operator must approve it; empty: one is enough."""


class RolloutVerb(StrEnum):
    """What an operator may do to a rollout."""

    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ABORT = "abort"
    UNDO = "undo"
    RESTART = "restart"
    """Begin one, to what runs already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutChange:
    """An operator's wish about the rollout of a service."""

    verb: RolloutVerb
    service: str
    by: str = ""
    why: str = ""
    seen: str = ""
    """Where the service was when this was wanted, as `where_of` says it: if it is somewhere
    else by now, nothing is done. Empty: wherever it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceVersion:
    """A service as it was when its next version took its place; kept in the store."""

    service: Service
    by: str = ""
    why: str = ""
    """Who accepted it and why, as its rollout said. Empty: it had none, nobody said so, or, as
    it is kept, the rollout of `service` says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHistory:
    """The versions of one service that are kept."""

    versions: tuple[ServiceVersion, ...]
    """Newest first, but the present one before all."""
    problems: tuple[str, ...] = ()
    """One sentence for each that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotView:
    """The whole state for readers."""

    controller: str
    snapshot: Snapshot
    notes: tuple[Note, ...] = ()
    """What the planner cannot fulfil now."""
    stale_seconds: float = 0.0
    """How long the store has not answered; 0 while it does. While it does not, all but the
    contact of machines, which is UNKNOWN, is what was known last."""
    last_contacts: Mapping[str, MachineView] = field(default_factory=dict)
    """While the store does not answer: the contact of machines when it last did."""
    problems: tuple[str, ...] = ()
    """What keeps this controller from deciding, or from knowing all; one sentence each."""
    controllers: tuple[str, ...] | None = None
    """Controllers that live, as the store says; None: not known."""
    controller_problems: Mapping[str, str] = field(default_factory=dict)
    """What keeps other controllers from deciding, by name, as each has said of itself."""
    store: StoreState | None = None
    """How large the store is; None: nobody has looked."""
    redundancy: Redundancy | None = None
    """Whether one more failure is survived, as far as `last_known` says; None: the controller
    does not say."""
    clients: ClientEvidence | None = None
    """Whether clients are served, as vantage points say; None: the controller does not say."""

    @property
    def last_known(self) -> Snapshot:
        """The state for people: while the store does not answer, as it was when it last did."""
        if not self.stale_seconds:
            return self.snapshot
        return replace(self.snapshot, machines=self.last_contacts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """An error as controllers answer it."""

    error: str
    """Class name in `pltfrms.errors`."""
    message: str
    nothing_done: bool = False
    """Whether it is certain that nothing was changed."""
    retry_ms: int = 0
    """When to come again, of who is sent away for others who come as well; 0: as usual."""
