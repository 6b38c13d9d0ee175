"""Decide which wires connect which machines: platform and lab -> wiring. Pure."""

from pltfrms.lab.parts import (
    FABRIC_MTU,
    OUTSIDE_MTU,
    Port,
    Segment,
    SegmentKind,
    WiredMachine,
    Wiring,
)
from pltfrms.model.network.lab import (
    Lab,
    LabIxp,
    LabNetwork,
    LabStub,
    LabTransit,
    lab_interface,
    lan_interface,
)
from pltfrms.model.network.links import Link, LinkKind
from pltfrms.model.network.peering import Session
from pltfrms.model.network.topology import Platform


def make_wiring(platform: Platform, lab: Lab) -> Wiring:
    """Return every machine and every segment, in the order of the specs.

    A point-to-point segment has its whole delay at its first port; in a LAN each port has its
    own. A link that `lab` does not mention has no delay.
    """
    return Wiring(
        machines=_machines(platform, lab),
        segments=(
            *_fabrics(platform),
            *_backbone(platform, lab),
            *(
                segment
                for transit in lab.transits
                for segment in (*_lines_to_us(platform, transit), *_peerings(transit))
            ),
            *(_lan(platform, lab, ixp) for ixp in lab.ixps),
            *(segment for stub in lab.stubs for segment in _upstreams(lab, stub)),
            *(
                segment
                for network in lab.networks
                if not network.member_of
                for segment in _lines_to_us(platform, network)
            ),
        ),
    )


def link_name(a: str, b: str) -> str:
    """Return the name of the link between two machines, as faults call it."""
    return f"{SegmentKind.LINK}/{a}--{b}"


def _machines(platform: Platform, lab: Lab) -> tuple[WiredMachine, ...]:
    return (
        *(
            WiredMachine(
                name=machine.name,
                role=machine.role.value,
                datacenter=machine.datacenter,
                further=tuple(role.value for role in machine.roles[1:]),
            )
            for machine in platform.machines
        ),
        *(WiredMachine(name=transit.name, role="transit") for transit in lab.transits),
        *(WiredMachine(name=ixp.name, role="ixp") for ixp in lab.ixps),
        *(WiredMachine(name=eyeball.name, role="eyeball") for eyeball in lab.eyeballs),
        *(WiredMachine(name=network.name, role="network") for network in lab.networks),
    )


def _fabrics(platform: Platform) -> list[Segment]:
    return [
        Segment(
            name=f"{SegmentKind.FABRIC}/{datacenter.name}/{fabric}",
            kind=SegmentKind.FABRIC,
            mtu=FABRIC_MTU,
            ports=tuple(
                Port(machine.name, platform.fabric_interface(machine, fabric))
                for machine in platform.machines
                if machine.datacenter == datacenter.name
            ),
        )
        for datacenter in platform.datacenters
        for fabric in datacenter.fabrics
    ]


def _backbone(platform: Platform, lab: Lab) -> list[Segment]:
    return [
        _backbone_wire(link, lab.link_delays_us.get(link.name, 0)) for link in platform.links
    ]


def _backbone_wire(link: Link, delay_us: int) -> Segment:
    """Return the wire of a link; that of a tunnel connects its endpoints."""
    tunnel = link.kind is LinkKind.WIREGUARD
    near, far = (
        lab_interface(link.towards(end)) if tunnel else link.interface_at(end)
        for end in (link.a, link.b)
    )
    return Segment(
        name=f"{SegmentKind.LINK}/{link.name}",
        kind=SegmentKind.LINK,
        mtu=link.mtu if tunnel else max(FABRIC_MTU, link.mtu),
        ports=(Port(link.a, near, delay_us), Port(link.b, far)),
    )


def _lines_to_us(platform: Platform, network: LabTransit | LabNetwork) -> list[Segment]:
    sessions = {session.edge: session for session in _sessions(platform, network.name)}
    return [
        _link(
            Port(edge, session.interface, network.delays_us.get(edge, 0)),
            Port(network.name, lab_interface(edge)),
        )
        for edge, session in sessions.items()
    ]


def _peerings(transit: LabTransit) -> list[Segment]:
    return [
        _lab_link(transit.name, other, delay_us) for other, delay_us in transit.peerings.items()
    ]


def _lan(platform: Platform, lab: Lab, ixp: LabIxp) -> Segment:
    direct = [network.name for network in lab.networks if network.member_of == ixp.name]
    # One port per edge and interface, however many sessions run over it.
    edges = dict.fromkeys(
        Port(session.edge, session.interface, ixp.delays_us.get(session.edge, 0))
        for name in (ixp.name, *direct)
        for session in _sessions(platform, name)
    )
    members = (
        Port(stub.name, lan_interface(ixp.name), stub.upstreams.get(ixp.name, 0))
        for stub in lab.stubs
        if ixp.name in stub.upstreams or stub.name in direct
    )
    return Segment(
        name=f"{SegmentKind.LAN}/{ixp.name}",
        kind=SegmentKind.LAN,
        mtu=OUTSIDE_MTU,
        ports=(Port(ixp.name, lan_interface(ixp.name)), *edges, *members),
    )


def _upstreams(lab: Lab, stub: LabStub) -> list[Segment]:
    transits = {transit.name for transit in lab.transits}
    return [
        _lab_link(stub.name, upstream, delay_us)
        for upstream, delay_us in stub.upstreams.items()
        if upstream in transits
    ]


def _lab_link(a: str, b: str, delay_us: int) -> Segment:
    return _link(Port(a, lab_interface(b), delay_us), Port(b, lab_interface(a)))


def _link(first: Port, second: Port, mtu: int = OUTSIDE_MTU) -> Segment:
    return Segment(
        name=link_name(first.machine, second.machine),
        kind=SegmentKind.LINK,
        mtu=mtu,
        ports=(first, second),
    )


def _sessions(platform: Platform, peer_name: str) -> list[Session]:
    return [
        session
        for peer in platform.peers
        if peer.name == peer_name
        for session in peer.sessions
    ]
