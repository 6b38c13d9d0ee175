"""How long certificates and tokens are good for, by any clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.errors import UsageError
from pltfrms.model.identity.lives import DAY_MS, LEAF_MS, Life, leaf_life
from pltfrms.model.identity.words import JoinToken, TokenNote
from pltfrms.planner.identity.renewing import renewal_at_ms, why_clock_is_wrong
from pltfrms.planner.identity.tokens import TOKEN_MS, why_no_join

NOW_MS = 1_800_000_000_000
YEAR = Life(not_before_ms=NOW_MS - DAY_MS, not_after_ms=NOW_MS + 365 * DAY_MS)
MONTH = Life(not_before_ms=NOW_MS, not_after_ms=NOW_MS + 30 * DAY_MS)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True)
NOTE = TokenNote(machine="fra-n1", digest="d", expires_ms=NOW_MS + TOKEN_MS)


@given(NAMES)
def test_renewal_begins_in_the_second_third_of_a_life(machine: str) -> None:
    at_ms = renewal_at_ms(MONTH, machine)
    assert NOW_MS + 10 * DAY_MS <= at_ms <= NOW_MS + 20 * DAY_MS
    assert at_ms == renewal_at_ms(MONTH, machine)


def test_machines_do_not_renew_all_at_once() -> None:
    moments = sorted(renewal_at_ms(MONTH, f"fra-n{number}") for number in range(1000))
    busiest = max(
        sum(start <= each < start + DAY_MS for each in moments) for start in moments[::50]
    )
    assert busiest < 150


@given(st.integers(0, 4_000_000_000_000))
def test_nothing_is_signed_by_a_clock_at_which_the_signer_is_not_good(now_ms: int) -> None:
    life = leaf_life(YEAR, now_ms)
    if not YEAR.holds(now_ms):
        assert life is None
        return
    assert life
    assert life.holds(now_ms)
    assert life.not_before_ms >= YEAR.not_before_ms
    assert life.not_after_ms <= min(YEAR.not_after_ms, now_ms + LEAF_MS)


@pytest.mark.parametrize("now_ms", [0, NOW_MS - 2 * DAY_MS, NOW_MS + 3650 * DAY_MS])
def test_a_controller_in_1970_or_ten_years_ahead_signs_nothing(now_ms: int) -> None:
    assert leaf_life(YEAR, now_ms) is None


def test_a_clock_behind_what_was_seen_is_not_believed() -> None:
    assert "at least 20833 days behind" in why_clock_is_wrong(0, NOW_MS)
    assert not why_clock_is_wrong(NOW_MS - DAY_MS // 2, NOW_MS)
    assert not why_clock_is_wrong(NOW_MS + 3650 * DAY_MS, NOW_MS)


TOKENS = {
    "never made": (None, "d", "key", NOW_MS, "not valid"),
    "of another machine, or guessed": (NOTE, "e", "key", NOW_MS, "not valid"),
    "after an hour": (NOTE, "d", "key", NOW_MS + TOKEN_MS, "has expired"),
}


@pytest.mark.parametrize("name", TOKENS)
def test_no_other_token_lets_in(name: str) -> None:
    note, digest, key, now_ms, why = TOKENS[name]
    assert why in why_no_join(note, digest, key, now_ms)


def test_a_token_lets_one_key_in_which_may_ask_again() -> None:
    assert not why_no_join(NOTE, "d", "key", NOW_MS)
    used = TokenNote(machine="fra-n1", digest="d", expires_ms=NOTE.expires_ms, used_by="key")
    assert not why_no_join(used, "d", "key", NOW_MS + TOKEN_MS - 1)
    assert "has been used" in why_no_join(used, "d", "another", NOW_MS)
    assert "has expired" in why_no_join(used, "d", "key", NOW_MS + TOKEN_MS)


@pytest.mark.parametrize(
    "text", ["", "fra-n1", "../x." + "0" * 32 + "." + "0" * 64, "fra-n1.abc.def", "A.b.c"]
)
def test_what_is_no_token_is_said_to_be_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"NAME\.SECRET\.PIN"):
        JoinToken.of(text)
