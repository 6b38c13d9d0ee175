"""What would begin at one instant begins spread, and one after the other."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms.model.services.service import Scale
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
STEP_MS = 5000
"""Less than the time in which one may begin."""

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


@settings(max_examples=10)
@given(
    st.dictionaries(st.sampled_from(SITES), st.integers(1, 3), min_size=1),
    st.integers(0, 1 << 45),
)
def test_at_most_one_has_its_turn_everywhere_and_each_gets_one(
    counts: dict[str, int], begin_ms: int
) -> None:
    service = make_service(
        replace(make_spec(replicas=2), per_datacenter=0, counts=tuple(counts.items()))
    )
    every = [(site, each) for site in SITES for each in range(1, 5)]

    def turns(at_ms: int) -> list[tuple[str, int]]:
        return [one for one in every if is_its_turn(PLATFORM, service, *one, at_ms)]

    seen = [turns(begin_ms + STEP_MS * number) for number in range(70 * len(counts))]
    assert all(len(each) <= 1 for each in seen)
    wanted = {(site, each) for site, count in counts.items() for each in range(1, count + 1)}
    assert {one for each in seen for one in each} == wanted


def test_who_came_by_the_load_has_a_turn_as_well() -> None:
    service = make_service(replace(WEB.spec, scale=Scale(min=2, max=4, cpu=0.7)))
    turns = [
        each
        for at_ms in range(0, 900_000, STEP_MS)
        for each in range(1, 7)
        if is_its_turn(PLATFORM, service, "fra", each, at_ms)
    ]
    assert {*turns} == {1, 2, 3, 4}


def test_a_turn_begins_early_enough_to_be_over_before_the_next_one() -> None:
    spec = WEB.spec
    restart_ms = spec.drain_ms + spec.run.stop_grace_ms + spec.probe.grace_ms
    every = [(site, each) for site in SITES for each in (1, 2, 3)]
    last: dict[tuple[str, int], int] = {}
    for at_ms in range(0, 120_000, 500):
        for one in every:
            if is_its_turn(PLATFORM, WEB, *one, at_ms):
                assert all(
                    at_ms - other_ms > restart_ms
                    for other, other_ms in last.items()
                    if other != one
                )
                last[one] = at_ms


def test_where_no_node_is_there_is_no_turn_to_wait_for() -> None:
    platform = replace(
        PLATFORM, machines=tuple(m for m in PLATFORM.machines if m.name[:5] != "lon-n")
    )
    begun = [
        (at_ms, site)
        for at_ms in range(0, 600_000, STEP_MS)
        for site in SITES
        if any(is_its_turn(platform, WEB, site, each, at_ms) for each in (1, 2))
    ]
    assert {site for _, site in begun} == {"fra", "ams"}
    spec = WEB.spec
    restart_ms = spec.drain_ms + spec.run.stop_grace_ms + spec.probe.grace_ms
    assert max(b - a for (a, _), (b, _) in pairwise(begun)) < 1.5 * restart_ms


def test_who_stands_in_where_it_is_not_wanted_has_no_turn() -> None:
    assert not any(
        is_its_turn(PLATFORM, WEB, "nowhere", 1, STEP_MS * each) for each in range(99)
    )
