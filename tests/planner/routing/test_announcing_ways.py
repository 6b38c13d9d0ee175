"""Which aggregates an edge announces by the ways back that it has."""

from dataclasses import replace
from ipaddress import ip_network
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.topology import AnnouncePolicy
from pltfrms.model.running.plan import Reason
from pltfrms.planner.routing.aggregates import AggregateState, Reachable
from pltfrms.planner.routing.way_back import WaysBack
from tests.planner.routing.test_aggregates import BAD, BOTH, FOUR, GOOD, NONE, Edge

WAYS = {
    "table": WaysBack.FULL,
    "default": WaysBack.FULL,
    "nothing": WaysBack.NONE,
    "part": WaysBack.PART,
    "unknown": WaysBack.UNKNOWN,
    "unheard": WaysBack.UNHEARD,
    "loading": WaysBack.LOADING,
}


def with_way(what: str, reachable: Reachable = GOOD) -> Reachable:
    return replace(reachable, ways_back=dict.fromkeys((4, 6), WAYS[what]))


@given(
    policy=st.sampled_from(AnnouncePolicy),
    elsewhere=st.sampled_from([None, NONE, BOTH]),
    rank=st.integers(0, 3),
    said=st.lists(
        st.tuples(
            st.sampled_from(["table", "default", "nothing", "unknown"]), st.integers(1, 40)
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_an_edge_never_announces_for_ten_seconds_without_a_way_back(
    policy: AnnouncePolicy,
    elsewhere: frozenset[Prefix] | None,
    rank: int,
    said: list[tuple[str, int]],
) -> None:
    edge = Edge(policy=policy, rank=rank)
    world = replace(GOOD, elsewhere=elsewhere, inside=True, backbone=True)
    edge.lives(5, with_way("table", world))
    without = 0.0
    for what, seconds in said:
        for _ in range(seconds):
            announced = edge.lives(1, with_way(what, world))
            lacks = what == "nothing" or (what == "unknown" and without > 0)
            without = without + 1 if lacks and announced else 0
            # Two more seconds may pass until it is seen.
            assert without < 8 or what == "unknown"


def test_the_last_announcer_withdraws_when_nobody_at_all_can_be_answered() -> None:
    edge = Edge()
    alone = replace(GOOD, elsewhere=NONE, inside=True, backbone=True)
    assert edge.lives(5, with_way("default", alone))
    assert edge.lives(4.5, with_way("nothing", alone)), "sessions come and go"
    assert edge.says(Reason.WAITING)
    assert not edge.lives(1, with_way("nothing", alone))
    assert edge.says(Reason.NO_WAY_BACK)
    assert not edge.lives(60, with_way("nothing", alone)), "and repairs nothing by it"
    assert edge.lives(15, with_way("default", alone))


def test_of_a_small_table_the_last_announcer_stays_and_says_so() -> None:
    edge = Edge()
    others = replace(GOOD, elsewhere=BOTH, inside=True, backbone=True)
    alone = replace(others, elsewhere=NONE)
    assert edge.lives(5, with_way("table", alone))
    assert edge.lives(60, with_way("part", alone))
    assert edge.says(Reason.LITTLE_WAY_BACK)
    assert not edge.lives(10, with_way("part", others)), "who answers everybody is elsewhere"
    assert edge.says(Reason.NO_WAY_BACK)


def test_a_way_back_that_is_not_known_withdraws_nothing() -> None:
    edge = Edge()
    others = replace(GOOD, elsewhere=BOTH, inside=True, backbone=True)
    assert edge.lives(5, with_way("table", others))
    assert edge.lives(600, with_way("unknown", others))
    assert edge.lives(3, with_way("nothing", others))
    assert edge.lives(600, with_way("unknown", others))
    assert not edge.lives(0.1, with_way("nothing", others)), "nothing said that there is one"


def test_an_edge_whose_session_flaps_withdraws_when_it_was_heard_for_long_enough() -> None:
    edge = Edge()
    others = replace(GOOD, elsewhere=BOTH, inside=True, backbone=True)
    assert edge.lives(5, with_way("table", others))
    for _ in range(2):
        assert edge.lives(2, with_way("nothing", others))
        assert edge.lives(2, with_way("unheard", others)), "nobody hears it"
    assert not edge.lives(2, with_way("nothing", others))
    assert not edge.lives(60, with_way("unheard", others)), "it has not found one meanwhile"
    assert edge.lives(15, with_way("table", others))


def test_a_session_that_comes_back_has_time_to_bring_its_routes() -> None:
    edge = Edge()
    assert edge.lives(5, with_way("table"))
    for unheard in (20, 3600):
        assert edge.lives(2, with_way("nothing"))
        assert edge.lives(unheard, with_way("unheard"))
        assert edge.lives(2.5, with_way("nothing"))
        assert edge.lives(5, with_way("table"))


@pytest.mark.parametrize("what", ["nothing", "part"])
@pytest.mark.parametrize("before", [AggregateState(announced=True), AggregateState()])
def test_who_announced_before_we_looked_is_judged_only_after_a_way_back_was_seen(
    what: str, before: AggregateState
) -> None:
    edge = Edge(states={FOUR: before})
    others = replace(GOOD, elsewhere=BOTH, inside=True, backbone=True)
    assert edge.lives(600, with_way(what, others))
    assert edge.says(Reason.LITTLE_WAY_BACK)
    edge.lives(60, replace(BAD, ways_back=with_way(what).ways_back))
    assert edge.lives(60, with_way(what, others)), "it was withdrawn for something else"
    assert edge.lives(5, with_way("table", others))
    assert not edge.lives(10, with_way(what, others)), "it was lost"


def test_who_never_announced_needs_a_way_back_first() -> None:
    edge = Edge()
    others = replace(GOOD, elsewhere=BOTH, inside=True, backbone=True)
    assert not edge.lives(600, with_way("nothing", others))
    assert edge.says(Reason.NO_WAY_BACK)


def test_where_no_table_was_ever_large_every_datacenter_announces() -> None:
    edge = Edge()
    others = replace(GOOD, elsewhere=BOTH, inside=True, backbone=True)
    assert not edge.lives(60, with_way("loading", others)), "more comes: others are better"
    assert edge.says(Reason.NO_WAY_BACK)
    assert edge.lives(2, with_way("part", others)), "that is all there is"
    assert edge.lives(600, with_way("part", others))
    assert edge.says(Reason.LITTLE_WAY_BACK)
    assert edge.lives(60, with_way("loading", others)), "a table that comes anew is no loss"


def test_while_a_table_loads_the_only_announcer_does_not_wait() -> None:
    edge = Edge()
    alone = replace(GOOD, elsewhere=NONE, inside=True, backbone=True)
    assert edge.lives(2, with_way("loading", alone))


def test_always_is_at_once_after_a_withdrawal_for_something_else() -> None:
    edge = Edge()
    assert edge.lives(5, with_way("default"))
    assert not edge.lives(5, with_way("default", BAD))
    edge.policy = AnnouncePolicy.ALWAYS
    assert edge.lives(0.1, with_way("default", BAD))
    assert edge.says(Reason.POLICY_ALWAYS)


def test_a_table_that_comes_and_goes_is_no_way_back() -> None:
    edge, last = Edge(), Edge()
    others = replace(GOOD, elsewhere=BOTH, inside=True, backbone=True)
    alone = replace(others, elsewhere=NONE)
    for each, world in ((edge, others), (last, alone)):
        assert each.lives(5, with_way("table", world))
        for _ in range(30):
            each.lives(2, with_way("nothing", world))
            each.lives(2, with_way("loading", world))
    assert not edge.states[FOUR].announced
    assert len(edge.changes) == 2, "it is elsewhere: who has nothing does not flap"
    assert len(last.changes) == 1, "and the last one stays"


def test_a_way_back_that_comes_and_goes_is_none_while_others_announce() -> None:
    edge, last = Edge(), Edge()
    others = replace(GOOD, elsewhere=BOTH, inside=True, backbone=True)
    alone = replace(others, elsewhere=NONE)
    for each, world in ((edge, others), (last, alone)):
        assert each.lives(5, with_way("table", world))
        for _ in range(3):
            each.lives(4, with_way("nothing", world))
            each.lives(4, with_way("table", world))
    assert edge.changes[1] < 14, "who has a steady one is elsewhere"
    assert last.states[FOUR].announced, "answers for half of the time are more than none"
    assert last.changes == last.changes[:1]


def test_a_new_aggregate_has_the_way_back_of_its_family() -> None:
    for frozen, judged in product((False, True), repeat=2):
        other = ip_network("203.0.113.0/24")
        edge = Edge(states={other: AggregateState(announced=True, judged=judged)})
        if frozen:
            edge.lives(1, with_way("nothing"), frozen=True)
        assert edge.lives(5, with_way("nothing")) is not judged


def test_always_is_announced_again_by_the_rules_of_flapping() -> None:
    edge = Edge(policy=AnnouncePolicy.ALWAYS)
    assert edge.lives(1, with_way("default"))
    for _ in range(30):
        edge.lives(6, with_way("nothing"))
        edge.lives(6, with_way("default"))
    assert len(edge.changes) <= 3 + 3 * 6, "at most three a minute"
