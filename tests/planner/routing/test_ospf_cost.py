"""OSPF costs follow measured round trip times, slowly."""

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.running.state import LinkStatus
from pltfrms.planner.routing.ospf_cost import (
    LOSS_OF,
    MAX_COST,
    MIN_COST,
    LinkCost,
    cost_of,
    link_status,
    measured,
)
from pltfrms.render.routing.mesh import FABRIC_COST


def _after(rtts: list[float | None], state: LinkCost, start: float = 0.0) -> LinkCost:
    for second, rtt in enumerate(rtts):
        state = measured(state, rtt, start + second)
    return state


def test_the_third_sample_sets_the_first_cost_at_once() -> None:
    two = _after([10.0, 10.1], LinkCost())
    assert two.cost is None
    assert measured(two, 10.2, 2.0).cost == cost_of(10.0)


def test_the_least_of_the_window_counts() -> None:
    assert _after([10.0, 90.0, 90.0, 90.0], LinkCost()).cost == cost_of(10.0)


def test_a_small_change_is_noise() -> None:
    state = _after([10.0] * 3, LinkCost())
    assert _after([11.5] * 120, state, start=3.0).cost == state.cost


def test_a_large_change_waits_for_its_time_and_for_the_window() -> None:
    state = _after([10.0] * 3, LinkCost())
    assert _after([20.0] * 28, state, start=3.0).cost == cost_of(10.0)
    assert _after([20.0] * 40, state, start=3.0).cost == cost_of(20.0)


def test_a_better_path_counts_after_the_pause() -> None:
    state = _after([20.0] * 3, LinkCost())
    assert _after([10.0] * 20, state, start=3.0).cost == cost_of(20.0)
    assert _after([10.0] * 31, state, start=3.0).cost == cost_of(10.0)


def test_the_shortest_link_costs_more_than_a_fabric_and_stays_so() -> None:
    state = _after([0.05] * 3, LinkCost())
    assert state.cost == MIN_COST > FABRIC_COST
    assert _after([0.06] * 120, state, start=3.0).changed_at == state.changed_at


def test_silence_keeps_the_cost() -> None:
    state = _after([10.0] * 3, LinkCost())
    silent = _after([None] * 200, state, start=3.0)
    assert silent.cost == state.cost
    assert silent.samples == ()


@given(st.floats(0.0, 1e9), st.floats(0.0, 1e9))
def test_costs_are_in_range_and_in_the_order_of_the_times(one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert MIN_COST <= cost_of(less) <= cost_of(more) <= MAX_COST


@given(st.floats(0.5, 5000.0))
def test_a_cost_is_within_ten_percent_of_ten_times_the_milliseconds(rtt_ms: float) -> None:
    assert abs(cost_of(rtt_ms) - 10 * rtt_ms) <= max(1.0, 0.1 * 10 * rtt_ms)


@given(st.lists(st.one_of(st.none(), st.floats(0.1, 500.0)), max_size=200))
def test_changes_are_large_and_far_apart(rtts: list[float | None]) -> None:
    state, changed_at = LinkCost(), None
    for second, rtt in enumerate(rtts):
        after = measured(state, rtt, float(second))
        if after.cost != state.cost and state.cost is not None and after.cost is not None:
            assert changed_at is not None
            assert second - changed_at >= 30
            least = min(rtt for _, rtt in after.samples)
            assert abs(10 * least - state.cost) > 0.2 * state.cost
        if after.cost != state.cost:
            changed_at = second
        state = after


def test_a_link_is_down_after_two_questions_without_an_answer_and_up_with_one() -> None:
    new = LinkCost()
    assert link_status(new) is None
    assert link_status(_after([None], new)) is None, "one lost packet is no dead link"
    assert link_status(_after([None, None], new)) == LinkStatus(up=False)
    state = _after([10.0] * 3, new)
    rtt_us = 100 * cost_of(10.0)
    assert link_status(state) == LinkStatus(up=True, rtt_us=rtt_us)
    assert link_status(_after([None], state, 3.0)) == LinkStatus(up=True, rtt_us=rtt_us)
    dead = _after([None, None], state, 3.0)
    assert link_status(dead) == LinkStatus(up=False, rtt_us=rtt_us)
    assert link_status(_after([None], dead, 5.0)) == LinkStatus(up=False, rtt_us=rtt_us)
    assert link_status(_after([10.0], dead, 5.0)) == LinkStatus(up=True, rtt_us=rtt_us)


def test_loss_is_told_of_thirty_questions_at_once() -> None:
    half: list[float | None] = [10.0, None] * (LOSS_OF // 2)
    early = link_status(_after(half[:-1], LinkCost()))
    assert early
    assert early.loss_percent is None, "so many were not asked yet"
    state = _after(half, LinkCost())
    told = link_status(state)
    assert told
    assert told.loss_percent == 50
    later = _after([10.0] * (LOSS_OF - 1), state, 30.0)
    assert later.loss_percent == 50, "it is told anew when as many have been asked again"
    assert _after([10.0], later, 59.0).loss_percent == 0


def test_where_bfd_is_silent_too_one_question_without_an_answer_is_enough() -> None:
    state = _after([10.0] * 3, LinkCost())
    silent = measured(state, None, 3.0, silent=True)
    assert silent.up is False
    assert measured(silent, 10.0, 4.0, silent=True).up, "it carries packets, whatever BFD says"
    assert measured(state, 10.0, 3.0, silent=True).up
