"""What a plan knows while it is made: counted when somebody asks, and right from then on."""

from dataclasses import replace

from pltfrms.model.running.plan import Reason
from pltfrms.planner.placement.drafting.draft import Draft
from tests.strategies import (
    make_allocation,
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
    with_all_ready,
)

WEB = make_service(make_spec())
OLD = make_allocation("web.fra.1-3", "fra-n1")
OTHER = make_allocation("web.fra.2-1", "fra-n2")
NEW = make_allocation("web.fra.1-4", "fra-n3", replaces=OLD.id)


def make_draft() -> Draft:
    snapshot = make_snapshot(make_platform({"fra": 3}, racks=2), (WEB,), (OLD, OTHER))
    return Draft(replace(with_all_ready(snapshot), numbers={"web.fra.2": 7}))


def test_no_number_comes_back_in_the_plan_that_stops_who_had_it() -> None:
    draft = make_draft()
    assert [draft.next_number("web", "fra", n) for n in (1, 2, 3)] == [4, 8, 1]
    draft.stop(OLD, Reason.SCALED_DOWN)
    assert draft.next_number("web", "fra", 1) == 4
    draft.place(NEW)
    assert draft.next_number("web", "fra", 1) == 5
    draft.stop(NEW, Reason.SCALED_DOWN)
    assert draft.next_number("web", "fra", 1) == 5


def test_steps_count_whether_somebody_has_asked_before_or_not() -> None:
    asked, unasked = make_draft(), make_draft()

    def seen(draft: Draft) -> list[tuple[int, int, int, set[int]]]:
        return [
            (load.count, load.services["web"], draft.in_rack("web", node), load.slots)
            for node in draft.nodes_of("fra")
            for load in (draft.loads[node.name],)
        ]

    before = seen(asked)
    for draft in (asked, unasked):
        draft.place(NEW)
        draft.stop(OLD, Reason.REPLACEMENT_READY)
    assert seen(asked) == seen(unasked) != before
    assert [count for count, *_ in seen(asked)] == [0, 1, 1]
