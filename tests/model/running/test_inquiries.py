"""What instances answered, counted in little room."""

import pytest

from pltfrms.model.running.inquiries import BUCKETS_MAX, COUNTED_MAX, Tally, sum_of

NONE = Tally(inquiry="a")


def answers(*times_ms: float, failed: int = 0) -> Tally:
    tally = NONE
    for each in times_ms:
        tally = tally.with_answer(each)
    for _ in range(failed):
        tally = tally.with_failure("no answer")
    return tally


@pytest.mark.parametrize("took_ms", [0.0, 0.7, 1.0, 5.0, 8.0, 300.0, 1999.0, 60_000.0])
def test_a_p95_is_told_at_most_a_fifth_too_high(took_ms: float) -> None:
    told = answers(*[took_ms] * 20).p95_ms
    assert max(took_ms, 1) <= told <= max(took_ms, 1) * 1.2


def test_one_slow_answer_of_twenty_is_no_slow_version_and_two_are() -> None:
    assert answers(*[5] * 19, 900).p95_ms < 10
    assert answers(*[5] * 18, 900, 900).p95_ms >= 900


def test_failed_questions_are_no_answers() -> None:
    tally = answers(5, 5, 5, failed=1)
    assert (tally.asked, tally.answered, tally.failed_share) == (4, 3, 0.25)
    assert (NONE.p95_ms, NONE.failed_share) == (0.0, 0.0)


def test_a_tally_stays_small_and_what_begins_late_is_seen() -> None:
    tally = answers(*[5] * 20_000)
    assert tally.asked <= COUNTED_MAX
    assert len(answers(10**9).buckets) <= BUCKETS_MAX
    for _ in range(60):
        tally = tally.with_failure("ill")
    assert tally.failed_share > 0.05


def test_answers_of_several_are_summed() -> None:
    total = sum_of("a", (answers(5, 5, failed=2), answers(900)))
    assert (total.asked, total.failed, total.failure) == (5, 2, "no answer")
    assert total.p95_ms >= 900
    assert sum_of("a", ()) == NONE
