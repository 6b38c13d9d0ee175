"""Roots come and go on several controllers at once, and all trust the same in the end."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.identity.lives import DAY_MS
from pltfrms.model.identity.words import RootDrop, RootNote, SigningNote
from pltfrms.planner.identity.roots import ROOTS_MAX, agree_on_roots

NOW_MS = 1_900_000_000_000
PINS = "abcdefg"


def root(pin: str, since_ms: int = 0, drop: RootDrop = RootDrop.NO) -> RootNote:
    return RootNote(pin=pin, certificate=pin, since_ms=since_ms, drop=drop)


def signing(controller: str, pin: str, days: int = 100) -> SigningNote:
    since_ms = NOW_MS - days * DAY_MS
    return SigningNote(controller=controller, until_ms=NOW_MS + 1, since_ms=since_ms, root=pin)


def trusted(stored: tuple[RootNote, ...]) -> str:
    return "".join(each.pin for each in stored if each.drop is not RootDrop.DONE)


def test_who_is_behind_learns_what_another_one_has_added() -> None:
    first = agree_on_roots((), [root("a"), root("b", 5)], [], NOW_MS)
    behind = agree_on_roots(first.roots, [root("a")], [], NOW_MS)
    assert trusted(behind.roots) == "ab"
    assert behind.roots == first.roots
    later = agree_on_roots(first.roots, [root("a"), root("b", 9)], [], NOW_MS)
    assert later.roots[1].since_ms == 9, "machines know of it when the last one tells them"


def test_a_root_that_another_controller_signs_with_stays() -> None:
    stored = (root("a"), root("b", 5))
    kept = [root("a", drop=RootDrop.WANTED), root("b", 5)]
    signers = [signing("c1", "b"), signing("c2", "a")]
    put_off = agree_on_roots(stored, kept, signers, NOW_MS)
    assert trusted(put_off.roots) == "ab"
    (why,) = put_off.why_not
    assert "c2 signs with it" in why
    young = agree_on_roots(stored, kept, [signing("c1", "b"), signing("c2", "b", 3)], NOW_MS)
    assert trusted(young.roots) == "ab"
    assert "c2 has signed with another" in young.why_not[0]
    both = [signing("c1", "b"), signing("c2", "b")]
    done = agree_on_roots(stored, kept, both, NOW_MS)
    assert (trusted(done.roots), done.why_not) == ("b", ())
    behind = agree_on_roots(done.roots, [root("a"), root("b", 5)], both, NOW_MS)
    assert trusted(behind.roots) == "b", "it does not come back"
    assert "dropped for good" in behind.why_not[0]


def test_one_that_was_stolen_goes_at_once_and_the_only_one_never() -> None:
    stored = (root("a"), root("b", 5))
    at_once = [root("a", drop=RootDrop.AT_ONCE), root("b", 5)]
    assert trusted(agree_on_roots(stored, at_once, [signing("c2", "a")], NOW_MS).roots) == "b"
    alone = agree_on_roots((root("a"),), at_once[:1], [], NOW_MS)
    assert trusted(alone.roots) == "a"
    assert "the only one" in alone.why_not[0]


def test_two_that_drop_each_other_s_root_leave_one() -> None:
    stored = (root("a"), root("b"))
    first = agree_on_roots(stored, [root("a", drop=RootDrop.AT_ONCE), root("b")], [], NOW_MS)
    second = agree_on_roots(
        first.roots, [root("a"), root("b", drop=RootDrop.AT_ONCE)], [], NOW_MS
    )
    assert trusted(second.roots) == "b"


wishes = st.sampled_from([RootDrop.NO, RootDrop.WANTED, RootDrop.AT_ONCE])
keeps = st.dictionaries(
    st.sampled_from(PINS), st.tuples(st.integers(0, 9), wishes), min_size=1, max_size=ROOTS_MAX
)


signed_for_days = st.dictionaries(st.sampled_from(PINS), st.integers(0, 60))


@given(st.lists(keeps, min_size=2, max_size=4), signed_for_days)
def test_whatever_operators_do_at_once_all_controllers_trust_the_same(
    files: list[dict[str, tuple[int, RootDrop]]], days: dict[str, int]
) -> None:
    signers = [signing(f"c{pin}", pin, ago) for pin, ago in days.items()]
    kept = [
        [root(pin, since_ms, drop) for pin, (since_ms, drop) in file.items()] for file in files
    ]
    stored: tuple[RootNote, ...] = ()
    for _ in range(3):
        for number, own in enumerate(kept):
            before = trusted(stored)
            agreed = agree_on_roots(stored, own, signers, NOW_MS)
            stored = agreed.roots
            wanted = {each.pin for each in own if each.drop is RootDrop.AT_ONCE}
            needed = set(days) & set(before)
            assert set(trusted(stored)) >= needed - wanted, "machines need it"
            assert 1 <= len(agreed.trusted) <= ROOTS_MAX
            drops = {each.pin: each.drop for each in own}
            kept[number] = [
                replace(each, drop=drops.get(each.pin, RootDrop.NO)) for each in agreed.trusted
            ]
    assert {"".join(each.pin for each in own) for own in kept} == {trusted(stored)}
