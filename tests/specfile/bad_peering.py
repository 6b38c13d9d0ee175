"""Wrong words about peers: what to change in `routing/platform.yaml`, and what must be said.

The wrong line carries the comment `# <-`.
"""

from dataclasses import dataclass

from tests.specfile.bad_specs import Bad


@dataclass(frozen=True, slots=True, kw_only=True)
class BadFile:
    """Replace a file that the platform names; the message is about its line `line`."""

    name: str
    file: str
    text: str
    says: str
    line: int


_PREFIXES = "prefixes: [192.0.2.0/24, {prefix: 198.18.0.0/22, max_length: 23}]"
_MEMBER = (
    "- {edge: ams-e1, ours: [203.0.113.131/25], theirs: [203.0.113.140], interface: x-ixp}"
)


def _swap(name: str, old: str, new: str, says: str) -> Bad:
    return Bad(name=name, old=old, new=f"{new} # <-", says=says)


def _prefixes(name: str, new: str, says: str) -> Bad:
    return _swap(name, _PREFIXES, f"prefixes: [{new}]", says)


_SESSIONS = (
    _swap(
        "two capacities of one port",
        _MEMBER,
        _MEMBER.replace("x-ixp", "x-ixp, capacity: 10Gbit"),
        "x-ixp of ams-e1 has 20000 Mbit/s already",
    ),
    _swap(
        "a default route of somebody who does not carry us",
        "asn: 64702",
        "asn: 64702\n    default: accept",
        "a pni does not carry us everywhere",
    ),
    _swap(
        "a default route in other words",
        "default: accept",
        "default: allow",
        "is not a known word (known: accept, refuse)",
    ),
    _swap(
        "port without capacity",
        "capacity: 20Gbit",
        "capacity: 0Gbit",
        "must be more than 0",
    ),
    _swap(
        "capacity without unit",
        _MEMBER,
        _MEMBER.replace("x-ixp", "x-ixp, capacity: 10"),
        "10 has no unit",
    ),
    _swap(
        "session on a router of others",
        _MEMBER,
        _MEMBER.replace("edge: ams-e1", "edge: ams-e9"),
        "ams-e9 is managed by others",
    ),
    _swap("empty password", "password: s3cret!", 'password: ""', "text that is not empty"),
    _swap("number as password", "password: s3cret!", "password: 1", "text that is not empty"),
    _swap("space in a password", "password: s3cret!", "password: a b", "80 printable ASCII"),
    _swap("quote in a password", "password: s3cret!", "password: a'b", "80 printable ASCII"),
    _swap("umlaut in a password", "password: s3cret!", "password: ä", "80 printable ASCII"),
    _swap("long password", "password: s3cret!", f"password: {'x' * 81}", "1 to 80 printable"),
    _swap(
        "two passwords",
        "password_file: private.secret",
        "password: x\n        password_file: private.secret",
        "password and password_file are both there",
    ),
    _swap(
        "no such password file",
        "password_file: private.secret",
        "password_file: public.secret",
        "cannot be read: there is no such file",
    ),
    _swap(
        "empty name of a file",
        "password_file: private.secret",
        'password_file: ""',
        "is empty (the name of a file)",
    ),
    _swap(
        "other addresses on a shared interface",
        _MEMBER,
        _MEMBER.replace("203.0.113.131/25", "203.0.113.132/25"),
        "x-ixp of ams-e1 already has 203.0.113.131/25, not 203.0.113.132/25",
    ),
    _swap(
        "other length on a shared interface",
        _MEMBER,
        _MEMBER.replace("203.0.113.131/25", "203.0.113.131/24"),
        "x-ixp of ams-e1 already has 203.0.113.131/25, not 203.0.113.131/24",
    ),
    _swap(
        "an address on two interfaces",
        _MEMBER,
        _MEMBER.replace("x-ixp", "x-two"),
        "203.0.113.131 is already an address of ams-e1 (x-ixp)",
    ),
    _swap(
        "an address on two edges",
        _MEMBER,
        _MEMBER.replace("edge: ams-e1", "edge: fra-e2"),
        "203.0.113.131 is already an address of ams-e1 (x-ixp)",
    ),
    _swap(
        "the same neighbour twice",
        _MEMBER,
        _MEMBER.replace("203.0.113.140", "203.0.113.130"),
        "ams-e1 already has a session with 203.0.113.130",
    ),
    _swap(
        "an interface of the fabric",
        _MEMBER,
        _MEMBER.replace("x-ixp", "fab-a"),
        "fab-a of ams-e1 is already in use",
    ),
)

_PEERS = (
    _swap(
        "a network of our infrastructure",
        _MEMBER,
        _MEMBER.replace("203.0.113.131/25", "10.0.0.131/25").replace("x-ixp", "x-two"),
        "10.0.0.131/25 is inside our infrastructure 10.0.0.0/8",
    ),
    _swap(
        "no sessions", f"sessions:\n      {_MEMBER}", "sessions: []", "sessions: there is none"
    ),
    _swap("no prefixes at all", "max_prefixes: 50", "max_prefixes: 0", "0 is outside 1..10000"),
    _swap("too many prefixes", "max_prefixes: 50", "max_prefixes: 10000001", "is outside 1..1"),
    _swap(
        "no number of prefixes",
        "max_prefixes: 50",
        "max_prefixes: peeringbd",
        "'peeringbd' is not a number of prefixes",
    ),
    _swap(
        "prefixes of an unknown family",
        "max_prefixes: 50",
        "max_prefixes: {ipv7: 50}",
        "unknown field (did you mean ipv",
    ),
    _swap(
        "an empty number of prefixes",
        "max_prefixes: 50",
        "max_prefixes: {ipv4: }",
        "max_prefixes.ipv4: must not be empty",
    ),
    _swap("no PeeringDB", "max_prefixes: 50", "max_prefixes: peeringdb", "ASN 64801"),
    _swap(
        "nothing said in PeeringDB",
        "asn: 64701\n    route_server: false\n    max_prefixes: peeringdb",
        "asn: 64704\n    route_server: false\n    max_prefixes: peeringdb",
        "AS64704 says in PeeringDB that it has no IPv4 prefixes",
    ),
    Bad(
        name="no file of PeeringDB",
        old="peeringdb: peeringdb.json\n",
        new="",
        says="the platform has no file with PeeringDB's answer (peeringdb: FILE",
    ),
    _swap("unreadable PeeringDB", "peeringdb: peeringdb.json", "peeringdb: no.json", "no such"),
    _swap(
        "route server of a transit",
        "    asn: 64601",
        "    asn: 64601\n    route_server: true",
        "route_server belongs to an ixp, not to a transit",
    ),
    _swap(
        "member of a pni",
        "    asn: 64702",
        "    asn: 64702\n    route_server: false",
        "route_server belongs to an ixp, not to a pni",
    ),
    _swap(
        "blackhole of a pni",
        "    asn: 64702",
        "    asn: 64702\n    blackhole: true",
        "a pni carries its own traffic alone",
    ),
    _swap(
        "prefixes of a pni",
        "    asn: 64702",
        "    asn: 64702\n    prefixes: [192.0.2.0/24]",
        "prefixes belong to a customer, not to a pni",
    ),
    _swap(
        "ASNs of a transit",
        "    asn: 64601",
        "    asn: 64601\n    asns: [64602]",
        "asns belong to a customer, not to a transit",
    ),
    Bad(
        name="a customer without prefixes",
        old=f"    {_PREFIXES}\n    prefixes_file: customer.txt\n"
        "    as_set: RIPE::AS64801:AS-CUSTOMERS\n",
        new="",
        says="a customer without prefixes may announce nothing",
    ),
    _swap(
        "an as-set without its file",
        "prefixes_file: customer.txt\n    as_set: RIPE::AS64801:AS-CUSTOMERS",
        "as_set: RIPE::AS64801:AS-CUSTOMERS",
        "there is no prefixes_file that is made from it",
    ),
    _swap(
        "an ASN as as-set", "as_set: RIPE::AS64801:AS-CUSTOMERS", "as_set: AS64801", "as-set"
    ),
    _swap("no as-set", "as_set: RIPE::AS64801:AS-CUSTOMERS", 'as_set: "AS-X; rm"', "as-set"),
    _swap(
        "no such prefix file",
        "prefixes_file: customer.txt",
        "prefixes_file: no.txt",
        "cannot be read: there is no such file",
    ),
    _swap(
        "a name that no file can have",
        "prefixes_file: customer.txt",
        'prefixes_file: "\\0"',
        "cannot be read",
    ),
    _prefixes("a part of ours", "198.51.100.0/24", "overlaps our 198.51.100.0/24"),
    _prefixes("around ours", "198.51.0.0/16", "198.51.0.0/16 overlaps our 198.51.100.0/24"),
    _prefixes("in our infrastructure", "10.9.0.0/16", "10.9.0.0/16 overlaps our 10.0.0.0/8"),
    _prefixes("everything", "0.0.0.0/0", "0.0.0.0/0 is shorter than /8"),
    _prefixes("a customer's /25", "192.0.2.0/25", "192.0.2.0/25 is longer than /24"),
    _prefixes("multicast", "239.0.0.0/24", "239.0.0.0/24 cannot be routed in the internet"),
    _prefixes("a prefix twice", "192.0.2.0/24, 192.0.2.0/24", "is in the list twice"),
    _prefixes(
        "parts longer than the internet accepts",
        "{prefix: 192.0.2.0/24, max_length: 25}",
        "max_length 25 is outside 24..24",
    ),
    _prefixes(
        "parts shorter than the whole",
        '{prefix: "2001:db8:8000::/36", max_length: 35}',
        "max_length 35 is outside 36..48",
    ),
    _prefixes("an empty length", "{prefix: 192.0.2.0/24, max_length: }", "must not be empty"),
    _swap("our ASN of a customer", "asns: [64802, 64803]", "asns: [64500]", "is our own ASN"),
    _swap("ASN 0 of a customer", "asns: [64802, 64803]", "asns: [0]", "0 is not an ASN"),
    _swap(
        "its own ASN again", "asns: [64802, 64803]", "asns: [64801]", "64801 is said already"
    ),
    _swap(
        "an ASN behind a customer that stands for others",
        "asns: [64802, 64803]",
        "asns: [23456]",
        "23456 stands for",
    ),
    _swap("an ASN twice", "asns: [64802, 64803]", "asns: [64802, 64802]", "is said already"),
    _swap(
        "a transit behind a customer",
        "asns: [64802, 64803]",
        "asns: [64601]",
        "64601 is the ASN of transit1: its routes would be refused",
    ),
    _swap(
        "a transit as customer",
        "asn: 64801",
        "asn: 64601",
        "64601 is the ASN of transit1: its routes would be refused",
    ),
)

PEERING = (*_SESSIONS, *_PEERS)

FILES = (
    BadFile(
        name="an empty list of prefixes",
        file="customer.txt",
        text="# nothing\n\n",
        says="a list that became empty is a mistake",
        line=0,
    ),
    BadFile(
        name="no prefix",
        file="customer.txt",
        text="# made\n192.0.2.7/24\n",
        says="192.0.2.7/24 has bits set after its length (write 192.0.2.0/24)",
        line=2,
    ),
    BadFile(
        name="no length",
        file="customer.txt",
        text="198.19.0.0/20 ^24\n",
        says="'198.19.0.0/20 ^24' is neither a prefix nor",
        line=1,
    ),
    BadFile(
        name="three words",
        file="customer.txt",
        text="198.19.0.0/20 24 25\n",
        says="is neither a prefix nor",
        line=1,
    ),
    BadFile(
        name="a prefix of ours in a file",
        file="customer.txt",
        text="198.19.0.0/20\n\n198.51.100.0/24 # ours\n",
        says="peers.customer.prefixes_file: 198.51.100.0/24 overlaps our 198.51.100.0/24",
        line=3,
    ),
    BadFile(
        name="a prefix that platform.yaml has, too",
        file="customer.txt",
        text="192.0.2.0/24\n",
        says="192.0.2.0/24 is in the list twice",
        line=1,
    ),
    BadFile(
        name="length out of range in a file",
        file="customer.txt",
        text="198.19.0.0/20 25\n",
        says="max_length 25 is outside 20..24",
        line=1,
    ),
    BadFile(
        name="empty password file",
        file="private.secret",
        text="\n",
        says="there is no password in it",
        line=0,
    ),
    BadFile(
        name="password of two lines",
        file="private.secret",
        text="one\ntwo\n",
        says="peers.private.sessions.0.password_file: it must be 1 to 80 printable ASCII",
        line=1,
    ),
    BadFile(
        name="no JSON",
        file="peeringdb.json",
        text="<html>",
        says="is not what PeeringDB's /api/net answers",
        line=0,
    ),
    BadFile(
        name="JSON without data",
        file="peeringdb.json",
        text='{"meta": {}}',
        says="is not what PeeringDB's /api/net answers",
        line=0,
    ),
    BadFile(
        name="a network without ASN",
        file="peeringdb.json",
        text='{"data": [{"asn": "64701"}]}',
        says="is not what PeeringDB's /api/net answers",
        line=0,
    ),
    BadFile(
        name="a network that is gone from PeeringDB",
        file="peeringdb.json",
        text='{"data": []}',
        says="the file of PeeringDB has no network with ASN 64701",
        line=-1,
    ),
)
