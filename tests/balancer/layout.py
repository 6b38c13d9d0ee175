"""What the rig is made of, and which route leads where. Pure, but for the actors it holds."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_interface,
    ip_network,
)

from pltfrms.model.addresses import Address, Interface, Prefix
from pltfrms.model.network.peering import Peer, PeerKind, Session
from pltfrms.model.network.topology import (
    Aggregate,
    Datacenter,
    Machine,
    Platform,
    Role,
    link_local,
)
from pltfrms.model.running.balancer import BalancedService, Candidate, CandidateState
from pltfrms.model.running.machine import (
    PROTO_ACTIVE,
    PROTO_BACKUP,
    PROTO_DRAINING,
    PROTO_REACHABLE,
    SERVICE_TABLE,
    InstanceSpec,
    Nexthop,
    Route,
)
from pltfrms.planner.instances.instances import INSTANCE_LINK_LOCAL, instance_device
from tests.balancer.actors import Actor

FABRIC = "fab-a"
FABRIC_MTU = 1600
CLIENT_ADDRESSES = 16
"""Of each family."""
EDGE_PORT = "x-router"
"""Of an edge, towards the outside."""
_CLIENT4, _CLIENT6 = IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8:c::/64")
_PROTOS = {
    CandidateState.ACTIVE: PROTO_ACTIVE,
    CandidateState.DRAINING: PROTO_DRAINING,
    CandidateState.BACKUP: PROTO_BACKUP,
}
_OURS4 = ("198.51.100.0/24",)
_OURS6 = ("2001:db8:100::/48", "fd00:0:1::/48")


def service(number: int, name: str) -> BalancedService:
    """Return a service with the prefixes that belong to its number."""
    return BalancedService(
        id=number,
        name=name,
        prefix4=IPv4Network(f"198.51.100.{number}/32"),
        prefix6=IPv6Network(f"2001:db8:100::{number:x}/128"),
    )


WEB = service(1, "web")
API = service(2, "api")


def make_platform(edges: int, nodes: int) -> Platform:
    """Return one datacenter with one fabric."""
    machines = [
        Machine(name=f"edge{n}", datacenter="dc", role=Role.EDGE, id=n)
        for n in range(1, edges + 1)
    ]
    machines += [
        Machine(name=f"node{n}", datacenter="dc", role=Role.NODE, id=n)
        for n in range(1, nodes + 1)
    ]
    sessions = tuple(_session(machine) for machine in machines[:edges])
    peers = (Peer(name="router", kind=PeerKind.TRANSIT, asn=64600, sessions=sessions),)
    return Platform(
        name="rig",
        asn=64500,
        aggregates=tuple(
            Aggregate(prefix=ip_network(words))
            for words in ("198.51.100.0/24", "2001:db8:100::/48")
        ),
        infrastructure4=IPv4Network("10.0.0.0/8"),
        infrastructure6=IPv6Network("fd00:0:1::/48"),
        datacenters=(Datacenter(name="dc", id=1, fabrics=("a",)),),
        machines=tuple(machines),
        peers=peers,
    )


def _session(edge: Machine) -> Session:
    four, six = IPv4Address("203.0.113.0") + 2 * edge.id, IPv6Address("2001:db8:f::")
    six += 2 * edge.id
    return Session(
        edge=edge.name,
        ours=(ip_interface(f"{four + 1}/31"), ip_interface(f"{six + 1}/127")),
        theirs=(four, six),
        interface=EDGE_PORT,
    )


@dataclass(slots=True)
class Instance:
    """A replica of a service."""

    name: str
    service: BalancedService
    node: Machine
    slot: int
    address: IPv6Address
    address4: IPv4Address
    weight: int = 10
    state: CandidateState = CandidateState.ACTIVE
    ready: bool = True
    actor: Actor | None = field(default=None, repr=False)

    @property
    def device(self) -> str:
        return instance_device(self.slot)

    @property
    def server(self) -> Actor:
        if self.actor is None:
            raise RuntimeError(f"{self.name} does not run")
        return self.actor

    @property
    def takes_new(self) -> bool:
        """Whether it should get new flows."""
        return self.ready and self.state is CandidateState.ACTIVE

    def candidate(self) -> Candidate:
        return Candidate(address=self.address, weight=self.weight, state=self.state)


def addresses(service: BalancedService) -> list[str]:
    """Return the addresses of a service, IPv4 and IPv6."""
    return [str(prefix.network_address) for prefix in service.prefixes]


# ---- routes --------------------------------------------------------------------------------


def service_table(mine: Iterable[Instance]) -> Iterator[Route]:
    """Yield the routes of kernel table 100 of a node that runs these instances."""
    running = [instance for instance in mine if instance.actor]
    for instance in running:
        hop = (Nexthop(device=instance.device, via=INSTANCE_LINK_LOCAL),)
        proto = _PROTOS[instance.state] if instance.ready else PROTO_REACHABLE
        for address in (instance.address, instance.address4):
            yield _route(ip_network(address), proto, instance.weight, hop)
    for each in (WEB, API):
        serving = [one for one in running if one.service == each and one.takes_new]
        many = len(serving) > 1
        hops = tuple(
            Nexthop(one.device, INSTANCE_LINK_LOCAL, one.weight if many else 1)
            for one in serving
        )
        for prefix in each.prefixes if hops else ():
            yield _route(prefix, PROTO_ACTIVE, sum(one.weight for one in serving), hops)


def node_lines(
    node: Machine, edges: Sequence[Machine], instances: Iterable[Instance]
) -> Iterator[str]:
    """Yield a node's routes to the outside, and to the instances of others."""
    for family, network in (("inet6 ", "0.0.0.0/0"), ("", "::/0")):
        hops = " ".join(f"nexthop via {family}{link_local(e)} dev {FABRIC}" for e in edges)
        yield f"route replace {network} {hops}"
    yield from instance_lines(one for one in instances if one.node != node)


def edge_lines(instances: Collection[Instance]) -> Iterator[str]:
    """Yield an edge's routes to services, by kernel ECMP, and to instances."""
    yield from instance_lines(instances)
    for each in (WEB, API):
        weights: dict[Machine, int] = {}
        for one in instances:
            if one.service == each and one.takes_new:
                weights[one.node] = weights.get(one.node, 0) + one.weight
        for prefix in each.prefixes:
            hops = " ".join(
                f"nexthop {_via(prefix.version, node)} weight {min(weight, 256)}"
                for node, weight in sorted(weights.items(), key=lambda pair: pair[0].id)
            )
            yield f"route replace {prefix} {hops}" if hops else f"route flush {prefix}"


def instance_lines(instances: Iterable[Instance]) -> Iterator[str]:
    """Yield the routes to the unicast addresses of instances at their nodes."""
    for one in instances:
        for address in (one.address, one.address4):
            yield f"route replace {address} {_via(address.version, one.node)}"


def fixed_lines(platform: Platform, machine: Machine) -> Iterator[str]:
    """Yield the routes of a machine that never change."""
    for other in platform.machines:
        if other != machine:
            yield f"route add {platform.loopback6(other)} {_via(6, other)}"
            yield f"route add {platform.loopback4(other)}/32 {_via(4, other)}"
    if machine.role is Role.EDGE:
        session = platform.sessions_of(machine.name)[0][1]
        for network, router in zip((_CLIENT4, _CLIENT6), session.theirs, strict=True):
            yield f"route add {network} via {router}"


def entry_lines(platform: Platform, edges: Collection[str]) -> Iterator[str]:
    """Yield the router's routes to us through these edges."""
    sessions = [each for each in platform.peers[0].sessions if each.edge in edges]
    for place, prefixes in enumerate((_OURS4, _OURS6)):
        hops = " ".join(f"nexthop via {each.ours[place].ip}" for each in sessions)
        for prefix in prefixes:
            yield f"route replace {prefix} {hops}"


def router_lines(platform: Platform) -> Iterator[str]:
    """Yield the addresses of the router."""
    yield from ("link set lo up", "link set to-client up")
    for gateway in gateways():
        yield f"addr add {gateway} dev to-client{_nodad(gateway)}"
    for session in platform.peers[0].sessions:
        yield f"link set to-{session.edge} up"
        for theirs, ours in zip(session.theirs, session.ours, strict=True):
            length = ours.network.prefixlen
            yield f"addr add {theirs}/{length} dev to-{session.edge}{_nodad(theirs)}"


def client_lines() -> Iterator[str]:
    """Yield the addresses and routes of the client."""
    yield from ("link set lo up", "link set eth0 up")
    for one in client_addresses():
        yield f"addr add {one}/{24 if one.version == 4 else 64} dev eth0{_nodad(one)}"
    for gateway in gateways():
        yield f"route add default via {gateway.ip}"


def _via(version: int, machine: Machine) -> str:
    family = "inet6 " if version == 4 else ""
    return f"via {family}{link_local(machine)} dev {FABRIC}"


def _route(prefix: Prefix, proto: int, metric: int, nexthops: tuple[Nexthop, ...]) -> Route:
    return Route(
        prefix=prefix, table=SERVICE_TABLE, proto=proto, metric=metric, nexthops=nexthops
    )


def spec_of(instance: Instance) -> InstanceSpec:
    def interfaces(some: Iterable[object]) -> tuple[Interface, ...]:
        return tuple(ip_interface(str(each)) for each in some)

    return InstanceSpec(
        allocation=instance.name,
        process=(),
        files=(),
        environment=(),
        device=instance.device,
        service_addresses=interfaces(addresses(instance.service)),
        unicast_addresses=interfaces((instance.address4, instance.address)),
        cpu=1,
        memory_bytes=0,
        stop_grace_ms=0,
    )


def _nodad(address: Address | Interface) -> str:
    return " nodad" if address.version == 6 else ""


def gateways() -> tuple[Interface, ...]:
    """Return the router's addresses towards the client."""
    return (ip_interface(f"{_CLIENT4[254]}/24"), ip_interface(f"{_CLIENT6[254]}/64"))


def client_addresses() -> tuple[Address, ...]:
    return tuple(net[n] for net in (_CLIENT4, _CLIENT6) for n in range(1, 1 + CLIENT_ADDRESSES))
