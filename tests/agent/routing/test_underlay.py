"""OSPF is asked to look again after BFD sessions changed, and only then."""

from dataclasses import replace

from pltfrms.agent.routing.underlay import LOOK_SECONDS, LOOK_SECONDS_MAX, look_seconds
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


def test_a_link_on_which_bfd_falls_silent_is_asked_at_once_and_told() -> None:
    """Before that it took two questions, of up to a second each, and a second between them."""

    async def story() -> None:
        bench = Bench("fra-e1")
        bench.bird.bfd = frozenset({LINE})
        async with bench.life(6.0):
            (name,) = bench.status.links
            assert bench.status.links[name].up
            assert not bench.pinger.asked_in_doubt
            bench.pinger.rtt_ms = None
            bench.bird.bfd = frozenset()
            seconds = await bench.seconds_until(lambda: told_down(bench, name))
            assert seconds < LOOK_SECONDS + 0.2
            assert bench.pinger.asked_in_doubt, "an echo of 9 ms is not waited for so long"
            bench.pinger.rtt_ms = 9.0
            await bench.passes(2.0)
            assert bench.status.links[name].up, "whatever BFD says, it answers"
            bench.bird.alive = False
            await bench.passes(2.0)
            bench.pinger.rtt_ms = None
            assert await bench.seconds_until(lambda: told_down(bench, name)) > LOOK_SECONDS, (
                "a BIRD that says nothing says nothing of a link"
            )

    run_virtual(story())


async def told_down(bench: Bench, link: str) -> bool:
    """Return whether controllers have heard that a link carries nothing."""
    beats = bench.controllers.heartbeats
    return bool(beats) and not beats[-1].status.links[link].up


def test_a_far_answer_is_waited_for_whatever_bfd_says() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        bench.pinger.rtt_ms = 500.0
        bench.bird.bfd = frozenset({LINE})
        async with bench.life(6.0):
            bench.bird.bfd = frozenset()
            await bench.passes(2.0)
            assert bench.pinger.asked_in_doubt is False

    run_virtual(story())


def test_a_frozen_edge_tells_of_its_links_as_soon() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        bench.bird.bfd = frozenset({LINE})
        async with bench.life(6.0):
            (name,) = bench.status.links
            bench.frozen = True
            bench.pinger.rtt_ms = None
            bench.bird.bfd = frozenset({replace(LINE, up=False)})
            seconds = await bench.seconds_until(lambda: told_down(bench, name))
            assert seconds < LOOK_SECONDS + 0.2
            assert bench.bird.ways_found == 0

    run_virtual(story())


def test_an_edge_of_a_large_datacenter_asks_less_often() -> None:
    assert look_seconds(0) == look_seconds(20) == LOOK_SECONDS
    assert LOOK_SECONDS < look_seconds(100) < LOOK_SECONDS_MAX
    assert look_seconds(10_000) == LOOK_SECONDS_MAX
