"""Small platforms made in Python, for tests of the renderers."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network

from pltfrms.model.network.lab import Lab, LabEyeball, LabIxp, LabTransit
from pltfrms.model.network.links import Link
from pltfrms.model.network.peering import Peer, PeerKind, Session
from pltfrms.model.network.topology import Aggregate, Datacenter, Machine, Platform, Role


def machine(name: str, datacenter: str, role: Role, number: int) -> Machine:
    return Machine(name=name, datacenter=datacenter, role=role, id=number)


def session(edge: str, peer: str, ours: tuple[str, str], theirs: tuple[str, str]) -> Session:
    return Session(
        edge=edge,
        ours=tuple(ip_interface(text) for text in ours),
        theirs=tuple(ip_address(text) for text in theirs),
        interface=f"x-{peer}",
        bfd=True,
    )


TRANSIT = Peer(
    name="transit1",
    kind=PeerKind.TRANSIT,
    asn=64601,
    sessions=(
        session(
            "fra-e1",
            "transit1",
            ("203.0.113.1/31", "2001:db8:f000:1::1/127"),
            ("203.0.113.0", "2001:db8:f000:1::"),
        ),
    ),
)
IXP = Peer(
    name="ixp1",
    kind=PeerKind.IXP,
    asn=64700,
    sessions=tuple(
        session(
            edge,
            "ixp1",
            (f"203.0.113.{number}/25", f"2001:db8:f1::{number}/64"),
            ("203.0.113.129", "2001:db8:f1::1"),
        )
        for edge, number in (("fra-e2", 131), ("ams-e1", 132))
    ),
)
SMALL = Platform(
    name="small",
    asn=64500,
    aggregates=(
        Aggregate(prefix=ip_network("198.51.100.0/24")),
        Aggregate(prefix=ip_network("2001:db8:100::/48")),
    ),
    infrastructure4=IPv4Network("10.0.0.0/8"),
    infrastructure6=IPv6Network("fd00:77::/48"),
    datacenters=(
        Datacenter(name="fra", id=1, fabrics=("a", "b")),
        Datacenter(name="ams", id=2, fabrics=("a", "b")),
    ),
    machines=(
        machine("fra-e1", "fra", Role.EDGE, 1),
        machine("fra-e2", "fra", Role.EDGE, 2),
        machine("fra-n1", "fra", Role.NODE, 1),
        machine("ams-e1", "ams", Role.EDGE, 1),
        machine("ams-n1", "ams", Role.NODE, 1),
        machine("ams-c1", "ams", Role.CONTROLLER, 1),
    ),
    links=(Link(a="fra-e1", b="ams-e1"),),
    peers=(TRANSIT, IXP),
)
"""Two edges here, one there, a transit on one side, an IXP on both."""

SMALL_LAB = Lab(
    transits=(LabTransit(name="transit1", asn=64601, delays_us={"fra-e1": 1000}),),
    ixps=(LabIxp(name="ixp1", asn=64700, delays_us={"fra-e2": 6000, "ams-e1": 1000}),),
    eyeballs=(
        LabEyeball(
            name="berlin",
            asn=64801,
            prefixes=(ip_network("198.18.1.0/24"), ip_network("2001:db8:e001::/48")),
            upstreams={"transit1": 3000},
            nearest="fra",
        ),
        LabEyeball(
            name="reading",
            asn=64803,
            prefixes=(ip_network("198.18.3.0/24"), ip_network("2001:db8:e003::/48")),
            upstreams={"ixp1": 2000},
            nearest="ams",
        ),
    ),
)
