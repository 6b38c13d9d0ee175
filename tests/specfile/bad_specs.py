"""Specs with one mistake each: what to change in an example, and what must be said about it.

The wrong line carries the comment `# <-`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """Replace `old` (once) by `new` in the example; the message must contain `says`."""

    name: str
    old: str
    new: str
    says: str
    also: tuple[str, str] = ("", "")
    """A change that is right, and makes this one wrong."""


_T1_FIRST = (
    'edge: fra-e1, ours: [203.0.113.1/31, "2001:db8:f000:1::1/127"],'
    ' theirs: [203.0.113.0, "2001:db8:f000:1::"], bfd: true}'
)
_AGGREGATES = 'aggregates: [198.51.100.0/24, "2001:db8:100::/48"]'
_LINK = "- {link: [fra-e1, ams-e2], kind: direct, capacity: 10Gbit}"
_FRA_NODES = """\
      fra-n1: {cpu: 4, memory: 8GiB}
      fra-n2: {cpu: 4, memory: 8GiB}
      fra-n3: {cpu: 4, memory: 8GiB}
"""
_TIMERS = "timers: {external_bfd_interval: 200ms}"


def _session(name: str, new: str, says: str) -> Bad:
    return Bad(name=name, old=_T1_FIRST, new=f"{new} # <-", says=says)


PLATFORMS = (
    Bad(
        name="unicast prefix of nowhere",
        old=_AGGREGATES,
        new='aggregates: [198.51.100.0/24, "2001:db8:100::/48", '
        "{prefix: 192.0.2.0/24, unicast: frb}] # <-",
        says="there is no datacenter 'frb' (did you mean fra?)",
    ),
    Bad(
        name="unicast prefix without room",
        old=_AGGREGATES,
        new='aggregates: [198.51.100.0/24, "2001:db8:100::/48", '
        "{prefix: 192.0.2.0/24, unicast: fra, per_node: 256}] # <-",
        says="192.0.2.0/24 is too small: fra-n1 has id 1, and each node takes 256 addresses",
    ),
    Bad(
        name="addresses for nodes in no power of two",
        old=_AGGREGATES,
        new='aggregates: [198.51.100.0/24, "2001:db8:100::/48", '
        "{prefix: 192.0.2.0/24, unicast: fra, per_node: 3}] # <-",
        says="3 is not a power of two in 1..256",
    ),
    Bad(
        name="policy of a unicast prefix",
        old=_AGGREGATES,
        new='aggregates: [198.51.100.0/24, "2001:db8:100::/48", '
        "{prefix: 192.0.2.0/24, unicast: fra, announce: any-healthy}] # <-",
        says="a unicast prefix is always announced by its datacenter, and nowhere else",
    ),
    Bad(
        name="unknown field at the top",
        old="asn: 64500",
        new="asn: 64500\naggregate: [] # <-",
        says="aggregate: unknown field (did you mean aggregates?)",
    ),
    Bad(
        name="unknown field deep inside",
        old="fra-n2: {cpu: 4, memory: 8GiB}",
        new="fra-n2: {cpu: 4, memory: 8GiB, memroy: 8GiB} # <-",
        says="datacenters.fra.nodes.fra-n2.memroy: unknown field (did you mean memory?)",
    ),
    Bad(
        name="missing field",
        old="    id: 2\n    city: Amsterdam\n",
        new="    city: Amsterdam\n",
        says="datacenters.ams.id: is missing (add id:)",
    ),
    Bad(
        name="aggregate inside the infrastructure",
        old=_AGGREGATES,
        new='aggregates:\n- 10.1.0.0/16 # <-\n- "2001:db8:100::/48"',
        says="10.1.0.0/16 overlaps 10.0.0.0/8",
    ),
    Bad(
        name="a /25",
        old=_AGGREGATES,
        new='aggregates:\n- 198.51.100.0/25 # <-\n- "2001:db8:100::/48"',
        says="198.51.100.0/25 is longer than /24",
    ),
    Bad(
        name="a /49",
        old=_AGGREGATES,
        new='aggregates:\n- 198.51.100.0/24\n- "2001:db8:100::/49" # <-',
        says="longer than /48",
    ),
    Bad(
        name="host bits in a prefix",
        old=_AGGREGATES,
        new='aggregates:\n- 198.51.100.7/24 # <-\n- "2001:db8:100::/48"',
        says="write 198.51.100.0/24",
    ),
    Bad(
        name="no aggregate",
        old=_AGGREGATES,
        new="aggregates: [] # <-",
        says="there is no prefix for services",
    ),
    Bad(
        name="unknown announce policy",
        old=_AGGREGATES,
        new=(
            "aggregates:\n- prefix: 198.51.100.0/24\n  announce: healthy # <-\n"
            '- "2001:db8:100::/48"'
        ),
        says="did you mean",
    ),
    Bad(
        name="infrastructure that is too small",
        old=_TIMERS,
        new="infrastructure: [10.0.0.0/23] # <-",
        says="10.0.0.0/23 must be a /8 to /22: each node has a part of it",
    ),
    Bad(
        name="infrastructure that is no /48",
        old=_TIMERS,
        new='infrastructure: ["fd00::/47"] # <-',
        says="fd00::/47 must be a /48",
    ),
    Bad(
        name="infrastructure for groups",
        old=_TIMERS,
        new="infrastructure: [224.0.0.0/12] # <-",
        says="224.0.0.0/12 cannot be addresses of machines",
    ),
    Bad(
        name="an IPv4 prefix and none",
        old=_TIMERS,
        new="infrastructure:\n- 10.0.0.0/8\n- no-ipv4 # <-",
        says="a prefix and no-ipv4",
    ),
    Bad(
        name="infrastructure that is no prefix",
        old=_TIMERS,
        new="infrastructure: [no-ipv6] # <-",
        says="must be an address with its length",
    ),
    Bad(
        name="more nodes and instances than fit",
        old=_TIMERS,
        new="infrastructure: [172.16.0.0/14]\nnumbering: {nodes: 4000, instances: 254} # <-",
        says="4000 nodes in each, and 254 instances on a node do not fit into 172.16.0.0/14",
    ),
    Bad(
        name="more nodes than there can be",
        old=_TIMERS,
        new="numbering: {nodes: 4001} # <-",
        says="4001 is outside 1..4000",
    ),
    Bad(
        name="a numbering for nothing",
        old=_TIMERS,
        new="infrastructure: [no-ipv4]\nnumbering: {nodes: 400} # <-",
        says="there is no IPv4 prefix to number",
    ),
    Bad(
        name="a datacenter that does not fit",
        old="    id: 2\n",
        new="    id: 50 # <-\n",
        says="id 50 is outside 1..32: 172.16.0.0/12 has room for no more",
        also=(_TIMERS, "infrastructure: [172.16.0.0/12]"),
    ),
    Bad(
        name="a node that does not fit",
        old=_FRA_NODES,
        new="      fra-n251: {cpu: 4, memory: 8GiB} # <-\n",
        says="outside 1..250: 10.0.0.0/8 has room for no more (give another id:, or say "
        "numbering: {nodes: 251}",
    ),
    Bad(
        name="an edge that does not fit",
        old="edges: [ams-e1, ams-e2]",
        new="edges: {ams-e1: {}, ams-e2: {id: 70}} # <-",
        says="outside 1..62: 192.168.0.0/16 has room for no more (give another id:, or say "
        "numbering: {instances: 70}",
        also=(_TIMERS, "infrastructure: [192.168.0.0/16]"),
    ),
    Bad(
        name="two infrastructure prefixes of one family",
        old=_TIMERS,
        new="infrastructure:\n- 10.0.0.0/8\n- 11.0.0.0/8 # <-",
        says="a second IPv4 prefix",
    ),
    Bad(
        name="same machine in two datacenters",
        old="controllers: [ams-c1]",
        new="controllers: [fra-c1] # <-",
        says="2 machines are called fra-c1",
    ),
    Bad(
        name="same machine twice in a list",
        old="controllers: [ams-c1]",
        new="controllers: [ams-c1, ams-c1] # <-",
        says="ams-c1 is in the list twice",
    ),
    Bad(
        name="a datacenter without edges",
        old="edges: [lon-e1, lon-e2]",
        new="edges: [] # <-",
        says="has no edges",
    ),
    Bad(
        name="same datacenter id",
        old="id: 2",
        new="id: 1 # <-",
        says="id 1 is already that of fra",
    ),
    Bad(
        name="datacenter id out of range",
        old="id: 2",
        new="id: 201 # <-",
        says="201 is outside 1..200",
    ),
    Bad(
        name="same machine id",
        old=_FRA_NODES,
        new="      fra-n1: {cpu: 4, memory: 8GiB}\n      fra-m1: {cpu: 4, memory: 8GiB} # <-\n",
        says="id 1 is already that of fra-n1",
    ),
    Bad(
        name="a machine without a number",
        old="controllers: [ams-c1]",
        new="controllers: [ams-control] # <-",
        says="end the name with its number",
    ),
    Bad(
        name="BIRD syntax in a datacenter's name",
        old="  ams:\n    id: 2",
        new='  "ams; } protocol bgp x {": # <-\n    id: 2',
        says="is not a name",
    ),
    Bad(
        name="BIRD syntax in a machine's name",
        old="controllers: [ams-c1]",
        new="controllers: ['c\" { accept; } 1'] # <-",
        says="is not a machine's name",
    ),
    Bad(
        name="a machine's name that is too long for BIRD",
        old="controllers: [ams-c1]",
        new="controllers: [ams-c1.of-a-datacenter-in-amsterdam.example] # <-",
        says="is not a machine's name (letters, digits, - and dots",
    ),
    Bad(
        name="a machine's name that is an address",
        old="controllers: [ams-c1]",
        new="controllers: [192.0.2.1] # <-",
        says="is not a machine's name",
    ),
    Bad(
        name="two names that differ in capitals alone",
        old="controllers: [ams-c1]",
        new="controllers: [FRA-C1] # <-",
        says="2 machines are called FRA-C1",
    ),
    Bad(
        name="a machine's name that reads as a session",
        old="controllers: [ams-c1]",
        new="controllers: {fra-e1.a: {id: 1}} # <-",
        says="it is also what a session with fra-e1 over fabric a is called",
    ),
    Bad(
        name="BIRD syntax in a peer's name",
        old="  transit1:\n    kind",
        new='  "t;}": # <-\n    kind',
        says="'t;}' is not a name",
    ),
    Bad(
        name="BIRD syntax in an address",
        old=_AGGREGATES,
        new='aggregates:\n- "198.51.100.0/24; accept" # <-\n- "2001:db8:100::/48"',
        says="must be an address with its length",
    ),
    Bad(
        name="a newline behind a name",
        old="platform: example",
        new='platform: "example\\n" # <-',
        says="is not a name",
    ),
    Bad(
        name="no unit",
        old="fra-n2: {cpu: 4, memory: 8GiB}",
        new="fra-n2: {cpu: 4, memory: 8} # <-",
        says="8 has no unit (write it such as 64MiB",
    ),
    Bad(
        name="bad unit",
        old="fra-n2: {cpu: 4, memory: 8GiB}",
        new="fra-n2: {cpu: 4, memory: 8GiBi} # <-",
        says="unknown unit GiBi in '8GiBi' (did you mean GiB?)",
    ),
    Bad(
        name="a part of a second where seconds are needed",
        old=_TIMERS,
        new="timers: {contact_ttl: 4500ms} # <-",
        says="not a whole number of seconds",
    ),
    Bad(
        name="contact_ttl within two heartbeats",
        old=_TIMERS,
        new="timers:\n  heartbeat: 2s\n  contact_ttl: 4s # <-",
        says="(4000ms) (else one late heartbeat ends the contact with a machine that is well)",
    ),
    Bad(
        name="a timer out of range",
        old=_TIMERS,
        new="timers: {bfd_interval: 1ms} # <-",
        says="1ms is outside 10ms..10000ms",
    ),
    Bad(
        name="ASN 0",
        old="asn: 64500",
        new="asn: 0 # <-",
        says="0 is not an ASN",
    ),
    Bad(
        name="ASN too large",
        old="asn: 64601",
        new="asn: 4294967296 # <-",
        says="4294967296 is not an ASN",
    ),
    Bad(
        name="ASN as text",
        old="asn: 64601",
        new="asn: AS64601 # <-",
        says="must be a whole number, not the text 'AS64601'",
    ),
    Bad(
        name="a peer with our ASN",
        old="asn: 64601",
        new="asn: 64500 # <-",
        says="our own ASN",
    ),
    Bad(
        name="our ASN is a node's",
        old="asn: 64500",
        new="asn: 4200001001 # <-",
        says="the private ASN of fra-n1",
    ),
    Bad(
        name="link to an unknown edge",
        old=_LINK,
        new="- {link: [fra-e1, ams-e3], kind: direct} # <-",
        says="backbone.0.link.1: there is no edge 'ams-e3' (did you mean ams-e",
    ),
    Bad(
        name="link from an edge to itself",
        old=_LINK,
        new="- {link: [fra-e1, fra-e1], kind: direct} # <-",
        says="both ends are fra-e1",
    ),
    Bad(
        name="link with three ends",
        old=_LINK,
        new="- {link: [fra-e1, ams-e1, lon-e1], kind: direct} # <-",
        says="must name two edges",
    ),
    Bad(
        name="the same link twice",
        old=_LINK,
        new=f"{_LINK}\n  - {{link: [ams-e2, fra-e1], kind: direct}} # <-",
        says="a second link between ams-e2 and fra-e1",
    ),
    Bad(
        name="a link of an unknown kind",
        old=_LINK,
        new="- {link: [fra-e1, ams-e2], kind: wiregard} # <-",
        says="'wiregard' is not a known word (did you mean wireguard?)",
    ),
    Bad(
        name="no capacity",
        old=_LINK,
        new="- {link: [fra-e1, ams-e2], kind: direct, capacity: 0Gbit} # <-",
        says="must be more than 0 (leave it out if it is not known)",
    ),
    Bad(
        name="an ASN that stands for others",
        old="asn: 64601",
        new="asn: 23456 # <-",
        says="23456 stands for any ASN of more than 16 bits",
    ),
    Bad(
        name="our ASN stands for others",
        old="asn: 64500",
        new="asn: 23456 # <-",
        says="23456 stands for any ASN of more than 16 bits",
    ),
    Bad(
        name="the last ASN",
        old="asn: 64602",
        new="asn: 4294967295 # <-",
        says="4294967295 is nobody's (RFC 7300)",
    ),
    Bad(
        name="capacity without unit",
        old=_LINK,
        new="- {link: [fra-e1, ams-e2], kind: direct, capacity: 10} # <-",
        says="10 has no unit",
    ),
    Bad(
        name="a fabric whose name is too long",
        old="    city: Amsterdam\n    fabrics: [a, b]",
        new="    city: Amsterdam\n    fabrics: [a, blackfibre-two] # <-",
        says="blackfibre-two has 14 characters, at most 11 fit",
    ),
    Bad(
        name="an unknown kind of peer",
        old="    kind: ixp",
        new="    kind: px # <-",
        says="'px' is not a known word",
    ),
    _session(
        "session on a machine that is no edge",
        _T1_FIRST.replace("edge: fra-e1", "edge: fra-n1"),
        "fra-n1 is a node, not an edge",
    ),
    _session(
        "session on an unknown machine",
        _T1_FIRST.replace("edge: fra-e1", "edge: fra-e9"),
        "there is no edge 'fra-e9'",
    ),
    _session(
        "family mismatch",
        _T1_FIRST.replace('[203.0.113.0, "2001:db8:f000:1::"]', "[203.0.113.0]"),
        "IPv4 does not fit ours: IPv4, IPv6",
    ),
    _session(
        "theirs outside our network",
        _T1_FIRST.replace("[203.0.113.0,", "[203.0.113.9,"),
        "203.0.113.9 is not in 203.0.113.0/31",
    ),
    _session(
        "theirs is ours",
        _T1_FIRST.replace("[203.0.113.0,", "[203.0.113.1,"),
        "203.0.113.1 is our own address",
    ),
    _session(
        "our address without length",
        _T1_FIRST.replace("203.0.113.1/31", "203.0.113.1"),
        "203.0.113.1 has no length",
    ),
    _session(
        "address with a scope",
        _T1_FIRST.replace('"2001:db8:f000:1::"', '"fe80::1%eth0"'),
        "must be an address such as",
    ),
    _session(
        "interface name too long",
        _T1_FIRST.replace("bfd: true", "interface: a-very-long-name"),
        "a-very-long-name has 16 bytes",
    ),
    _session(
        "interface with BIRD syntax",
        _T1_FIRST.replace("bfd: true", "interface: 'x\";'"),
        "is not the name of an interface",
    ),
    Bad(
        name="two sessions on one interface",
        old=_T1_FIRST,
        new=f"{_T1_FIRST}\n      - {{edge: fra-e1, ours: [203.0.113.200/31],"
        " theirs: [203.0.113.201]} # <-",
        says="x-transit1 of fra-e1 already has 203.0.113.1/31, not 203.0.113.200/31",
    ),
    Bad(
        name="duplicate key",
        old="  lon:\n    id: 3",
        new="  fra: # <-\n    id: 3",
        says="datacenters.fra: said twice, first in line 8",
    ),
    Bad(
        name="YAML syntax error",
        old="asn: 64500",
        new='asn: "64500" x # <-',
        says="not YAML",
    ),
    Bad(
        name="YAML anchor",
        old="    city: Frankfurt",
        new="    city: &city Frankfurt # <-",
        says="anchors (&) and aliases (*) are not supported",
    ),
    Bad(
        name="a list where a mapping is needed",
        old=f"    nodes:\n{_FRA_NODES}",
        new="    nodes: [fra-n1] # <-\n",
        says="must be a mapping, not a list",
    ),
    Bad(
        name="nothing where a mapping is needed",
        old=_TIMERS,
        new="timers: # <-",
        says="must be a mapping, not empty",
    ),
)
