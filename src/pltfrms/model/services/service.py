"""What the operator wants to run, and the prefix it gets for life."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

from pltfrms.model.addresses import Address, Prefix, prefixes_of
from pltfrms.model.services.container import Adopted, Behind, Container
from pltfrms.model.services.hooks import InstanceHook
from pltfrms.model.services.names import ZoneUse
from pltfrms.model.services.outgoing import EVERYTHING, Egress
from pltfrms.model.services.parts import StoreUse
from pltfrms.model.services.probes import ProbeDns, ProbeHttp, ProbeTls, ProbeUdp
from pltfrms.model.services.roles import RolePrefixes, role_prefixes
from pltfrms.model.services.secrets import SecretUse
from pltfrms.model.services.storage import IoLimits, Storage

GROUP = "group"
"""The name of the label that has a field of its own."""
CLIENT_INTERNET = "internet"
"""As a client: who is neither a machine nor an instance of ours."""
CLIENT_SERVICE = "service:"
"""Before the name of a service whose instances are clients."""


class ProbeKind(StrEnum):
    """How an instance is asked whether it can serve."""

    HTTP = "http"
    TCP = "tcp"
    EXEC = "exec"
    UDP = "udp"
    DNS = "dns"
    GRPC = "grpc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A question asked to every instance over and over.

    A hung instance is noticed after at most `fall` x (interval + timeout).
    """

    kind: ProbeKind
    port: int = 0
    """For all kinds but `exec`."""
    path: str = "/"
    """Request target, for `http`; any 2xx or 3xx answer is a success."""
    command: tuple[str, ...] = ()
    """For `exec`: run inside the instance's namespaces; exit code 0 is a success."""
    interval_ms: int = 500
    timeout_ms: int = 300
    rise: int = 2
    """Successes in a row before an unhealthy instance counts as healthy. A starting instance
    is asked every 50 ms and needs one."""
    fall: int = 2
    """Failures in a row before a healthy instance counts as unhealthy and is restarted."""
    grace_ms: int = 10_000
    """A starting instance that has not succeeded once after this long is restarted."""
    grace_max_ms: int = 0
    """While it answers something new each time, its grace begins anew, for this long in all."""
    only_announces: bool = False
    """Who fails is withdrawn, and not restarted."""
    http: ProbeHttp | None = None
    """For `http`, beside its path."""
    tls: ProbeTls | None = None
    """For `http`, `tcp` and `grpc`; None: without TLS."""
    udp: ProbeUdp | None = None
    """For `udp`."""
    dns: ProbeDns | None = None
    """For `dns`."""
    grpc_service: str = ""
    """For `grpc`; empty: the server as a whole."""
    epoch: str = ""
    """Of a role, for `http`: the header of the answer that says its epoch, or `.` and the field
    of the JSON object in its body; empty: it has none."""

    @property
    def tcp_port(self) -> int:
        """The TCP port that is asked; 0: none is."""
        return self.port if self.kind in {ProbeKind.HTTP, ProbeKind.TCP, ProbeKind.GRPC} else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How an instance is started: a process of its node, or a container; or by others."""

    process: tuple[str, ...] = ()
    """Command and arguments, in the instance's directory. Empty with one of what follows."""
    files: tuple[tuple[str, str], ...] = ()
    """(relative name, text) written to the working directory before the start; of a container,
    to /run/pltfrms. In command, arguments, text and environment, `${pltfrms.X}` becomes the
    instance's X (`planner.instances.instances`)."""
    environment: tuple[tuple[str, str], ...] = ()
    cpu: float = 0.1
    """Cores promised to one instance, and its limit where limits can be set."""
    memory_bytes: int = 64 * 1024 * 1024
    stop_grace_ms: int = 5000
    """Time between SIGTERM and SIGKILL."""
    container: Container | None = None
    """None: a process."""
    found: tuple[tuple[str, str], ...] = ()
    """What `${pltfrms.service.NAME.X}` of the spec stood for when it was applied."""
    adopted: Adopted | None = None
    """Others start and stop it; None: we do."""
    secrets: tuple[SecretUse, ...] = ()
    """What an instance is told that nobody else is."""
    binary: tuple[tuple[str, str], ...] = ()
    """More files, which are no text: (relative name, content in base64)."""
    modes: tuple[tuple[str, int], ...] = ()
    """Of files by name; 0644 of those that are not here."""
    zones: ZoneUse | None = None
    """None: it is no name server of the platform's names."""
    peers_signal: str = ""
    """What it gets when its members are others, such as HUP; empty: nothing."""
    io: IoLimits | None = None
    """Limits where they can be set; None: none."""
    elsewhere: tuple[Behind, ...] = ()
    """Of what is adopted; empty: it is in the node's own network namespace."""
    store: StoreUse | None = None
    """Which part of the store its instances may use; None: none."""

    @property
    def words(self) -> tuple[str, ...]:
        """Command and arguments that the spec itself says."""
        box = self.container
        return (*self.process, *(box.command + box.args if box else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of the replicas, which gets a new version before the next part does."""

    datacenters: tuple[str, ...]
    replicas: int = 0
    """Only the first so many of each of them; 0: all."""

    def has(self, datacenter: str, replica: int) -> bool:
        """Return whether a replica belongs to it."""
        return datacenter in self.datacenters and (
            not self.replicas or replica <= self.replicas
        )

    @property
    def words(self) -> str:
        """The stage for people, such as `1 of fra`."""
        where = ", ".join(self.datacenters)
        return f"{self.replicas} of {where}" if self.replicas else where


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """A request whose answers of the new version must be no worse than those of the old."""

    path: str
    port: int = 0
    """0: that of the probe."""
    interval_ms: int = 50
    """Between two requests to one instance."""
    timeout_ms: int = 2000
    """A request that takes longer has failed."""
    samples: int = 100
    """Of fewer requests to either version nothing is concluded."""
    errors_percent: int = 5
    """By more points the share of failed requests must not be higher."""
    times: float = 2.0
    """More often than so much the p95 must not be that of the old version..."""
    margin_ms: int = 50
    """... and by more than this above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSpec:
    """How a new version comes to the replicas."""

    stages: tuple[Stage, ...] = ()
    """Empty: one replica, the rest of its datacenter, the other datacenters one by one. With
    the last one come all replicas that no stage names."""
    bake_ms: int = 10_000
    """How long a stage that is complete must stay ready before the next one begins."""
    parallel: int = 1
    """Replicas of a datacenter that are replaced at once."""
    compare: Compare | None = None
    """What is asked of both versions while a stage bakes; None: nothing."""
    untried: bool = False
    """A new probe is not asked of the running instances first: only the new version passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What replicas can answer, and are to answer, in requests per second."""

    requests: int
    """One of them can."""
    load: int
    """All of them together must be able to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How many replicas a datacenter may have, and what decides that."""

    min: int
    max: int
    cpu: float | None = None
    """Share of the cores promised to them that instances are to use, on average."""
    connections: int | None = None
    """New TCP connections that an instance is to accept in a second, on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortClients:
    """Who may ask on a port, if not everybody."""

    port: str
    """One of those that the service listens on."""
    clients: tuple[str, ...]
    """Each a prefix, CLIENT_INTERNET, or CLIENT_SERVICE and a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSpec:
    """Addresses of their own for whoever of the instances says that it has a role."""

    name: str
    probe: Probe
    """Who answers it well says so. Nobody is restarted for it, nor withdrawn otherwise."""
    shared: bool = False
    """Any number may have it at once. Else one has: the one whose claim is the highest."""
    ports: tuple[str, ...] = ()
    """On which it answers there; empty: as the service does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """A service as `service.yaml` says it."""

    name: str
    run: Run
    probe: Probe
    per_datacenter: int
    """Exact number of replicas in each datacenter that `counts` does not name."""
    datacenters: tuple[str, ...] = ()
    """Where it runs; empty means in every datacenter that has nodes."""
    max_per_node: int = 1
    """At most this many replicas of the service on one node."""
    weight: int = 10
    """ECMP weight of one instance, 1..64."""
    drain_ms: int = 30_000
    """How long an instance that is to go serves the connections it has, if any are left."""
    ports: tuple[str, ...] = ()
    """What it listens on, such as `80/tcp`: on its addresses nothing else answers. Empty: it is
    not said, and everything does."""
    egress: Egress = EVERYTHING
    """What its instances may reach in the internet, and from which address."""
    aggregates: tuple[str, ...] = ()
    """Which aggregates its addresses come from, by prefix or name, one per family at most."""
    counts: tuple[tuple[str, int], ...] = ()
    """Exact number of replicas in these datacenters, by name."""
    total: int = 0
    """Number of replicas in all of its datacenters, instead of the two; 0: they say it."""
    addresses: tuple[Address, ...] = ()
    """All that it answers on, if the operator says so; of each family the main one first."""
    rollout: RolloutSpec | None = None
    """How a new version comes to the replicas; None: as `RolloutSpec` has it by default."""
    capacity: Capacity | None = None
    """What its replicas can answer, and are to answer; None: not known."""
    labels: tuple[tuple[str, str], ...] = ()
    """For people, and for who applies only what is his; sorted by name."""
    group: str = ""
    """What it belongs to; as if it were a label of that name."""
    liveness: Probe | None = None
    """Who fails this is restarted, and the other probe only announces; None: that does both."""
    clients: tuple[PortClients, ...] = ()
    """Ports on which only some may ask, in the order of `ports`."""
    scale: Scale | None = None
    """Within which bounds the load changes the number of replicas of each datacenter."""
    storage: Storage | None = None
    """What its instances see of the disks of machines; None: nothing."""
    nodes: tuple[str, ...] = ()
    """Only these have what is adopted; empty: any may."""
    roles: tuple[RoleSpec, ...] = ()
    batch: bool = False
    """Its instances use all the cpu that they may: how much that is says nothing of a load."""
    hooks: tuple[InstanceHook, ...] = ()

    @property
    def readiness(self) -> Probe:
        """What is asked to know whether an instance is to be announced."""
        restarts = self.liveness is None and self.run.adopted is None
        if restarts or self.probe.only_announces:
            return self.probe
        return replace(self.probe, only_announces=True)

    @property
    def said_parts(self) -> tuple[Run | Probe | RoleSpec | Storage, ...]:
        """Those that a spec file says: which values secrets had is not in it."""
        uses = tuple(replace(use, version=0) for use in self.run.secrets)
        return replace(self, run=replace(self.run, secrets=uses)).version_parts

    @property
    def version_parts(self) -> tuple[Run | Probe | RoleSpec | Storage, ...]:
        """What makes another version if it differs."""
        parts: tuple[Run | Probe | RoleSpec | Storage, ...] = (self.run, self.probe)
        if self.liveness is not None:
            parts += (self.liveness,)
        parts += self.roles
        return parts if self.storage is None else (*parts, self.storage.started)


class RolloutState(StrEnum):
    """How far a rollout is."""

    TRIAL = "trial"
    """Nothing is started yet: its probes are asked of the instances that run."""
    ROLLING = "rolling"
    """Replicas of its stage are replaced."""
    BAKING = "baking"
    """Its stage is complete, and has to stay ready for a while."""
    DONE = "done"
    FAILED = "failed"
    """An instance of the new version was not good enough, and the service went back."""
    ABORTED = "aborted"
    """An operator had the service go back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The way of a service from one version to the next; the last one is remembered."""

    version: int
    """Where it goes."""
    from_version: int
    """Where it came from, and goes back to."""
    digest: str
    """Fingerprint of what runs in the new version."""
    stages: tuple[Stage, ...]
    stage: int = 0
    """Index of the stage that it is at."""
    state: RolloutState = RolloutState.ROLLING
    paused: bool = False
    """An operator has stopped it, for a while: it goes neither on nor back."""
    since_ms: int = 0
    """Unix time at which it came into this state."""
    asks_liveness: bool = False
    """TRIAL: it is that of its liveness probe; that of the other one, if new, came before."""
    before: ServiceSpec | None = None
    """The spec of `from_version`, while it is under way."""
    before_ms: int = 0
    """Unix time at which `from_version` was accepted; 0: not known."""
    by: str = ""
    why: str = ""
    cause: str = ""
    """Why it failed or was aborted, one sentence."""

    @property
    def under_way(self) -> bool:
        """Whether there is anything left to do."""
        return self.before is not None

    def reaches(self, datacenter: str, replica: int) -> bool:
        """Return whether a replica is to have the new version by now."""
        if self.state is RolloutState.TRIAL:
            return False
        last = self.stage >= len(self.stages) - 1
        return last or any(
            stage.has(datacenter, replica) for stage in self.stages[: self.stage + 1]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedVersion:
    """A version that was rolled out, was not good enough, and was taken back."""

    version: int
    digest: str
    """As of its rollout: the same spec has the same."""
    cause: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service that the platform has accepted."""

    spec: ServiceSpec
    id: int
    """1..65535; part of its instances' addresses."""
    version: int
    """Counts accepted changes of `spec.version_parts` and of its prefixes, from 1; also of
    `spec.egress`, if instances must go to other slots for it."""
    prefix4: IPv4Network | None
    """Its main /32; None: it has no IPv4."""
    prefix6: IPv6Network | None
    """Its main /128; None: it has no IPv6."""
    changed_ms: int = 0
    """Unix time at which this version was accepted; 0: not known."""
    more: tuple[Prefix, ...] = ()
    """Further prefixes that it answers on, such as old ones that clients still use."""
    fresh: tuple[Prefix, ...] = ()
    """Those of its prefixes that only instances of version `fresh_from` or later have."""
    fresh_from: int = 0
    last_version: int = 0
    """The highest version that was ever given; 0: this one."""
    rollout: Rollout | None = None
    """The last one; None: there was none, or replicas follow without stages."""
    failed: tuple[FailedVersion, ...] = ()
    """The last ones, oldest first."""
    scaled: tuple[tuple[str, int], ...] = ()
    """Replicas by datacenter where the load wants another number than the spec says."""
    scaled_ms: int = 0
    """Unix time at which that changed last; 0: never."""
    roles: tuple[RolePrefixes, ...] = ()
    """Of all roles that it ever had, by name."""
    numbers4: tuple[int, ...] = ()
    """Of its replicas with volumes (`model.services.members`), for life."""

    @property
    def rolling(self) -> Rollout | None:
        """The rollout that is under way, if there is one."""
        return self.rollout if self.rollout and self.rollout.under_way else None

    @property
    def before(self) -> "Service | None":
        """The service in the version that it goes back to; None: no rollout is under way."""
        rollout = self.rollout
        if rollout is None or rollout.before is None:
            return None
        return replace(
            self,
            spec=rollout.before,
            version=rollout.from_version,
            changed_ms=rollout.before_ms,
            rollout=None,
        )

    @property
    def plain(self) -> "Service":
        """The service as its instances know it: whatever becomes of a rollout."""
        spec = self.spec
        said = spec.rollout or spec.capacity or spec.batch or spec.labels or spec.group
        if not (self.rollout or self.failed or self.last_version or self.scaled_ms or said):
            return self
        spec = replace(spec, rollout=None, capacity=None, batch=False, labels=(), group="")
        plain = replace(self, spec=spec, rollout=None, failed=(), last_version=0)
        return replace(plain, scaled=(), scaled_ms=0)

    def version_for(self, datacenter: str, replica: int) -> int:
        """Return the version that a replica is to have if it is placed now."""
        rolling = self.rolling
        if rolling is None or rolling.reaches(datacenter, replica):
            return self.version
        return rolling.from_version

    def run_of(self, version: int) -> Run:
        """Return how an allocation of a version runs, as far as that is known any more."""
        before = self.before
        return before.spec.run if before and version == before.version else self.spec.run

    def keeps(self, version: int) -> bool:
        """Return whether replicas of a version have volumes, as far as it is known any more."""
        before = self.before
        spec = before.spec if before and version == before.version else self.spec
        return bool(spec.storage and spec.storage.volumes)

    @property
    def spread(self) -> ServiceSpec:
        """The spec by which replicas are counted.

        A total is spread by what the version before needs while a rollout is under way: no
        replica leaves its datacenter before its stage, and none comes back if that fails.
        """
        rolling = self.rolling
        if rolling is None or rolling.before is None or not self.spec.total:
            return self.spec
        return replace(self.spec, run=rolling.before.run)

    @property
    def by_load(self) -> Mapping[str, int]:
        """Replicas by datacenter where the load decides, within the bounds of the spec."""
        scale = self.spec.scale
        return {
            name: min(max(count, scale.min), scale.max) if scale else count
            for name, count in self.scaled
        }

    def is_outdated(self, datacenter: str, replica: int, version: int) -> bool:
        """Return whether an allocation of a version is to be replaced by now.

        So is one of a version between the two, which another one overtook: nodes are told
        only of the two.
        """
        return version != self.version_for(datacenter, replica)

    @property
    def name(self) -> str:
        """The name, as the spec says it."""
        return self.spec.name

    @property
    def prefixes(self) -> tuple[Prefix, ...]:
        """Every /32 and /128, the main ones first."""
        return prefixes_of(self.prefix4, self.prefix6, self.more)

    @property
    def all_prefixes(self) -> tuple[Prefix, ...]:
        """Those, and the ones of its roles."""
        return (*self.prefixes, *(each for role in self.roles for each in role.prefixes))

    @property
    def role_prefixes(self) -> tuple[Prefix, ...]:
        """Those of the roles that its spec has, which its instances have, too."""
        return tuple(role_prefixes(self.roles, (role.name for role in self.spec.roles)))

    def prefixes_at(self, version: int) -> tuple[Prefix, ...]:
        """Return the prefixes that an instance of a version has."""
        if version >= self.fresh_from:
            return self.prefixes
        return tuple(prefix for prefix in self.prefixes if prefix not in self.fresh)
