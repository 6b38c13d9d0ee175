"""What services have to do, and whether enough is left for it, against counting one by one."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.messages.api import Change
from pltfrms.model.running.loads import LoadKind
from pltfrms.model.running.redundancy import Loss, Survival, Weakness
from pltfrms.model.running.state import Contact, MachineView, Peak, Snapshot
from pltfrms.model.services.container import Adopted
from pltfrms.model.services.service import Capacity, Scale
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.foresight.admission import judge_admission
from pltfrms.planner.foresight.n_minus_one import n_minus_one
from pltfrms.planner.foresight.what_if import what_if
from pltfrms.planner.placement.inputs import bare_status
from pltfrms.planner.redundancy.loads import Loads, service_loads
from pltfrms.planner.redundancy.verdict import redundancy
from tests.planner.redundancy.test_verdict import SERVERS, THREE, platform_where
from tests.strategies import make_service, make_spec


def running(
    capacity: Capacity | None = None, scale: Scale | None = None, **counts: int
) -> Snapshot:
    """Return a service of 0.2 cores with up to three replicas by datacenter, all ready."""
    places = {
        f"web.{site}.{number}-1": f"{site}-n{number}"
        for site, count in counts.items()
        for number in range(1, count + 1)
    }
    spec = replace(
        make_spec(replicas=0, cpu=0.2),
        counts=tuple(counts.items()),
        capacity=capacity,
        scale=scale,
    )
    snapshot = platform_where(THREE, places)
    return replace(snapshot, services={"web": make_service(spec)})


def measured(snapshot: Snapshot, peaks: Iterable[Peak | None]) -> Snapshot:
    """Return it with what its instances, by name, were seen to do."""
    told = dict(zip(sorted(snapshot.allocations), peaks, strict=True))
    statuses = {
        name: replace(
            status,
            instances=tuple(
                replace(each, peak=told[each.allocation]) for each in status.instances
            ),
        )
        for name, status in snapshot.statuses.items()
    }
    return replace(snapshot, statuses=statuses)


def by_cpu(*percents: int | None) -> list[Peak | None]:
    return [None if p is None else Peak(cpu_percent=p, hours=3) for p in percents]


def crowded(snapshot: Snapshot, loads: Loads | None = None) -> set[tuple[str, str, Survival]]:
    found = redundancy(snapshot, 0, loads).weaknesses
    return {(w.loss, w.what, w.survival) for w in found if _is_of_load(w)}


def words(snapshot: Snapshot) -> list[str]:
    return [each.words for each in service_loads(snapshot)["web"]]


def test_cpu_that_was_measured_counts_where_nothing_is_declared() -> None:
    snapshot = measured(running(fra=2, ams=1), by_cpu(50, 60, 100))
    assert words(snapshot) == ["0.42 cores (measured in 3 h)"]
    why = "the 1 replicas left are promised 0.2 of 0.42 cores (measured in 3 h)"
    assert {(g.lost, g.why) for g in n_minus_one(snapshot) if "fra" in g.lost} >= {
        ("datacenter/fra", why)
    }
    found, _ = what_if(snapshot, ["datacenter/fra"])
    assert f"service/web: {why}" in found.shortages
    assert [each.measured for each in found.loads] == [420]


@pytest.mark.parametrize("load", [None, 300])
def test_what_is_held_up_by_more_than_what_was_measured_is_told_apart(load: int | None) -> None:
    """Each uses all that it may: what is left cannot do more, and that is said."""
    snapshot = running(Capacity(requests=100, load=load) if load else None, fra=2, ams=2)
    snapshot = measured(snapshot, by_cpu(100, 100, 100, 100))
    found = [each for each in redundancy(snapshot, 0).weaknesses if _is_of_load(each)]
    assert {each.loss for each in found} == {Loss.NODE, Loss.DATACENTER}
    declared = [each for each in found if not each.measured]
    assert all("requests/s" in each.why for each in declared)
    assert {each.loss for each in declared} == ({Loss.DATACENTER} if load else set())


def test_what_a_batch_service_uses_is_told_and_is_never_missing() -> None:
    """It would use all that others are promised, too; of requests it is as any other."""
    capacity = Capacity(requests=100, load=300)
    snapshot = running(capacity, fra=2, ams=1)
    spec = replace(snapshot.services["web"].spec, batch=True)
    snapshot = replace(snapshot, services={"web": make_service(spec)})
    busy = measured(snapshot, by_cpu(100, 100, 100))
    assert words(busy)[1] == "0.6 cores (measured in 3 h; batch: uses all that it may)"
    assert all("requests/s" in gap.why for gap in n_minus_one(busy) if gap.kind)
    assert {each.loss for each in redundancy(busy, 0).weaknesses if _is_of_load(each)} == {
        Loss.NODE,
        Loss.DATACENTER,
    }
    quiet = replace(spec, capacity=None)
    alone = replace(busy, services={"web": make_service(quiet)})
    assert n_minus_one(alone) == ()
    assert crowded(alone) == set()
    assert what_if(alone, ["datacenter/fra"])[0].shortages == ()
    unknown = replace(measured(alone, by_cpu(100, None, 100)))
    assert words(unknown)[0].startswith("cpu: not known")
    assert not [d for d in what_if(unknown, ["datacenter/fra"])[0].doubts if "enough" in d]
    assert alone.services["web"].plain.spec == replace(quiet, batch=False)


def test_what_is_left_may_use_all_that_it_is_promised() -> None:
    enough = measured(running(fra=2, ams=2), by_cpu(50, 50, 50, 50))
    assert n_minus_one(enough) == ()
    assert redundancy(enough, 0).loads[0].words == "0.4 cores (measured in 3 h)"
    assert what_if(enough, ["datacenter/fra"])[0].shortages == ()


@pytest.mark.parametrize(
    ("peaks", "why"),
    [(by_cpu(50, None, 100), "1 of 3 instances were not measured"), ([None] * 3, "3 of 3")],
)
def test_what_is_not_known_of_one_is_not_known_and_never_nothing(
    peaks: list[Peak | None], why: str
) -> None:
    snapshot = measured(running(fra=2, ams=1), peaks)
    (load,) = service_loads(snapshot)["web"]
    assert load.used is None
    assert why in load.words
    assert load.words.startswith("cpu: not known")
    assert n_minus_one(snapshot) == ()
    found, _ = what_if(snapshot, ["datacenter/fra"])
    assert found.shortages == ()
    (doubt,) = (each for each in found.doubts if each.startswith("service/web"))
    assert "whether the 1 replicas left are enough: cpu: not known" in doubt


def test_of_a_service_that_is_nowhere_ready_and_one_of_others_nothing_is_known() -> None:
    snapshot = running(fra=1)
    assert words(replace(snapshot, statuses={})) == ["cpu: not known (none is ready)"]
    web = snapshot.services["web"]
    run = replace(web.spec.run, process=(), adopted=Adopted())
    others = {"web": replace(web, spec=replace(web.spec, run=run))}
    assert service_loads(replace(snapshot, services=others))["web"] == ()


@pytest.mark.parametrize(
    ("load", "rate", "said"),
    [
        (300, None, "300 requests/s (declared; measured: not known)"),
        (300, 50, "300 requests/s (declared; measured in 3 h: 200)"),
        (150, 50, "200 requests/s (measured in 3 h; declared: 150)"),
        (200, 50, "200 requests/s (declared; measured in 3 h: 200)"),
    ],
)
def test_the_larger_counts_and_the_other_stands_beside_it(
    load: int, rate: int | None, said: str
) -> None:
    snapshot = running(Capacity(requests=100, load=load), fra=3, ams=1)
    snapshot = measured(snapshot, [Peak(connections=rate, hours=3)] * 4)
    assert words(snapshot)[0] == said
    left = {gap.why for gap in n_minus_one(snapshot) if gap.lost == "datacenter/fra"}
    assert left == {f"the 1 replicas left answer 100 of {said}"}


def test_a_scale_by_connections_says_what_one_replica_can_do() -> None:
    snapshot = running(scale=Scale(min=1, max=6, connections=40), fra=2, ams=1)
    assert words(snapshot)[0] == "requests: not known (3 of 3 instances were not measured)"
    snapshot = measured(snapshot, [Peak(connections=20, cpu_percent=0, hours=1)] * 3)
    assert words(snapshot) == ["60 requests/s (measured in 1 h)", "0 cores (measured in 1 h)"]
    found, _ = what_if(snapshot, ["datacenter/fra"])
    assert any("answer 40 of 60 requests/s" in each for each in found.shortages)


def test_a_version_that_is_promised_more_has_room_for_what_the_one_before_used() -> None:
    snapshot = measured(running(fra=1, ams=1), by_cpu(80, 80))
    spec = snapshot.services["web"].spec
    larger = replace(spec, run=replace(spec.run, cpu=0.4))
    after = apply_change(snapshot, Change(services=(larger,))).snapshot
    (load,) = service_loads(after)["web"]
    assert (load.each, load.measured) == (400, 320)


def test_admission_says_that_fewer_replicas_cannot_do_what_was_measured() -> None:
    snapshot = measured(running(fra=2, ams=2), by_cpu(60, 60, 60, 60))
    spec = replace(snapshot.services["web"].spec, counts=(("fra", 1), ("ams", 1)))
    after = apply_change(snapshot, Change(services=(spec,))).snapshot
    (verdict,) = judge_admission(snapshot, after)
    assert "the 1 replicas left are promised 0.2 of 0.48 cores" in verdict.sentence
    assert judge_admission(after, snapshot) == ()


def test_who_is_out_of_contact_may_be_there_or_not() -> None:
    snapshot = measured(running(fra=2, ams=1, lon=1), by_cpu(50, 50, 50, 50))
    assert crowded(snapshot) == set()
    view = MachineView(contact=Contact.UNKNOWN, since_seconds=9.0)
    node = next(a.node for a in snapshot.allocations.values() if a.datacenter == "ams")
    unseen = replace(snapshot, machines={**snapshot.machines, node: view})
    loads = service_loads(snapshot)
    assert ("datacenter", "fra", Survival.NOT_KNOWN) in crowded(unseen, loads)


def test_what_is_measured_is_nothing_to_plan_by() -> None:
    snapshot = running(fra=1)
    told = measured(snapshot, by_cpu(70))
    assert told.statuses["fra-n1"] != snapshot.statuses["fra-n1"]
    assert bare_status(told.statuses["fra-n1"]) == bare_status(snapshot.statuses["fra-n1"])


whole = st.lists(st.integers(0, 150), min_size=9, max_size=9)
percents = st.one_of(whole, st.lists(st.none() | st.integers(0, 150), min_size=9, max_size=9))
counts = st.dictionaries(st.sampled_from(("fra", "ams", "lon")), st.integers(1, 3), min_size=2)


@given(counts, percents, st.integers(0, 400))
def test_losses_are_those_after_which_counting_finds_too_few(
    some: dict[str, int], percents: list[int | None], load: int
) -> None:
    """Each machine and datacenter is taken away by hand, and what is left is added up."""
    capacity = Capacity(requests=60, load=load)
    snapshot = running(capacity, None, **some)
    placed = [(a.node, a.datacenter) for a in snapshot.allocations.values()]
    told = percents[: len(placed)]
    snapshot = measured(snapshot, by_cpu(*told))
    milli = None if None in told else sum(-(-(p or 0) * 200 // 100) for p in told)

    def short(left: int) -> set[LoadKind]:
        found = {LoadKind.REQUESTS} if left * 60 < load else set()
        return found | ({LoadKind.CPU} if milli is not None and left * 200 < milli else set())

    expected = {
        (f"{kind}/{one}", what)
        for kind, at in (("node", 0), ("datacenter", 1))
        for one in {each[at] for each in placed}
        if (left := sum(each[at] != one for each in placed))
        for what in short(left)
    }
    assert {(g.lost, g.kind) for g in n_minus_one(snapshot) if g.kind} == expected
    weak = [w for w in redundancy(snapshot, 0).weaknesses if _is_of_load(w)]
    if short(len(placed)):
        assert {w.loss for w in weak} >= {Loss.NOTHING}
    else:
        sites = {f"datacenter/{w.what}" for w in weak if w.loss is Loss.DATACENTER}
        assert sites == {lost for lost, _ in expected if lost.startswith("datacenter/")}
        nodes = [w for w in weak if w.loss is Loss.NODE]
        assert bool(nodes) == any(lost.startswith("node/") for lost, _ in expected)


def _is_of_load(weakness: Weakness) -> bool:
    return "replicas left" in weakness.why


def test_a_machine_that_is_edge_too_is_lost_as_one() -> None:
    snapshot = measured(running(fra=1, ams=1), by_cpu(90, 90))
    places = {"web.fra.1-1": "fra1", "web.ams.1-1": "ams1"}
    servers = replace(platform_where(SERVERS, places), services=snapshot.services)
    weak = crowded(measured(servers, by_cpu(90, 90)))
    assert {loss for loss, _, _ in weak} == {Loss.EDGE, Loss.DATACENTER}
