"""Names of interfaces that cannot be, and links that are said twice."""

from tests.specfile.bad_specs import Bad

_FABRICS = "    city: Amsterdam\n    fabrics: [a, b]"
_LINK = "- {link: [fra-e1, ams-e2], kind: direct, capacity: 10Gbit}"
_NODE = "      ams-n1: {cpu: 4, memory: 8GiB}"
_SESSION = 'theirs: [203.0.113.0, "2001:db8:f000:1::"], bfd: true}'


def _fabric(name: str, interface: str, says: str) -> Bad:
    new = f"    city: Amsterdam\n    fabrics: {{a: {{interface: {interface}}}, b: {{}}}} # <-"
    return Bad(name=name, old=_FABRICS, new=new, says=says)


def _link(name: str, words: str, says: str) -> Bad:
    new = f"{_LINK}\n  - {{link: [ams-e2, fra-e1], {words}}} # <-"
    return Bad(name=name, old=_LINK, new=new, says=says)


PORTS = (
    Bad(
        name="a fabric whose port is not called one",
        old=_FABRICS,
        new="    city: Amsterdam\n    fabrics: {a: eno1.100, b: {}} # <-",
        says="must be a mapping, not the text 'eno1.100' (write {interface: eno1.100})",
    ),
    _fabric(
        "a fabric over lo", "lo", "datacenters.ams.fabrics.a.interface: no port is called lo"
    ),
    _fabric("a fabric over what sysctls call all", "all", "no port is called all"),
    _fabric("a fabric over what sysctls call new ones", "default", "no port is called default"),
    _fabric("a fabric with a slash", "eth0/1", "'eth0/1' is not the name of an interface"),
    _fabric("a fabric with a blank", "eth 0", "'eth 0' is not the name of an interface"),
    _fabric("a fabric with a colon", "'eth0:1'", "'eth0:1' is not the name of an interface"),
    _fabric("a fabric with an asterisk", "eth*", "'eth*' is not the name of an interface"),
    _fabric("a fabric with quotes", "'e\"x'", "is not the name of an interface"),
    _fabric("a fabric over itself", "..", "'..' is not the name of an interface"),
    _fabric(
        "a fabric without a name for its port",
        "''",
        "datacenters.ams.fabrics.a.interface: is empty",
    ),
    _fabric("a fabric over a long name", "enp3s0f0np0.1000", "has 16 bytes, at most 15 fit"),
    Bad(
        name="a fabric with a long name, whatever its port",
        old=_FABRICS,
        new="    city: Amsterdam\n    fabrics: {storage-east: {interface: eno1}, b: {}} # <-",
        says="storage-east has 12 characters, at most 11 fit (take a shorter name)",
    ),
    _fabric("a fabric over an instance's port", "i7", "i7 is what the port of an instance is"),
    _fabric(
        "a fabric over a tunnel's name", "bb-x", "names that begin with bb- are for tunnels"
    ),
    _fabric("two fabrics over one port", "fab-b", "fab-b is also the port of fabric a"),
    Bad(
        name="a machine with a port in no fabric",
        old=_NODE,
        new="      ams-n1: {cpu: 4, memory: 8GiB, fabrics: {c: {interface: eth1}}} # <-",
        says="ams has no fabric c",
    ),
    Bad(
        name="a machine in no such fabric, without a port",
        old=_NODE,
        new="      ams-n1: {cpu: 4, memory: 8GiB, fabrics: {aa: {}}} # <-",
        says="ams has no fabric aa (did you mean a?)",
    ),
    Bad(
        name="one port of a machine for two fabrics",
        old=_NODE,
        new="      ams-n1: {cpu: 4, memory: 8GiB, fabrics: {b: {interface: fab-a}}} # <-",
        says="fab-a is also the port of fabric a",
    ),
    Bad(
        name="a session over the port of a fabric",
        old=_SESSION,
        new=_SESSION.replace("bfd: true", "interface: eno1.30") + " # <-",
        says="eno1.30 of fra-e1 is already in use",
        also=(
            "fabrics: [a, b]\n    edges: [fra-e1",
            "fabrics: {a: {interface: eno1.30}, b: {}}\n    edges: [fra-e1",
        ),
    ),
    Bad(
        name="a session over what sysctls call all",
        old=_SESSION,
        new=_SESSION.replace("bfd: true", "interface: all") + " # <-",
        says="no port is called all",
    ),
    _link(
        "a second link without a label",
        "kind: direct",
        "a second link between ams-e2 and fra-e1",
    ),
    _link("a label that is no word", "kind: direct, label: a b", "'a b' is not a name"),
    _link(
        "a link over the port of a fabric",
        "kind: direct, label: two, interface: {fra-e1: fab-a}",
        "fab-a is also the port of fabric a",
    ),
    Bad(
        name="two links over one port",
        old=_LINK,
        new="- {link: [fra-e1, ams-e2], kind: direct, interface: eno2}\n"
        "  - {link: [fra-e1, ams-e1], kind: direct, interface: {fra-e1: eno2}} # <-",
        says="eno2 is also the port of link fra-e1--ams-e2",
    ),
    _link(
        "a link that names the port of another machine",
        "kind: direct, label: two, interface: {fra-e2: eno1}",
        "fra-e2 is no end of this link",
    ),
    _link(
        "a link without a name for its port",
        "kind: direct, label: two, interface: {fra-e1: ''}",
        "interface.fra-e1: is empty",
    ),
    _link(
        "a tunnel with a port of others",
        "kind: wireguard, label: two, interface: wg0, endpoints: [192.0.2.1, 192.0.2.2]",
        "a wireguard link makes its interfaces itself",
    ),
    Bad(
        name="two tunnels over one way",
        old=_LINK,
        new="- {link: [fra-e1, ams-e2], kind: wireguard, endpoints: [192.0.2.1, 192.0.2.2]}\n"
        "  - {link: [ams-e2, fra-e1], kind: wireguard, label: two, port: 51821, endpoints:"
        " [192.0.2.2, 192.0.2.1]} # <-",
        says="fra-e1--ams-e2 has the same endpoints: it fails when this one does",
    ),
)
