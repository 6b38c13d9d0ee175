"""What edges accept from nodes: it grows at once and shrinks slowly."""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.network.topology import Guards, NodePrefixes
from pltfrms.model.running.plan import Permit, Placed, Target
from pltfrms.planner.routing.permits import permits_of, renewed
from tests.planner.targets import make_target
from tests.strategies import (
    make_allocation,
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
)

ONLY_PLACED = Guards(node_prefixes=NodePrefixes.PLACED)
PLATFORM = replace(make_platform({"fra": 2, "ams": 1}), guards=ONLY_PLACED)
WEB, API = make_service(make_spec()), make_service(make_spec("api"), 2)
ALLOCATIONS = (
    make_allocation("web.fra.1-1", "fra-n1"),
    make_allocation("web.fra.2-1", "fra-n1", slot=2),
    make_allocation("api.fra.1-1", "fra-n1", slot=3),
    make_allocation("api.ams.1-1", "ams-n1"),
    make_allocation("gone.fra.1-1", "fra-n2"),
)
SNAPSHOT = make_snapshot(PLATFORM, (WEB, API), ALLOCATIONS)
NODES = (Placed(node="fra-n1", services=(1, 2)), Placed(node="fra-n2"))


def permit(node: str, number: int, drain_ms: int = 30_000) -> Permit:
    return Permit(
        node=node,
        id=number,
        prefix4=IPv4Network(f"198.51.100.{number}/32"),
        prefix6=IPv6Network(f"2001:db8:100::{number:x}/128"),
        drain_ms=drain_ms,
    )


def test_an_edge_hears_what_is_placed_on_the_nodes_of_its_datacenter() -> None:
    target = make_target(SNAPSHOT, "fra-e1")
    assert target.placed == NODES
    assert permits_of(target) == (permit("fra-n1", 1), permit("fra-n1", 2))
    assert make_target(SNAPSHOT, "fra-n1").placed == ()


def test_it_does_not_where_a_node_may_announce_any() -> None:
    free = replace(SNAPSHOT, platform=replace(PLATFORM, guards=Guards()))
    target = make_target(free, "fra-e1")
    assert target.placed == ()
    assert permits_of(target) is None
    assert permits_of(replace(target, placed=NODES)) is None


def test_as_long_as_nobody_has_said_what_is_placed_it_is_not_known() -> None:
    assert permits_of(Target(machine="fra-e1", generation=0, platform=PLATFORM)) is None
    empty = make_target(replace(SNAPSHOT, allocations={}), "fra-e1")
    assert permits_of(empty) == (), "somebody has said that it is nothing"


def test_what_leaves_stays_for_ten_minutes_or_its_drain() -> None:
    for drain_ms, seconds in ((0, 600.0), (540_000, 600.0), (3_600_000, 3660.0)):
        one = permit("fra-n1", 1, drain_ms)
        left = renewed((one,), (), 0.0)
        assert left == (replace(one, left_at=0.0),)
        assert renewed(left, (), seconds - 0.1) == left
        assert renewed(left, (), seconds) == ()


def test_what_was_remembered_before_a_reboot_stays_its_time_from_now() -> None:
    left = (replace(permit("fra-n1", 1), left_at=9000.0),)
    assert renewed(left, (), 5.0) == (replace(left[0], left_at=5.0),)


def test_an_id_that_comes_back_with_another_service_is_another_permit() -> None:
    old = permit("fra-n1", 1)
    new = replace(old, prefix4=IPv4Network("198.51.100.77/32"))
    assert renewed((old,), (new,), 1.0) == (replace(old, left_at=1.0), new)


KEYS = st.tuples(st.sampled_from(("fra-n1", "fra-n2")), st.integers(1, 3))
WORLDS = st.lists(st.tuples(st.floats(0.0, 900.0), st.frozensets(KEYS)), max_size=12)


@given(WORLDS, st.sampled_from((0, 30_000, 600_000, 3_600_000)))
def test_permitted_is_what_was_placed_within_the_time(
    worlds: list[tuple[float, frozenset[tuple[str, int]]]], drain_ms: int
) -> None:
    """Looked at once per world, which is when placements change."""
    stay = max(600.0, drain_ms / 1000 + 60.0)
    now = 0.0
    permits: tuple[Permit, ...] = ()
    left_at: dict[tuple[str, int], float] = {}
    before: frozenset[tuple[str, int]] = frozenset()
    for seconds, placed in worlds:
        now += seconds
        left_at |= dict.fromkeys(before - placed, now)
        left_at = {key: at for key, at in left_at.items() if key not in placed}
        permits = renewed(permits, [permit(*key, drain_ms) for key in placed], now)
        wanted = placed | {key for key, at in left_at.items() if now - at < stay}
        assert {(each.node, each.id) for each in permits} == wanted
        assert {(each.node, each.id) for each in permits if each.left_at is None} == placed
        assert renewed(permits, [permit(*key, drain_ms) for key in placed], now) == permits
        before = placed
