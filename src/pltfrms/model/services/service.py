"""What the operator wants to run, and the prefix it gets for life."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

from pltfrms.model.addresses import Address, Prefix, prefixes_of


class ProbeKind(StrEnum):
    """How an instance is asked whether it can serve."""

    HTTP = "http"
    TCP = "tcp"
    EXEC = "exec"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A question asked to every instance over and over.

    A hung instance is noticed after at most `fall` x (interval + timeout).
    """

    kind: ProbeKind
    port: int = 0
    """TCP port, for `http` and `tcp`."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How an instance is started (`process` runtime)."""

    process: tuple[str, ...]
    """Command and arguments; the working directory is the instance's own."""
    files: tuple[tuple[str, str], ...] = ()
    """(relative name, text) written to the working directory before the start. In command,
    text and environment, `${pltfrms.X}` becomes the instance's X: instance, service,
    datacenter, node, replica, prefix4, prefix6, address4, address6."""
    environment: tuple[tuple[str, str], ...] = ()
    cpu: float = 0.1
    """Cores promised to one instance, and its limit where limits can be set."""
    memory_bytes: int = 64 * 1024 * 1024
    stop_grace_ms: int = 5000
    """Time between SIGTERM and SIGKILL."""


class EgressMode(StrEnum):
    """From which address instances speak with the internet."""

    NONE = "none"
    """They do not."""
    DATACENTER = "datacenter"
    """IPv6: an own one; IPv4: their node's, by translation. Only answers come in."""
    OWN = "own"
    """An own one in both families, to which everybody may speak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressRule:
    """What instances may reach in the internet; all that is said must fit."""

    prefix: Prefix | None = None
    protocol: str = ""
    """tcp or udp; empty: any."""
    port: int = 0
    """0: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """How instances reach the internet."""

    mode: EgressMode | None = None
    """None: `datacenter` where there is a unicast prefix, else `none`."""
    allow: tuple[EgressRule, ...] = ()
    """Empty: everything."""


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
    """Longest time that an instance which is to go keeps serving the connections it has; it
    goes as soon as there are none."""
    ports: tuple[str, ...] = ()
    """What it listens on, such as `80/tcp`; for people and for later filters."""
    egress: Egress = Egress()
    """What its instances may reach in the internet, and from which address."""
    aggregates: tuple[str, ...] = ()
    """Which aggregates its addresses come from, by prefix or name, one per family at most."""
    counts: tuple[tuple[str, int], ...] = ()
    """Exact number of replicas in these datacenters, by name."""
    total: int = 0
    """Number of replicas in all of its datacenters, instead of the two; 0: they say it."""
    addresses: tuple[Address, ...] = ()
    """All that it answers on, if the operator says so; of each family the main one first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service that the platform has accepted."""

    spec: ServiceSpec
    id: int
    """1..65535; part of its instances' addresses."""
    version: int
    """Counts accepted changes of `spec.run`, `spec.probe` and of its prefixes, from 1; also of
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

    @property
    def name(self) -> str:
        """The name, as the spec says it."""
        return self.spec.name

    @property
    def prefixes(self) -> tuple[Prefix, ...]:
        """Every /32 and /128, the main ones first."""
        return prefixes_of(self.prefix4, self.prefix6, self.more)

    def prefixes_at(self, version: int) -> tuple[Prefix, ...]:
        """Return the prefixes that an instance of a version has."""
        if version >= self.fresh_from:
            return self.prefixes
        return tuple(prefix for prefix in self.prefixes if prefix not in self.fresh)
