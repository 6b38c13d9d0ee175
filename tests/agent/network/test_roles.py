"""What an edge answers for roles that nobody has, as the agent keeps it."""

from dataclasses import replace

import pytest

from pltfrms.agent.network.roles import LOOK_SECONDS
from pltfrms.model.running.plan import Target
from tests.agent.bench import ONE, WEB, Bench, make_target
from tests.agent.instances.test_roles import DB
from tests.simulation.virtual import run_virtual

EDGE = "fra-e1"
LATER = LOOK_SECONDS + 2


def told(generation: int, machine: str = EDGE, *, roles: bool = True) -> Target:
    return replace(make_target(generation, machine=machine), services=(DB if roles else WEB,))


def test_it_is_there_is_kept_and_goes_with_the_service() -> None:
    async def story() -> None:
        bench = Bench(EDGE)
        async with bench.life():
            await bench.order(told(1))
            text = bench.role_filter.text
            assert "ip daddr { 198.51.100.129, 198.51.100.200 } fib daddr oif missing" in text
            assert "ip6 daddr { 2001:db8:100::81 } fib daddr oif missing" in text
            bench.role_filter.text = ""
            await bench.passes(LATER)
            assert bench.role_filter.text == text
            await bench.order(told(2, roles=False))
            assert bench.role_filter.text == ""

    run_virtual(story())


def test_what_was_there_before_an_agent_stays_until_that_knows_better() -> None:
    async def story() -> None:
        bench = Bench(EDGE)
        bench.role_filter.text = "from before"
        async with bench.life():
            await bench.passes(LATER)
            assert bench.role_filter.text == "from before"
            bench.frozen = True
            await bench.order(told(1), LATER)
            assert bench.role_filter.text == "from before"
            bench.frozen = False
            await bench.passes(LATER)
            assert "fib daddr oif missing" in bench.role_filter.text

    run_virtual(story())


def test_what_cannot_be_installed_is_a_problem_for_as_long_as_it_is_wanted() -> None:
    async def story() -> None:
        bench = Bench(EDGE)
        bench.role_filter.refuses = "nft is not installed"
        async with bench.life():
            await bench.order(told(1))
            problem = "roles that nobody has: nft is not installed"
            assert problem in bench.status.problems
            bench.role_filter.refuses = ""
            await bench.passes(LATER)
            assert problem not in bench.status.problems

    run_virtual(story())


@pytest.mark.parametrize("machine", ["fra-n1", "fra-c1"])
def test_only_edges_answer(machine: str) -> None:
    async def story() -> None:
        bench = Bench(machine)
        bench.role_filter.refuses = "nobody is to try"
        async with bench.life():
            allocations = (ONE,) if machine == "fra-n1" else ()
            await bench.order(replace(told(1, machine), allocations=allocations), LATER)
            assert not [each for each in bench.status.problems if "nobody" in each]

    run_virtual(story())
