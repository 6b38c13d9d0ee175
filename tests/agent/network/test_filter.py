"""The packet filter of an edge, as the agent keeps it."""

from dataclasses import replace

from pltfrms.agent.network.filter import LOOK_SECONDS
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.state import RoutingState
from pltfrms.render.bird import policy_fingerprint
from tests.agent.bench import PLATFORM, Bench, make_target
from tests.render.filter_world import SHOP
from tests.render.platforms import session
from tests.simulation.virtual import run_virtual

EDGE = "fra-e1"
PEERED = replace(PLATFORM, peers=(SHOP,))


def _bench(platform: Platform = PEERED) -> Bench:
    bench = Bench(EDGE)
    bench.platform = platform
    return bench


def _events(bench: Bench) -> list[str]:
    return bench.controllers.events("packet filter changed")


def test_it_is_installed_kept_and_removed() -> None:
    async def story() -> None:
        bench = _bench()
        async with bench.life(seconds=5.0):
            assert "x-shop" in bench.packet_filter.text
            installed = f"machine/{EDGE}: installed inet pltfrms_edge"
            assert _events(bench) == [installed]
            bench.packet_filter.text = ""
            await bench.passes(LOOK_SECONDS + 2)
            assert "x-shop" in bench.packet_filter.text
            assert _events(bench) == [installed, installed]
            await bench.order(replace(make_target(1, machine=EDGE), platform=PLATFORM), 15.0)
            assert "x-shop" in bench.packet_filter.text, "its session is still configured"
            bench.controllers.turn = policy_fingerprint(PLATFORM, EDGE)

            async def is_removed() -> bool:
                return not bench.packet_filter.text

            await bench.seconds_until(is_removed)
            assert bench.status.routing.state is RoutingState.CONFIRMED
            await bench.passes(2.0)
            assert _events(bench)[-1:] == [f"machine/{EDGE}: removed inet pltfrms_edge"]

    run_virtual(story())


def test_what_cannot_be_installed_is_a_problem_and_routing_goes_on() -> None:
    async def story() -> None:
        bench = _bench()
        bench.packet_filter.refuses = "nft is not installed"
        async with bench.life(seconds=15.0):
            assert "packet filter: nft is not installed" in bench.status.problems
            assert bench.bird.configs
            bench.packet_filter.refuses = ""
            await bench.passes(LOOK_SECONDS + 1)
            assert not any("packet filter" in each for each in bench.status.problems)

    run_virtual(story())


def test_it_stays_as_it_is_while_frozen() -> None:
    async def story() -> None:
        bench = _bench()
        async with bench.life(seconds=15.0):
            bench.frozen = True
            bench.packet_filter.text = "by hand"
            await bench.passes(20.0)
            assert bench.packet_filter.text == "by hand"
            bench.frozen = False
            await bench.passes(LOOK_SECONDS + 1)
            assert "x-shop" in bench.packet_filter.text

    run_virtual(story())


def test_the_old_neighbour_may_speak_until_the_new_routing_is_confirmed() -> None:
    async def story() -> None:
        bench = _bench()
        moved = session(
            EDGE,
            "shop",
            ("203.0.113.21/31", "2001:db8:9::1/127"),
            ("203.0.113.20", "2001:db8:9::"),
        )
        after = replace(PEERED, peers=(replace(SHOP, sessions=(moved,)),))
        async with bench.life(seconds=15.0):
            await bench.order(
                replace(make_target(1, machine=EDGE), platform=after), seconds=30.0
            )
            assert "2001:db8:9::" in bench.packet_filter.text
            assert '"x-shop" . 2001:db8:f2::' in bench.packet_filter.text, "not our turn yet"

    run_virtual(story())
