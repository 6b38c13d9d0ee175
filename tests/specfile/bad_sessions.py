"""Wrong ends of sessions, and empty words: what to change, and what must be said."""

from tests.specfile.bad_specs import Bad

_T1 = (
    'edge: fra-e1, ours: [203.0.113.1/31, "2001:db8:f000:1::1/127"],'
    ' theirs: [203.0.113.0, "2001:db8:f000:1::"], bfd: true}'
)
_AGGREGATES = 'aggregates: [198.51.100.0/24, "2001:db8:100::/48"]'
_NOBODY = "is no address of a machine on a network"
EMPTY = "is empty, which does not mean none (give it a value or leave it out)"
_TIMERS = "timers: {external_bfd_interval: 200ms}"


def _session(name: str, words: str, says: str) -> Bad:
    return Bad(name=name, old=_T1, new=f"edge: fra-e1, {words}}} # <-", says=says)


def _aggregate(name: str, entry: str, says: str) -> Bad:
    new = f"aggregates:\n- 198.51.100.0/24\n- {entry} # <-"
    return Bad(name=name, old=_AGGREGATES, new=new, says=says)


SESSIONS = (
    _session(
        "multihop: 1",
        "ours: [203.0.113.1/31], theirs: [192.0.2.9], multihop: 1",
        "interface: is missing: a neighbour that is hops away is behind no port of its own",
    ),
    _session("ours is loopback", "ours: [127.0.0.1/8], theirs: [127.0.0.2]", _NOBODY),
    _session("theirs is multicast", "ours: [224.0.0.1/24], theirs: [224.0.0.5]", _NOBODY),
    _session("theirs is unspecified", 'ours: ["::1:2/64"], theirs: ["::"]', f":: {_NOBODY}"),
    _session("ours is reserved", "ours: [240.0.0.1/24], theirs: [240.0.0.2]", _NOBODY),
    _session(
        "ours is its network",
        "ours: [192.0.2.0/24], theirs: [192.0.2.2]",
        "192.0.2.0 is the network's own or the broadcast address of 192.0.2.0/24",
    ),
    _session(
        "theirs is everybody",
        "ours: [192.0.2.1/24], theirs: [192.0.2.255]",
        "192.0.2.255 is the network's own or the broadcast address of 192.0.2.0/24",
    ),
    _session(
        "local_as: 0",
        "ours: [192.0.2.1/24], theirs: [192.0.2.2], local_as: 0",
        "local_as: 0 is not an ASN (leave it out: then it is the platform's)",
    ),
    _session(
        "interface without a name",
        'ours: [192.0.2.1/24], theirs: [192.0.2.2], interface: ""',
        EMPTY,
    ),
    _aggregate("no datacenters", "{prefix: 203.0.112.0/24, datacenters: []}", EMPTY),
    _aggregate("no name", '{prefix: 203.0.112.0/24, name: ""}', EMPTY),
    _aggregate("unicast of nothing", '{prefix: 203.0.112.0/24, unicast: ""}', EMPTY),
    _aggregate(
        "no addresses for nodes",
        "{prefix: 203.0.112.0/24, unicast: fra, per_node: 0}",
        "0 is not a power of two in 1..256",
    ),
    _aggregate("a prefix of a reserved block", "241.0.0.0/24", "cannot be routed"),
    _aggregate("a prefix of this network", "0.1.0.0/24", "cannot be routed in the internet"),
    _aggregate("a prefix nobody was given", '"4000:1::/48"', "cannot be routed"),
    _aggregate("half of the internet", "128.0.0.0/1", "is shorter than /8: nobody has so much"),
    Bad(name="no infrastructure", old=_TIMERS, new="infrastructure: [] # <-", says=EMPTY),
    Bad(
        name="numbering as it is without IPv4",
        old=_TIMERS,
        new="infrastructure: [no-ipv4]\nnumbering: {nodes: 4000} # <-",
        says="there is no IPv4 prefix to number (leave it out)",
    ),
    Bad(
        name="a datacenter that fits with fewer instances",
        old="    id: 2\n",
        new="    id: 5 # <-\n",
        says="numbering: {nodes: 13, instances: 6}, smaller ids, or a shorter prefix",
        also=(_TIMERS, "infrastructure: [172.16.0.0/22]"),
    ),
    Bad(
        name="an override of no peer",
        old=_TIMERS,
        new='traffic: [{peer: "", announce: false}] # <-',
        says=EMPTY,
    ),
    Bad(
        name="blackholes with no community",
        old="    asn: 64601\n",
        new="    asn: 64601\n    blackhole: {communities: []} # <-\n",
        says=EMPTY,
    ),
)
