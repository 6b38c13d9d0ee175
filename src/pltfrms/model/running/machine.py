"""What one machine is made of: kernel routes, network devices, instances, sessions."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from pltfrms.model.addresses import Address, Interface, Prefix
from pltfrms.model.services.container import Adopted, Container
from pltfrms.model.services.secrets import SecretUse
from pltfrms.model.services.storage import IoLimits, Storage

MAIN_TABLE = 254
SERVICE_TABLE = 100
"""Kernel table of a node: prefixes of healthy local services; BIRD announces them."""
AGGREGATE_TABLE = 101
"""Kernel table of an edge: aggregates to announce outside."""
LOCAL_TABLE = 102
"""Kernel table of an edge, filled by BIRD: service prefixes served in this datacenter."""
REMOTE_TABLE = 103
"""Kernel table of an edge, filled by BIRD: service prefixes served in others."""
ELSEWHERE_TABLE = 104
"""Kernel table of an edge, filled by BIRD: aggregates that other datacenters announce, and the
IPv4 loopbacks of their edges, as far as it hears of them."""
INSTANCE_TABLE = 105
"""Kernel table of edges and nodes, filled by BIRD: ready instances of this datacenter, as
/128s whose metric is state x 1000 + weight (`model.running.balancer`)."""
ROLE_TABLE = 106
"""Kernel table of a node, filled by BIRD: prefixes of roles that others announce, with their
claims (`model.services.roles`) as metrics."""
PORTS_TABLE = "inet pltfrms_ports"
"""The nftables table inside each instance that is ours alone."""
PROTO_BIRD = 12
"""Protocol number of the kernel routes that BIRD puts."""
PROTO_ACTIVE = 181
PROTO_DRAINING = 182
PROTO_BACKUP = 183
PROTO_REACHABLE = 184
"""Protocol numbers of the kernel routes that our agents own. The last one is for unicast
addresses of instances that must be reached, but not be sent flows of their service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAnswer:
    """What came of one probe of an instance."""

    failure: str = ""
    """Why it is not healthy, one sentence; empty if it is."""
    unwell: bool = False
    """It lives and answered, on every address that failed, but not as a healthy one does. Not
    so where nobody answered, or not in time."""
    epoch: int | None = None
    """What it said of the epoch of its role, if it was asked for one and said it."""
    by: str = ""
    """The instance that answered, as it says itself (`Pltfrms-Instance`); empty: not known."""


@dataclass(frozen=True, slots=True, order=True)
class Nexthop:
    """Where a route leads."""

    device: str
    via: IPv6Address | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A kernel route; without nexthops it is `unreachable`."""

    prefix: Prefix
    table: int
    proto: int
    metric: int
    nexthops: tuple[Nexthop, ...] = ()


def told_defaults(routes: Iterable[Route]) -> set[int]:
    """Return the IP versions whose default route edges tell, by the main table of a node.

    One of the operating system (for its management) leads to no client.
    """
    return {
        route.prefix.version
        for route in routes
        if not route.prefix.prefixlen and route.nexthops and route.proto == PROTO_BIRD
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A policy rule `pref N lookup TABLE`, for IPv4 and IPv6."""

    preference: int
    table: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """What a network device of the machine must look like."""

    name: str
    addresses: tuple[Interface, ...] = ()
    """Must be there; others of ours (same scope, not in this list) are left alone."""
    mtu: int = 0
    """0: whatever it is."""
    mtu_needed: int = 0
    """What is below is a complaint, and left as it is: the operator's switches decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkState:
    """The part of the machine's network that is ours, apart from routes."""

    devices: tuple[DeviceState, ...] = ()
    rules: tuple[Rule, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    """(path below /proc/sys with `/`, value)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """From which addresses an instance speaks, beside its unicast ones."""

    addresses: tuple[Interface, ...] = ()
    """Go to its `eth0`, and are the source of what leaves; at most one per family."""
    inside: tuple[Prefix, ...] = ()
    """To these it speaks from its unicast addresses."""
    lasting: tuple[Interface, ...] = ()
    """Those that it has for life, as a member of its service; go to its `lo`."""
    near: tuple[Prefix, ...] = ()
    """To these, our machines and instances, it speaks from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRules:
    """On which ports an instance answers as its service, and whom."""

    text: str
    """The table as nft reads it; empty: there is none."""
    strict: bool = False
    """Not everybody is answered, or nobody without it: without the table it must not run."""
    table: str = PORTS_TABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSecret:
    """A secret that an instance is given, still sealed for its machine."""

    use: SecretUse
    version: int
    """Of the value that is sealed; `use` says which one was asked for."""
    about: str
    """The words that it is sealed together with."""
    sealed: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSpec:
    """All that is needed to start an instance; variables are substituted already."""

    allocation: str
    process: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    device: str
    """Host side of its veth, unique on the machine, such as `i7` for slot 7."""
    service_addresses: tuple[Interface, ...]
    """Go to its `lo`."""
    unicast_addresses: tuple[Interface, ...]
    """Go to its `eth0`, with default routes via fe80::1."""
    cpu: float
    memory_bytes: int
    stop_grace_ms: int
    outgoing: Outgoing | None = None
    """Can change while it runs, so it is no part of its fingerprint."""
    container: Container | None = None
    """None: a process of the machine."""
    storage: Storage | None = None
    """None: it sees nothing of the machine's disks beside its own files."""
    volume: str = ""
    """Id of what it has of volumes; empty: none."""
    adopted: Adopted | None = None
    """Others start it, in the machine's own namespaces; None: we do."""
    ports: PortRules | None = None
    """None: it answers on all of them, and everybody. Can change while it runs, likewise."""
    secrets: tuple[InstanceSecret, ...] = ()
    binary: tuple[tuple[str, str], ...] = ()
    modes: tuple[tuple[str, int], ...] = ()
    live: tuple[tuple[str, str], ...] = ()
    """More files. They can change while it runs, likewise."""
    volume_made: bool = False
    """Whether its volume has to be there already; else it is made."""
    role_addresses: tuple[Interface, ...] = ()
    """Go to its `lo`, too: whoever has a role answers there."""
    lifetime_ms: int = 0
    """Its init ends it when it has lived for so long, whoever else lives; 0: it does not."""
    io: IoLimits | None = None
    elsewhere: tuple[Address, ...] = ()
    """Where it is, if others start it and it is not in the machine's own network namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A running instance, as found on the machine (also after an agent restart)."""

    allocation: str
    pid: int
    """Of its init process, in the machine's pid namespace; killing it ends everything. Of what
    is adopted, our own: it is asked from where we are."""
    device: str
    fingerprint: str
    """Of the InstanceSpec it was started from (`InstanceSpec` fields hashed)."""
    unit: str = ""
    """The unit of systemd that it is; empty: none, or not by our doing."""
    stop_grace_ms: int = 5000
    """Of what it was started from; versions of us before there was such a thing left it out."""


@dataclass(frozen=True, slots=True)
class BfdState:
    """One BFD session of BIRD."""

    address: str
    """Of the other end."""
    interface: str
    up: bool
    since: str
    """As BIRD writes it: another one whenever the session went down or came up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpState:
    """One BGP protocol of BIRD."""

    name: str
    up: bool
    detail: str
    imported: int = 0
    exported: int = 0
    filtered: int = 0
    """Routes accepted, announced, and refused now."""
