"""What is decided: allocations, steps, and the reason of each decision."""

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import Any, Literal

from pltfrms.model.addresses import Prefix, prefixes_of
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.balancer import BalancedService
from pltfrms.model.running.inquiries import Inquiry
from pltfrms.model.running.volumes import Volume
from pltfrms.model.services.jobs import RunOrder
from pltfrms.model.services.secrets import DeliveredSecret
from pltfrms.model.services.service import Service


class Reason(StrEnum):
    """Why a decision was taken. One enum for CLI, log, metric label, UI and tests."""

    # placing and stopping
    NEW_REPLICA = "new-replica"
    NODE_LOST = "node-lost"
    NODE_REMOVED = "node-removed"
    NODE_DRAINED = "node-drained"
    NEW_VERSION = "new-version"
    SPREAD = "spread"
    SERVICE_DELETED = "service-deleted"
    SCALED_DOWN = "scaled-down"
    DATACENTER_LEFT = "datacenter-left"
    REPLACEMENT_READY = "replacement-ready"
    NOT_NEEDED_ANY_MORE = "not-needed-any-more"
    WENT_BACK = "went-back"
    # volumes
    VOLUME_THERE = "volume-there"
    VOLUME_WAITED_FOR = "volume-waited-for"
    VOLUME_GIVEN_UP = "volume-given-up"
    VOLUME_STAYS = "volume-stays"
    IN_PLACE = "in-place"
    HOOK_WAITED_FOR = "hook-waited-for"
    # pace
    PACED = "paced"
    # rollouts
    STAGE_COMPLETE = "stage-complete"
    STAGE_BROKEN = "stage-broken"
    BAKED = "baked"
    VERSION_FAILED = "version-failed"
    VERSION_WORSE = "version-worse"
    PROBE_TRIED = "probe-tried"
    PROBE_REFUSED = "probe-refused"
    LIVENESS_NEXT = "liveness-next"
    LIVENESS_REFUSED = "liveness-refused"
    # load
    LOAD_HIGH = "load-high"
    LOAD_LOW = "load-low"
    AT_MOST = "at-most"
    # why nothing can be placed
    NO_NODE_WITHIN_SPREAD = "no-node-within-spread"
    NO_CAPACITY = "no-capacity"
    NO_NODE_IN_CONTACT = "no-node-in-contact"
    ALL_DRAINED = "all-drained"
    MASS_LOSS = "mass-loss"
    NODE_UNHEARD = "node-unheard"
    PANIC = "panic"
    # roles
    ROLE_SAID = "role-said"
    ROLE_NOT_SAID = "role-not-said"
    ROLE_FOUND = "role-found"
    ROLE_SURPASSED = "role-surpassed"
    ROLE_CONTESTED = "role-contested"
    # aggregates
    LOCAL_SERVICE = "local-service"
    NO_LOCAL_SERVICE = "no-local-service"
    REMOTE_SERVICE = "remote-service"
    NO_SERVICE = "no-service"
    POLICY_ALWAYS = "policy-always"
    UNICAST = "unicast"
    WAITING = "waiting"
    UNKNOWN_KEEP = "unknown-keep"
    LAST_ANNOUNCER = "last-announcer"
    ISOLATED = "isolated"
    NO_WAY_BACK = "no-way-back"
    LITTLE_WAY_BACK = "little-way-back"
    FLAPPING = "flapping"
    FROZEN = "frozen"

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.NEW_REPLICA: "the spec wants this replica and nothing runs it",
    Reason.NODE_LOST: "its node is out of contact",
    Reason.NODE_REMOVED: "its node is not in the platform any more",
    Reason.NODE_DRAINED: "its node is drained",
    Reason.NEW_VERSION: "the service has a newer version",
    Reason.SPREAD: "the replicas were uneven over the nodes",
    Reason.SERVICE_DELETED: "the service was deleted",
    Reason.SCALED_DOWN: "the spec wants fewer replicas",
    Reason.DATACENTER_LEFT: "the spec does not name this datacenter any more",
    Reason.REPLACEMENT_READY: "its replacement is ready",
    Reason.NOT_NEEDED_ANY_MORE: "the allocation it was to replace is healthy again",
    Reason.WENT_BACK: "its version failed or was called off, so the one before comes back",
    Reason.VOLUME_THERE: "its volume is there",
    Reason.VOLUME_WAITED_FOR: "its volume is on a node that cannot run it now",
    Reason.VOLUME_GIVEN_UP: "the node that has its volume was lost for longer than it may be",
    Reason.VOLUME_STAYS: "its volume is there, so it stays on a node that is drained",
    Reason.IN_PLACE: "another version comes, and only one may have its volume",
    Reason.HOOK_WAITED_FOR: "a hook of it runs, or has failed, so what is planned waits",
    Reason.PACED: "so many copies begin already, because of what is planned, that others wait",
    Reason.STAGE_COMPLETE: "every replica of the stage is ready in the new version",
    Reason.STAGE_BROKEN: "not every replica of the stage is ready any more",
    Reason.BAKED: "the stage stayed ready for as long as it had to",
    Reason.VERSION_FAILED: "an instance of the new version is not good enough",
    Reason.VERSION_WORSE: "the new version answers worse than the one before",
    Reason.PROBE_TRIED: "its probe would not take down all instances that run",
    Reason.PROBE_REFUSED: "its probe would take down all instances that run",
    Reason.LIVENESS_NEXT: "its probe would not; its liveness probe is tried next",
    Reason.LIVENESS_REFUSED: "its liveness probe would restart most instances that run",
    Reason.LOAD_HIGH: "its instances have more to do than is wanted",
    Reason.LOAD_LOW: "fewer instances would have less to do than is wanted",
    Reason.AT_MOST: "the load asks for more replicas than `scale` allows",
    Reason.NO_NODE_WITHIN_SPREAD: "every node in contact already runs as many as allowed",
    Reason.NO_CAPACITY: "no node has enough room for it",
    Reason.NO_NODE_IN_CONTACT: "no node of the datacenter is in contact",
    Reason.ALL_DRAINED: "every node of the datacenter that is in contact is drained",
    Reason.MASS_LOSS: "so many nodes are out of contact at once that we rather cannot see them",
    Reason.NODE_UNHEARD: "whether a node lives is not known, so nothing of it is moved",
    Reason.PANIC: "all instances that answer say that they are unhealthy, so they serve where"
    " nobody is better",
    Reason.ROLE_SAID: "the instance says that it has the role",
    Reason.ROLE_NOT_SAID: "the instance does not say that it has the role",
    Reason.ROLE_FOUND: "it had the role before it could be asked, so it keeps it until then",
    Reason.ROLE_SURPASSED: "another one has, or had, the role in a higher epoch",
    Reason.ROLE_CONTESTED: "another one says that it has the role in the same epoch, and is"
    " preferred by where it runs",
    Reason.LOCAL_SERVICE: "services are healthy in this datacenter",
    Reason.NO_LOCAL_SERVICE: "too few services are healthy in this datacenter",
    Reason.REMOTE_SERVICE: "services are reachable in another datacenter",
    Reason.NO_SERVICE: "no service is reachable anywhere",
    Reason.POLICY_ALWAYS: "the policy says always",
    Reason.UNICAST: "instances here speak with the internet from it",
    Reason.WAITING: "the condition has not lasted long enough to act on",
    Reason.UNKNOWN_KEEP: "the condition is not known now, so nothing is changed",
    Reason.LAST_ANNOUNCER: "no other datacenter announces it, so it stays whatever the health",
    Reason.ISOLATED: "this edge reaches no other machine of ours",
    Reason.NO_WAY_BACK: "this edge has no way back: neither a default route nor a full table",
    Reason.LITTLE_WAY_BACK: "this edge has few ways back, or none that is seen, which alone is"
    " no reason to withdraw it here",
    Reason.FLAPPING: "it was withdrawn too often lately and has to wait",
    Reason.FROZEN: "an operator has frozen the network",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """A replica bound to a node. Never changes: a move is a new allocation."""

    id: str
    """`SERVICE.DATACENTER.REPLICA-NUMBER`, such as `web.fra.1-3`."""
    service: str
    datacenter: str
    replica: int
    """From 1 to the number that the service wants in the datacenter."""
    number: int
    """Counts the allocations of this replica, from 1."""
    node: str
    slot: int
    """Unique on the node, 1..254; gives the instance its unicast addresses."""
    version: int
    """Version of the service that it runs."""
    reason: Reason
    replaces: str = ""
    """Id of the allocation that may stop once this one is ready."""
    volume: str = ""
    """Id of the volume that it has; empty: none. At no time have two the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastNumber:
    """What is left of the allocations of a replica: no later one may have their number."""

    replica: str
    """`SERVICE.DATACENTER.REPLICA`."""
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Start an allocation."""

    allocation: Allocation
    reason: Reason
    action: Literal["place"] = "place"
    """Tells the two kinds of step apart in JSON."""
    volume: Volume | None = None
    """Its volume, if that is new."""
    gives_up: Volume | None = None
    """What the replica had before, as it is from then on; its node is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Stop an allocation and forget it."""

    allocation: Allocation
    reason: Reason
    action: Literal["stop"] = "stop"


Step = Place | Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStep:
    """A rollout comes to its next state, or goes back; or the load changes a number."""

    service: Service
    """As it is to be. Who commits it adds the moment, and the words of a cause."""
    reason: Reason
    culprit: str = ""
    """The allocation that is not good enough, if it goes back because of one."""
    words: str = ""
    """What was found instead, if answers were asked for: why it goes back, or on; or what the
    load changes, in numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A wish that cannot be fulfilled now."""

    about: str
    """Such as `web.fra.2`."""
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to change, in this order; made from one snapshot, leaves no choice to the executor.

    Every prefix of `steps` is safe: stop anywhere, plan again, it converges.
    """

    revision: int
    steps: tuple[Step, ...] = ()
    notes: tuple[Note, ...] = ()
    rollouts: tuple[RolloutStep, ...] = ()
    """What becomes of rollouts, or what the load changes. It is done first, and alone: then
    there are no steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What is placed on a node."""

    node: str
    services: tuple[int, ...] = ()
    """Ids, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """A service that edges accept from a node: it is placed there, or was until lately."""

    node: str
    id: int
    """Of the service."""
    prefix4: IPv4Network | None
    prefix6: IPv6Network | None
    drain_ms: int = 0
    """How long an instance of it may go on without its allocation."""
    left_at: float | None = None
    """Since when (monotonic seconds) it is not placed there any more; None: it is."""
    more: tuple[Prefix, ...] = ()

    @property
    def prefixes(self) -> tuple[Prefix, ...]:
        """Every /32 and /128 of the service."""
        return prefixes_of(self.prefix4, self.prefix6, self.more)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetParts:
    """A target without its platform, which is most of it and changes least."""

    machine: str
    generation: int
    """The commit revision it was made from; 0 for the bootstrap target of a machine that has
    never met a controller."""
    lineage: tuple[str, ...] = ()
    """A word of each recovery of the store, the newest last; see `planner.upkeep.lineage`."""
    made_of: str = ""
    """Fingerprint of all that it is made of: while it stays the same, so does what the machine
    is to be, whatever was committed. Empty: not known."""
    platform_revision: int = 0
    """Of the last commit that changed the platform; 0: not known."""
    interventions: Interventions = field(default_factory=Interventions)
    services: tuple[Service, ...] = ()
    """On nodes those that have an allocation here; on edges all, without what only nodes need
    to know of them."""
    allocations: tuple[Allocation, ...] = ()
    """Of this machine."""
    balanced: tuple[BalancedService, ...] = ()
    """All services, as far as the director must know them; on edges and nodes."""
    guests: tuple[IPv6Address, ...] = ()
    """On nodes, while clients are led from one datacenter to another: all instances of other
    datacenters, which have the connections that clients bring with them."""
    earlier: tuple[Service, ...] = ()
    """Versions before the newest that allocations here are to have."""
    placed: tuple[Placed, ...] = ()
    """All nodes of the datacenter, on edges whose nodes may announce only what is placed on
    them; else, and if nobody has said it yet, empty."""
    inquiries: tuple[Inquiry, ...] = ()
    """What to ask allocations of this machine beside their probes."""
    volumes: tuple[Volume, ...] = ()
    """That are recorded for this machine, whosever they are."""
    peers: tuple[Volume, ...] = ()
    """On nodes, what all replicas hold of the services of which some have a volume here."""
    secrets: tuple[DeliveredSecret, ...] = ()
    """On nodes, those that allocations and runs here are given; by name and version."""
    runs: tuple[RunOrder, ...] = ()
    """Of jobs, those that are this machine's and not over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(TargetParts):
    """What one machine is to be made, now. An agent refuses a lower generation."""

    platform: Platform

    def news(self, known: int) -> "TargetNews":
        """Return it for a machine that has the platform of revision `known`; 0: it has none."""
        whole = not known or known != self.platform_revision
        platform = self.platform if whole else None
        return TargetNews(**_parts(self), platform=platform)

    def plain(self) -> "Target":
        """Return it for an agent of a release that had no fingerprints."""
        return replace(self, made_of="", platform_revision=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetNews(TargetParts):
    """A target on its way to a machine that said what it has."""

    platform: Platform | None = None
    """None: as the machine has it already."""

    def target(self, current: Target) -> Target | None:
        """Return the target for who has `current`; None if it has another platform."""
        platform = self.platform
        if platform is None and self.platform_revision == current.platform_revision:
            platform = current.platform
        return Target(**_parts(self), platform=platform) if platform else None


def _parts(parts: TargetParts) -> dict[str, Any]:
    return {each.name: getattr(parts, each.name) for each in fields(TargetParts)}
