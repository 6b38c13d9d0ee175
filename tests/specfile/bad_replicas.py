"""Wrong numbers of replicas, and empty words of a service: what to change, and what is said."""

from tests.specfile.bad_sessions import EMPTY
from tests.specfile.bad_specs import Bad

_REPLICAS = "replicas: {per_datacenter: 2}"


def _replicas(words: str, says: str) -> Bad:
    return Bad(name=words, old=_REPLICAS, new=f"replicas: {{{words}}} # <-", says=says)


def _beside(words: str, says: str) -> Bad:
    return Bad(name=words, old=_REPLICAS, new=f"{_REPLICAS}\n{words} # <-", says=says)


REPLICAS = (
    _replicas("total: 6, per_datacenter: 2", "replicas.total: is all of them, so nothing else"),
    _replicas("total: 6, fra: 2", "replicas.total: is all of them, so nothing else can say"),
    _replicas("total: 0", "replicas.total: must be at least 1 (to stop a service, delete it)"),
    _replicas("total: 20000", "20000 is more than 10000"),
    _replicas(
        "total: 10",
        "only 9 of 10 replicas fit on the empty nodes: 3 in fra, 3 in ams, 3 in lon (total: 9,",
    ),
    _replicas(
        "total: 2, datacenters: [frb]", "there is no datacenter 'frb' (did you mean fra?)"
    ),
    _replicas("fra: 0", "replicas.fra: must be at least 1"),
    _replicas("fra: two", "replicas.fra: must be a whole number, not the text 'two'"),
    _replicas("frb: 2", "replicas.frb: there is no datacenter 'frb' (did you mean fra?)"),
    _replicas("totl: 6", "replicas.totl: there is no datacenter 'totl' (did you mean total?)"),
    _replicas("fra: 2, max_per_nodes: 2", "unknown field (did you mean max_per_node?)"),
    _replicas("fra: 4", "4 replicas do not fit in fra: 3 nodes x 1 per node = 3 (fra: 3, or"),
    _replicas(
        "fra: 2, datacenters: [ams]", "the numbers of datacenters say where it runs, too"
    ),
    _beside("aggregate: []", EMPTY),
    _beside("addresses: []", EMPTY),
    _beside(
        "egress: internet", "'internet' is not a known word (known: datacenter, none, own)"
    ),
)
