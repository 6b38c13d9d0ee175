"""How busy an instance is, told rarely."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.agent.instances.usage import (
    HOURS,
    LOOKS,
    Peaks,
    Usage,
    steady_number,
    steady_peak,
    steady_peak_percent,
    steady_percent,
)


def see(usage: Usage, begin: float, *seconds: float, cores: float = 0.2) -> None:
    for number, used in enumerate(seconds):
        usage.see(begin + 5.0 * number, {"web.fra.1-1": (used, cores / 100)})


def test_it_is_an_average_over_several_looks_and_not_known_before() -> None:
    usage = Usage(steady_percent)
    see(usage, 0, 10, 10.5, 11)
    assert usage.told == {}
    see(usage, 15, 11.5)
    assert usage.told == {"web.fra.1-1": 50}, "1.5 s in 15 s, of 0.2 cores"


def test_one_that_begins_anew_or_is_gone_is_not_known() -> None:
    usage = Usage(steady_percent)
    see(usage, 0, *range(LOOKS))
    assert usage.told
    see(usage, 30, 0.5)
    assert usage.told == {}
    usage.see(40, {})
    assert usage.told == {}


def test_a_load_that_is_never_still_is_told_once_in_the_time_of_an_average() -> None:
    """Each telling is a write: of all instances of a machine there is one then."""
    usage, told, used = Usage(steady_percent), list[tuple[int, ...]](), [0.0, 0.0]
    for look in range(60):
        used = [used[0] + look % 7, used[1] + look % 5]
        usage.see(5.0 * look, {"web.fra.1-1": (used[0], 0.01), "web.fra.2-1": (used[1], 0.01)})
        told.append(tuple(usage.told.values()))
    changes = [look for look in range(1, 60) if told[look] != told[look - 1]]
    assert 10 <= len(changes) <= 20
    assert all(b - a >= LOOKS - 1 for a, b in pairwise(changes[1:]))


@pytest.mark.parametrize(
    ("before", "percent", "told"),
    [(None, 52.4, 50), (50, 59.9, 50), (50, 60.0, 60), (50, 40.1, 50), (50, 33, 35)],
)
def test_small_changes_are_told_nobody(before: int | None, percent: float, told: int) -> None:
    assert steady_percent(before, percent) == told


def test_what_is_counted_is_told_by_the_second() -> None:
    usage = Usage(steady_number)
    for look in range(LOOKS):
        usage.see(5.0 * look, {"web.fra.1-1": (1000 + 717 * look, 1)})
    assert usage.told == {"web.fra.1-1": 140}, "143.4 in a second"


@pytest.mark.parametrize(
    ("before", "number", "told"),
    [
        (None, 0.4, 0),
        (None, 7.6, 8),
        (None, 143.4, 140),
        (None, 98_765, 99_000),
        (140, 153, 140),
        (140, 155, 160),
        (4, 4.9, 4),
        (4, 5.2, 5),
        (0, 0.9, 0),
    ],
)
def test_of_a_number_two_digits_are_told_and_small_changes_nobody(
    before: int | None, number: float, told: int
) -> None:
    assert steady_number(before, number) == told


ONE = "web.fra.1-1"


def test_a_peak_is_of_the_last_hours_and_goes_with_the_hour_that_had_it() -> None:
    peaks = Peaks(steady_peak)
    for hour in range(2 * HOURS):
        rate = 90.0 if hour == 3 else 10.0
        for look in (0.0, 1800.0):
            peaks.see(3600.0 * hour + look, {ONE: rate}, {ONE})
        high = 3 <= hour < 3 + HOURS
        assert (peaks.told[ONE] >= 90) == high, hour
        assert peaks.hours(ONE) == min(hour + 1, HOURS)


def test_the_peak_of_one_that_does_not_run_just_now_is_kept_and_of_one_that_is_gone_not() -> (
    None
):
    peaks = Peaks(steady_peak)
    peaks.see(0.0, {ONE: 50.0}, {ONE})
    peaks.see(5.0, {}, {ONE})
    assert peaks.told.keys() == {ONE}
    peaks.see(3600.0 * HOURS, {}, {ONE})
    assert peaks.told == {}, "nothing is known of the last hours"
    peaks.see(3600.0 * HOURS, {ONE: 50.0}, ())
    assert peaks.told == {}
    assert peaks.hours(ONE) == 0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_a_peak_is_told_rarely_and_never_too_low(rates: list[float]) -> None:
    told: int | None = None
    most, tellings = 0.0, 0
    for rate in rates:
        most = max(most, rate)
        before, told = told, steady_peak(told, most)
        tellings += told != before
        assert most <= told <= most * 1.3 + 1
    assert tellings <= 1 + 25 * 7, "each by a tenth, over six decades and the first numbers"


@pytest.mark.parametrize(
    ("before", "percent", "told"),
    [
        (None, 60.0, 66),
        (None, 95.0, 100),
        (None, 100.4, 100),
        (100, 104.9, 100),
        (100, 150, 170),
    ],
)
def test_who_used_all_that_it_is_promised_is_told_to_have_used_that(
    before: int | None, percent: float, told: int
) -> None:
    assert steady_peak_percent(before, percent) == told
