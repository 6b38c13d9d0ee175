"""Several datacenters decide at once, each by old news: somebody always announces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.topology import Aggregate
from pltfrms.planner.routing.aggregates import (
    AggregateState,
    Reachable,
    aggregate_routes,
    decide_aggregates,
)
from tests.strategies import make_platform, make_service, make_spec

FOUR = ip_network("198.51.100.0/24")
PLATFORM = replace(
    make_platform({"fra": 1, "ams": 1, "lon": 1}), aggregates=(Aggregate(prefix=FOUR),)
)
SERVICES = (make_service(make_spec()),)
SERVED = frozenset(SERVICES[0].prefixes)
TICK = 0.05
MAX_DELAY_TICKS = 4


@dataclass
class Edge:
    """Looks every so many ticks; what it tells others is kept with its age."""

    rank: int
    every: int
    states: Mapping[Prefix, AggregateState] = field(
        default_factory=lambda: {FOUR: AggregateState(announced=True)}
    )
    told: list[bool] = field(default_factory=list)
    """Whether the others were told of the aggregate, by tick."""

    @property
    def announced(self) -> bool:
        return self.states[FOUR].announced

    def looks(self, now: float, *, healthy: bool, elsewhere: bool) -> None:
        reachable = Reachable(
            services=SERVICES,
            local=SERVED if healthy else frozenset(),
            remote=frozenset(),
            elsewhere=frozenset((FOUR,)) if elsewhere else frozenset(),
            inside=True,
            backbone=True,
        )
        decision = decide_aggregates(PLATFORM, reachable, self.states, now, rank=self.rank)
        self.states = decision.states

    def tells(self) -> None:
        self.told.append(any(route.metric == 1 for route in aggregate_routes(self.states)))


def _live(
    edges: Sequence[Edge], healthy: Sequence[Sequence[bool]], random: Random
) -> list[int]:
    """Return how many announce at each tick; `healthy` is by datacenter and tick."""
    counts = []
    for tick in range(len(healthy[0])):
        for edge in edges:
            if tick % edge.every == 0:
                edge.looks(
                    100.0 + tick * TICK,
                    healthy=healthy[edge.rank][tick],
                    elsewhere=any(
                        _heard(other, tick, random)
                        for other in edges
                        if other.rank != edge.rank
                    ),
                )
        for edge in edges:
            edge.tells()
        counts.append(sum(edge.announced for edge in edges))
    return counts


def _heard(other: Edge, tick: int, random: Random) -> bool:
    at = tick - 1 - random.randrange(MAX_DELAY_TICKS)
    return other.told[at] if at >= 0 else True


_RATES = st.lists(st.integers(1, 4), min_size=6, max_size=6)
"""An edge looks every 50 to 200 ms."""


def _edges(rates: Sequence[int]) -> list[Edge]:
    return [Edge(rank=index // 2, every=rate) for index, rate in enumerate(rates)]


@settings(max_examples=35)
@given(st.lists(st.integers(0, 120), min_size=3, max_size=3), _RATES, st.integers(0, 2**32))
def test_all_become_unhealthy_at_any_times(
    since: list[int], rates: list[int], seed: int
) -> None:
    ticks = 600
    healthy = [[tick < start for tick in range(ticks)] for start in since]
    edges = _edges(rates)
    counts = _live(edges, healthy, Random(seed))  # noqa: S311 - a simulation
    assert min(counts) >= 1
    assert len({edge.rank for edge in edges if edge.announced}) == 1, "the others have left"


@settings(max_examples=25)
@given(
    st.lists(st.lists(st.integers(1, 200), min_size=1, max_size=12), min_size=3, max_size=3),
    _RATES,
    st.integers(0, 2**32),
)
def test_health_comes_and_goes_at_any_times(
    lengths: list[list[int]], rates: list[int], seed: int
) -> None:
    ticks = 800
    healthy = []
    for each in lengths:
        life = [index % 2 == 0 for index, length in enumerate(each) for _ in range(length)]
        healthy.append((life + [False] * ticks)[:ticks])
    counts = _live(_edges(rates), healthy, Random(seed))  # noqa: S311 - a simulation
    assert min(counts) >= 1


def test_whose_last_announcer_dies_is_repaired() -> None:
    edges = _edges([1] * 6)
    healthy = [[False] * 800] * 3
    random = Random(1)  # noqa: S311 - a simulation
    assert min(_live(edges, healthy, random)) >= 1
    (rank,) = {edge.rank for edge in edges if edge.announced}
    left = [edge for edge in edges if edge.rank != rank]
    for edge in left:
        edge.told.clear()
        edge.looks(200.0, healthy=False, elsewhere=False)
        edge.looks(201.0, healthy=False, elsewhere=False)
    assert any(edge.announced for edge in left)
