"""Nothing long is computed in the loop that takes heartbeats."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from pltfrms.controller.counters import Counters
from pltfrms.controller.deciding import Deciding
from pltfrms.drivers.aside import SMALL
from pltfrms.model.api import Change
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import simulate
from tests.strategies import make_platform, make_service, make_snapshot, make_spec

_T = TypeVar("_T")

MANY = tuple(replace(make_spec(f"s{number}"), per_datacenter=3) for number in range(40))
"""They run nowhere yet, and are to run at 360 places."""


class _Sizes:
    """`ports.Aside` that writes down how large the works are."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    async def run(self, size: int, work: Callable[[], _T]) -> _T:
        self.seen.append(size)
        return work()


def test_the_first_plan_of_many_replicas_is_not_made_in_the_loop() -> None:
    services = tuple(make_service(spec, number + 1) for number, spec in enumerate(MANY))
    snapshot = make_snapshot(make_platform({"fra": 2, "ams": 2, "lon": 2}), services)
    sizes = _Sizes()
    asyncio.run(Deciding(sizes, Counters()).decide(snapshot))
    few = replace(snapshot, services={"s0": services[0]})
    asyncio.run(Deciding(sizes, Counters()).decide(few))
    large, small = sizes.seen
    assert small < SMALL < large


def test_a_preview_of_many_new_replicas_is_not_made_in_the_loop() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(5)
        sizes = _Sizes()
        cluster.operations.controller.aside = sizes
        await cluster.operations.plan(Change(services=MANY))
        assert min(sizes.seen) > SMALL

    simulate(story)
