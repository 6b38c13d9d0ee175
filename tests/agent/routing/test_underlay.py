"""OSPF is asked to look again after BFD sessions changed, and only then."""

from dataclasses import replace

from pltfrms.model.running.machine import BfdState
from tests.agent.bench import Bench, make_target
from tests.simulation.virtual import run_virtual

LINE = BfdState("fe80::2:e:1", "bb-ams-e1", up=True, since="12:00")


def test_ways_are_found_again_after_an_edge_was_away() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        async with bench.life():
            await bench.order(make_target(1, machine="fra-e1"))
            await bench.passes(20)
            assert bench.bird.ways_found == 0
            bench.bird.bfd = frozenset({LINE})
            await bench.passes(3)
            assert bench.bird.ways_found == 1
            await bench.passes(8)
            assert bench.bird.ways_found == 2
            await bench.passes(60)
            assert bench.bird.ways_found == 2

    run_virtual(story())


def test_nothing_is_asked_while_frozen_or_of_a_bird_that_is_away() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        async with bench.life():
            await bench.order(make_target(1, machine="fra-e1"))
            await bench.passes(20)
            bench.frozen = True
            bench.bird.bfd = frozenset({LINE})
            await bench.passes(20)
            assert bench.bird.ways_found == 0
            bench.bird.alive = bench.frozen = False
            bench.bird.bfd = frozenset({replace(LINE, up=False)})
            await bench.passes(20)
            bench.bird.alive = True
            await bench.passes(20)
            assert bench.bird.ways_found == 0
            assert not [each for each in bench.status.problems if "underlay" in each]

    run_virtual(story())
