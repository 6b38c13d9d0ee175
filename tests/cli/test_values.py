"""Durations and faults as they are typed."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.cli.shared.values import duration_ms, lasting_ms, split_fault, timeout_ms
from pltfrms.model.durations import short_duration


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("500ms", 500),
        ("10s", 10_000),
        ("1.5s", 1500),
        ("1m", 60_000),
        ("0s", 0),
        ("1h", 3_600_000),
    ],
)
def test_durations(text: str, milliseconds: int) -> None:
    assert duration_ms(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        *("", "10", "s", "-1s", "1 day", "1,5s", "0.5ms", "1e3s"),
        *("99999h", "9" * 400 + "s"),
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|finer"):
        duration_ms(text)


@pytest.mark.parametrize(
    ("read", "text"), [(lasting_ms, "0s"), (timeout_ms, "0ms"), (timeout_ms, "25h")]
)
def test_a_time_in_which_nothing_can_be_done_is_refused(
    read: Callable[[str], int], text: str
) -> None:
    with pytest.raises(ValueError, match="is not a duration of 1 ms to"):
        read(text)
    assert read("1ms") == 1


@given(st.integers(min_value=0, max_value=10**9))
def test_whole_milliseconds_survive(value: int) -> None:
    assert duration_ms(f"{value}ms") == value


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("edge/fra-e1", ("edge/fra-e1", "kill")),
        ("edge/fra-e1:silent", ("edge/fra-e1", "silent")),
        ("link/fra-e1--ams-e2:loss=5%", ("link/fra-e1--ams-e2", "loss=5%")),
    ],
)
def test_faults(text: str, parts: tuple[str, str]) -> None:
    assert split_fault(text) == parts


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.25, "250 ms"),
        (3.21, "3.2 s"),
        (59, "59 s"),
        (150, "2 min"),
        (7300, "2 h"),
        (200_000, "2 d"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert short_duration(seconds) == words
