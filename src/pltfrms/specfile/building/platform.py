"""Shape of `platform.yaml` -> words of the model.

What can only be seen in the text, or in files that it names, is found here.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.links import FabricPort, Link, LinkKind
from pltfrms.model.network.location import Location
from pltfrms.model.network.numbering import Numbering, numbering_of
from pltfrms.model.network.readers import MetricsReader
from pltfrms.model.network.topology import (
    ROLES_IN_ORDER,
    SECTIONS,
    Admission,
    Aggregate,
    AnnouncePolicy,
    Datacenter,
    FurtherRole,
    Guards,
    Machine,
    NodePrefixes,
    Operator,
    OperatorRole,
    Platform,
    Role,
    Timers,
    TwoPeople,
)
from pltfrms.model.network.vantage import INTERVAL_MS, PER_ROUND, VantageSpec
from pltfrms.specfile.building.notes import Notes
from pltfrms.specfile.building.peering import build_peers
from pltfrms.specfile.building.traffic import build_traffic, build_validation
from pltfrms.specfile.findings import Finding, Where, nearest
from pltfrms.specfile.shapes.platform import (
    AggregateShape,
    DatacenterShape,
    EdgeShape,
    FabricShape,
    LinkShape,
    MachineShape,
    NodeShape,
    NumberingShape,
    OperatorShape,
    PlatformShape,
    ServerShape,
    TimersShape,
    VantageShape,
)

_TRAILING_DIGITS = re.compile(r"[0-9]{1,6}\Z")
_DEFAULT_IPV4 = IPv4Network("10.0.0.0/8")


def build_platform(shape: PlatformShape, directory: Path) -> tuple[Platform, Notes]:
    """Return the platform, and what is wrong with its text and the files that it names.

    Names of files are relative to `directory`.
    """
    notes = Notes(directory)
    infrastructure4, infrastructure6 = _infrastructure(shape, notes)
    _note_needless(shape, infrastructure4, notes)
    platform = Platform(
        name=shape.platform,
        asn=shape.asn,
        domain=shape.domain,
        aggregates=tuple(map(_aggregate, shape.aggregates)),
        infrastructure4=infrastructure4,
        infrastructure6=infrastructure6,
        numbering4=_numbering(infrastructure4, shape.numbering),
        datacenters=tuple(_datacenter(*each) for each in shape.datacenters.items()),
        machines=tuple(
            machine
            for name, entry in shape.datacenters.items()
            for machine in _machines(name, entry, notes)
        ),
        links=tuple(_link(index, entry, notes) for index, entry in enumerate(shape.backbone)),
        peers=build_peers(shape, notes),
        traffic=build_traffic(shape, notes),
        guards=Guards(
            announce_floor=shape.guards.announce_floor,
            shrink_percent=shape.guards.shrink_percent,
            vantage_floor=shape.guards.vantage_floor,
            table_floor4=shape.guards.table_floor.ipv4,
            table_floor6=shape.guards.table_floor.ipv6,
            headroom_percent=shape.guards.headroom_percent,
            n1_admission=Admission(shape.guards.n1_admission),
            node_prefixes=NodePrefixes(shape.guards.node_prefixes),
            two_people=tuple(TwoPeople(word) for word in shape.guards.two_people),
        ),
        operators=_operators(shape.operators),
        director=shape.director,
        timers=_timers(shape.timers),
        vantage=_vantage(shape.vantage),
        readers=_readers(shape.metrics.readers),
        allowed_host_paths=tuple(shape.allowed_host_paths),
        allow_exec=shape.allow_exec,
    )
    validation = build_validation(shape.rpki, platform, notes)
    return replace(platform, origin_validation=validation), notes


def _operators(said: Mapping[str, OperatorShape]) -> tuple[Operator, ...]:
    return tuple(
        Operator(
            name=name,
            keys=tuple(" ".join(key.split()[:2]) for key in entry.keys),
            role=OperatorRole(entry.role) if entry.role else None,
            services=tuple(entry.services),
        )
        for name, entry in said.items()
    )


def _aggregate(entry: AggregateShape) -> Aggregate:
    return Aggregate(
        prefix=entry.prefix,
        announce=AnnouncePolicy(entry.announce),
        unicast=entry.unicast,
        per_node=entry.per_node,
        name=entry.name,
        datacenters=tuple(entry.datacenters),
    )


def _readers(said: Mapping[str, str]) -> tuple[MetricsReader, ...]:
    return tuple(MetricsReader(name=name, sha256=it) for name, it in said.items())


def _note_needless(
    shape: PlatformShape, infrastructure4: IPv4Network | None, notes: Notes
) -> None:
    """Note what is written, and means nothing there."""
    if infrastructure4 is None and shape.numbering.model_fields_set:
        what = "there is no IPv4 prefix to number"
        notes.findings.append(Finding(("numbering",), what, "leave it out"))
    for index, entry in enumerate(shape.aggregates):
        where = ("aggregates", index)
        if "per_node" in entry.model_fields_set and not entry.per_node:
            what = "0 is not a power of two in 1..256"
            notes.findings.append(Finding((*where, "per_node"), what, "leave it out for one"))


def unique_local_prefix(name: str) -> IPv6Network:
    """Return the IPv6 /48 that a platform of this name uses unless it says another."""
    digest = hashlib.sha256(name.encode(errors="replace")).digest()
    return IPv6Network((bytes([0xFD]) + digest[:5] + bytes(10), 48))


def _infrastructure(
    shape: PlatformShape, notes: Notes
) -> tuple[IPv4Network | None, IPv6Network]:
    chosen: dict[int, Prefix | None] = {}
    for index, prefix in enumerate(shape.infrastructure):
        version = prefix.version if prefix else 4
        if version in chosen:
            both = prefix and chosen[version]
            what = f"a second IPv{version} prefix" if both else "a prefix and no-ipv4"
            notes.findings.append(
                Finding(("infrastructure", index), what, "keep one per family")
            )
        chosen.setdefault(version, prefix)
    ipv4 = chosen.get(4, _DEFAULT_IPV4)
    ipv6 = chosen.get(6, unique_local_prefix(shape.platform))
    # The version chose them, which a type checker cannot see.
    return (IPv4Network(str(ipv4)) if ipv4 else None), IPv6Network(str(ipv6))


def _numbering(prefix: IPv4Network | None, shape: NumberingShape) -> Numbering | None:
    """Return what is said, if it is other than what holds anyway."""
    usual = numbering_of(prefix, None)
    said = Numbering(
        nodes=usual.nodes if shape.nodes is None else shape.nodes,
        instances=usual.instances if shape.instances is None else shape.instances,
    )
    return None if said == usual else said


def _datacenter(name: str, shape: DatacenterShape) -> Datacenter:
    return Datacenter(
        name=name,
        id=shape.id,
        fabrics=tuple(shape.fabrics),
        city=shape.city,
        location=Location(lat=shape.location.lat, lon=shape.location.lon)
        if shape.location
        else None,
        ports=_ports(shape.fabrics),
    )


def _machines(datacenter: str, shape: DatacenterShape, notes: Notes) -> list[Machine]:
    """Return the machines of a datacenter: a name that stands in several sections is one."""
    sections = _sections(shape)
    said: dict[str, dict[Role, MachineShape]] = {}
    for role in ROLES_IN_ORDER:
        for name, server in shape.machines.items():
            if role in server.roles:
                said.setdefault(name, {})[role] = server
        for name, entry in sections[role].items():
            said.setdefault(name, {})[role] = entry
    where = ("datacenters", datacenter)
    for name, server in shape.machines.items():
        _note_server(where, name, server, said, notes)
    for name in said.keys() - shape.machines.keys():
        _note_contradictions(where, name, said[name], notes)
    _note_fabrics(where, shape, notes)
    return [_machine(datacenter, name, roles) for name, roles in said.items()]


def _sections(shape: DatacenterShape) -> Mapping[Role, Mapping[str, MachineShape]]:
    return {
        Role.EDGE: shape.edges,
        Role.NODE: shape.nodes,
        Role.CONTROLLER: shape.controllers,
    }


def _note_server(
    where: Where,
    name: str,
    server: ServerShape,
    said: Mapping[str, Mapping[Role, MachineShape]],
    notes: Notes,
) -> None:
    here = (*where, "machines", name)
    roles = said.get(name, {})
    if not server.roles:
        notes.findings.append(Finding((*here, "roles"), "there is none", "roles: [node]"))
    if any(each is not server for each in roles.values()):
        what = f"{name} also stands in another section"
        notes.findings.append(Finding(here, what, "say all of its roles in one place"))
    for role in roles:
        notes.places[*where, SECTIONS[role], name] = here


def _note_fabrics(where: Where, shape: DatacenterShape, notes: Notes) -> None:
    """Note fabrics that are not there; those with a port are found by the checks."""
    places = {"machines": shape.machines} | {
        SECTIONS[role]: machines for role, machines in _sections(shape).items()
    }
    for section, machines in places.items():
        for name, machine in machines.items():
            for fabric, port in machine.fabrics.items():
                if fabric not in shape.fabrics and not port.model_fields_set:
                    here = (*where, section, name, "fabrics", fabric)
                    what, hint = (
                        f"{where[-1]} has no fabric {fabric}",
                        nearest(fabric, shape.fabrics),
                    )
                    notes.findings.append(Finding(here, what, hint, fabric))


def _note_contradictions(
    where: Where, name: str, said: Mapping[Role, MachineShape], notes: Notes
) -> None:
    """Note what several sections say of one machine, each in its own way."""
    first: dict[Where, tuple[str, str]] = {}
    for role, shape in said.items():
        words: dict[Where, str] = {("rack",): shape.rack} if shape.rack else {}
        for port in _ports(shape.fabrics):
            words["fabrics", port.fabric, "interface"] = port.interface
        for path, word in words.items():
            before, section = first.setdefault(path, (word, SECTIONS[role]))
            if before != word:
                what = f"it is {word}, and {before} in {section}"
                here = (*where, SECTIONS[role], name, *path)
                notes.findings.append(Finding(here, what, "say it once"))


def _machine(datacenter: str, name: str, said: Mapping[Role, MachineShape]) -> Machine:
    """Return a machine of which this is said in the order of roles."""
    main, *others = said
    node, edge = said.get(Role.NODE), said.get(Role.EDGE)
    sized = node if isinstance(node, NodeShape | ServerShape) else None
    return Machine(
        name=name,
        datacenter=datacenter,
        role=main,
        id=_id(name, said[main]),
        further=tuple(FurtherRole(role=each, id=_id(name, said[each])) for each in others),
        cpu=sized.cpu if sized else 0.0,
        memory_bytes=sized.memory if sized else 0,
        rack=next((shape.rack for shape in said.values() if shape.rack), ""),
        external=isinstance(edge, EdgeShape) and edge.external,
        ports=tuple(
            dict.fromkeys(port for each in said.values() for port in _ports(each.fabrics))
        ),
    )


def _ports(fabrics: Mapping[str, FabricShape]) -> tuple[FabricPort, ...]:
    return tuple(
        FabricPort(fabric=name, interface=each.interface)
        for name, each in fabrics.items()
        if "interface" in each.model_fields_set
    )


def _id(name: str, shape: MachineShape) -> int:
    digits = _TRAILING_DIGITS.search(name.partition(".")[0])
    by_name = int(digits.group()) if digits else 0
    # 0 is no id: the checks of the words say so.
    return by_name if shape.id is None else shape.id


def _link(index: int, shape: LinkShape, notes: Notes) -> Link:
    notes.check_capacity(("backbone", index), shape)
    # Without two ends it keeps its place, for the indexes of the others; the checks say so.
    a, b = shape.link if len(shape.link) == 2 else ("", "")  # noqa: PLR2004 (as it says)
    for edge in shape.interface.keys() - {"", a, b}:
        what = f"{edge} is no end of this link"
        hint = f"its ends are {a} and {b}"
        notes.findings.append(Finding(("backbone", index, "interface", edge), what, hint))
    return Link(
        a=a,
        b=b,
        kind=LinkKind(shape.kind),
        capacity_mbps=shape.capacity,
        endpoints=tuple(shape.endpoints),
        port=shape.port,
        mtu=shape.mtu,
        label=shape.label,
        interfaces=_interfaces(a, b, shape.interface),
    )


def _interfaces(a: str, b: str, said: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(said.get(edge, said.get("", "")) for edge in (a, b)) if said else ()


def _vantage(shape: VantageShape) -> VantageSpec:
    """Return it with what is usual left out, so that releases which do not know it go on.

    A 0 that is written is not what is left out, and has to be found to be wrong.
    """
    return VantageSpec(
        off=shape.machines == "none",
        nodes=shape.machines == "edges and nodes",
        interval_ms=0 if shape.interval == INTERVAL_MS else shape.interval or -1,
        per_round=0 if shape.per_round == PER_ROUND else shape.per_round or -1,
        services=tuple(shape.services),
        datacenters=tuple(shape.datacenters),
        outside=tuple(shape.outside),
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
        flap_half_life_seconds=shape.flap_half_life,
        drain_wait_seconds=shape.drain_wait,
        confirm_seconds=shape.confirm,
    )
