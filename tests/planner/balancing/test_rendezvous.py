"""Properties of the director's tables."""

import hashlib
import math
import struct
import time
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms.model.running.balancer import (
    CHANCES,
    MAX_CANDIDATES,
    ROWS,
    BalancedService,
    BalancerTable,
    Candidate,
    CandidateState,
)
from pltfrms.planner.balancing.rendezvous import (
    columns,
    make_table,
    rank,
    row_of,
    shares,
    with_guests,
)

A, D, B = CandidateState
WEB = BalancedService(
    id=1,
    name="web",
    prefix4=IPv4Network("198.51.100.1/32"),
    prefix6=IPv6Network("2001:db8:100::1/128"),
)
few = settings(max_examples=8)


def address(number: int) -> IPv6Address:
    return IPv6Address(f"fd00:0:0:1001:{number:x}:0:1:{number:x}")


def candidates(states: str, weights: tuple[int, ...] = ()) -> list[Candidate]:
    """One candidate per letter: a(ctive), d(raining), b(ackup), - (absent)."""
    meaning = {"a": A, "d": D, "b": B}
    return [
        Candidate(
            address=address(number),
            weight=weights[number] if weights else 10,
            state=meaning[letter],
        )
        for number, letter in enumerate(states)
        if letter != "-"
    ]


def table(states: str, weights: tuple[int, ...] = ()) -> BalancerTable:
    return make_table(WEB, candidates(states, weights))[0]


def firsts(one: BalancerTable) -> list[IPv6Address | None]:
    return [one.addresses[number - 1] if number else None for number in one.columns[0]]


def sampled(one: BalancerTable) -> list[tuple[int, IPv6Address | None]]:
    """(row, first) of every seventh row."""
    return list(enumerate(firsts(one)))[::7]


states_of_some = st.text("aaaddb-", min_size=2, max_size=9)


@few
@given(st.permutations("aaadb"))
def test_a_table_depends_on_nothing_but_the_set_of_candidates(letters: list[str]) -> None:
    some = candidates("".join(letters))
    assert columns(some) == columns(some[::-1]) == columns(some[2:] + some[:2])


@few
@given(states_of_some, st.integers(0, 8))
def test_what_is_left_is_the_same_as_what_was_never_more(states: str, gone: int) -> None:
    all_of_them = candidates(states)
    left = [each for each in all_of_them if each.address != address(gone)]
    _, before = make_table(WEB, all_of_them)
    incremental, after = make_table(WEB, left, before)
    assert incremental == make_table(WEB, left)[0]
    again, later = make_table(WEB, all_of_them, after)
    assert again == make_table(WEB, all_of_them)[0]
    assert after is later is before, "who comes back costs no sort"


@few
@given(st.integers(2, 9), st.integers(0, 8))
def test_only_rows_of_the_one_that_goes_get_another_first(count: int, gone: int) -> None:
    before = table("a" * count)
    after = table("".join("-" if number == gone else "a" for number in range(count)))
    victim = address(gone)
    seconds = [row_of(before, row)[1] for row in range(0, ROWS, 97)]
    for old, new in zip(firsts(before), firsts(after), strict=True):
        assert old in {new, victim}
    for old, new, second in zip(
        firsts(before)[::97], firsts(after)[::97], seconds, strict=True
    ):
        assert old != victim or new == second


@few
@given(st.integers(2, 7), st.sets(st.integers(0, 6), min_size=1, max_size=2))
def test_who_had_a_row_before_drains_is_asked_after_the_first(
    count: int, draining: set[int]
) -> None:
    before = table("a" * count)
    states = "".join("d" if number in draining else "a" for number in range(count))
    after = table(states)
    if "a" not in states:
        assert firsts(after) == firsts(before)
        return
    for row, old in sampled(before):
        assert old in row_of(after, row)
        new = row_of(after, row)[0]
        assert new not in {address(number) for number in draining}
        assert new == old or old in {address(number) for number in draining}


def test_many_that_drain_and_come_lose_nobody() -> None:
    """Whoever was first in any state between, in any order of events, stays in the row."""
    ways = (
        ("aaaa-", "daaa-", "ddaa-", "ddaaa"),
        ("aaaa-", "aaaaa", "daaaa", "ddaaa"),
        ("aaaa-", "daaa-", "daaaa", "ddaaa"),
        ("aaaa--", "daaaa-", "ddaaa-", "dddaaa", "ddddaa"),
        ("aaa--aa", "aaaaaaa", "aaaddaa", "daaddaa", "ddaddaa"),
    )
    for way in ways:
        final = table(way[-1])
        for step in way:
            for row, holder in sampled(table(step)):
                assert holder in row_of(final, row), (way, step, row)


def test_three_that_come_lose_nobody() -> None:
    final = table("aaaaaa")
    for step in ("aaa---", "aaaa--", "aaaaa-"):
        for row, holder in sampled(table(step)):
            assert holder in row_of(final, row)


@few
@given(states_of_some)
def test_new_flows_go_to_the_active_else_to_backups_else_to_draining_ones(states: str) -> None:
    some = {each.address: each.state for each in candidates(states)}
    expected = _first(Counter(some.values()))
    final = table_of(some)
    for row in range(0, ROWS, 251):
        order = row_of(final, row)
        assert len(order) == len(set(order)) == _places(some)
        if order:
            assert some[order[0]] in expected


def test_eight_that_become_ill_one_after_the_other_and_well_again_lose_nobody() -> None:
    steps = [table("b" * ill + "a" * (8 - ill)) for ill in range(9)]
    for before, now in (*pairwise(steps), *pairwise(reversed(steps))):
        for row, holder in sampled(before):
            assert holder in row_of(now, row)


def _first(counts: Counter[CandidateState]) -> set[CandidateState]:
    """Return the states of those who get new flows."""
    return set(next(((s,) for s in (A, B, D) if counts[s]), ()))


def _places(states: dict[IPv6Address, CandidateState]) -> int:
    counts = Counter(states.values())
    first = sum(counts[state] for state in _first(counts))
    if counts[B]:
        return min(8, len(states))
    return min(4, first) + min(4, len(states) - first)


def table_of(states: dict[IPv6Address, CandidateState]) -> BalancerTable:
    some = [Candidate(address=a, state=state) for a, state in states.items()]
    return make_table(WEB, some)[0]


@few
@given(st.integers(1, 12))
def test_equal_weights_get_equal_shares(count: int) -> None:
    each_share = shares(table("a" * count))
    assert sum(each_share) == pytest.approx(1)
    assert max(each_share) - min(each_share) < 0.03


def test_weights_are_followed_within_two_points() -> None:
    found = shares(table("aaaa", (1, 2, 3, 4)))
    assert found == pytest.approx((0.1, 0.2, 0.3, 0.4), abs=0.02)


def test_a_weight_change_moves_only_rows_of_that_instance() -> None:
    before, after = table("aaaa"), table("aaaa", (10, 10, 5, 10))
    changed = address(2)
    moved = [
        (old, new) for old, new in zip(firsts(before), firsts(after), strict=True) if old != new
    ]
    assert moved
    assert all(old == changed for old, _ in moved)


def test_columns_are_numbered_by_address_whatever_the_order() -> None:
    some = candidates("aa")
    assert columns(some) == columns(some[::-1]) == make_table(WEB, some)[0].columns


def test_nobody_leaves_every_place_empty() -> None:
    empty = table("")
    assert empty.addresses == ()
    assert empty.columns == (bytes(ROWS),) * CHANCES
    assert row_of(empty, 0) == ()


def test_too_many_are_cut_to_what_a_table_can_hold() -> None:
    many = [(address(number), 10) for number in range(MAX_CANDIDATES + 5)]
    assert len(rank(many).members) == MAX_CANDIDATES


def test_the_table_of_these_never_changes() -> None:
    """Machines of different versions must agree: a change here moves everybody's flows."""
    some = table("aadb", (1, 10, 64, 3))
    digest = hashlib.sha256(b"".join(some.columns)).hexdigest()
    assert digest[:16] == "3772e8d62403e77a"


def slow_order(members: list[tuple[IPv6Address, int]]) -> bytes:
    """What `rank` did until it compared all rows at once: a sort of each row."""
    costs = []
    for number, (member, weight) in enumerate(sorted(members), 1):
        drawn = struct.unpack(f"<{ROWS}H", hashlib.shake_128(member.packed).digest(2 * ROWS))
        logs = [-math.log((draw + 0.5) / 65536) for draw in drawn]
        costs.append([(int(log * (1 << 24)) // weight, number) for log in logs])
    return bytes(number for row in zip(*costs, strict=True) for _, number in sorted(row))


some_members = st.integers(1, 9).flatmap(
    lambda count: st.lists(
        st.tuples(
            st.integers(0, (1 << 128) - 1).map(IPv6Address),
            st.sampled_from([(10,), (64,), (999,), (1, 10, 11, 64), (255, 256, 999)]).flatmap(
                st.sampled_from
            ),
        ),
        min_size=count,
        max_size=count,
        unique_by=lambda member: member[0],
    )
)


@settings(max_examples=25)
@given(some_members, st.sampled_from([None, 10, 255, 256, 999]))
def test_a_ranking_is_bit_by_bit_that_of_a_sort_of_each_row(
    members: list[tuple[IPv6Address, int]], one_weight: int | None
) -> None:
    if one_weight:
        members = [(member, one_weight) for member, _ in members]
    assert rank(members).order == slow_order(members)


def test_to_rank_all_rows_at_once_takes_less_than_a_third_of_a_sort_of_each_row() -> None:
    members = [(address(number), 10) for number in range(6)]
    assert 3 * cpu_seconds(lambda: rank(members)) < cpu_seconds(lambda: slow_order(members))


def cpu_seconds(work: Callable[[], object]) -> float:
    took = []
    for _ in range(3):
        begun = time.process_time()
        work()
        took.append(time.process_time() - begun)
    return min(took)


@pytest.mark.parametrize("count", [48, 49])
@pytest.mark.parametrize("weights", [(10,), (10, 20)])
def test_few_and_many_are_ranked_alike(count: int, weights: tuple[int, ...]) -> None:
    members = [(address(number), weights[number % len(weights)]) for number in range(count)]
    assert rank(members).order == slow_order(members)


def elsewhere(datacenter: int, count: int) -> list[IPv6Address]:
    return [
        IPv6Address(f"fd00:0:0:{0x1000 + datacenter:x}:{n:x}:0:1:{n:x}") for n in range(count)
    ]


def test_a_row_has_one_guest_of_each_other_datacenter_the_one_that_it_prefers_there() -> None:
    guests = {number: elsewhere(number, 3) for number in (2, 3)}
    there = {
        number: make_table(WEB, [Candidate(address=each) for each in some])[0]
        for number, some in guests.items()
    }
    ours = table("aad")
    full = with_guests(ours, [each for some in guests.values() for each in some])
    for row in range(0, ROWS, 97):
        wanted = (*row_of(ours, row), *(row_of(there[number], row)[0] for number in (2, 3)))
        assert row_of(full, row) == wanted


def test_guests_take_no_place_from_those_of_the_own_datacenter() -> None:
    ours = table("aaaadddd")
    assert with_guests(ours, elsewhere(2, 1)).columns == ours.columns
    assert with_guests(table(""), elsewhere(2, 1)) == table("")
    own = table("aa")
    assert with_guests(own, own.addresses) == own


def test_of_too_many_datacenters_those_that_follow_in_the_circle_are_asked() -> None:
    many = [each for number in (0, 2, 3, 4, 5, 6, 7, 8) for each in elsewhere(number, 1)]
    ours = table("aaaa")
    guests = row_of(with_guests(ours, many), 0)[4:]
    assert guests == tuple(elsewhere(number, 1)[0] for number in (2, 3, 4, 5))
