"""Wrong words about routing: what to change in `routing/platform.yaml`, and what must be said.

The wrong line carries the comment `# <-`.
"""

from tests.specfile.bad_specs import Bad

_TIMERS = "timers: {flap_half_life: 4m, drain_wait: 5s, confirm: 30s}"
_GUARDS = (
    "guards: {announce_floor: 2, shrink_percent: 50, headroom_percent: 80, vantage_floor: 3,\n"
    "         table_floor: {ipv4: 600000},\n"
    "         node_prefixes: placed, two_people: [drains, overrides]}"
)
_BOB = "bob: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJvYi4uLi4uLi4uLi4uLi4uLi4uLi4uLi4uLi4uLi4u]"
_KEY = _BOB.removeprefix("bob: [").removesuffix("]")
_ADA = (
    "ada: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFkYS4uLi4uLi4uLi4uLi4uLi4uLi4uLi4uLi4uLi4u"
    " ada@desk]"
)
_RPKI = (
    'rpki: {caches: [fra-c1, ams-e1, 192.0.2.10, {address: "2001:db8:9::1", port: 8282}],'
    " hold: 20s}"
)
_DIRECT = "- {link: [fra-e1, ams-e1], kind: direct, mtu: 9000}"
_ENDPOINTS = 'endpoints: ["2001:db8:f0::1", "2001:db8:f1::1"]'
_PREFERENCE = "- {peer: private, preference: 150}"


def _swap(name: str, old: str, new: str, says: str) -> Bad:
    return Bad(name=name, old=old, new=f"{new} # <-", says=says)


def _timers(name: str, new: str, says: str) -> Bad:
    return _swap(name, _TIMERS, f"timers: {new}", says)


def _guards(name: str, new: str, says: str) -> Bad:
    return _swap(name, _GUARDS, f"guards: {new}", says)


def _bob(name: str, new: str, says: str) -> Bad:
    return _swap(name, _BOB, f"bob: {new}", says)


def _caches(name: str, new: str, says: str) -> Bad:
    return _swap(name, _RPKI, f"rpki: {{caches: [{new}]}}", says)


def _direct(name: str, new: str, says: str) -> Bad:
    return _swap(name, _DIRECT, f"- {{link: [fra-e1, ams-e1], kind: direct, {new}}}", says)


def _endpoints(name: str, new: str, says: str) -> Bad:
    return _swap(name, _ENDPOINTS, f"endpoints: {new}", says)


def _override(name: str, new: str, says: str) -> Bad:
    return _swap(name, _PREFERENCE, f"- {{{new}}}", says)


def _communities(name: str, new: str, says: str) -> Bad:
    return _override(name, f"communities: [{new}]", says)


_TIMERS_AND_GUARDS = (
    _timers("half-life without unit", "{flap_half_life: 300}", "300 has no unit"),
    _timers("half-life of nothing", "{flap_half_life: 0s}", "0s is outside 1s..86400s"),
    _timers(
        "half-life shorter than the hold",
        "{flap_half_life: 20s, flap_hold: 30s}",
        "must not be less than flap_hold (30s)",
    ),
    _timers("drain that waits too long", "{drain_wait: 2h}", "7200s is outside 0s..3600s"),
    _timers("confirm too short", "{confirm: 2s}", "2s is outside 5s..600s"),
    _timers("confirm too long", "{confirm: 11m}", "660s is outside 5s..600s"),
    _timers(
        "confirm in parts of seconds", "{confirm: 5500ms}", "not a whole number of seconds"
    ),
    _timers(
        "confirm before BFD sees anything",
        "{confirm: 10s, external_bfd_interval: 5s}",
        "must be more than external BFD needs to find a neighbour gone (15000ms)",
    ),
    _guards("floor of nothing", "{announce_floor: 0}", "0 is less than 1"),
    _guards(
        "floor that nobody reaches",
        "{announce_floor: 3}",
        "3 is more than the 2 datacenters with external sessions",
    ),
    _guards("unknown rule of two people", "{two_people: [drain]}", "did you mean drains?"),
    _guards(
        "a rule twice",
        "{two_people: [drains, drains]}",
        "guards.two_people.1: drains stands there twice",
    ),
    _bob("an operator without key", "[]", "operators.bob: has no key"),
    _bob("a key that is none", "[AAAAC3NzaC1l]", "operators.bob.keys.0: is not a public key"),
    _bob("a key of an old kind", "[ssh-dss AAAAB3NzaC1kc3M]", "is not a public key"),
    _bob("half a key", "[ssh-ed25519 AAAAC3NzaC1lZDI1NTE5]", "is not a whole ssh-ed25519 key"),
    _bob(
        "a key with another kind inside",
        "[ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIGJvYi4uLi4uLi4uLi4uLi4uLi4uLi4uLi4uLi4uLi4u]",
        "is not a whole ssh-rsa key",
    ),
    _bob("a key of two people", _ADA.removeprefix("ada: "), "is the key of ada already"),
    _bob("a deployer of nothing", f"{{keys: [{_KEY}], role: deployer}}", "deploys no service"),
    _bob(
        "services of who deploys nothing",
        f"{{keys: [{_KEY}], role: admin, services: [web]}}",
        "operators.bob.services: is for the role deployer alone",
    ),
    _bob(
        "a pattern that is none",
        f"{{keys: [{_KEY}], role: deployer, services: ['*-shop']}}",
        "'*-shop' names no service",
    ),
    _bob("nobody who is admin", f"{{keys: [{_KEY}], role: viewer}}", "none has the role admin"),
    _bob("an unknown role", f"{{keys: [{_KEY}], role: root}}", "operators.bob.role"),
    _swap(
        "an operator without a good name",
        _BOB,
        _BOB.replace("bob", "'*'", 1),
        "operators.*: ",
    ),
    Bad(
        name="two people, one operator",
        old=f"  {_BOB}\n",
        new="",
        says="guards.two_people: needs two operators, and there are 1",
    ),
    _guards("share of nothing", "{shrink_percent: 0}", "0 is outside 1..100"),
    _guards("share of more than all", "{shrink_percent: 101}", "101 is outside 1..100"),
    _guards("no headroom to speak of", "{headroom_percent: 101}", "101 is outside 1..100"),
    _guards("negative table", "{table_floor: -1}", "must not be negative"),
    _guards("negative IPv6 table", "{table_floor: {ipv6: -1}}", "must not be negative"),
    _guards("a table in words", "{table_floor: full}", "table_floor"),
    _guards("negative floor", "{vantage_floor: -1}", "must not be negative"),
    _guards("prefixes nobody knows", "{node_prefixes: place}", "did you mean placed?"),
    _guards("unknown guard", "{announce_flor: 1}", "did you mean announce_floor?"),
)

_CACHES = (
    _caches("unknown cache", "fra-c2", "'fra-c2' is neither an address nor a machine (did you"),
    _caches(
        "cache on a node", "fra-n1", "fra-n1 is a node: caches run on controllers or edges"
    ),
    _caches("cache on a router of others", "ams-e9", "ams-e9 is managed by others"),
    _caches("cache twice", "fra-c1, fra-c1", "is in the list twice"),
    _caches("cache without port", "{address: fra-c1, port: 0}", "0 is outside 1..65535"),
    _caches("cache at no address", '"ff02::1"', "no address at which others reach a machine"),
    _caches("cache with a scope", '"fe80::1%eth0"', "no address at which others reach"),
    _caches("cache with an empty port", "{address: fra-c1, port: }", "must not be empty"),
    _swap("hold that is too long", "hold: 20s}", "hold: 11m}", "660s is outside 0s..600s"),
)

_BACKBONE = (
    _direct("endpoints of a circuit", _ENDPOINTS, "a direct link has no endpoints"),
    _direct("port of a circuit", "port: 51822", "a direct link has no port"),
    _direct("MTU too small", "mtu: 1279", "1279 is outside 1280..9216"),
    _direct("MTU too large", "mtu: 9217", "9217 is outside 1280..9216"),
    _swap(
        "MTU too small for a tunnel over IPv6",
        "mtu: 1480",
        "mtu: 1359",
        "1359 is outside 1360..9216 (80 bytes are for the tunnel)",
    ),
    Bad(
        name="MTU too small for a tunnel over IPv4",
        old=f"{_ENDPOINTS}\n    port: 51821\n    mtu: 1480",
        new="endpoints: [203.0.113.50, 203.0.113.51]\n    port: 51821\n    mtu: 1339 # <-",
        says="1339 is outside 1340..9216 (60 bytes are for the tunnel)",
    ),
    _swap("port out of range", "port: 51821", "port: 65536", "65536 is outside 1..65535"),
    Bad(
        name="an edge that listens twice on a port",
        old=f"{_DIRECT}\n  - link: [fra-e2, ams-e1]\n    kind: wireguard\n    {_ENDPOINTS}\n"
        "    port: 51821",
        new="- {link: [fra-e1, ams-e1], kind: wireguard, port: 51821,"
        ' endpoints: ["2001:db8:f2::1", "2001:db8:f1::1"]}\n'
        f"  - link: [fra-e2, ams-e1]\n    kind: wireguard\n    {_ENDPOINTS}\n"
        "    port: 51821 # <-",
        says="ams-e1 already listens on port 51821 for fra-e1--ams-e1",
    ),
    Bad(
        name="endpoints in the wrong order",
        old=f"{_DIRECT}\n  - link: [fra-e2, ams-e1]\n    kind: wireguard\n    {_ENDPOINTS}",
        new="- {link: [fra-e1, ams-e1], kind: wireguard,"
        ' endpoints: ["2001:db8:f1::1", "2001:db8:f0::1"]}\n'
        f"  - link: [fra-e2, ams-e1]\n    kind: wireguard\n    {_ENDPOINTS} # <-",
        says="2001:db8:f1::1 is already an address of fra-e1",
    ),
    _endpoints("one endpoint", "[203.0.113.50]", "must be the addresses of fra-e2 and ams-e1"),
    _endpoints("no endpoints", "[]", "must be the addresses of fra-e2 and ams-e1"),
    _endpoints("equal endpoints", "[203.0.113.50, 203.0.113.50]", "have the same address"),
    _endpoints(
        "endpoints of two families",
        '[203.0.113.50, "2001:db8:f1::1"]',
        "must be of one address family",
    ),
    _endpoints(
        "endpoint in an aggregate",
        "[203.0.113.50, 198.51.100.1]",
        "198.51.100.1 is inside 198.51.100.0/24: every datacenter has it",
    ),
    _endpoints(
        "endpoint in the infrastructure",
        "[203.0.113.50, 10.1.254.1]",
        "10.1.254.1 is inside 10.0.0.0/8: it is reached through the backbone",
    ),
    _endpoints(
        "endpoint that only a link knows",
        '["fe80::1", "2001:db8:f1::1"]',
        "fe80::1 is no address at which others reach a machine",
    ),
    _swap(
        "link to a router of others",
        _DIRECT,
        "- {link: [fra-e1, ams-e9], kind: direct}",
        "ams-e9 is managed by others",
    ),
    _swap(
        "controller of others",
        "controllers: [fra-c1]",
        "controllers: {fra-c1: {external: true}}",
        "external: unknown field",
    ),
)

_TRAFFIC = (
    _override("unknown peer", "peer: transit2, med: 1", "there is no peer 'transit2' (did you"),
    _override("unknown kind", "kind: transits, med: 1", "did you mean transit?"),
    _override(
        "unknown datacenter", "datacenter: frankfurt, med: 1", "no datacenter 'frankfurt'"
    ),
    _override("unknown edge", "edge: fra-e3, med: 1", "there is no edge 'fra-e3' (did you"),
    _override("a node as edge", "edge: fra-n1, med: 1", "there is no edge 'fra-n1'"),
    _override(
        "no aggregate", "prefix: 198.51.101.0/24, med: 1", "198.51.101.0/24 is no aggreg"
    ),
    _override(
        "part of an aggregate",
        "prefix: 198.51.100.128/25, med: 1",
        "198.51.100.128/25 is no aggregate: only aggregates are announced (it is part of 198",
    ),
    _override("empty prefix", "prefix: , med: 1", "prefix: must not be empty"),
    _override("empty peer", "peer: , med: 1", "peer: must not be empty"),
    _override(
        "kind against peer", "peer: transit1, kind: ixp, med: 1", "transit1 is a transit,"
    ),
    _override(
        "edge against datacenter",
        "edge: fra-e1, datacenter: ams, med: 1",
        "fra-e1 is in fra, not in ams",
    ),
    _override(
        "peer that is not at that edge",
        "peer: transit1, edge: fra-e2, med: 1",
        "it can never hold: there is no session with transit1 at fra-e2",
    ),
    _override(
        "peer that is not in that datacenter",
        "peer: transit1, datacenter: ams, med: 1",
        "it can never hold: there is no session with transit1 at ams",
    ),
    _override(
        "kind that is not in that datacenter",
        "kind: pni, datacenter: ams, med: 1",
        "it can never hold: there is no session with pni at ams",
    ),
    _override(
        "a family that the peer does not speak",
        'prefix: "2001:db8:100::/48", peer: member, med: 1',
        "it can never hold: no session there speaks IPv6",
    ),
    _override("nothing changed", "peer: private", "traffic.3: it changes nothing"),
    _override("nothing at all", "", "traffic.3: it changes nothing"),
    _override(
        "no announcement to prepend", "announce: false, prepend: 1", "prepend of what is"
    ),
    _override("no announcement with MED", "announce: false, med: 1", "med of what is not"),
    _override(
        "preference of a prefix of ours",
        "prefix: 198.51.100.0/24, preference: 90",
        "it is for routes that we learn there",
    ),
    _override("prepend too often", "prepend: 11", "11 is outside 0..10"),
    _override("prepend less than never", "prepend: -1", "-1 is outside 0..10"),
    _override("MED too large", "med: 4294967296", "4294967296 is outside 0..4294967295"),
    _override("no preference", "preference: 0", "0 is outside 1..349"),
    _override("preference over services", "preference: 350", "350 is outside 1..349 (our serv"),
    _override("a word as yes", "no_export: yes please", "must be true or false"),
    _override("no moment", "med: 1, until: tomorrow", "'tomorrow' is not a date or a time"),
    _override(
        "no such day", "med: 1, until: 2031-02-30", "'2031-02-30' is not a date or a time"
    ),
    _override("no zone", "med: 1, until: 2031-01-31T18:00:00", "has no time zone (write 2031"),
    _override(
        "a number as moment", "med: 1, until: 2031", "must be a date or a time, not 2031"
    ),
    _override("long ago", "med: 1, until: 1970-01-01", "1970-01-01 was before this software"),
    _override(
        "a long reason", f"med: 1, why: {'x' * 201}", "one line of at most 200 characters"
    ),
    _override(
        "a reason with a bell", 'med: 1, why: "\\a"', "one line of at most 200 characters"
    ),
    _communities("no community", '"64601"', "'64601' is not a community"),
    _communities("four numbers", '"1:2:3:4"', "'1:2:3:4' is not a community"),
    _communities("a number as community", "64601", "64601 is not a community"),
    _communities("large number in two", '"64601:65536"', "two numbers are 0..65535 each"),
    _communities("large ASN in two", '"4200000000:1"', "two numbers are 0..65535 each"),
    _communities(
        "large number in three", '"1:4294967296:1"', "three numbers are 0..4294967295"
    ),
    _communities("our own", '"64500:1:2"', "64500:1:2 is ours: 64500:…:… is removed"),
    _communities(
        "blackhole", '"65535:666"', "65535:666 asks to drop all that goes to the aggr"
    ),
    Bad(
        name="an override twice",
        old=_PREFERENCE,
        new=f"{_PREFERENCE}\n  {_PREFERENCE} # <-",
        says="traffic.4: said twice",
    ),
)

ROUTING = (
    *_TIMERS_AND_GUARDS,
    *_CACHES,
    *_BACKBONE,
    *_TRAFFIC,
)
