"""Wrong words about names of services: what to change in an example, and what must be said."""

from tests.specfile.bad_specs import Bad

DOMAINS = (
    *(
        Bad(
            name=f"domain {said}",
            old="asn: 64500\n",
            new=f"asn: 64500\ndomain: {said} # <-\n",
            says=says,
        )
        for said, says in (
            ("svc.example.net.", "'svc.example.net.' is not a domain for names of services"),
            ("Svc.example.net", "is not a domain"),
            ("-a.example", "is not a domain"),
            ("a..example", "is not a domain"),
            ('"svc.example #"', "is not a domain"),
            (f"{'a.' * 100}example", "at most 200"),
            ("[]", "domain"),
            ('""', "domain"),
        )
    ),
)

NAMES = (
    Bad(
        name="a name that every machine has",
        old="service: web",
        new="service: localhost # <-",
        says="localhost is what every machine calls itself (take another name)",
    ),
    *(
        Bad(
            name=f"variable of a service {said}",
            old="worker_processes 1;",
            new=f"worker_processes ${{pltfrms.{said}}}; # <-",
            says=says,
        )
        for said, says in (
            ("service.api.port", "unknown variable ${pltfrms.service.api.port}"),
            ("service.api", "unknown variable"),
            ("service..address6", "did you mean service.NAME.address6?"),
            ("service.API.address6", "unknown variable"),
            ("service.api.address6.x", "unknown variable"),
            ("service.a/../b.address6", "unknown variable"),
            ("service.web.address6", "web names itself (its own is ${pltfrms.prefix6})"),
        )
    ),
)

_PORTS = "ports: [80/tcp]"

CLIENTS = tuple(
    Bad(name=f"ports {said}", old=_PORTS, new=f"ports: {said} # <-", says=says)
    for said, says in (
        ("[80]", "80 has no protocol (write 80/tcp or 80/udp)"),
        ("[{port: 80}]", "80 has no protocol"),
        ("[{clients: [internet]}]", "port: is missing"),
        ("[{port: 80/tcp, clients: []}]", "ports.0.clients: is empty"),
        ("[{port: 80/tcp, client: [internet]}]", "client"),
        ("[80/tcp, {port: 80/tcp, clients: [internet]}]", "80/tcp is in the list twice"),
        ("[{port: 80/sctp, clients: [internet]}]", "'80/sctp' is not a port"),
        ("[{port: 80/tcp, clients: internet}]", "must be a list"),
        ("[{port: 80/tcp, clients: [everybody]}]", "'everybody' is no client (internet, serv"),
        ("[{port: 80/tcp, clients: [198.18.0.1/15]}]", "did you mean 198.18.0.0/15?"),
        ("[{port: 80/tcp, clients: [198.18.0.1]}]", "write 198.18.0.1/32"),
        ('[{port: 80/tcp, clients: ["fe80::%x/64"]}]', "has a scope"),
        ('[{port: 80/tcp, clients: ["service:"]}]', "'service:' names no service"),
        ('[{port: 80/tcp, clients: ["service:A b"]}]', "names no service"),
        ('[{port: 80/tcp, clients: ["::/0 accept; }"]}]', "is no client"),
        ('[{port: 80/tcp, clients: ["service:a }\\n"]}]', "names no service"),
        ('["80/tcp accept"]', "is not a port"),
        ('["80/tcp\\n"]', "is not a port"),
        ("[0/tcp]", "'0/tcp' is not a port"),
        ("[65536/tcp]", "is not a port"),
        (f"[{{port: 80/tcp, clients: [{', '.join(['internet'] * 101)}]}}]", "101 clients"),
    )
)
