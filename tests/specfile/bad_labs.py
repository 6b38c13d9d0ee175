"""Lab files with one mistake each; see `bad_specs`."""

from tests.specfile.bad_specs import Bad

LABS = (
    Bad(
        name="delay of an unknown link",
        old="fra-e1--ams-e2: 5ms",
        new="ams-e2--fra-e1: 5ms # <-",
        says="there is no backbone link 'ams-e2--fra-e1'",
    ),
    Bad(
        name="delay without unit",
        old="fra-e1--ams-e2: 5ms",
        new="fra-e1--ams-e2: 5 # <-",
        says="5 has no unit",
    ),
    Bad(
        name="another ASN than in the platform",
        old="asn: 64601",
        new="asn: 64603 # <-",
        says="64603 is not its ASN in the platform (64601)",
    ),
    Bad(
        name="a transit that the platform does not know",
        old="    transit2:\n",
        new="    transit2:\n      asn: 64602\n    transit3: # <-\n",
        says="the platform has no transit 'transit3'",
    ),
    Bad(
        name="delay to an edge without a session",
        old="      delays: {ams-e1: 1ms, ams-e2: 1ms, lon-e2: 8ms}",
        new="      delays: {fra-e1: 1ms} # <-",
        says="there is no session of transit2 with an edge 'fra-e1'",
    ),
    Bad(
        name="peering with an unknown transit",
        old="peerings: {transit2: 4ms}",
        new="peerings: {transit9: 4ms} # <-",
        says="there is no other transit 'transit9'",
    ),
    Bad(
        name="unknown nearest datacenter",
        old="nearest: fra",
        new="nearest: frb # <-",
        says="there is no datacenter 'frb'",
    ),
    Bad(
        name="unknown upstream",
        old="upstreams: {transit1: 3ms, transit2: 12ms}",
        new="upstreams: {ixp9: 3ms} # <-",
        says="there is no transit or IXP 'ixp9'",
    ),
    Bad(
        name="overlapping clients",
        old='prefixes: [198.18.2.0/24, "2001:db8:e002::/48"]',
        new="prefixes: [198.18.1.0/24] # <-",
        says="198.18.1.0/24 overlaps 198.18.1.0/24 of berlin",
    ),
    Bad(
        name="eyeball with a transit's ASN",
        old="asn: 64802",
        new="asn: 64601 # <-",
        says="64601 is already the ASN of transit1",
    ),
)
