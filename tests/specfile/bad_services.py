"""Wrong words about services: what to change in an example, and what must be said."""

from tests.specfile.bad_specs import Bad

_PROBE = "probe: {http: /healthz, port: 80, interval: 500ms, timeout: 300ms, rise: 2, fall: 2}"
_REPLICAS = "replicas: {per_datacenter: 2}"


def _probe(name: str, new: str, says: str) -> Bad:
    return Bad(name=name, old=_PROBE, new=f"{new} # <-", says=says)


def _replicas(name: str, new: str, says: str) -> Bad:
    return Bad(name=name, old=_REPLICAS, new=f"replicas: {new} # <-", says=says)


def _role(name: str, words: str, says: str) -> Bad:
    new = f"{_PROBE}\nroles: {{writer: {{{words}}}}} # <-"
    return Bad(name=f"a role {name}", old=_PROBE, new=new, says=says)


def _keeping(name: str, more: str, says: str) -> Bad:
    data = "volumes: {data: {path: /srv/data, size: 1GiB}}"
    new = f"{_REPLICAS}\n{data}\n{more} # <-"
    return Bad(name=name, old=_REPLICAS, new=new, says=says)


def _io(name: str, words: str, says: str) -> Bad:
    new = f"  memory: 64MiB\n  io: {words} # <-"
    return Bad(name=f"limits of disks {name}", old="  memory: 64MiB", new=new, says=says)


SERVICES = (
    _io("of nothing", "{}", "run.io: limits nothing"),
    _io("that are none", "{write: 0B}", "run.io: limits nothing"),
    _io("with which nothing goes on", "{read: 1KiB}", "run.io.read: is outside 64KiB..1TiB"),
    _io("backwards", "{writes: -1}", "run.io.writes: is outside 1..10000000"),
    _io("in other words", "{iops: 5}", "run.io.iops: unknown field"),
    _role("that is asked nothing", "shared: true", "roles.writer: must have exactly one of"),
    _role("without a port", "http: /primary", "http needs a port in 1..65535"),
    _role(
        "that is asked for a grace", "tcp: 1, grace: 1s", "roles.writer.grace: unknown field"
    ),
    _role(
        "with an epoch from nowhere", "tcp: 1, epoch: X-E", "epoch belongs to http, not to tcp"
    ),
    _role(
        "with an epoch twice",
        "http: /, port: 1, epoch: {header: X-E, field: a}",
        "must have exactly one of header and field",
    ),
    _role(
        "with an epoch in no header",
        "http: /, port: 1, epoch: 'a b'",
        "is not the name of a header",
    ),
    _role(
        "with an epoch that is shared",
        "http: /, port: 1, epoch: X-E, shared: true",
        "any number of instances may have a role that is shared",
    ),
    _role("on a port without protocol", "tcp: 1, ports: [80]", "write 80/tcp or 80/udp"),
    _role("on no port", "tcp: 1, ports: [80/sctp]", "'80/sctp' is not a port"),
    Bad(
        name="a role with BIRD syntax in its name",
        old=_PROBE,
        new=f'{_PROBE}\nroles: {{"w; }}": {{tcp: 1}}}} # <-',
        says="is not a name",
    ),
    _keeping("a hook that is no command", "hooks: {join: {run: []}}", "there is no command"),
    _keeping(
        "a hook that hands over what nobody has",
        "hooks: {hand_over: {run: a}}",
        "there is no role that one alone may have",
    ),
    _keeping("a hook for ever", "hooks: {leave: {run: a, timeout: 1h}}", "is outside 1s..10m"),
    _keeping(
        "a role with the name of a replica",
        "roles: {fra-1: {tcp: 1}}",
        "fra-1 is what replica 1 of fra is called",
    ),
    _replicas(
        "hooks without volumes",
        "{per_datacenter: 2}\nhooks: {join: {run: a}}",
        "they are for replicas with volumes",
    ),
    _replicas("unknown egress", "{per_datacenter: 2}\negress: all", "egress.mode"),
    _replicas(
        "egress without a prefix for it",
        "{per_datacenter: 2}\negress: datacenter",
        "fra has no unicast prefix: nothing there can be answered",
    ),
    _replicas(
        "egress to no place",
        "{per_datacenter: 2}\negress: {allow: [example.com]}",
        "'example.com' is neither a prefix nor a port",
    ),
    _replicas(
        "egress to an address with the length of a prefix",
        "{per_datacenter: 2}\negress: {allow: [198.18.0.1/15]}",
        "'198.18.0.1/15' is neither a prefix nor a port (did you mean 198.18.0.0/15?)",
    ),
    _replicas(
        "egress to a port of an address with the length of a prefix",
        "{per_datacenter: 2}\negress: {allow: [198.18.0.1/15 443/tcp]}",
        "is neither a prefix nor a port (did you mean 198.18.0.0/15 443/tcp?)",
    ),
    _replicas(
        "egress to a port without its protocol",
        "{per_datacenter: 2}\negress: {allow: [198.18.0.0/15 443]}",
        "'198.18.0.0/15 443' is neither a prefix nor a port (such as 198.18.0.0/15, 443/tcp",
    ),
    _replicas(
        "egress to a place that only one machine knows",
        '{per_datacenter: 2}\negress: {allow: ["2001:db8::%x/32"]}',
        "2001:db8::%x/32 has a scope (leave out %x)",
    ),
    *(
        _replicas(name, f"{{per_datacenter: 2}}\nrollout: {said}", says)
        for name, said, says in (
            ("a stage of no datacenter", "{stages: [nope]}", "there is no datacenter 'nope'"),
            ("a stage without any", "{stages: [[]]}", "names no datacenter"),
            ("no stage", "{stages: []}", "rollout.stages"),
            ("a group of two words", "{bake: 1s}\ngroup: a b", "'a b' is not a name"),
            ("an empty group", '{bake: 1s}\ngroup: ""', "group"),
            ("a label's name", "{bake: 1s}\nlabels: {A b: x}", "is not the name of a label"),
            ("group as a label", "{bake: 1s}\nlabels: {group: x}", "group: says it"),
            (
                "what a label says",
                "{bake: 1s}\nlabels: {a: b c}",
                "is not what a label can say",
            ),
            ("a number as a label", "{bake: 1s}\nlabels: {a: 1}", "must be text"),
            ("a stage twice", "{stages: [fra, [fra]]}", "is in the list twice"),
            ("a canary of none", "{stages: [{datacenters: [fra], replicas: 0}]}", "replicas"),
            ("a bake of days", "{bake: 25h}", "is outside 0s..24h"),
            ("nothing at once", "{parallel: 0}", "0 is outside 1..1000"),
            ("a comparison of nothing", "{compare: {http: nope}}", "'nope' is not a path"),
            ("a comparison by one answer", "{compare: {http: /, samples: 1}}", "10..500"),
            ("a p95 that must be lower", "{compare: {http: /, times: 0.5}}", "outside 1..100"),
            ("requests without a pause", "{compare: {http: /, interval: 1ms}}", "outside 10ms"),
        )
    ),
    *(
        _replicas(said, f"{{per_datacenter: 2}}\ncapacity: {said}", says)
        for said, says in (
            ("{requests: 200}", "must be a whole number per second, not 200 (such as 200/s)"),
            ("{requests: 2/m, load: 9/s}", "must be a whole number per second, not '2/m'"),
            ("{requests: 0/s, load: 9/s}", "capacity.requests: must be at least 1/s"),
            ("{requests: 5/s}", "capacity.load: is missing"),
        )
    ),
    *(
        _replicas(said, f"{replicas}\nscale: {said}", says)
        for replicas, said, says in (
            ("{per_datacenter: 2}", "{min: 0, max: 3, cpu: 0.7}", "0 is outside 1..10000"),
            ("{per_datacenter: 2}", "{min: 3, max: 2, cpu: 0.7}", "is less than min, 3"),
            ("{per_datacenter: 2}", "{min: 2, max: 3, cpu: 70}", "is outside 0.05..1.0"),
            ("{per_datacenter: 2}", "{min: 2, max: 3, cpu: 0}", "is outside 0.05..1.0"),
            ("{per_datacenter: 2}", "{min: 2, max: 3}", "neither cpu nor connections"),
            (
                "{per_datacenter: 2}\nbatch: true",
                "{min: 2, max: 3, cpu: 0.7}",
                "scale.cpu: would always ask for more of a batch service",
            ),
            (
                "{per_datacenter: 2}",
                "{min: 2, max: 3, connections: 9/s}",
                "scale.connections: 9 is outside 10..1000000",
            ),
            (
                "{per_datacenter: 2}\nliveness: {tcp: 80, interval: 400ms, timeout: 300ms}",
                "{min: 2, max: 3, connections: 17/s}",
                "17/s, and probes alone ask 9 times a second (at least 18/s, or probe less",
            ),
            (
                "{per_datacenter: 2}\naddresses: [198.51.100.7, 198.51.100.8, 198.51.100.9]",
                "{min: 2, max: 3, connections: 11/s}",
                "11/s, and probes alone ask 6 times a second",
            ),
            (
                "{per_datacenter: 2}",
                "{min: 2, max: 3, connections: 150}",
                "must be a whole number per second, not 150",
            ),
            (
                "{per_datacenter: 1}",
                "{min: 2, max: 3, cpu: 0.7}",
                "1, with which replicas begins, is outside 2..3",
            ),
            ("{total: 6}", "{min: 2, max: 3, cpu: 0.7}", "replicas has a total"),
            ("{per_datacenter: 2}", "{min: 2, max: 9, cpu: 0.7}", "of 9 replicas fit"),
        )
    ),
    _probe("no probe", "", "probe: is missing"),
    _probe("probe with two kinds", "probe: {http: /, port: 80, tcp: 80}", "not http and tcp"),
    _probe("probe without kind", "probe: {interval: 1s}", "exactly one of http, tcp, exec"),
    _probe("http without port", "probe: {http: /}", "http needs a port in 1..65535"),
    _probe("bad http path", 'probe: {http: "/ x", port: 80}', "is not a path"),
    _probe("bad tcp port", "probe: {tcp: 70000}", "70000 is outside 1..65535"),
    _probe("port for tcp", "probe: {tcp: 80, port: 80}", "port belongs to http"),
    _probe("no exec command", "probe: {exec: []}", "there is no command"),
    *(
        _probe(name, f"probe: {said}", says)
        for name, said, says in (
            ("udp without a question", "{udp: {port: 53}}", "probe.udp.send: is missing"),
            (
                "udp of more than bytes",
                '{udp: {port: 53, send: "\u20ac"}}',
                "one for each char",
            ),
            ("udp port", "{udp: {port: 0, send: x}}", "0 is outside 1..65535"),
            ("dns without a name", "{dns: {type: A}}", "probe.dns.name: is missing"),
            ("dns type", "{dns: {name: a.example, type: AAA}}", "did you mean AAAA?"),
            ("dns rcode", "{dns: {name: a.example, rcode: OK}}", "is not a known word"),
            ("dns label", f"{{dns: {{name: {'a' * 64}.example}}}}", "that can be asked for"),
            ("dns answer", "{dns: {name: a.example, answer: '::1'}}", "is not an address of A"),
            ("dns soa", "{dns: {name: a, type: SOA, answer: 192.0.2.1}}", "SOA asks for none"),
            ("grpc port", "{grpc: 0}", "0 is outside 1..65535"),
            ("host for tcp", "{tcp: 80, host: a.example}", "host belongs to http, not to tcp"),
            (
                "tls for udp",
                "{udp: {port: 1, send: x}, tls: {}}",
                "tls belongs to http and tcp",
            ),
            ("progress of tcp", "{tcp: 80, grace_max: 1m}", "grace_max belongs to http"),
            ("status", "{http: /, port: 80, status: 99}", "99 is outside 200..599"),
            (
                "header",
                '{http: /, port: 80, headers: {"a b": x}}',
                "is not the name of a header",
            ),
            (
                "two lines in a header",
                '{http: /, port: 80, headers: {X-A: "a\\nX-B: b"}}',
                "has characters that no header may have",
            ),
            ("host as header", "{http: /, port: 80, headers: {Host: x}}", "host: says it"),
            ("host of two lines", '{http: /, port: 80, host: "a\\nb"}', "is not the name of a"),
            ("no certificate", "{http: /, port: 80, tls: {ca: x}}", "has no certificate that"),
            ("tls name", "{tcp: 80, tls: {name: a/b}}", "is not a name that a certificate has"),
            ("a long label", "{tcp: 80, tls: {name: " + "a" * 64 + "}}", "is not a name that"),
            (
                "a host of TLS",
                "{http: /, port: 80, host: .example.net, tls: {}}",
                "is not a name that a certificate has",
            ),
            (
                "tls of nobody",
                "{tcp: 80, tls: {name: a, verify: false}}",
                "keep one of the two",
            ),
            ("a longer grace", "{http: /, port: 80, grace_max: 10s}", "is not more than grace"),
            ("no liveness", "{tcp: 80}\nliveness: {}", "exactly one of http, tcp, exec, udp"),
            ("bad liveness", "{tcp: 80}\nliveness: {tcp: 0}", "liveness.tcp: 0 is outside"),
            ("rise of liveness", "{tcp: 80}\nliveness: {tcp: 80, rise: 2}", "unknown field"),
        )
    ),
    _probe("interval too short", "probe: {tcp: 80, interval: 5ms}", "5ms is outside 10ms"),
    _probe("number as interval", "probe: {tcp: 80, interval: 500}", "500 has no unit"),
    _probe(
        "grace shorter than a timeout",
        "probe: {tcp: 80, timeout: 2s, grace: 1s}",
        "shorter than one timeout",
    ),
    *(
        Bad(name=name, old=_PROBE, new=f"{_PROBE}\n{said} # <-", says=says)
        for name, said, says in (
            ("an address of no aggregate", "addresses: [192.0.2.1]", "is in no aggregate"),
            ("a network address", "addresses: [198.51.100.0]", "is the network address"),
            ("a broadcast address", "addresses: [198.51.100.255]", "is the broadcast address"),
            (
                "a subnet-router anycast address",
                'addresses: ["2001:db8:100::"]',
                "is the subnet-router anycast address",
            ),
            (
                "an address twice",
                "addresses: [198.51.100.9, 198.51.100.9]",
                "198.51.100.9 is in the list twice",
            ),
            ("an unknown aggregate", "aggregate: 192.0.2.0/24", "there is no aggregate"),
            (
                "aggregate and addresses",
                "addresses: [198.51.100.9]\naggregate: 198.51.100.0/24",
                "there are addresses too",
            ),
        )
    ),
    _replicas("zero replicas", "{per_datacenter: 0}", "must be at least 1"),
    _replicas("true as number", "{per_datacenter: true}", "must be a whole number, not true"),
    _replicas(
        "impossible spread",
        "{per_datacenter: 4}",
        "4 replicas do not fit in fra: 3 nodes x 1 per node = 3"
        " (per_datacenter: 3, or max_per_node: 2)",
    ),
    _replicas(
        "unknown datacenter",
        "{per_datacenter: 1, datacenters: [frb]}",
        "there is no datacenter 'frb' (did you mean fra?)",
    ),
    _replicas(
        "a datacenter twice",
        "{per_datacenter: 1, datacenters: [fra, fra]}",
        "fra is in the list twice",
    ),
    _replicas("no count", "{max_per_node: 1}", "replicas.per_datacenter: is missing"),
    Bad(
        name="an instance larger than every node",
        old="cpu: 0.2",
        new="cpu: 4.5 # <-",
        says="one instance needs 4.5, the largest node of fra has 4",
    ),
    Bad(name="no cpu", old="cpu: 0.2", new="cpu: 0 # <-", says="must be more than 0"),
    Bad(name="endless cpu", old="cpu: 0.2", new="cpu: .inf # <-", says="a finite number"),
    Bad(
        name="unknown variable in a text of several lines",
        old="worker_processes 1;",
        new="worker_processes ${pltfrms.nod}; # <-",
        says="unknown variable ${pltfrms.nod} (did you mean node?)",
    ),
    Bad(
        name="file name that leads outside",
        old="    nginx.conf: |",
        new="    ../nginx.conf: | # <-",
        says="is not a name below the working directory",
    ),
    Bad(
        name="absolute file name",
        old="    nginx.conf: |",
        new="    /etc/nginx.conf: | # <-",
        says="is not a name below the working directory",
    ),
    Bad(
        name="a file that another file needs as a directory",
        old="    nginx.conf: |",
        new="    nginx.conf/part: x # <-\n    nginx.conf: |",
        says="nginx.conf is a file, so nothing can be below it",
    ),
    Bad(
        name="file name that no filesystem takes",
        old="    nginx.conf: |",
        new=f"    conf/{'é' * 128}.conf: | # <-",
        says="at most 255 bytes between two /",
    ),
    Bad(
        name="path that Linux does not take",
        old="    nginx.conf: |",
        new=f"    {'abc/' * 250}nginx.conf: | # <-",
        says="and 1000 in all",
    ),
    Bad(
        name="more text than the store takes",
        old="    nginx.conf: |",
        new=f"    large.txt: {'x' * 500_001} # <-\n    nginx.conf: |",
        says="at most 500000 fit",
    ),
    Bad(
        name="no datacenter",
        old="replicas: {per_datacenter: 2}",
        new="replicas: {per_datacenter: 2, datacenters: []} # <-",
        says="there is none in the list (leave it out",
    ),
    Bad(
        name="number in a command",
        old="process: [nginx, -p, ., -c, nginx.conf, -e, error.log]",
        new="process: [sleep, 5] # <-",
        says="must be text, not the number 5 (write it in quotes)",
    ),
    Bad(
        name="port without protocol",
        old="ports: [80/tcp]",
        new="ports: [80] # <-",
        says="write 80/tcp or 80/udp",
    ),
    Bad(
        name="port with another protocol",
        old="ports: [80/tcp]",
        new="ports: [80/sctp] # <-",
        says="'80/sctp' is not a port",
    ),
    Bad(
        name="weight out of range",
        old="ports: [80/tcp]",
        new="weight: 65 # <-",
        says="65 is outside 1..64",
    ),
    Bad(
        name="drain too long",
        old="ports: [80/tcp]",
        new="drain: 61m # <-",
        says="is outside 0s..1h",
    ),
    Bad(
        name="BIRD syntax in a service's name",
        old="service: web",
        new='service: "web; }" # <-',
        says="is not a name",
    ),
)
