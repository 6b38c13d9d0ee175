"""A platform among networks that run other software, and a lab where only routing runs."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from pltfrms.lab.layout.assembly import make_parts, network_lines
from pltfrms.lab.layout.speakers import BIRD, BIRD_CONFIG
from pltfrms.lab.parts import LabParts, MachineParts
from pltfrms.model.addresses import Prefix
from pltfrms.model.network.interventions import Blackhole, Interventions
from pltfrms.model.network.lab import (
    Daemon,
    Lab,
    LabEyeball,
    LabIxp,
    LabNetwork,
    LabTransit,
)
from pltfrms.model.network.peering import Allowed, Peer, PeerKind, Session
from pltfrms.model.network.topology import Platform
from pltfrms.render.bird import render_bird
from pltfrms.render.conditions import Conditions
from pltfrms.render.kernel import network_state
from tests.render.platforms import SMALL

AGGREGATES = ("198.51.100.0/24", "2001:db8:100::/48")
SERVICE = ("198.51.100.1", "2001:db8:100::1")
_SECRET = "/".join("abc")
ATTACKED = ("198.51.100.66", "2001:db8:100::66")


def _session(
    edge: str, port: str, line: int, *, bfd: bool = False, gtsm: bool = False
) -> Session:
    """Return a session over a line of its own."""
    low = 2 * line
    return Session(
        edge=edge,
        ours=(
            ip_interface(f"203.0.113.{low + 1}/31"),
            ip_interface(f"2001:db8:f000:{line}::1/127"),
        ),
        theirs=(ip_address(f"203.0.113.{low}"), ip_address(f"2001:db8:f000:{line}::")),
        interface=port,
        bfd=bfd,
        password=_SECRET,
        gtsm=gtsm,
        require_role=True,
    )


def _in_lan(edge: str, lan: int, ours: int, theirs: int, *, roles: bool) -> Session:
    return Session(
        edge=edge,
        ours=(
            ip_interface(f"192.0.{lan}.{ours}/24"),
            ip_interface(f"2001:db8:f{lan}::{ours}/64"),
        ),
        theirs=(ip_address(f"192.0.{lan}.{theirs}"), ip_address(f"2001:db8:f{lan}::{theirs}")),
        interface=f"x-ixp{lan}",
        password=_SECRET,
        gtsm=True,
        require_role=roles,
    )


PEERS = (
    Peer(
        name="frr1",
        kind=PeerKind.TRANSIT,
        asn=64601,
        sessions=(
            _session("fra-e1", "x-frr1", 1, bfd=True),
            _session("ams-e1", "x-frr1", 2, gtsm=True),
        ),
        blackhole=True,
    ),
    Peer(
        name="ixp1",
        kind=PeerKind.IXP,
        asn=64701,
        sessions=(_in_lan("fra-e2", 1, 11, 1, roles=True),),
        blackhole=True,
    ),
    Peer(
        name="ixp2",
        kind=PeerKind.IXP,
        asn=64702,
        sessions=(_in_lan("ams-e1", 2, 11, 1, roles=False),),
        blackhole=True,
    ),
    Peer(
        name="member1",
        kind=PeerKind.IXP,
        asn=64811,
        route_server=False,
        sessions=(_in_lan("fra-e2", 1, 11, 12, roles=True),),
    ),
    Peer(
        name="customer1",
        kind=PeerKind.CUSTOMER,
        asn=64812,
        sessions=(_session("fra-e1", "x-customer1", 3, bfd=True, gtsm=True),),
        allowed=(
            Allowed(prefix=ip_network("198.18.12.0/24"), max_length=24),
            Allowed(prefix=ip_network("2001:db8:e012::/48"), max_length=48),
        ),
    ),
    Peer(
        name="pni1",
        kind=PeerKind.PNI,
        asn=64813,
        sessions=(_session("fra-e2", "x-pni1", 4, bfd=True),),
    ),
)
PLATFORM: Platform = replace(
    SMALL,
    machines=tuple(one for one in SMALL.machines if one.name in {"fra-e1", "fra-e2", "ams-e1"}),
    peers=PEERS,
)


def _asn(number: int) -> int:
    return 64800 + number


def _prefixes(number: int) -> tuple[Prefix, ...]:
    text = (f"198.18.{number}.0/24", f"2001:db8:e0{number:02}::/48")
    return tuple(ip_network(one) for one in text)


def _eyeball(name: str, number: int, upstream: str) -> LabEyeball:
    return LabEyeball(
        name=name,
        asn=_asn(number),
        prefixes=_prefixes(number),
        upstreams={upstream: 0},
        nearest="fra",
    )


LAB = Lab(
    transits=(LabTransit(name="frr1", asn=64601, daemon=Daemon.FRR),),
    ixps=(
        LabIxp(name="ixp1", asn=64701, daemon=Daemon.OPENBGPD),
        LabIxp(name="ixp2", asn=64702, daemon=Daemon.GOBGP),
    ),
    eyeballs=(
        _eyeball("berlin", 1, "frr1"),
        _eyeball("reading", 2, "ixp1"),
        _eyeball("delft", 3, "ixp2"),
    ),
    networks=(
        LabNetwork(name="member1", asn=_asn(11), prefixes=_prefixes(11), member_of="ixp1"),
        LabNetwork(name="customer1", asn=_asn(12), prefixes=_prefixes(12)),
        LabNetwork(name="pni1", asn=_asn(13), prefixes=_prefixes(13), daemon=Daemon.FRR),
    ),
)
CLIENTS = tuple(stub.name for stub in LAB.stubs)


def edge_text(edge: str, *, attacked: bool) -> str:
    """Return what an edge's agent would render, with or without blackholes."""
    holes = tuple(
        Blackhole(prefix=ip_network(address), until_ms=2**50)
        for address in (ATTACKED if attacked else ())
    )
    conditions = Conditions(interventions=Interventions(blackholes=holes))
    return render_bird(PLATFORM, edge, conditions)


def routing_parts() -> LabParts:
    """Return a lab whose edges run BIRD as rendered and announce the aggregates."""
    parts = make_parts(PLATFORM, LAB, "")
    edges = {machine.name for machine in PLATFORM.machines}
    return replace(
        parts,
        machines=tuple(_edge(one.name) if one.name in edges else one for one in parts.machines),
    )


def _edge(name: str) -> MachineParts:
    state = network_state(PLATFORM, name)
    aggregates = (
        f"route add unreachable {prefix} table 101 proto 181" for prefix in AGGREGATES
    )
    service = (f"address add {address} dev lo" for address in SERVICE)
    return MachineParts(
        name=name,
        units=(BIRD,),
        files=((BIRD_CONFIG, edge_text(name, attacked=False)),),
        sysctls=state.sysctls,
        network=(*network_lines(state), *aggregates, *service),
    )
