"""Two ends of a tunnel, one clock, and agents that are away at times."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.network.tunnels import FRESH_SECONDS
from pltfrms.planner.routing.rotation import (
    ANSWER_SECONDS,
    KeyState,
    epoch_at,
    first_keys,
    next_keys,
    seconds_to_next_try,
)

PERIOD = 30 * 900
TRY = PERIOD // 30
LOOK = 2


@dataclass(slots=True)
class End:
    """An end: its keys stay on the interface when its agent is away."""

    epoch: int
    state: KeyState | None = None
    handshake_at: int = 0

    def look(self, now: int) -> None:
        state = self.state or first_keys(self.epoch, now, PERIOD)
        self.state = next_keys(state, now, self.handshake_at, PERIOD)
        if self.state.epoch != self.epoch:
            self.epoch, self.handshake_at = self.state.epoch, 0


def play(
    ends: tuple[End, End], begin: int, seconds: int, away: set[int], skew: int = 0
) -> list[int]:
    """Return the seconds in which the tunnel did not work."""
    broken = []
    for now in range(begin, begin + seconds):
        for number, end in enumerate(ends):
            if number in away:
                end.state = None
            elif now % LOOK == 0 or now % TRY == skew * number:
                end.look(now - skew * number)
        if ends[0].epoch == ends[1].epoch:
            for end in ends:
                if not end.handshake_at or now - end.handshake_at >= 120:
                    end.handshake_at = now
        else:
            broken.append(now)
    return broken


def test_both_change_at_the_same_instant() -> None:
    ends = (End(9, handshake_at=10 * PERIOD - 100), End(9, handshake_at=10 * PERIOD - 100))
    assert play(ends, 10 * PERIOD - 90, 300, away=set()) == []
    assert [end.epoch for end in ends] == [10, 10]


def test_an_agent_that_is_away_costs_seconds_and_no_more() -> None:
    before = 10 * PERIOD - 60
    ends = (End(9, handshake_at=before), End(9, handshake_at=before))
    broken = play(ends, before, 600, away={1})
    assert len(broken) <= 2 * ANSWER_SECONDS
    assert [end.epoch for end in ends] == [9, 9]
    assert len(play(ends, before + 600, 2 * TRY, away=set())) <= 2 * ANSWER_SECONDS
    assert [end.epoch for end in ends] == [10, 10]


def test_an_agent_that_is_away_for_years_keeps_its_keys_in_use() -> None:
    ends = (End(9, handshake_at=10 * PERIOD - 60), End(9, handshake_at=10 * PERIOD - 60))
    broken = play(ends, 10 * PERIOD - 60, 3 * PERIOD, away={1})
    assert len(broken) <= 3 * PERIOD // TRY * 2 * ANSWER_SECONDS + 2 * ANSWER_SECONDS
    assert ends[0].epoch == 9
    play(ends, 13 * PERIOD - 60, 2 * TRY, away=set())
    assert [end.epoch for end in ends] == [13, 13]


@given(
    epochs=st.tuples(st.integers(8, 10), st.integers(8, 10)),
    begin=st.integers(10 * PERIOD, 11 * PERIOD - 2 * TRY),
)
def test_ends_with_different_keys_find_each_other(epochs: tuple[int, int], begin: int) -> None:
    ends = (End(epochs[0]), End(epochs[1]))
    play(ends, begin, FRESH_SECONDS + 3 * ANSWER_SECONDS + TRY, away=set())
    assert ends[0].epoch == ends[1].epoch
    assert not play(ends, begin + TRY, 60, away=set()) or ends[0].epoch == 10


def test_clocks_that_differ_by_a_second_cost_a_second() -> None:
    before = 10 * PERIOD - 60
    ends = (End(9, handshake_at=before), End(9, handshake_at=before))
    assert len(play(ends, before, 600, away=set(), skew=1)) <= 3
    assert [end.epoch for end in ends] == [10, 10]


@given(now=st.floats(0, 4e9))
def test_the_next_try_is_at_the_change_of_an_epoch_too(now: float) -> None:
    at = now + seconds_to_next_try(now, PERIOD)
    assert 0 < at - now <= TRY
    assert epoch_at(at + 0.01, PERIOD) - epoch_at(now, PERIOD) in {0, 1}
    new = epoch_at(now, PERIOD) + 1
    assert at <= new * PERIOD + 0.01
