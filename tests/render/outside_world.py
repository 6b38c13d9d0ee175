"""The platform of the live tests of the outside, and what its neighbours announce to it.

The world is one BIRD that plays every neighbour, each with an ASN and tables of its own, and a
node of ours. `leaky` is missing there: no BIRD can play it (see `speaker`).
"""

from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network

from pltfrms.model.network.peering import (
    Allowed,
    OriginValidation,
    Peer,
    PeerKind,
    RtrCache,
    Session,
)
from pltfrms.model.network.topology import Aggregate, Datacenter, Platform, Role
from tests.render.platforms import machine

EDGE = "fra-e1"
AGGREGATE = "198.51.100.0/24"
SERVICE = "198.51.100.7/32"
"""Runs on the node."""


# ---- the platform --------------------------------------------------------------------------


def _session(number: int, interface: str = "x-up", six: str = "") -> Session:
    four = {"x-up": "203.0.113", "x-cust": "192.0.2", "x-leaky": "198.18.9"}[interface]
    return Session(
        edge=EDGE,
        ours=tuple(
            ip_interface(a)
            for a in (f"{four}.{100 + number}/24", f"{six}::1/64")
            if a[0] != ":"
        ),
        theirs=tuple(ip_address(a) for a in (f"{four}.{number}", f"{six}::2") if a[0] != ":"),
        interface=interface,
    )


def _peer(name: str, kind: PeerKind, asn: int, session: Session) -> Peer:
    return Peer(name=name, kind=kind, asn=asn, sessions=(session,))


TRANSIT1 = replace(
    _peer("transit1", PeerKind.TRANSIT, 64501, _session(2, six="2001:db8:f000")),
    blackhole=True,
)
SHARED = "between us two"
SECURED = replace(_session(6), password=SHARED, gtsm=True, require_role=True)
CUSTOMER = replace(
    _peer(
        "cust1",
        PeerKind.CUSTOMER,
        64505,
        replace(_session(2, "x-cust", "2001:db8:f001"), bfd=True),
    ),
    allowed=(
        Allowed(prefix=ip_network("31.16.0.0/20"), max_length=24),
        Allowed(prefix=ip_network("2a00:1::/32"), max_length=48),
    ),
    allowed_asns=(64506,),
    blackhole=True,
)
PRIVATE = replace(
    _peer("cust2", PeerKind.CUSTOMER, 65010, _session(3, "x-cust")),
    allowed=(Allowed(prefix=ip_network("31.18.0.0/20"), max_length=24),),
    allowed_asns=(65011,),
)
"""Brings addresses, and has no ASN that others may see."""
PLATFORM = Platform(
    name="outside",
    asn=64500,
    aggregates=(
        Aggregate(prefix=ip_network(AGGREGATE)),
        Aggregate(prefix=ip_network("2001:db8:100::/48")),
    ),
    infrastructure4=IPv4Network("10.0.0.0/8"),
    infrastructure6=IPv6Network("fd00:77::/48"),
    datacenters=(Datacenter(name="fra", id=1, fabrics=("a",)),),
    machines=(machine(EDGE, "fra", Role.EDGE, 1), machine("fra-n1", "fra", Role.NODE, 1)),
    peers=(
        TRANSIT1,
        _peer("transit2", PeerKind.TRANSIT, 64502, _session(3)),
        _peer("rs1", PeerKind.IXP, 64503, _session(4)),
        replace(_peer("member1", PeerKind.IXP, 64508, _session(5)), route_server=False),
        _peer("pni1", PeerKind.PNI, 64504, SECURED),
        _peer("odd", PeerKind.PNI, 64509, _session(7)),
        CUSTOMER,
        PRIVATE,
        replace(_peer("leaky", PeerKind.PNI, 64507, _session(2, "x-leaky")), max_prefixes4=20),
        _peer("merged", PeerKind.PNI, 64511, replace(_session(8), local_as=64510)),
    ),
    origin_validation=OriginValidation(caches=(RtrCache(address=ip_address("::1")),)),
)


# ---- what the neighbours announce ----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A route that a neighbour announces."""

    peer: str
    prefix: str
    path: tuple[int, ...] = (3320,)
    """Behind the neighbour's own ASN, nearest first."""
    communities: tuple[tuple[int, ...], ...] = ()
    reason: int = 0
    """Why we refuse it; 0: we do not."""
    tags: tuple[tuple[int, int], ...] = ()
    """Our communities on it, if we do not."""
    preference: int = 0


BLACKHOLE, SHUTDOWN = (65535, 666), (65535, 0)
FORGED = ((64500, 1, 1), (64500, 15, 3), (64500, 100, 0))
SAYINGS = (
    # accepted
    Said(
        peer="transit1",
        prefix="31.2.0.0/16",
        communities=(*FORGED, (64501, 1, 1), (64501, 7)),
        tags=((1, 7), (2, 1), (20, 2)),
        preference=100,
    ),
    Said(
        peer="transit1",
        prefix="31.64.0.0/16",
        tags=((1, 7), (2, 1), (20, 1)),
        preference=100,
    ),
    Said(
        peer="transit2",
        prefix="31.3.0.0/16",
        communities=(SHUTDOWN,),
        tags=((1, 7), (2, 1), (20, 2)),
    ),
    Said(peer="rs1", prefix="31.4.0.0/16", tags=((1, 6), (2, 1), (20, 2)), preference=200),
    Said(peer="member1", prefix="31.5.0.0/16", tags=((1, 5), (2, 1), (20, 2)), preference=210),
    Said(peer="pni1", prefix="31.6.0.0/16", tags=((1, 4), (2, 1), (20, 2)), preference=220),
    Said(
        peer="cust1",
        prefix="31.16.0.0/24",
        path=(),
        communities=((64500, 1, 1),),
        tags=((1, 3), (2, 1), (20, 2)),
        preference=300,
    ),
    Said(
        peer="cust1",
        prefix="31.16.3.0/24",
        path=(64506,),
        communities=((64500, 102, 64501), (64500, 100, 64503)),
        tags=((102, 64501), (100, 64503), (1, 3), (2, 1), (20, 2)),
        preference=300,
    ),
    Said(
        peer="cust1",
        prefix="31.16.8.0/24",
        path=(),
        communities=(*((64500, 104, kind) for kind in (2, 4, 8)), (64500, 107, 1)),
        tags=((104, 4), (1, 3), (2, 1), (20, 2)),
        preference=300,
    ),
    Said(
        peer="cust1",
        prefix="31.16.9.0/24",
        path=(),
        communities=tuple((64500, 105, datacenter) for datacenter in (0, 2, 201)),
        tags=((105, 2), (1, 3), (2, 1), (20, 2)),
        preference=300,
    ),
    Said(
        peer="cust1",
        prefix="31.16.10.0/24",
        path=(),
        communities=((64500, 104, 7), (64500, 105, 1), (64500, 106, 0), (64500, 106, 1)),
        tags=((104, 7), (105, 1), (106, 0), (1, 3), (2, 1), (20, 2)),
        preference=300,
    ),
    Said(
        peer="cust1",
        prefix="31.16.4.7/32",
        path=(),
        communities=(BLACKHOLE,),
        tags=((1, 3), (2, 1)),
        preference=300,
    ),
    Said(
        peer="cust2",
        prefix="31.18.0.0/24",
        path=(),
        tags=((1, 3), (2, 1), (20, 1)),
        preference=300,
    ),
    Said(
        peer="cust2",
        prefix="31.18.1.0/24",
        path=(65011,),
        tags=((1, 3), (2, 1), (20, 2)),
        preference=300,
    ),
    Said(peer="transit1", prefix="2a00:2::/32", tags=((1, 7), (2, 1), (20, 2)), preference=100),
    Said(
        peer="cust1",
        prefix="2a00:1::/48",
        path=(),
        tags=((1, 3), (2, 1), (20, 2)),
        preference=300,
    ),
    # refused
    Said(peer="transit1", prefix="0.0.0.0/0", reason=1),
    Said(peer="transit1", prefix="31.1.1.0/25", reason=1),
    Said(peer="transit1", prefix="2a00:3::/49", reason=1),
    Said(peer="transit1", prefix="10.9.0.0/16", reason=2),
    Said(peer="transit1", prefix="3ffe::/24", reason=2),
    Said(peer="transit1", prefix=AGGREGATE, reason=3),
    Said(peer="rs1", prefix="203.0.113.0/24", reason=3),
    Said(peer="transit1", prefix="2001:db8:100::/48", reason=3),
    Said(peer="transit1", prefix="31.7.0.0/24", path=(3320,) * 61, reason=4),
    Said(peer="transit1", prefix="31.7.1.0/24", path=(65000, 3320), reason=5),
    Said(peer="transit1", prefix="31.7.4.0/24", path=(65010, 3320), reason=5),
    Said(peer="transit2", prefix="31.7.5.0/24", path=(4_200_000_000,), reason=5),
    Said(peer="rs1", prefix="31.7.6.0/24", path=(65010,), reason=5),
    Said(peer="pni1", prefix="31.7.8.0/24", path=(65011,), reason=5),
    Said(peer="cust1", prefix="31.16.6.0/24", path=(65010, 64506), reason=5),
    Said(peer="cust2", prefix="31.18.2.0/24", path=(65012, 65011), reason=5),
    Said(peer="transit1", prefix="31.65.0.0/24", reason=6),
    Said(peer="cust2", prefix="31.18.4.0/24", path=(), reason=6),
    Said(peer="cust1", prefix="31.99.0.0/24", path=(), reason=7),
    Said(peer="cust1", prefix="31.16.0.0/19", path=(), reason=7),
    Said(peer="cust1", prefix="31.16.1.0/24", reason=8),
    Said(peer="pni1", prefix="31.7.2.0/24", path=(64501, 3320), reason=9),
    Said(peer="rs1", prefix="31.7.3.0/24", path=(3320, 64502), reason=9),
    Said(peer="cust1", prefix="31.16.5.0/24", path=(64501, 64506), reason=9),
    Said(peer="transit1", prefix="31.7.7.7/32", communities=(BLACKHOLE,), reason=10),
    Said(peer="transit1", prefix="31.7.9.0/24", path=(64510,), reason=13),
    Said(peer="cust1", prefix="31.99.0.1/32", path=(), communities=(BLACKHOLE,), reason=10),
    Said(peer="cust1", prefix="31.16.2.0/24", path=(), communities=(BLACKHOLE,), reason=10),
)
_THEIR_ROLES = {
    "customer": "provider",
    "rs_client": "rs_server",
    "peer": "peer",
    "provider": "customer",
}


def world_text() -> str:
    parts = [_WORLD_HEAD]
    parts += [
        _neighbour(peer, peer.sessions[0], index)
        for peer in PLATFORM.peers
        if peer.name != "leaky"
        for index in range(len(peer.sessions[0].ours))
    ]
    return "".join(parts)


_WORLD_HEAD = """
router id 192.0.2.99;
log "LOG" all;
protocol device {}
protocol bfd { interface "*" { interval 200 ms; multiplier 3; }; }
ipv4 table t_node;
protocol static r_node {
  ipv4 { table t_node; };
  route 198.51.100.7/32 unreachable { bgp_large_community.add((64500, 12, 1)); };
  route 10.1.1.0/24 unreachable;
}
# An edge of another datacenter that hears customers too.
ipv4 table t_ams;
protocol static r_ams {
  ipv4 { table t_ams; import filter {
    bgp_large_community.add((64500, 1, 3)); bgp_large_community.add((64500, 2, 2)); accept;
  }; };
  route 31.17.0.0/24 unreachable;
  route 31.17.1.0/24 unreachable { bgp_large_community.add((64500, 106, 0)); };
  route 31.17.2.0/24 unreachable { bgp_large_community.add((64500, 105, 1)); };
  route 31.17.3.0/24 unreachable { bgp_large_community.add((64500, 105, 2)); };
}
protocol bgp p_ams {
  local 203.0.113.9 as 64500; neighbor 203.0.113.109 as 64500;
  direct; connect delay time 1; connect retry time 1;
  ipv4 { table t_ams; import none; export all; };
}
protocol bgp p_node {
  local fe80::a:1 as 4200001001;
  neighbor fe80::e:1%'fab-a' as 64500;
  direct; connect delay time 1; connect retry time 1;
  ipv4 { table t_node; extended next hop on; import none; export all; };
}
"""


def _neighbour(peer: Peer, session: Session, index: int) -> str:
    ours, theirs = session.ours[index], session.theirs[index]
    family = f"{ours.version}"
    name = f"{peer.name}{family}"
    role = "provider" if peer.name == "odd" else _THEIR_ROLES[peer.role]
    secured = f'password "{session.password}"; ttl security on;' if session.password else ""
    client = "rs client;" if peer.role == "rs_client" else ""
    return f"""
ipv{family} table t_{name};
protocol static r_{name} {{
  ipv{family} {{ table t_{name}; }};
{"".join(_route(said) for said in SAYINGS if _belongs(said, peer, family))}
}}
protocol bgp p_{name} {{
  local {theirs} as {peer.asn}; neighbor {ours.ip} as {session.local_as or PLATFORM.asn};
  interface "{session.interface}"; direct;
  local role {role}; {client} {secured} {"bfd on;" if session.bfd else ""}
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  ipv{family} {{ table t_{name}; import all; export where source = RTS_STATIC; }};
}}
"""


def _belongs(said: Said, peer: Peer, family: str) -> bool:
    return said.peer == peer.name and (":" in said.prefix) == (family == "6")


def _route(said: Said) -> str:
    words = [f"bgp_path.prepend({asn});" for asn in reversed(said.path)]
    for community in said.communities:
        kind = "large_" if len(community) == 3 else ""
        words.append(f"bgp_{kind}community.add({community});")
    return f"  route {said.prefix} unreachable {{ {' '.join(words)} }};\n"
