"""Clocks that differ are told, and a slow network is never taken for that."""

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.agent.control.skew import TOLERANCE_MS, ClockSkew
from pltfrms.agent.problems import Problems
from pltfrms.model.messages.api import HeartbeatReply
from tests.agent.bench import Bench
from tests.simulation.virtual import run_virtual

DAY_MS = 86_400_000
NOW_MS = 1_700_000_000_000


def _skew() -> tuple[ClockSkew, Problems]:
    problems = Problems(lambda: None)
    return ClockSkew(problems), problems


def _reply(unix_ms: int) -> HeartbeatReply:
    return HeartbeatReply(generation=1, controller="fra-c1", unix_ms=unix_ms)


@given(
    ahead_ms=st.integers(-DAY_MS, DAY_MS),
    there_ms=st.integers(0, 20_000),
    back_ms=st.integers(0, 20_000),
)
def test_no_more_is_said_than_is_sure(ahead_ms: int, there_ms: int, back_ms: int) -> None:
    skew, _ = _skew()
    sent_ms = NOW_MS + ahead_ms
    skew.hear(_reply(NOW_MS + there_ms), sent_ms, sent_ms + there_ms + back_ms)
    said_ms = 1000 * skew.ahead_seconds
    assert said_ms * ahead_ms >= 0
    assert abs(said_ms) <= abs(ahead_ms) + 500
    if abs(ahead_ms) < TOLERANCE_MS:
        assert said_ms == 0
    if abs(ahead_ms) >= TOLERANCE_MS + there_ms + back_ms:
        assert said_ms != 0


def test_the_difference_is_said_once_and_ends_with_a_margin() -> None:
    skew, problems = _skew()
    for ahead_ms, said in ((1900, 0), (2100, 2), (1500, 2), (3000, 2), (9000, 9), (900, 0)):
        skew.hear(_reply(NOW_MS), NOW_MS + ahead_ms, NOW_MS + ahead_ms)
        assert skew.ahead_seconds == said
        assert bool(problems.sentences) == bool(said)


def test_a_controller_that_tells_no_time_says_nothing_of_clocks() -> None:
    skew, problems = _skew()
    skew.hear(HeartbeatReply(generation=1), NOW_MS, NOW_MS)
    assert (skew.ahead_seconds, problems.sentences) == (0, ())


def test_an_agent_whose_clock_is_a_day_off_says_so_until_it_is_right() -> None:
    async def story() -> None:
        bench = Bench()
        bench.controllers.clock_ahead_ms = -DAY_MS
        async with bench.life(3.0):
            assert bench.status.clock_ahead_seconds == 86_400
            sentence = "this machine's clock is 86400 s ahead of that of controller fra-c1"
            assert any(sentence in problem for problem in bench.status.problems)
            bench.controllers.clock_ahead_ms = DAY_MS
            await bench.clock.sleep(3)
            assert bench.status.clock_ahead_seconds == -86_400
            bench.controllers.clock_ahead_ms = 0
            await bench.clock.sleep(3)
            assert (bench.status.clock_ahead_seconds, bench.status.problems) == (0, ())

    run_virtual(story())
