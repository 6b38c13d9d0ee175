"""Wrong words about aggregates: what to change in an example, and what must be said."""

from tests.specfile.bad_specs import Bad

_AGGREGATES = 'aggregates: [198.51.100.0/24, "2001:db8:100::/48"]'

AGGREGATES = (
    Bad(
        name="the same prefix twice",
        old=_AGGREGATES,
        new='aggregates:\n- 198.51.100.0/24\n- "2001:db8:100::/48"\n- 198.51.100.0/24 # <-',
        says="198.51.100.0/24 is in the list twice",
    ),
    Bad(
        name="an aggregate of an unknown datacenter",
        old=_AGGREGATES,
        new="aggregates:\n- {prefix: 198.51.100.0/24, datacenters: [fra, amx]} # <-",
        says="there is no datacenter 'amx' (did you mean ams?)",
    ),
    Bad(
        name="a name of two aggregates of one family",
        old=_AGGREGATES,
        new=(
            "aggregates:\n- {prefix: 198.51.100.0/24, name: eu}\n"
            "- {prefix: 203.0.113.0/24, name: eu} # <-"
        ),
        says="198.51.100.0/24 is called eu too",
    ),
    Bad(
        name="an aggregate inside a unicast prefix",
        old=_AGGREGATES,
        new=(
            f"{_AGGREGATES[:-1]}, {{prefix: 192.0.0.0/16, unicast: fra}},\n  192.0.2.0/24] # <-"
        ),
        says="192.0.2.0/24 and 192.0.0.0/16 overlap, and machines of fra have addresses there",
    ),
    Bad(
        name="a unicast prefix inside an aggregate",
        old=_AGGREGATES,
        new=f"{_AGGREGATES[:-1]},\n  {{prefix: 2001:db8:100:1000::/52, unicast: fra}}] # <-",
        says="one would be given twice",
    ),
    Bad(
        name="a unicast prefix inside that of another datacenter",
        old=_AGGREGATES,
        new=(
            f"{_AGGREGATES[:-1]}, {{prefix: 192.0.0.0/16, unicast: fra}},\n"
            "  {prefix: 192.0.2.0/24, unicast: ams}] # <-"
        ),
        says="one would be given twice",
    ),
    Bad(
        name="IPv4 for instances of machines without IPv4",
        old=_AGGREGATES,
        new=(
            f"infrastructure: [no-ipv4]\n{_AGGREGATES[:-1]},\n"
            "  {prefix: 192.0.2.0/24, unicast: fra}] # <-"
        ),
        says="infrastructure has no IPv4",
    ),
)
