"""Which store a machine follows after recoveries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.planner.upkeep.lineage import (
    ANY,
    WORDS_MAX,
    recovered,
    why_not_followed,
    word_of,
)

words = st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True, max_size=3)


@pytest.mark.parametrize(
    ("known", "offered", "followed"),
    [
        ((), (), True),
        ((), ("a",), True),
        (("a",), ("a",), True),
        (("a",), ("a", "b"), True),
        (("a",), ("b",), False),
        (("a", "b"), ("a", "c"), False),
        (("a", "b"), ("a",), False),
        (("a",), (), False),
        (("a",), (ANY,), True),
        (("a", ANY), ("b",), False),
        ((ANY,), ("b",), True),
    ],
)
def test_a_machine_follows_the_same_store_and_what_was_recovered_from_it(
    known: tuple[str, ...], offered: tuple[str, ...], *, followed: bool
) -> None:
    why = why_not_followed(known, offered)
    assert bool(why) is not followed
    assert not why or f"recovery {word_of(known)}," in why


@given(before=words, followed=st.lists(st.sampled_from(["", "a", "e"]), max_size=3))
def test_all_that_followed_the_store_follow_one_of_two_recoveries_of_it(
    before: list[str], followed: list[str]
) -> None:
    first = recovered(before, followed, "first")
    second = recovered(before, followed, "second")
    for known in (before, *([word] for word in followed if word)):
        assert not why_not_followed(known, first)
        assert not why_not_followed(known, second)
    assert why_not_followed(first, second)
    assert why_not_followed(second, first)
    assert not why_not_followed(first, recovered(first, (), "third"))
    assert ANY not in recovered((*before, ANY), followed, "first")


def test_a_machine_says_words_that_it_follows_and_not_that_any_store_is_followed() -> None:
    assert recovered(("a",), ("e any", ANY, " b\n"), "first") == ("a", "b", "e", "first")


def test_words_are_not_without_end() -> None:
    lineage: tuple[str, ...] = ()
    for number in range(100):
        lineage = recovered(lineage, (), f"w{number}")
    assert (len(lineage), word_of(lineage)) == (WORDS_MAX, "w99")
