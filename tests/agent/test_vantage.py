"""A vantage point of an agent, in virtual time."""

from dataclasses import replace
from ipaddress import ip_address

from pltfrms.errors import UnavailableError
from pltfrms.model.network.vantage import VantageSpec
from pltfrms.model.running.machine import ProbeAnswer
from pltfrms.model.running.vantage import Questions, VantageQuestion, VantageTally
from pltfrms.model.services.service import Probe, ProbeKind
from tests.agent.bench import PLATFORM, Bench
from tests.simulation.virtual import run_virtual

V4, V6 = ip_address("198.51.100.1"), ip_address("2001:db8:100::1")
TCP = Probe(kind=ProbeKind.TCP, port=80)
QUESTIONS = Questions(
    made_of="one",
    interval_ms=1000,
    questions=tuple(
        VantageQuestion(service="web", address=each, probe=TCP) for each in (V4, V6)
    ),
)


def edge() -> Bench:
    bench = Bench("fra-e1")
    bench.controllers.questions = QUESTIONS
    return bench


def last(bench: Bench) -> dict[int, VantageTally]:
    return {each.address.version: each for each in bench.controllers.reports[-1].tallies}


def test_an_edge_asks_what_it_is_told_and_reports_after_three_rounds() -> None:
    async def story() -> None:
        bench = edge()
        async with bench.life(10.5):
            reports = bench.controllers.reports
            assert [each.vantage for each in reports] == ["fra-e1"] * len(reports)
            assert [len(each.tallies) for each in reports] == [0, 2, 2, 2]
            assert [each.made_of for each in reports] == ["", "one", "one", "one"]
            assert last(bench)[4].asked == last(bench)[6].asked == 9
            assert last(bench)[4].recent.p50_us == 3000

    run_virtual(story())


def test_questions_are_spread_over_the_round() -> None:
    async def story() -> None:
        bench = edge()
        async with bench.life(0.2):
            assert len(bench.asker.asked) == 1
            await bench.passes(0.5)
            assert sorted(map(str, bench.asker.asked)) == [str(V4), str(V6)]

    run_virtual(story())


def test_a_turn_is_told_with_the_next_round() -> None:
    async def story() -> None:
        bench = edge()
        async with bench.life(5.2):
            known = len(bench.controllers.reports)
            bench.asker.answers[V4] = ProbeAnswer(failure="Connection refused")
            await bench.passes(3.5)
            rows = [
                tally.recent.in_a_row
                for report in bench.controllers.reports[known:]
                for tally in report.tallies
                if tally.address == V4
            ]
            assert [each for each in rows if each][:2] == [1, 2]
            assert last(bench)[4].recent.failure == "Connection refused"
            assert last(bench)[6].recent.in_a_row == 0
            del bench.asker.answers[V4]
            await bench.passes(2.5)
            assert last(bench)[4].recent.in_a_row == 0

    run_virtual(story())


def test_without_controllers_it_goes_on_asking_and_counting() -> None:
    async def story() -> None:
        bench = edge()
        async with bench.life(4.2):
            bench.controllers.alive = False
            await bench.passes(20.0)
            assert len(bench.asker.asked) >= 46
            assert not any("vantage" in each for each in bench.status.problems)
            bench.controllers.alive = True
            await bench.passes(4.0)
            assert last(bench)[4].asked >= 23

    run_virtual(story())


def test_what_cannot_be_asked_is_told_as_that() -> None:
    async def story() -> None:
        bench = edge()
        bench.asker.answers[V6] = UnavailableError("no way to 2001:db8:100::1 from here")
        async with bench.life(5.0):
            assert last(bench)[6].recent.unable == "no way to 2001:db8:100::1 from here"
            assert last(bench)[6].asked == last(bench)[6].failed == 0

    run_virtual(story())


def test_other_questions_take_the_place_of_what_was_asked() -> None:
    async def story() -> None:
        bench = edge()
        async with bench.life(5.0):
            fewer = replace(QUESTIONS, made_of="two", questions=QUESTIONS.questions[:1])
            bench.controllers.questions = fewer
            await bench.passes(7.0)
            assert last(bench).keys() == {4}
            assert last(bench)[4].asked > 6  # it goes on counting

    run_virtual(story())


def test_a_node_asks_only_where_the_platform_says_so() -> None:
    async def story() -> None:
        bench = Bench("fra-n1")
        async with bench.life(30.0):
            assert bench.controllers.reports == []
        told = Bench("fra-n1", replace(PLATFORM, vantage=VantageSpec(nodes=True)))
        async with told.life(1.0):
            assert [each.vantage for each in told.controllers.reports] == ["fra-n1"]

    run_virtual(story())
