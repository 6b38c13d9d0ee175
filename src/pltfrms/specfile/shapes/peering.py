"""The shapes of peers, traffic engineering and RPKI in `platform.yaml`."""

from ipaddress import IPv6Address
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from pltfrms.model.network.peering import DefaultRoute, OriginValidation, PeerKind, RtrCache
from pltfrms.specfile.shapes.shapes import Shape, SparseShape
from pltfrms.specfile.shapes.units import (
    AddressText,
    AsSetText,
    CommunityText,
    CommunityWord,
    FileText,
    InterfaceText,
    Mbps,
    Moment,
    PrefixText,
    Seconds,
    SecretText,
    default,
    one_of,
    said,
    some,
    wrong,
)

_VALIDATION = OriginValidation()
_CACHE = RtrCache(address=IPv6Address("::1"))


class SessionShape(Shape):
    """One BGP neighbourship of an edge."""

    edge: str
    """Our edge."""
    ours: list[InterfaceText]
    """Our addresses on that network with length, one per address family."""
    theirs: list[AddressText]
    """The neighbour's addresses, one for each of `ours`, in the same order."""
    interface: str = said()
    """Our network interface; by default x-PEER. Multihop needs one. Sessions of one edge that
    have the same `ours` may share one: all that are behind one port of an exchange."""
    bfd: bool = False
    """True if the neighbour runs BFD too: failures are then seen within a second."""
    password: SecretText = ""
    """Shared secret of TCP MD5 (RFC 2385): 1 to 80 printable ASCII characters without spaces,
    quotes and backslashes."""
    password_file: FileText = ""
    """File with the password, relative to this one: keeps it out of this file."""
    gtsm: bool = False
    """True: accept only packets that crossed no router (RFC 5082). The neighbour must have
    it too."""
    multihop: int = 0
    """The neighbour is not on our network, but at most so many hops away: 1..64. `ours` is then
    any address of the machine, which the operating system sets on `interface`; a single one
    (/32, /128) is set on lo. The operating system's own routes lead to the neighbour."""
    via: list[AddressText] = Field(default_factory=list)
    """Multihop: gateways to the neighbour, one per address family at most, where the way is not
    the operating system's own."""
    passive: bool = False
    """True: wait until the neighbour connects."""
    local_as: int | None = None
    """The ASN that we have for this neighbour, such as that of a network which we took over; by
    default the platform's."""
    preference: int | None = None
    """Local preference of its routes, 1..349; by default by the kind of the peer."""
    require_role: bool = False
    """True: refuse a neighbour that does not say its BGP role (RFC 9234)."""
    capacity: Mbps = default(0, "0Mbit")
    """Of the port, such as 10Gbit; leave it out if it is not known. Sessions that share a port
    need to say it once."""


class AllowedShape(SparseShape):
    """A prefix that a customer may announce."""

    prefix: PrefixText
    """At most /24 long for IPv4 and /48 for IPv6: longer ones are filtered in the internet."""
    max_length: int | None = None
    """How long its parts may be; by default 24 for IPv4 and 48 for IPv6."""


def _as_allowed(value: object) -> object:
    return {"prefix": value} if isinstance(value, str) else value


AllowedEntry = Annotated[
    AllowedShape,
    BeforeValidator(_as_allowed, json_schema_input_type=str | AllowedShape),
]


class MaxPrefixesShape(SparseShape):
    """How many prefixes a session may bring; more, and something is wrong over there."""

    ipv4: int | None = None
    """Most IPv4 prefixes; by default what fits the peer's kind."""
    ipv6: int | None = None
    """Most IPv6 prefixes; by default what fits the peer's kind."""
    peeringdb: bool = False
    """True: what is not said comes from the file `peeringdb:` of the platform; what the
    network says of itself there, and a fifth more, at least 100 more."""


def _as_max_prefixes(value: object) -> object:
    if value == "peeringdb":
        return {"peeringdb": True}
    if isinstance(value, str):
        hint = "such as 1000, {ipv4: 1000, ipv6: 200} or peeringdb"
        raise wrong(f"{value!r} is not a number of prefixes", hint)
    if isinstance(value, int) and not isinstance(value, bool):
        return {"ipv4": value, "ipv6": value}
    return value


MaxPrefixes = Annotated[
    MaxPrefixesShape,
    BeforeValidator(
        _as_max_prefixes,
        json_schema_input_type=int | Literal["peeringdb"] | MaxPrefixesShape,
    ),
]


class BlackholeShape(SparseShape):
    """How a peer is asked to drop what goes to an address of ours."""

    communities: list[CommunityText] = some()
    """Its own communities for that, such as "64601:666", in place of 65535:666."""


def _as_blackhole(value: object) -> object:
    if isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, dict):
        raise wrong(f"{value!r} is not known here", 'true, or {communities: ["64601:666"]}')
    return value


Blackhole = Annotated[
    BlackholeShape | None,
    BeforeValidator(_as_blackhole, json_schema_input_type=bool | BlackholeShape),
]


class PeerShape(Shape):
    """An external BGP counterparty."""

    kind: Annotated[str, *one_of(*PeerKind)]
    """What it is to us: transit (carries us everywhere), ixp (an exchange), pni (exchanges
    its own traffic with us over a line of our own), customer (we carry it)."""
    asn: int
    """Its ASN."""
    sessions: list[SessionShape]
    """Our neighbourships with it."""
    max_prefixes: MaxPrefixes = Field(default_factory=MaxPrefixesShape)
    """A session on which more prefixes arrive is closed, and tried again: a number for each
    family, {ipv4: …, ipv6: …}, or peeringdb. By default (IPv4, IPv6) 1500000 and 400000 of a
    transit, 500000 and 200000 of route servers, 200000 and 100000 of a member of an exchange
    or a private peer, 10000 and 10000 of a customer."""
    route_server: bool = True
    """IXP: true if these sessions are with its route servers, false if with a member."""
    blackhole: Blackhole = None
    """True: blackhole routes (RFC 7999) are spoken here. They are accepted from a customer
    for its own addresses, and announced to others for addresses of ours. Not for a pni.
    {communities: […]}: so, with communities of the peer's own in place of 65535:666."""
    communities: dict[str, CommunityText] = Field(default_factory=dict)
    """Names of communities of this peer, for use in `traffic`: {no-us: "64601:100"}."""
    default: Annotated[str, *one_of(*DefaultRoute)] = DefaultRoute.REFUSE.value
    """Transit: accept takes its default route, beside whatever else it sends. Needed of a
    transit that sends no full table. By default refuse."""
    prefixes: list[AllowedEntry] = Field(default_factory=list)
    """Customer: what it may announce, such as 192.0.2.0/24 or {prefix: 192.0.2.0/23,
    max_length: 24}."""
    prefixes_file: FileText = ""
    """Customer: a file with more of them, relative to this one: a prefix in each line, its
    max_length after it if it is another than by default; # begins a comment."""
    as_set: AsSetText = ""
    """Customer: the as-set from which prefixes_file is made, such as RIPE::AS-EXAMPLE."""
    asns: list[int] = Field(default_factory=list)
    """Customer: further ASNs that its routes may come from; its own always may."""


class OverrideShape(SparseShape):
    """A deviation from announcing every aggregate everywhere as it is.

    It holds where all of its conditions hold.
    """

    prefix: PrefixText | None = None
    """Condition: only for this aggregate."""
    peer: str = said()
    """Condition: only to this peer."""
    kind: Annotated[str | None, *one_of(*PeerKind)] = None
    """Condition: only to peers of this kind."""
    datacenter: str = said()
    """Condition: only from this datacenter."""
    edge: str = said()
    """Condition: only from this edge."""
    announce: bool | None = None
    """False: not announced there. True: announced in spite of an earlier override."""
    prepend: int | None = None
    """So many times our ASN is put before the path in addition to once, 0..10."""
    med: int | None = None
    """MULTI_EXIT_DISC, 0..4294967295; smaller is better."""
    no_export: bool | None = None
    """True: the peer must not tell others (community NO_EXPORT)."""
    communities: list[CommunityWord] = Field(default_factory=list)
    """Added to the announcement, such as "64601:100" or "64601:1:2", or by a name that the
    peer has in its `communities`."""
    preference: int | None = None
    """Local preference of the routes that we learn there, 1..349; our own services in other
    datacenters are at 350. More is better."""
    until: Moment | None = None
    """From this date or time on it does not count: 2030-01-31 (0:00 in UTC) or
    2030-01-31T18:00:00Z. By default it has no end."""
    why: str = ""
    """The reason, for people."""


class CacheShape(SparseShape):
    """A server that knows which AS may originate which prefix (RFC 8210)."""

    address: str
    """Its address, or the name of a controller or edge of ours on which it runs."""
    port: int = _CACHE.port
    """Its TCP port."""


def _as_cache(value: object) -> object:
    return {"address": value} if isinstance(value, str) else value


CacheEntry = Annotated[
    CacheShape, BeforeValidator(_as_cache, json_schema_input_type=str | CacheShape)
]


class RpkiShape(Shape):
    """RPKI origin validation (RFC 6811)."""

    caches: list[CacheEntry] = Field(default_factory=list)
    """Where validated data comes from: names of our controllers or edges, addresses, or
    {address: …, port: …}."""
    hold: Seconds = default(_VALIDATION.hold_seconds, f"{_VALIDATION.hold_seconds}s")
    """A freshly started edge keeps external sessions closed until a cache has answered, but
    no longer than this."""
