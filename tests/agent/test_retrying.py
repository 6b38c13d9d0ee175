"""Machines that were sent away together come back one after the other, and soon."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.agent.control.retrying import again_seconds, retry_seconds
from pltfrms.errors import LaterError, UnavailableError
from pltfrms.model.messages.api import Heartbeat, HeartbeatReply
from tests.agent.bench import Bench
from tests.simulation.virtual import run_virtual

TTL_SECONDS = 3


def test_machines_sent_away_together_come_back_one_after_the_other() -> None:
    waits = sorted(retry_seconds(f"fra-n{number}", 3) for number in range(1000))
    gaps = [after - before for before, after in pairwise(waits)]
    assert max(gaps) < 0.02
    assert max(gaps) < (waits[-1] - waits[0]) / 50


def test_whoever_is_sent_away_once_is_back_long_before_its_lease_ends() -> None:
    for failures in range(1, 20):
        waits = [retry_seconds(f"fra-n{number}", failures) for number in range(100)]
        assert 0.1 < min(waits) <= max(waits) < TTL_SECONDS / 2


@given(st.floats(0, 60), st.integers(1, 9), st.integers(0, 999))
def test_who_is_told_when_to_come_again_comes_then(told: float, failures: int, n: int) -> None:
    name, error = f"fra-n{n}", LaterError("others are let in", told)
    usual = retry_seconds(name, failures)
    waits = again_seconds(name, failures, error)
    assert max(told, usual) <= waits <= max(1.2 * told, usual)
    assert again_seconds(name, failures, UnavailableError("gone")) == usual


def test_an_agent_that_is_told_to_come_later_keeps_away_until_then() -> None:
    async def story() -> None:
        bench, asked = Bench(), list[float]()

        async def later(_heartbeat: Heartbeat) -> HeartbeatReply:
            asked.append(bench.clock.monotonic())
            raise LaterError("others are let in", 5.0)

        bench.controllers.heartbeat = later  # type: ignore[method-assign,assignment]
        async with bench.life(30.0):
            assert len(asked) >= 5
            assert all(5 <= second - first <= 6.1 for first, second in pairwise(asked))

    run_virtual(story())
