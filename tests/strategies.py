"""Words of the model for tests: small builders."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network

from pltfrms.model.network.topology import Aggregate, Datacenter, Machine, Platform, Role
from pltfrms.model.running.plan import Allocation, Reason
from pltfrms.model.running.state import (
    Contact,
    InstanceStatus,
    MachineStatus,
    MachineView,
    Phase,
    Snapshot,
)
from pltfrms.model.services.service import Probe, ProbeKind, Run, Service, ServiceSpec

MIB = 1024 * 1024


def make_node(name: str, number: int, *, cpu: float = 4.0, rack: str = "") -> Machine:
    """Return a node; its datacenter is what the name says before the dash."""
    return Machine(
        name=name,
        datacenter=name.split("-", maxsplit=1)[0],
        role=Role.NODE,
        id=number,
        cpu=cpu,
        memory_bytes=8192 * MIB,
        rack=rack,
    )


def make_platform(
    nodes: Mapping[str, int], *, cpu: float = 4.0, racks: int = 0, others: bool = True
) -> Platform:
    """Return a platform with so many nodes by datacenter, an edge and a controller each."""
    machines: list[Machine] = []
    for datacenter, count in nodes.items():
        for number in range(1, count + 1):
            rack = f"r{number % racks}" if racks else ""
            machines.append(make_node(f"{datacenter}-n{number}", number, cpu=cpu, rack=rack))
        if others:
            for letter, role in (("e", Role.EDGE), ("c", Role.CONTROLLER)):
                name = f"{datacenter}-{letter}1"
                machines.append(Machine(name=name, datacenter=datacenter, role=role, id=1))
    return Platform(
        name="test",
        asn=64500,
        aggregates=(
            Aggregate(prefix=ip_network("198.51.100.0/24")),
            Aggregate(prefix=ip_network("2001:db8:100::/48")),
        ),
        infrastructure4=IPv4Network("10.0.0.0/8"),
        infrastructure6=IPv6Network("fd00:0:1::/48"),
        datacenters=tuple(
            Datacenter(name=name, id=number, fabrics=("a", "b"))
            for number, name in enumerate(nodes, start=1)
        ),
        machines=tuple(machines),
    )


def renamed_datacenter(platform: Platform, old: str, new: str) -> Platform:
    """Return a platform in which a datacenter has another name, and all else stays."""
    return replace(
        platform,
        datacenters=tuple(
            replace(each, name=new) if each.name == old else each
            for each in platform.datacenters
        ),
        machines=tuple(
            replace(each, datacenter=new) if each.datacenter == old else each
            for each in platform.machines
        ),
    )


def make_public_key(name: str) -> str:
    """Return what looks like the Ed25519 key of somebody (RFC 8709)."""
    parts = (b"ssh-ed25519", name.encode().ljust(32, b"."))
    body = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return f"ssh-ed25519 {b64encode(body).decode()}"


def make_spec(
    name: str = "web", replicas: int = 2, *, cpu: float = 0.2, max_per_node: int = 1
) -> ServiceSpec:
    """Return a small service."""
    return ServiceSpec(
        name=name,
        run=Run(process=("serve",), cpu=cpu, memory_bytes=64 * MIB),
        probe=Probe(kind=ProbeKind.HTTP, port=80),
        per_datacenter=replicas,
        max_per_node=max_per_node,
    )


def make_service(spec: ServiceSpec, number: int = 1, version: int = 1) -> Service:
    """Return a spec as the platform accepts it."""
    return Service(
        spec=spec,
        id=number,
        version=version,
        prefix4=IPv4Network(f"198.51.100.{number}/32"),
        prefix6=IPv6Network(f"2001:db8:100::{number:x}/128"),
    )


def make_allocation(
    name: str, node: str, *, slot: int = 1, version: int = 1, replaces: str = ""
) -> Allocation:
    """Return the allocation that an id such as `web.fra.1-3` names."""
    replica_name, _, number = name.rpartition("-")
    service, datacenter, replica = replica_name.split(".")
    return Allocation(
        id=name,
        service=service,
        datacenter=datacenter,
        replica=int(replica),
        number=int(number),
        node=node,
        slot=slot,
        version=version,
        reason=Reason.NODE_LOST if replaces else Reason.NEW_REPLICA,
        replaces=replaces,
    )


def make_snapshot(
    platform: Platform,
    services: tuple[Service, ...] = (),
    allocations: tuple[Allocation, ...] = (),
    contacts: Mapping[str, Contact] | None = None,
) -> Snapshot:
    """Return a snapshot in which all nodes are in contact and all is ready, by default."""
    contacts = contacts or {}
    return with_all_ready(
        Snapshot(
            revision=7,
            platform=platform,
            services={service.name: service for service in services},
            allocations={allocation.id: allocation for allocation in allocations},
            machines={
                machine.name: MachineView(
                    contact=contacts.get(machine.name, Contact.PRESENT), since_seconds=3600.0
                )
                for machine in platform.machines
            },
        )
    )


def with_all_ready(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot after every agent in contact has made its instances ready."""
    statuses = dict(snapshot.statuses)
    tallies = {
        each.allocation: each.tally for said in statuses.values() for each in said.instances
    }
    for machine in snapshot.platform.machines:
        if snapshot.contact(machine.name) is Contact.PRESENT:
            statuses[machine.name] = MachineStatus(
                machine=machine.name,
                generation=snapshot.revision,
                instances=tuple(
                    InstanceStatus(
                        allocation=allocation.id,
                        phase=Phase.READY,
                        tally=tallies.get(allocation.id),
                    )
                    for allocation in snapshot.allocations.values()
                    if allocation.node == machine.name
                ),
            )
    return replace(snapshot, statuses=statuses)
