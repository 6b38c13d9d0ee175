"""Wrong words about what others start: names that reach further, and what makes no sense."""

from tests.specfile.bad_specs import Bad

_PROCESS = "process: [nginx, -p, ., -c, nginx.conf, -e, error.log]"
_REPLICAS = "replicas: {per_datacenter: 2}"
_EXTERNAL = (_PROCESS, "external: true")


def _unit(unit: str) -> Bad:
    says = "is not the name of a service of systemd (such as unbound.service, without a path)"
    return Bad(name=unit, old=_PROCESS, new=f"systemd: {unit} # <-", says=says)


def _replicas(replicas: str, says: str, also: tuple[str, str] = _EXTERNAL) -> Bad:
    new = f"replicas: {{{replicas}}} # <-"
    return Bad(name=f"{replicas} {also[1]}", old=_REPLICAS, new=new, says=says, also=also)


def _elsewhere(said: str, says: str, nodes: str = "") -> Bad:
    """Say where it is, in a line of its own; `nodes` are those that have it."""
    replicas = f"replicas: {{per_datacenter: 1{f', nodes: [{nodes}]' if nodes else ''}}}"
    new = f"external:\n    {said} # <-"
    return Bad(name=said, old=_PROCESS, new=new, says=says, also=(_REPLICAS, replicas))


def _beside(line: str, says: str) -> Bad:
    new = f"{_REPLICAS}\n{line} # <-"
    return Bad(name=line, old=_REPLICAS, new=new, says=says, also=_EXTERNAL)


ADOPTED = (
    *map(
        _unit,
        (
            "../unbound.service",
            "/etc/systemd/system/unbound.service",
            "a/b.service",
            "'un bound.service'",
            "'unbound.service --now'",
            "--force.service",
            "-H.service",
            ".service",
            "..service",
            "'*.service'",
            "'[a-z].service'",
            "unbound",
            "unbound.socket",
            "default.target",
            "unbound.service.timer",
            "unbound.Service",
            "dns@.service",
            "a@b@c.service",
            "'$(id).service'",
            "'a;b.service'",
            '"a\\nb.service"',
            '"unbound.service\\n"',
            '"a\\0.service"',
            "ünbound.service",
            f"{'a' * 248}.service",
        ),
    ),
    Bad(
        name="external: false",
        old=_PROCESS,
        new="external: false # <-",
        says="run.external: false says nothing",
    ),
    Bad(
        name="external: {}",
        old=_PROCESS,
        new="external: {} # <-",
        says="run.external: {} says nothing",
    ),
    Bad(
        name="both",
        old=_PROCESS,
        new="external: true # <-\n  systemd: unbound.service",
        says="run.external: systemd says that already",
    ),
    *(
        Bad(
            name=f"{field} beside it",
            old="cpu: 0.2",
            new=f"{field}: {value} # <-",
            says=f"run.{field}: {field} is for what we start, and others start this",
            also=_EXTERNAL,
        )
        for field, value in (
            ("process", "[sh]"),
            ("image", "a.example/web"),
            ("command", "sh"),
            ("cpu", "0.2"),
            ("stop_grace", "1s"),
            ("environment", "{A: b}"),
            ("user", "0"),
            ("secrets", "{db: {file: db}}"),
            ("files_from", "conf"),
        )
    ),
    *(
        _elsewhere(f'address: ["{one}"]', says)
        for one, says in (
            ("10.7.8.9", "10.7.8.9 is in 10.0.0.0/8"),
            ("fd50:d858:e098::9", "fd50:d858:e098::9 is in fd50:d858:e098::/48"),
            ("198.51.100.77", "198.51.100.77 is in 198.51.100.0/24"),
            ("2001:db8:100::77", "2001:db8:100::77 is in 2001:db8:100::/48"),
            ("203.0.113.1", "203.0.113.1 is our own of the session of fra-e1"),
            *(
                (each, "is no address at which others reach a machine")
                for each in (
                    "127.0.0.1",
                    "::1",
                    "0.0.0.0",
                    "224.0.0.5",
                    "169.254.1.1",
                    "fe80::1",
                )
            ),
            ("255.255.255.255", "255.255.255.255 is nobody's address"),
            ("::ffff:127.0.0.1", "is nobody's address"),
            ("192.168.1.0/24", "run.external.address.0: must be an address"),
            ("vm1.example.net", "run.external.address.0: must be an address"),
        )
    ),
    _elsewhere(
        "address: [192.168.1.9, 192.168.1.8]", "192.168.1.8 is a second address of its family"
    ),
    _elsewhere(
        "address: 192.168.1.9", "the service has IPv6, and nothing is said to be behind it"
    ),
    _elsewhere("address: []", "run.external.address"),
    _elsewhere("nodes: {}", "run.external.nodes"),
    _elsewhere(
        'nodes: {"": ["192.168.1.9", "fd01::9"]}',
        "run.external.nodes.: that is the name of no node",
    ),
    _elsewhere("port: 80", "run.external.port"),
    _elsewhere(
        'address: ["192.168.1.9"] # <-\n    nodes: {fra-n1: ["192.168.1.9"]}',
        "there are nodes too, each with its own",
    ),
    _elsewhere('nodes: {fra-n9: ["192.168.1.9", "fd01::9"]}', "there is no node 'fra-n9'"),
    _elsewhere(
        'nodes: {fra-n1: ["192.168.1.9", "fd01::9"]}',
        "fra-n1 is not among replicas.nodes",
        "fra-n2",
    ),
    _replicas(
        "per_datacenter: 1, nodes: [fra-n1]", "belongs to what others start", also=("", "")
    ),
    _replicas("per_datacenter: 1, nodes: []", "replicas.nodes:"),
    _replicas("per_datacenter: 1, nodes: [fra-n9]", "there is no node 'fra-n9'"),
    _replicas("per_datacenter: 1, nodes: [fra-e1]", "there is no node 'fra-e1'"),
    _replicas("per_datacenter: 1, nodes: [fra-n1, fra-n1]", "fra-n1 is in the list twice"),
    _replicas(
        "per_datacenter: 2, nodes: [fra-n1, fra-n2, ams-n1, lon-n1, lon-n2]",
        "replicas.per_datacenter: 2 replicas in ams, and 1 of its nodes are named",
    ),
    _replicas("fra: 1, nodes: [fra-n1, ams-n1]", "nodes of ams are named, and no replica"),
    _replicas("per_datacenter: 2, max_per_node: 2", "a node has it once"),
    _replicas("total: 3", "what others start is where it is"),
    _beside("liveness: {tcp: 80}", "others start it, so nothing is restarted here"),
    _beside("scale: {min: 2, max: 3, cpu: 0.5}", "so no more come by the load"),
    _beside("volumes: {data: {path: /data, size: 1GiB}}", "and give it what it sees"),
    _beside("egress: none", "it speaks as its node does"),
)
