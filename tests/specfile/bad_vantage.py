"""Wrong words about vantage points: what to change in an example, and what must be said."""

from tests.specfile.bad_specs import Bad

_TIMERS = "timers: {external_bfd_interval: 200ms}"


def _vantage(said: str, says: str) -> Bad:
    new = f"{_TIMERS}\nvantage: {said} # <-"
    return Bad(name=f"vantage: {said}", old=_TIMERS, new=new, says=says)


VANTAGE = (
    _vantage("{interval: 100ms}", "vantage.interval: is outside 500 ms..5 m"),
    _vantage("{interval: 1h}", "is outside 500 ms..5 m"),
    _vantage("{per_round: 0}", "vantage.per_round: is not within 1..1000"),
    _vantage("{per_round: 2000}", "vantage.per_round: is not within 1..1000"),
    _vantage("{machines: controllers}", "vantage.machines"),
    _vantage("{datacenters: [fro]}", "there is no datacenter 'fro'"),
    _vantage('{services: ["a b"]}', "vantage.services"),
    _vantage('{outside: ["a b"]}', "vantage.outside"),
    _vantage("{outside: [fra-e1]}", "fra-e1 is a machine or datacenter of ours"),
    _vantage("{outside: [berlin, berlin]}", "berlin stands there twice"),
    _vantage("{who: [berlin]}", "vantage.who"),
)
