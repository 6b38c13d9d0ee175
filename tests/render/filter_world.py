"""A platform with every kind of port, for the tests of the packet filter."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

from pltfrms.model.network.links import LinkKind
from pltfrms.model.network.peering import Allowed, Peer, PeerKind
from tests.render.platforms import IXP, SMALL, TRANSIT, session

EDGE = "fra-e1"


def _ixp(name: str, asn: int, far: int) -> Peer:
    ours = ("192.0.2.11/24", "2001:db8:f1::11/64")
    line = session(EDGE, "ixp1", ours, (f"192.0.2.{far}", f"2001:db8:f1::{far}"))
    return replace(IXP, name=name, asn=asn, sessions=(line,))


SHOP = Peer(
    name="shop",
    kind=PeerKind.CUSTOMER,
    asn=64901,
    sessions=(
        session(
            EDGE,
            "shop",
            ("203.0.113.21/31", "2001:db8:f2::1/127"),
            ("203.0.113.20", "2001:db8:f2::"),
        ),
    ),
    allowed=tuple(
        Allowed(prefix=ip_network(prefix), max_length=length)
        for prefix, length in (
            ("45.20.0.0/22", 24),
            ("45.20.1.0/24", 24),
            ("2a00:20::/32", 48),
        )
    ),
)
ABROAD = replace(IXP, name="abroad", sessions=IXP.sessions[1:])
LINK = replace(
    SMALL.links[0],
    kind=LinkKind.WIREGUARD,
    endpoints=(ip_address("203.0.113.1"), ip_address("198.18.77.7")),
    port=51999,
)
PLATFORM = replace(
    SMALL,
    peers=(TRANSIT, _ixp("rs1", 64700, 1), _ixp("member1", 64701, 2), SHOP, ABROAD),
    links=(LINK,),
)
