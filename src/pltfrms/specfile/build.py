"""Shape -> words of the model. What can only be seen in the text is found here."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network

from pltfrms.model.lab import Lab, LabEyeball, LabIxp, LabTransit
from pltfrms.model.service import Probe, ProbeKind, Run, ServiceSpec
from pltfrms.model.topology import (
    Aggregate,
    AnnouncePolicy,
    Datacenter,
    Link,
    Machine,
    Peer,
    PeerKind,
    Platform,
    Prefix,
    Role,
    Session,
    Timers,
)
from pltfrms.specfile.findings import Finding
from pltfrms.specfile.shapes import (
    DatacenterShape,
    LabShape,
    LinkShape,
    MachineShape,
    NodeShape,
    PeerShape,
    PlatformShape,
    ProbeShape,
    ServiceShape,
    TimersShape,
)

_TRAILING_DIGITS = re.compile(r"[0-9]{1,6}\Z")
_DEFAULT_IPV4 = IPv4Network("10.0.0.0/8")


def build_platform(shape: PlatformShape) -> tuple[Platform, list[Finding]]:
    """Return the platform, and what is wrong with its text."""
    infrastructure4, infrastructure6, findings = _infrastructure(shape)
    platform = Platform(
        name=shape.platform,
        asn=shape.asn,
        aggregates=tuple(
            Aggregate(prefix=entry.prefix, announce=AnnouncePolicy(entry.announce))
            for entry in shape.aggregates
        ),
        infrastructure4=infrastructure4,
        infrastructure6=infrastructure6,
        datacenters=tuple(
            Datacenter(name=name, id=entry.id, fabrics=tuple(entry.fabrics), city=entry.city)
            for name, entry in shape.datacenters.items()
        ),
        machines=tuple(
            machine
            for name, entry in shape.datacenters.items()
            for machine in _machines(name, entry)
        ),
        links=tuple(_link(entry) for entry in shape.backbone),
        peers=tuple(_peer(name, entry) for name, entry in shape.peers.items()),
        timers=_timers(shape.timers),
    )
    return platform, findings


def unique_local_prefix(name: str) -> IPv6Network:
    """Return the IPv6 /48 that a platform of this name uses unless it says another."""
    digest = hashlib.sha256(name.encode(errors="replace")).digest()
    return IPv6Network((bytes([0xFD]) + digest[:5] + bytes(10), 48))


def _infrastructure(shape: PlatformShape) -> tuple[IPv4Network, IPv6Network, list[Finding]]:
    findings = []
    chosen: dict[int, Prefix] = {}
    for index, prefix in enumerate(shape.infrastructure):
        if prefix.version in chosen:
            what = f"a second IPv{prefix.version} prefix"
            findings.append(Finding(("infrastructure", index), what, "keep one per family"))
        chosen.setdefault(prefix.version, prefix)
    ipv4 = chosen.get(4, _DEFAULT_IPV4)
    ipv6 = chosen.get(6, unique_local_prefix(shape.platform))
    # The version chose them, which a type checker cannot see.
    return IPv4Network(str(ipv4)), IPv6Network(str(ipv6)), findings


def _machines(datacenter: str, shape: DatacenterShape) -> list[Machine]:
    roles: Iterable[tuple[Role, Mapping[str, MachineShape]]] = (
        (Role.EDGE, shape.edges),
        (Role.NODE, shape.nodes),
        (Role.CONTROLLER, shape.controllers),
    )
    return [
        _machine(datacenter, role, name, entry)
        for role, entries in roles
        for name, entry in entries.items()
    ]


def _machine(datacenter: str, role: Role, name: str, shape: MachineShape) -> Machine:
    digits = _TRAILING_DIGITS.search(name)
    by_name = int(digits.group()) if digits else 0
    node = shape if isinstance(shape, NodeShape) else None
    return Machine(
        name=name,
        datacenter=datacenter,
        role=role,
        # 0 is no id: the checks of the words say so.
        id=by_name if shape.id is None else shape.id,
        cpu=node.cpu if node else 0.0,
        memory_bytes=node.memory if node else 0,
        rack=shape.rack,
    )


def _link(shape: LinkShape) -> Link:
    # Without two ends it keeps its place, for the indexes of the others; the checks say so.
    a, b = shape.link if len(shape.link) == 2 else ("", "")  # noqa: PLR2004 (as it says)
    return Link(a=a, b=b, capacity_mbps=shape.capacity)


def _peer(name: str, shape: PeerShape) -> Peer:
    sessions = tuple(
        Session(
            edge=entry.edge,
            ours=tuple(entry.ours),
            theirs=tuple(entry.theirs),
            interface=entry.interface or f"x-{name}",
            bfd=entry.bfd,
        )
        for entry in shape.sessions
    )
    return Peer(
        name=name,
        kind=PeerKind(shape.kind),
        asn=shape.asn,
        sessions=sessions,
        max_prefixes=shape.max_prefixes,
    )


def _timers(shape: TimersShape) -> Timers:
    return Timers(
        bfd_interval_ms=shape.bfd_interval,
        external_bfd_interval_ms=shape.external_bfd_interval,
        bfd_multiplier=shape.bfd_multiplier,
        heartbeat_ms=shape.heartbeat,
        contact_ttl_seconds=shape.contact_ttl,
        stable_after_seconds=shape.stable_after,
        withdraw_after_ms=shape.withdraw_after,
        announce_after_ms=shape.announce_after,
        flap_hold_seconds=shape.flap_hold,
    )


def build_service(shape: ServiceShape) -> tuple[ServiceSpec, list[Finding]]:
    """Return the service, and what is wrong with its text."""
    probe, findings = _probe(shape.probe)
    spec = ServiceSpec(
        name=shape.service,
        run=Run(
            process=tuple(shape.run.process),
            files=tuple(shape.run.files.items()),
            environment=tuple(shape.run.environment.items()),
            cpu=shape.run.cpu,
            memory_bytes=shape.run.memory,
            stop_grace_ms=shape.run.stop_grace,
        ),
        probe=probe,
        per_datacenter=shape.replicas.per_datacenter,
        datacenters=tuple(shape.replicas.datacenters),
        max_per_node=shape.replicas.max_per_node,
        weight=shape.weight,
        ports=tuple(shape.ports),
    )
    return spec, findings


def _probe(shape: ProbeShape) -> tuple[Probe, list[Finding]]:
    findings = []
    kinds = [kind for kind in ProbeKind if getattr(shape, kind.value) is not None]
    if len(kinds) != 1:
        said = " and ".join(kind.value for kind in kinds) or "none"
        what = f"must have exactly one of http, tcp, exec, not {said}"
        findings.append(Finding(("probe",), what, "such as {http: /healthz, port: 80}"))
    # Without any kind it is refused already; `exec true` has nothing else to complain about.
    kind = kinds[0] if kinds else ProbeKind.EXEC
    if shape.port and kinds and ProbeKind.HTTP not in kinds:
        what = f"port belongs to http, not to {kind.value}"
        findings.append(Finding(("probe", "port"), what, "tcp: 80 names its own port"))
    probe = Probe(
        kind=kind,
        port=shape.tcp if kind is ProbeKind.TCP and shape.tcp is not None else shape.port,
        path=shape.http if shape.http is not None else "/",
        command=tuple(shape.exec or ()) if kinds else ("true",),
        interval_ms=shape.interval,
        timeout_ms=shape.timeout,
        rise=shape.rise,
        fall=shape.fall,
        grace_ms=shape.grace,
    )
    return probe, findings


def build_lab(shape: LabShape, platform: Platform) -> Lab:
    """Return the lab; delays that are not said are 0."""
    edges = {
        peer.name: {session.edge: 0 for session in peer.sessions} for peer in platform.peers
    }
    internet = shape.internet
    return Lab(
        link_delays_us={link.name: 0 for link in platform.links} | shape.links,
        transits=tuple(
            LabTransit(
                name=name,
                asn=entry.asn,
                delays_us=edges.get(name, {}) | entry.delays,
                peerings=entry.peerings,
            )
            for name, entry in internet.transits.items()
        ),
        ixps=tuple(
            LabIxp(name=name, asn=entry.asn, delays_us=edges.get(name, {}) | entry.delays)
            for name, entry in internet.ixps.items()
        ),
        eyeballs=tuple(
            LabEyeball(
                name=name,
                asn=entry.asn,
                prefixes=tuple(entry.prefixes),
                upstreams=entry.upstreams,
                nearest=entry.nearest,
            )
            for name, entry in internet.eyeballs.items()
        ),
    )
