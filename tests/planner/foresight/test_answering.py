"""Whether the replicas that are left can answer the load, against counting them one by one."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.network.topology import Admission, Guards
from pltfrms.model.running.foresight import Gap
from pltfrms.model.running.loads import LoadKind
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.service import Capacity
from pltfrms.planner.foresight.admission import judge_admission
from pltfrms.planner.foresight.n_minus_one import n_minus_one
from pltfrms.planner.foresight.what_if import what_if
from tests.planner.world import settle
from tests.strategies import make_platform, make_service, make_snapshot, make_spec

DECLARED = " (declared; measured: not known)"


def running(requests: int, load: int, per_node: int = 1, **counts: int) -> Snapshot:
    """Return a service with so many replicas by datacenter, on nodes enough for them."""
    platform = make_platform(dict.fromkeys(counts, 6))
    spec = replace(
        make_spec(replicas=0, cpu=0.01, max_per_node=per_node),
        counts=tuple(counts.items()),
        capacity=Capacity(requests=requests, load=load),
    )
    return settle(make_snapshot(platform, (make_service(spec),)))


def test_too_few_are_left_without_the_larger_datacenter() -> None:
    assert n_minus_one(running(100, 300, fra=4, ams=2)) == (
        Gap(
            lost="datacenter/fra",
            about="service/web",
            why=f"the 2 replicas left answer 200 of 300 requests/s{DECLARED}",
            kind=LoadKind.REQUESTS,
            missing=100,
        ),
    )
    assert n_minus_one(running(100, 200, fra=4, ams=2)) == ()


def test_a_node_counts_until_its_replicas_run_elsewhere() -> None:
    lost = {gap.lost for gap in n_minus_one(running(100, 400, fra=2, ams=2))}
    assert lost >= {"node/fra-n1", "node/fra-n2", "node/ams-n1", "node/ams-n2"}


def test_a_replica_that_runs_twice_just_now_is_lost_with_neither_node() -> None:
    snapshot = running(100, 400, fra=2, ams=2)
    first = next(a for a in snapshot.allocations.values() if a.node == "fra-n1")
    again = replace(first, id=f"{first.id}0", number=10, node="fra-n5", replaces=first.id)
    moving = replace(snapshot, allocations={**snapshot.allocations, again.id: again})
    lost = {gap.lost for gap in n_minus_one(moving) if gap.kind}
    assert not lost & {"node/fra-n1", "node/fra-n5"}
    assert "node/fra-n2" in lost


counts = st.dictionaries(st.sampled_from(("fra", "ams", "lon")), st.integers(1, 6), min_size=2)


@given(counts, st.integers(1, 50), st.integers(0, 900), st.integers(1, 3))
def test_gaps_are_those_that_counting_finds(
    some: dict[str, int], requests: int, load: int, per_node: int
) -> None:
    snapshot = running(requests, load, per_node, **some)
    placed = [(each.node, each.datacenter) for each in snapshot.allocations.values()]
    assert len(placed) == sum(some.values())
    expected = {
        (f"{kind}/{one}")
        for kind, at in (("node", 0), ("datacenter", 1))
        for one in {each[at] for each in placed}
        if (left := [each for each in placed if each[at] != one])
        and len(left) * requests < load
    }
    assert {gap.lost for gap in n_minus_one(snapshot) if gap.kind} == expected


def test_admission_and_what_if_say_it() -> None:
    before, after = running(100, 100, fra=4, ams=2), running(100, 300, fra=4, ams=2)
    guards = Guards(n1_admission=Admission.REFUSE)
    after = replace(after, platform=replace(after.platform, guards=guards))
    (verdict,) = judge_admission(before, after)
    why = f"the 2 replicas left answer 200 of 300 requests/s{DECLARED}"
    assert verdict.sentence == f"without datacenter/fra too few answer: {why}"
    assert judge_admission(after, after) == ()
    foresight, _ = what_if(after, ["datacenter/fra"])
    assert f"service/web: {why}" in foresight.shortages


def test_admission_lets_what_is_short_become_no_shorter() -> None:
    short, worse = running(100, 600, fra=3, ams=3), running(100, 600, fra=2, ams=3)
    (verdict,) = judge_admission(short, worse)
    assert "the 4 replicas left answer 400 of 600 requests/s" in verdict.sentence
    assert judge_admission(worse, short) == (), "also where it is short still"
    assert judge_admission(worse, worse) == ()
