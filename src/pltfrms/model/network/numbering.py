"""How the infrastructure's IPv4 prefix is shared out: which bits say what.

After the prefix come the datacenter, the node and the slot, each with so many bits that its ids
fit. The last two numbers that nodes could have are those of edges and controllers:

    PREFIX | DC | NODE        | 0       loopback of a node
    PREFIX | DC | NODE        | SLOT    an instance
    PREFIX | DC | last but one | ID     loopback of an edge
    PREFIX | DC | last         | ID     loopback of a controller

The datacenter whose id is one more than its bits can say has the number 0. In a /8 each of the
three has 8 bits, so that addresses can be read: 10.DC.NODE.SLOT.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

MAX_DATACENTERS: Final = 200
MAX_NODES: Final = 4000
"""Of one datacenter."""
MAX_OTHERS: Final = 250
"""Edges of one datacenter, and controllers."""
MAX_SLOTS: Final = 254
"""Instances of one node."""
LENGTHS: Final = range(8, 23)
"""How long the prefix may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """How many of each must fit into the prefix; datacenters get the bits that are left."""

    nodes: int
    """Highest id of a node, at most 4000."""
    instances: int
    """Highest slot on a node, at most 254. Edges and controllers have no higher ids either."""

    def __str__(self) -> str:
        """Return it as the spec says it."""
        return f"nodes: {self.nodes}, instances: {self.instances}"

    @property
    def slot_bits(self) -> int:
        """For slots 0 to `instances`, and one that stays free: it looks like a broadcast."""
        return (self.instances + 1).bit_length()

    @property
    def node_bits(self) -> int:
        """For nodes 1 to `nodes`, edges and controllers; 0 stays free."""
        return (self.nodes + 2).bit_length()

    @property
    def others(self) -> int:
        """Highest id of an edge or a controller."""
        return min(MAX_OTHERS, self.instances)

    def datacenter_bits(self, prefix: IPv4Network) -> int:
        """Return how many bits are left; negative if nodes and slots do not fit."""
        return prefix.max_prefixlen - prefix.prefixlen - self.node_bits - self.slot_bits

    def datacenters(self, prefix: IPv4Network) -> int:
        """Return the highest id of a datacenter that fits; 0 if none does."""
        bits = self.datacenter_bits(prefix)
        return min(MAX_DATACENTERS, 1 << bits) if bits >= 0 else 0

    def block(self, prefix: IPv4Network, datacenter_id: int, number: int) -> IPv4Network:
        """Return the addresses of a node, or of edges (-2) or controllers (-1)."""
        number %= 1 << self.node_bits
        # A spec in which nothing fits is refused; until then this need not make sense.
        datacenter = datacenter_id % (1 << max(0, self.datacenter_bits(prefix)))
        low = ((datacenter << self.node_bits) | number) << self.slot_bits
        length = prefix.max_prefixlen - self.slot_bits
        return IPv4Network((int(prefix.network_address) | low, length))


EDGES: Final = -2
CONTROLLERS: Final = -1
_BY_LENGTH: Final = {
    8: Numbering(nodes=250, instances=254),
    9: Numbering(nodes=250, instances=254),
    10: Numbering(nodes=250, instances=254),
    11: Numbering(nodes=250, instances=254),
    12: Numbering(nodes=125, instances=254),
    13: Numbering(nodes=125, instances=126),
    14: Numbering(nodes=61, instances=126),
    15: Numbering(nodes=61, instances=126),
    16: Numbering(nodes=61, instances=62),
    17: Numbering(nodes=29, instances=62),
    18: Numbering(nodes=29, instances=62),
    19: Numbering(nodes=29, instances=30),
    20: Numbering(nodes=13, instances=30),
    21: Numbering(nodes=13, instances=14),
    22: Numbering(nodes=13, instances=14),
}
WITHOUT_IPV4: Final = Numbering(nodes=MAX_NODES, instances=MAX_SLOTS)
"""What IPv6 alone has room for."""


def numbering_of(prefix: IPv4Network | None, said: Numbering | None) -> Numbering:
    """Return what holds for a prefix: what the spec says, else what suits its length."""
    if prefix is None:
        return WITHOUT_IPV4
    return said or _BY_LENGTH.get(prefix.prefixlen, _BY_LENGTH[LENGTHS[-1]])


def stand_in_router_id(datacenter_id: int, role_digit: int, number: int) -> IPv4Address:
    """Return a router id where there is no IPv4: a number that only looks like an address.

    RFC 6286 asks for nothing but that it is unique in the AS, and not 0.
    """
    return IPv4Address((10 << 24) | (datacenter_id << 16) | (role_digit << 12) | number)
