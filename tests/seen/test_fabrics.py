"""Which fabrics carry packets, as machines hear each other over them."""

from dataclasses import replace

import pytest

from pltfrms.model.messages.picture import FabricElement, Level, Seen
from pltfrms.model.running.state import NOT_KNOWN, SessionStatus, Snapshot
from tests.seen.test_picture import WHOLE, of, seen, unheard

WITNESSES = ("fra-n1", "fra-n2")
EDGES = ("fra-e1", "fra-e2")
EVERY = frozenset(
    (name, fabric, edge) for name in WITNESSES for fabric in "ab" for edge in EDGES
)


def hearing(heard: frozenset[tuple[str, str, str]], detail: str = "") -> Snapshot:
    """Return the platform where machines of fra hear these edges over these fabrics."""
    statuses = dict(WHOLE.statuses)
    for name in WITNESSES:
        sessions = tuple(
            SessionStatus(
                name=f"edge.{edge}.{fabric}",
                up=(name, fabric, edge) in heard,
                detail=detail,
            )
            for fabric in "ab"
            for edge in EDGES
        )
        statuses[name] = replace(statuses[name], sessions=sessions)
    return replace(WHOLE, statuses=statuses)


def over(fabric: str) -> frozenset[tuple[str, str, str]]:
    return frozenset(each for each in EVERY if each[1] == fabric)


def fabric(snapshot: Snapshot, name: str = "fra/a") -> FabricElement:
    found = of(seen(snapshot), "fabrics", name)
    assert isinstance(found, FabricElement)
    return found


def test_a_fabric_is_good_as_long_as_somebody_hears_an_edge_over_it() -> None:
    good = fabric(hearing(EVERY))
    assert (good.state, good.why, good.datacenter) == (Seen.GOOD, "", "fra")
    one = over("b") | {("fra-n1", "a", "fra-e2")}
    partly = fabric(hearing(one))
    assert (partly.state, partly.why) == (Seen.GOOD, "no edge is heard over it by fra-n2")
    assert seen(hearing(one)).problems == ()


def test_one_over_which_nobody_is_heard_is_bad_and_a_problem() -> None:
    view = seen(hearing(over("b")))
    cut = of(view, "fabrics", "fra/a")
    assert cut.state is Seen.BAD
    assert cut.why == "none of 2 machines hears an edge over it; over others they do"
    assert of(view, "fabrics", "fra/b").state is Seen.GOOD
    assert [each.about for each in view.problems] == ["fra/a"]
    assert view.headline.level is Level.DEGRADED
    assert {each.state for each in view.edges} == {Seen.GOOD}


def test_where_no_edge_is_heard_at_all_the_fabrics_may_be_well() -> None:
    view = seen(hearing(frozenset()))
    for name in ("fra/a", "fra/b"):
        assert of(view, "fabrics", name).state is Seen.UNKNOWN
    assert {each.about for each in view.problems} == {"fra-e1", "fra-e2"}


def test_one_witness_alone_may_have_a_port_that_is_broken() -> None:
    alone = unheard(hearing(over("b")), "fra-n2")
    found = fabric(alone)
    assert (found.state, found.last) == (Seen.UNKNOWN, Seen.BAD)
    assert found.why == "no edge is heard over it, over others by fra-n1 alone"


def test_one_edge_alone_may_have_a_port_that_is_broken() -> None:
    """Or it has just begun, and its sessions come one after the other."""
    view = seen(hearing(frozenset(each for each in over("b") if each[2] == "fra-e1")))
    found = of(view, "fabrics", "fra/a")
    assert found.state is Seen.UNKNOWN
    assert found.why == "no edge is heard over it, over others fra-e1 alone"
    assert "fra/a" not in {each.about for each in view.problems}


def test_of_a_datacenter_that_is_silent_it_is_not_known_what_was_said_before() -> None:
    well = hearing(EVERY)
    statuses = {
        name: replace(
            each,
            links={k: replace(v, up="fra-" not in k) for k, v in each.links.items()},
        )
        for name, each in well.statuses.items()
    }
    found = fabric(replace(well, statuses=statuses))
    assert (found.state, found.last) == (Seen.UNKNOWN, Seen.GOOD)
    assert found.why == "nothing comes back over any link to fra"


@pytest.mark.parametrize("detail", ["", NOT_KNOWN])
def test_without_anybody_who_tells_it_is_not_known_and_how_it_was(detail: str) -> None:
    snapshot = hearing(EVERY, detail)
    found = fabric(snapshot if detail else unheard(snapshot, *WITNESSES))
    assert (found.state, found.last) == (Seen.UNKNOWN, None if detail else Seen.GOOD)
    assert found.why == "no machine says what it hears over it"
    assert "fra/a" not in {each.about for each in seen(snapshot).problems}
