"""What would begin at one instant begins spread, and one after the other."""

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.planner.instances.mass import (
    AT_ONCE,
    EACH_SECONDS,
    SPREAD_MAX_SECONDS,
    is_its_turn,
    share_of,
    start_delays,
)
from tests.strategies import make_platform, make_service, make_spec

SITES = ("fra", "ams", "lon")
PLATFORM = make_platform(dict.fromkeys(SITES, 3))
WEB = make_service(make_spec())
TURN_MS = 20_000
"""Of its grace and stop grace, and a little more."""

names = st.sets(st.from_regex(r"[a-z]{1,8}\.fra\.[0-9]{1,3}-1", fullmatch=True), max_size=300)


@given(names)
def test_starts_of_many_are_spread_within_bounds_and_few_begin_at_once(some: set[str]) -> None:
    delays = start_delays(some)
    assert delays.keys() == some
    if len(some) <= AT_ONCE:
        assert not any(delays.values())
    most = min(SPREAD_MAX_SECONDS, EACH_SECONDS * len(some))
    assert all(0 <= delay < most for delay in delays.values() if delay)
    assert start_delays(some) == delays


def test_shares_are_even() -> None:
    shares = [share_of(f"web.fra.{n}-1") for n in range(2000)]
    for part in range(10):
        assert 120 < sum(part <= share * 10 < part + 1 for share in shares) < 280


@given(
    st.dictionaries(st.sampled_from(SITES), st.integers(1, 5), min_size=1),
    st.integers(0, 1 << 45),
)
def test_at_most_one_has_its_turn_everywhere_and_each_gets_one(
    counts: dict[str, int], begin_ms: int
) -> None:
    def turns(at_ms: int) -> list[tuple[str, int]]:
        return [
            (site, rank)
            for site, count in counts.items()
            for rank in range(count)
            if is_its_turn(PLATFORM, WEB, site, rank, count, at_ms)
        ]

    seen = [turns(begin_ms + TURN_MS * number) for number in range(len(SITES) * 60)]
    assert all(len(each) <= 1 for each in seen)
    assert {one for each in seen for one in each} == {
        (site, rank) for site, count in counts.items() for rank in range(count)
    }


def test_who_stands_in_where_it_is_not_wanted_has_no_turn() -> None:
    assert not any(
        is_its_turn(PLATFORM, WEB, "nowhere", 0, 1, TURN_MS * each) for each in range(9)
    )
