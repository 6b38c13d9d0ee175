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
