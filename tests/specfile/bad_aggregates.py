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
)
