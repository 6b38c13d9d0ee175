"""The rules, told by cases; and the order in which instances are asked."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.drivers.balancer import director
from pltfrms.drivers.balancer.director.model import MAX_HOPS, next_candidate
from pltfrms.drivers.balancer.director.packet import CutOffError, flow_of
from pltfrms.drivers.balancer.maps import COUNTERS
from pltfrms.model.running.balancer import CHANCES
from tests.drivers.balancer.director.cases import CASES
from tests.drivers.balancer.director.packets import CLIENT4, icmp, ip4, ip6, key, tcp
from tests.drivers.balancer.director.world import Case, machine, model

SOURCE = Path(director.__file__).parent


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.program}: {case.rule}")
def test_a_rule(case: Case) -> None:
    verdict = model(case.program, case.packet, case.change(machine()), case.mark, case.me)
    assert case.expected.holds(verdict, case.packet), verdict


def test_counters_have_the_names_that_the_program_has() -> None:
    """Numbers of C, names of Python: shifted by one they would lie."""
    (body,) = re.findall(r"enum counter \{(.*?)\};", (SOURCE / "maps.h").read_text(), re.DOTALL)
    names = re.findall(r"^\t([A-Z_]+)", body, re.MULTILINE)
    assert [name.lower() for name in names] == [*COUNTERS, "counters"]


ADDRESSES = {number: bytes(8) + bytes([number]) * 8 for number in range(1, 12)}
ADDRESSES |= {number: bytes([number]) * 16 for number in range(20, 24)}
"""From 20 on, each is in a datacenter of its own."""


@pytest.mark.parametrize(
    ("row", "me", "label", "following"),
    [
        ((1, 2, 3, 4), 1, 0, 2),
        ((4, 2, 1, 3), 1, 0, 2),
        ((1, 2, 3, 4), 4, 1, 1),
        ((1, 2, 3, 4), 3, 4, 4),
        ((1, 2, 3, 4), 3, 5, 0),
        ((1, 2, 0, 0), 2, 1, 1),
        ((1, 2, 0, 0), 1, 3, 0),
        ((1, 0, 2, 0), 1, 0, 2),
        ((1, 0, 0, 0), 1, 0, 0),
        ((1, 0, 0, 0), 7, 0, 1),
        ((1, 4, 2, 0), 3, 0, 4),
        ((0, 0, 0, 0), 1, 0, 0),
        ((1, 99, 99, 0), 1, 0, 0),
        ((1, 2, 20, 21), 2, 1, 1),
        ((1, 2, 20, 21), 1, 3, 20),
        ((1, 20, 21, 0), 1, 0, 20),
        ((20, 1, 21, 0), 20, 0o10, 21),
        ((21, 1, 20, 0), 21, 0o10, 1),
        ((21, 1, 20, 0), 21, 0o20, 0),
        ((1, 20, 0, 0), 1, 0o70, 0),
    ],
)
def test_who_is_asked_next(row: tuple[int, ...], me: int, label: int, following: int) -> None:
    """99 has no address; a label in octal is moves, then hops."""
    assert next_candidate(row, ADDRESSES[me], label, ADDRESSES) == following


@given(
    st.sets(st.integers(1, 11), min_size=CHANCES, max_size=CHANCES),
    st.lists(st.permutations(range(CHANCES)), min_size=12, max_size=12),
    st.integers(0, CHANCES - 1),
)
def test_everybody_is_asked_whatever_the_order_of_rows(
    members: set[int], orders: list[list[int]], first: int
) -> None:
    """Each machine has the same candidates in an order of its own."""
    some = sorted(members)
    rows = {one: tuple(some[i] for i in orders[one]) for one in some}
    at, asked = some[first], {some[first]}
    for hops in range(MAX_HOPS):
        at = next_candidate(rows[at], ADDRESSES[at], hops, ADDRESSES)
        asked.add(at)
    assert asked == members
    assert next_candidate(rows[at], ADDRESSES[at], MAX_HOPS, ADDRESSES) == 0


def test_a_flow_is_read_from_a_packet_without_link_header() -> None:
    flow = flow_of(ip4(tcp(40_000, 443)))
    assert flow
    assert (flow.client, flow.ports) == (key(CLIENT4), bytes.fromhex("9c4001bb"))
    assert flow_of(ip6(icmp(135), 58)) is None
    with pytest.raises(CutOffError):
        flow_of(ip4(tcp())[:19])
