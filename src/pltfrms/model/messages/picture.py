"""What a page shows: the whole platform in elements, each with a state and a reason.

GET /v1/view   -> Picture, made once for each change, with an ETag
GET /v1/stream -> server-sent events (WHATWG HTML, section 9.2):
    `view`    Picture, once at the beginning, and whenever changes would be larger than it
    `patch`   Patch: what is different from the view or patch before
    `events`  list of Event; its `id` is the sequence of the last one, from which a reader that
              comes again with `Last-Event-ID` goes on; after a store was set back, numbers
              are lower than before
    `tick`    Tick, every 2 s: this controller lives, and how old what it knows is
    `goodbye` why it ends: a reader was too slow, or the picture cannot be drawn any more

Times are Unix times in milliseconds, 0: not known. They do not pass by themselves, so that two
views of the same state are equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Seen(StrEnum):
    """How an element is."""

    GOOD = "good"
    BAD = "bad"
    """It is known to be so, by somebody who would know."""
    UNKNOWN = "unknown"
    """Nobody says how it is now; `Element.last` is how it was when somebody last did."""
    PLANNED = "planned"
    """An operator has taken it away for a while."""


class Level(StrEnum):
    """How the platform is, the best first."""

    FINE = "fine"
    DEGRADED = "degraded"
    """Something is not as it should be; all services serve, if not clients of all places, and
    will after one failure."""
    REDUNDANCY_LOST = "redundancy lost"
    """Clients are served; one more failure may end that."""
    FAILING = "failing"
    """A service has no ready replica, or an aggregate is announced nowhere."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One thing in the picture."""

    id: str
    """Unique in its list, and the same as long as it is there."""
    state: Seen
    why: str = ""
    """One sentence about it; empty if there is nothing to say."""
    last: Seen | None = None
    """Of an UNKNOWN one, how it was last; None: nobody has ever said."""
    since_ms: int = 0
    """Since when its machine's contact is as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateElement(Element):
    """Whether a datacenter or an edge announces an aggregate. Its `id` is the prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatacenterElement(Element):
    """A site."""

    city: str = ""
    lat: float | None = None
    lon: float | None = None
    """Degrees to the north and to the east; None: not known."""
    machines: int = 0
    present: int = 0
    """Machines in contact."""
    wanted: int = 0
    ready: int = 0
    unknown: int = 0
    """Replicas; `unknown` ones were ready when their node was last heard of."""
    aggregates: tuple[AggregateElement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeElement(Element):
    """An edge."""

    datacenter: str
    routing: str = ""
    """A `RoutingState`, `unknown` or `external`."""
    aggregates: tuple[AggregateElement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FabricElement(Element):
    """A fabric, as machines see it that have sessions with edges in it. Its `id` is `fra/a`."""

    datacenter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeElement(Element):
    """What a replica has on a disk."""

    node: str
    bytes: int | None = None
    """How much is in it, rounded; None: not known."""
    size_bytes: int = 0
    """How much may be in it; 0: not known any more."""
    limited: bool = False
    """Whether the file system refuses more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFigures:
    """How much is asked of a node; cores in thousandths."""

    heard: bool = False
    """Whether its agent is in contact: else nothing is measured."""
    cpu_milli: int = 0
    memory_bytes: int = 0
    """What instances and runs may be promised there."""
    promised_milli: int = 0
    promised_bytes: int = 0
    """What those that are placed there are promised."""
    measured: int = 0
    """Of so many instances the cpu was measured."""
    used_milli: int = 0
    """The sum of the peaks of these, each in its own time: together they used no more."""
    busiest: str = ""
    """Which instance had most to do, and how much; empty: none is measured."""
    volumes: tuple[VolumeElement, ...] = ()
    """The worst and fullest of them."""
    volumes_more: int = 0
    """So many further ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineElement(Element):
    """A node, or a machine that is controller alone."""

    datacenter: str
    roles: tuple[str, ...] = ()
    instances: int = 0
    ready: int = 0
    failing: int = 0
    load: NodeFigures | None = None
    """None: it is no node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionElement(Element):
    """One address family of a session with the outside. Its `id` is `transit1@fra-e1/ipv6`."""

    peer: str
    edge: str
    imported: int = 0
    exported: int = 0
    filtered: int = 0
    rejects: Mapping[str, int] = field(default_factory=dict)
    """Refused routes by reason, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerElement(Element):
    """A neighbour with all its sessions."""

    kind: str
    asn: int
    up: int
    down: int
    unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkElement(Element):
    """A backbone link between two edges, as they see it."""

    a: str
    b: str
    kind: str
    rtt_us: int = 0
    """Round trip time; 0: not known."""
    loss_percent: int | None = None
    """Of the questions that its ends ask each other, the worse of them; None: not known."""
    received_bps: int | None = None
    sent_bps: int | None = None
    """As seen from `a`; None: not known."""
    capacity_bps: int = 0
    """0: not said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Replicas of a service in a datacenter."""

    wanted: int = 0
    ready: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleElement(Element):
    """A role of a service. Its `id` is the name of the role."""

    prefixes: tuple[str, ...] = ()
    holders: Mapping[str, str] = field(default_factory=dict)
    """By allocation that has it, as was heard last: its node."""
    epoch: int | None = None
    """The highest that they say; None: none."""
    unheard: tuple[str, ...] = ()
    """Allocations of which it is not known whether they have it."""
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceElement(Element):
    """A service."""

    version: int
    prefixes: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    wanted: int = 0
    ready: int = 0
    unknown: int = 0
    places: Mapping[str, Counts] = field(default_factory=dict)
    """By datacenter."""
    rollout: str = ""
    """How far the rollout under way is; empty: there is none."""
    load: str = ""
    """What it has to do, declared or measured, and where nobody knows; empty: nobody says."""
    busiest: str = ""
    """Which instance had most to do, and how much; empty: none is measured."""
    promised: str = ""
    """What each instance is promised."""
    roles: tuple[RoleElement, ...] = ()
    volumes: tuple[VolumeElement, ...] = ()
    """The worst and fullest of them."""
    volumes_more: int = 0
    """So many further ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunElement(Element):
    """A run of a job. Its `id` is `backup@7`."""

    word: str
    """A `RunState`."""
    node: str = ""
    began_ms: int = 0
    ended_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobElement(Element):
    """A job, as its last run is. Its `id` is `job/backup`: a service may have its name."""

    version: int
    schedule: str = ""
    """In words; empty: it runs when somebody says so."""
    next_ms: int = 0
    """When it is due next; 0: not by itself, or not known."""
    datacenters: tuple[str, ...] = ()
    """Where it may run; empty: anywhere."""
    runs: tuple[RunElement, ...] = ()
    """The last ones, the newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientElement(Element):
    """A service as vantage points see it, who ask as clients do. Its `id` is the service."""

    served: str
    """A `ClientVerdict`."""
    asked_from: tuple[str, ...] = ()
    """Datacenters and vantage points outside that say something now."""
    answered_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By whom of them, the datacenters that answered lately."""
    missed_from: tuple[str, ...] = ()
    """Those of them that get no answer, or too few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """Something that is not as it should be, or is done by hand, or waits."""

    id: str
    about: str
    """`fra-e1`, `web`, `store`; empty: the platform."""
    sentence: str
    since_ms: int = 0
    until_ms: int = 0
    """When it ends by itself; 0: it does not."""
    command: str = ""
    """What shows more of it, or ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """What somebody who is woken reads first."""

    level: Level
    sentence: str
    redundancy: str = ""
    """Whether one more failure is survived; empty: the controller does not say."""
    clients: str = ""
    """Whether clients are served, as vantage points say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The platform, as one controller knows it."""

    platform: str
    controller: str
    revision: int
    """Of the store: of the last commit."""
    stale_since_ms: int = 0
    """Since when the store has not answered, and all this is what was known last; 0: it
    answers."""
    headline: Headline
    datacenters: tuple[DatacenterElement, ...] = ()
    edges: tuple[EdgeElement, ...] = ()
    machines: tuple[MachineElement, ...] = ()
    peers: tuple[PeerElement, ...] = ()
    sessions: tuple[SessionElement, ...] = ()
    links: tuple[LinkElement, ...] = ()
    fabrics: tuple[FabricElement, ...] = ()
    services: tuple[ServiceElement, ...] = ()
    clients: tuple[ClientElement, ...] = ()
    jobs: tuple[JobElement, ...] = ()
    problems: tuple[Concern, ...] = ()
    """What is broken, or not known to be well."""
    hands: tuple[Concern, ...] = ()
    """What operators have done for a while, and its end."""
    waits: tuple[Concern, ...] = ()
    """What is wanted and cannot be done now, and why."""


LISTS = (
    "datacenters",
    "edges",
    "machines",
    "peers",
    "sessions",
    "links",
    "fabrics",
    "services",
    "clients",
    "jobs",
    "problems",
    "hands",
    "waits",
)
"""The parts of a Picture that are lists of what has an `id`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """What makes one Picture of another."""

    head: Mapping[str, object] = field(default_factory=dict)
    """The parts that are not lists, and are different."""
    changed: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    """By list: what is new or different, whole."""
    order: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By list: all ids, where something came, went or moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A controller lives."""

    at_ms: int
    stale_since_ms: int = 0
