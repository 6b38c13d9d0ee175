"""The other networks that we speak BGP with, and what we expect of each."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from pltfrms.model.addresses import Address, Interface, Prefix


class PeerKind(StrEnum):
    """What an external BGP counterparty is to us."""

    TRANSIT = "transit"
    """Carries us everywhere, for money."""
    IXP = "ixp"
    """Route servers or members of an exchange, over a port we share."""
    PNI = "pni"
    """A network that exchanges its own traffic with us over a line of our own."""
    CUSTOMER = "customer"
    """A network that we carry, for money."""


class DefaultRoute(StrEnum):
    """What becomes of a default route (0.0.0.0/0, ::/0) that a peer announces."""

    REFUSE = "refuse"
    ACCEPT = "accept"
    """What no other route leads to goes to this peer; only a transit takes that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """A prefix that a customer may announce, and how long its parts may be."""

    prefix: Prefix
    max_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One BGP neighbourship of an edge with a peer, in IPv4 and IPv6."""

    edge: str
    ours: tuple[Interface, ...]
    """Our addresses on that network, with prefix length; one per address family."""
    theirs: tuple[Address, ...]
    """The neighbour's addresses; one per address family of `ours`."""
    interface: str
    """Our network interface; by default `x-PEER`. Several sessions may share one."""
    bfd: bool = False
    password: str = field(default="", repr=False)
    """Shared secret of TCP MD5 (RFC 2385); empty: none."""
    gtsm: bool = False
    """Accept only packets that crossed no router (RFC 5082); both ends must."""
    require_role: bool = False
    """Refuse a neighbour that does not say its BGP role (RFC 9234)."""
    capacity_mbps: int = 0
    """Of the port, in each direction; 0 = not said, or said of another session on it."""
    multihop: int = 0
    """The neighbour is at most so many hops away, not on our network; 0: it is on our network.
    Then `interface` is a port that the operating system manages: this machine's own way to
    the internet."""
    via: tuple[Address, ...] = ()
    """Multihop: gateways to the neighbour on `interface`, one per family at most. In a family
    without one the operating system's own routes lead to it."""
    passive: bool = False
    """The neighbour connects; we never do."""
    local_as: int = 0
    """The ASN that we have for this neighbour; 0: that of the platform."""
    preference: int | None = None
    """Local preference of its routes; None: by the kind of peer."""

    @property
    def device(self) -> str:
        """The interface that has `ours`: with multihop and a single address it is `lo`."""
        return "lo" if self.multihop and self.single else self.interface

    @property
    def single(self) -> bool:
        """Whether `ours` are single addresses (/32, /128): of a loopback."""
        return all(ours.network.prefixlen == ours.max_prefixlen for ours in self.ours)

    def gateway(self, version: int) -> Address | None:
        """Return the gateway of `via` of an address family (4 or 6), if there is one."""
        return next((each for each in self.via if each.version == version), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """An external BGP counterparty."""

    name: str
    kind: PeerKind
    asn: int
    sessions: tuple[Session, ...]
    max_prefixes4: int = 1_500_000
    max_prefixes6: int = 400_000
    """More on one session are too many: it is closed, and tried again by itself."""
    route_server: bool = True
    """IXP: these sessions are with route servers; False: with a member (bilateral)."""
    allowed: tuple[Allowed, ...] = ()
    """Customer: the prefixes it may announce."""
    allowed_asns: tuple[int, ...] = ()
    """Customer: further ASNs that its routes may come from; its own always may."""
    blackhole: bool = False
    """Blackhole routes (RFC 7999) are spoken here: accepted from customers for addresses of
    theirs, announced to others for addresses of ours."""
    blackhole_communities: tuple[tuple[int, ...], ...] = ()
    """With `blackhole`: what asks this peer to drop an address; empty: 65535:666."""
    default: DefaultRoute = DefaultRoute.REFUSE
    """Transit: whether its default route is taken."""

    @property
    def role(self) -> str:
        """Our BGP role towards it (RFC 9234), as BIRD calls it."""
        if self.kind is PeerKind.IXP and self.route_server:
            return "rs_client"
        return _ROLES[self.kind]

    @property
    def preference(self) -> int:
        """Local preference of its routes."""
        if self.kind is PeerKind.IXP and not self.route_server:
            return 210
        return _PREFERENCES[self.kind]

    @property
    def origin(self) -> int:
        """Value of large community `OUR_ASN:1:…` on its routes."""
        if self.kind is PeerKind.IXP and not self.route_server:
            return 5
        return _ORIGINS[self.kind]

    @property
    def takes_blackholes(self) -> bool:
        """Whether it drops what goes to an address of ours, when we ask for it."""
        return self.blackhole and self.kind is not PeerKind.CUSTOMER

    def max_prefixes(self, version: int) -> int:
        """Return the most prefixes accepted in one address family (4 or 6)."""
        return self.max_prefixes4 if version == 4 else self.max_prefixes6  # noqa: PLR2004


def customer_ports(sessions: Iterable[tuple[Peer, Session]]) -> frozenset[str]:
    """Return the interfaces, of the sessions of one edge, that have only customers behind them.

    There a packet's source address says whether it may be theirs. Behind the port of a
    neighbour that is hops away there are others, too.
    """
    pairs = tuple(sessions)
    shared = {
        each.interface
        for peer, each in pairs
        if peer.kind is not PeerKind.CUSTOMER or each.multihop
    }
    return frozenset(each.interface for _, each in pairs) - shared


_ROLES = {
    PeerKind.TRANSIT: "customer",
    PeerKind.IXP: "peer",
    PeerKind.PNI: "peer",
    PeerKind.CUSTOMER: "provider",
}
_PREFERENCES = {
    PeerKind.CUSTOMER: 300,
    PeerKind.PNI: 220,
    PeerKind.IXP: 200,
    PeerKind.TRANSIT: 100,
}
_ORIGINS = {
    PeerKind.CUSTOMER: 3,
    PeerKind.PNI: 4,
    PeerKind.IXP: 6,
    PeerKind.TRANSIT: 7,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RtrCache:
    """A server that knows which AS may originate which prefix (RFC 8210)."""

    address: Address
    port: int = 3323


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginValidation:
    """RPKI origin validation (RFC 6811); without caches there is none."""

    caches: tuple[RtrCache, ...] = ()
    hold_seconds: int = 30
    """A freshly started edge keeps external sessions closed until a cache has answered, but
    no longer than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roa:
    """A route origin authorization (RFC 9582): who may originate what."""

    prefix: Prefix
    asn: int
    max_length: int


@dataclass(frozen=True, slots=True)
class OriginQuestion:
    """May this AS originate this prefix."""

    prefix: Prefix
    asn: int


class Validity(StrEnum):
    """What RPKI says of a prefix and its origin (RFC 6811)."""

    VALID = "valid"
    INVALID = "invalid"
    """ROAs cover it, and none of them allows it."""
    NOT_FOUND = "not found"
    """No ROA covers it."""


class Reject(StrEnum):
    """Why a route from outside is refused. The number is large community `OUR_ASN:15:N`."""

    LENGTH = "length"
    BOGON = "bogon"
    OURS = "ours"
    PATH_LENGTH = "path-length"
    PRIVATE_ASN = "private-asn"
    RPKI_INVALID = "rpki-invalid"
    NOT_ALLOWED = "not-allowed"
    ORIGIN_ASN = "origin-asn"
    TRANSIT_IN_PATH = "transit-in-path"
    BLACKHOLE = "blackhole"
    AS_SET = "as-set"
    DRAINED = "drained"
    LOOP = "loop"

    @property
    def number(self) -> int:
        """Its number, which never changes its meaning."""
        return _REJECTS[self][0]

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return _REJECTS[self][1]


_REJECTS = {
    Reject.LENGTH: (1, "the prefix is shorter or longer than the internet accepts"),
    Reject.BOGON: (2, "the prefix is reserved and must not be on the internet"),
    Reject.OURS: (3, "the prefix is ours, or part of ours"),
    Reject.PATH_LENGTH: (4, "the AS path is too long"),
    Reject.PRIVATE_ASN: (5, "the AS path has a private or reserved ASN"),
    Reject.RPKI_INVALID: (6, "RPKI says that its origin may not announce it"),
    Reject.NOT_ALLOWED: (7, "the customer may not announce this prefix"),
    Reject.ORIGIN_ASN: (8, "the customer may not announce routes of this origin"),
    Reject.TRANSIT_IN_PATH: (9, "the AS path of a peer or customer leads through a transit"),
    Reject.BLACKHOLE: (10, "a blackhole that this peer may not ask for"),
    Reject.AS_SET: (11, "the AS path has a set in it"),
    Reject.DRAINED: (12, "the session is drained"),
    Reject.LOOP: (13, "the AS path leads through an ASN of ours"),
}
