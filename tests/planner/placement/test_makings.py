"""What a machine's target is made of: the same for everybody, and no more than it needs."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from random import Random
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms import codec
from pltfrms.model.network.interventions import Drain, Freeze, Interventions
from pltfrms.model.network.topology import Guards, NodePrefixes, Platform
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import MachineStatus, Snapshot
from pltfrms.planner.placement.target import Makings
from tests.strategies import (
    make_allocation,
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
)

_T = TypeVar("_T")

NODES = {"ams": 2, "fra": 2}
SERVICES = tuple(make_service(make_spec(name), number + 1) for number, name in enumerate("abc"))
PLACES = tuple(
    make_allocation(f"{service.name}.{node[:3]}.{number}-1", node, slot=service.id)
    for service in SERVICES
    for node in ("ams-n1", "ams-n2", "fra-n1", "fra-n2")
    for number in (1, 2)
)
INTERVENTIONS = (
    Interventions(),
    Interventions(freeze=Freeze(since_ms=1)),
    Interventions(drains=(Drain(datacenter="ams", since_ms=1, wait_ms=1, until_ms=9),)),
)
MOMENTS = (5, 10_000_000)


def _platform(guard: NodePrefixes) -> Platform:
    return replace(make_platform(NODES), guards=Guards(node_prefixes=guard))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Return a snapshot of few possible parts, so that two are often alike in many."""
    versions = st.sampled_from((1, 1, 2))
    services = [
        replace(each, version=draw(versions))
        for each in draw(st.lists(st.sampled_from(SERVICES), unique=True))
    ]
    allocations = draw(st.lists(st.sampled_from(PLACES), unique_by=lambda each: each.id))
    platform = _platform(draw(st.sampled_from(NodePrefixes)))
    made = make_snapshot(platform, tuple(services), tuple(allocations))
    interventions = draw(st.sampled_from(INTERVENTIONS))
    return replace(made, interventions=interventions, revision=draw(st.integers(1, 3)))


def _platform_revision(snapshot: Snapshot) -> int:
    return 1 + (snapshot.platform.guards.node_prefixes is NodePrefixes.PLACED)


def _makings(snapshot: Snapshot, before: Makings | None = None) -> Makings:
    return Makings(snapshot, _platform_revision(snapshot), before)


def _content(target: Target) -> Target:
    return replace(target, generation=0, made_of="")


@settings(max_examples=60)
@given(snapshots(), snapshots(), st.sampled_from(MOMENTS), st.sampled_from(MOMENTS))
def test_the_fingerprint_changes_exactly_when_the_target_does(
    one: Snapshot, two: Snapshot, now: int, then: int
) -> None:
    first, second = _makings(one), _makings(two)
    for machine in one.platform.managed:
        a, b = first.target(machine.name, now), second.target(machine.name, then)
        assert (a.made_of == b.made_of) == (_content(a) == _content(b)), machine.name
        assert first.made_of(machine.name, now) == a.made_of


@settings(max_examples=60)
@given(st.lists(snapshots(), min_size=1, max_size=3), st.randoms())
def test_the_fingerprint_is_the_same_whatever_was_known_before(
    history: list[Snapshot], random: Random
) -> None:
    makings = None
    for snapshot in history:
        makings = _makings(snapshot, makings)
        for machine in snapshot.platform.managed:
            makings.made_of(machine.name, MOMENTS[0])
    last = history[-1]
    mixed = replace(
        last,
        services=_mixed(last.services, random),
        allocations=_mixed(last.allocations, random),
    )
    assert makings
    for machine in last.platform.managed:
        for now in MOMENTS:
            found = makings.made_of(machine.name, now)
            assert found == _makings(mixed).made_of(machine.name, now)


def _mixed(words: Mapping[str, _T], random: Random) -> dict[str, _T]:
    names = sorted(words)
    random.shuffle(names)
    return {name: words[name] for name in names}


def test_a_moved_replica_concerns_its_two_nodes_and_the_edges_that_guard_them() -> None:
    for guard, edges in ((NodePrefixes.ANY, set()), (NodePrefixes.PLACED, {"fra-e1"})):
        before = make_snapshot(_platform(guard), SERVICES, (PLACES[0],))
        here = make_allocation("a.fra.1-1", "fra-n1")
        there = make_allocation("a.fra.1-2", "fra-n2")
        one = replace(before, allocations={here.id: here})
        two = replace(before, allocations={there.id: there})
        assert _changed(one, two) == {"fra-n1", "fra-n2"} | edges, guard


def test_a_service_that_runs_otherwise_concerns_its_nodes_alone() -> None:
    one = make_snapshot(make_platform(NODES), SERVICES, (PLACES[0],))
    spec = replace(SERVICES[0].spec, run=replace(SERVICES[0].spec.run, cpu=0.7))
    newer = replace(SERVICES[0], version=2, spec=spec)
    two = replace(one, services={**one.services, newer.name: newer})
    assert _changed(one, two) == {PLACES[0].node}


def test_every_machine_hears_of_each_platform_and_intervention() -> None:
    snapshot = make_snapshot(make_platform(NODES), SERVICES, ())
    everybody = {machine.name for machine in snapshot.platform.managed}
    first, second = Makings(snapshot, 1), Makings(snapshot, 2)
    assert {n for n in everybody if first.made_of(n, 5) == second.made_of(n, 5)} == set()
    assert _changed(snapshot, replace(snapshot, interventions=INTERVENTIONS[1])) == everybody


def _changed(one: Snapshot, two: Snapshot) -> set[str]:
    first, second = _makings(one), _makings(two)
    names = {machine.name for machine in one.platform.managed}
    return {name for name in names if first.made_of(name, 5) != second.made_of(name, 5)}


def test_an_edge_is_not_told_how_services_run() -> None:
    secret = replace(SERVICES[0].spec.run, environment=(("PASSWORD", "hunter2"),))
    spec = replace(SERVICES[0].spec, run=secret)
    snapshot = make_snapshot(
        make_platform(NODES), (replace(SERVICES[0], spec=spec),), PLACES[:1]
    )
    makings = _makings(snapshot)
    for machine in snapshot.platform.managed:
        text = codec.encode(makings.target(machine.name, 5)).decode()
        assert ("hunter2" in text) == (machine.name == PLACES[0].node), machine.name


def test_a_machine_that_has_all_of_a_later_commit_counts_as_of_that() -> None:
    snapshot = make_snapshot(make_platform(NODES), SERVICES, (PLACES[0],))
    makings, node = _makings(snapshot), PLACES[0].node
    same = MachineStatus(machine=node, generation=3, made_of=makings.made_of(node, 5))
    other = replace(same, machine="fra-e1")
    older = replace(same, machine="fra-n2", made_of="")
    gone = replace(same, machine="left")
    statuses = {each.machine: each for each in (same, other, older, gone)}
    found = makings.up_to_date(statuses, 5)
    assert {name: each.generation for name, each in found.items()} == {
        node: snapshot.revision,
        "fra-e1": 3,
        "fra-n2": 3,
        "left": 3,
    }


def test_an_agent_of_the_release_before_understands_its_target() -> None:
    """It knows no fingerprints: what it does not know must say nothing."""
    documents = Path(__file__).parents[2] / "model" / "documents.json"
    known = json.loads(documents.read_text())["Target"].keys() | {"guests"}
    snapshot = make_snapshot(make_platform(NODES), SERVICES, (PLACES[0],))
    plain = json.loads(codec.encode(_makings(snapshot).target("fra-e1", 5).plain()))
    assert not any(plain[name] for name in plain.keys() - known)


def _no_change_ms(machines: int) -> float:
    """Return the CPU time of all machines that ask when nothing was committed."""
    nodes = {f"d{number}": machines // 5 - 2 for number in range(5)}
    snapshot = make_snapshot(make_platform(nodes), SERVICES, PLACES)
    names = [machine.name for machine in snapshot.platform.managed]
    makings = _makings(snapshot)
    times = []
    for _ in range(5):
        began = time.process_time()
        for name in names:
            makings.made_of(name, 5)
        times.append(1000 * (time.process_time() - began))
    return min(times[1:]) / machines


def test_what_a_machine_costs_when_nothing_changed_does_not_grow_with_the_platform() -> None:
    assert _no_change_ms(1000) < 5 * _no_change_ms(100)
    assert _no_change_ms(1000) < 0.1


def test_a_director_hears_of_a_fresh_prefix_when_every_instance_has_it() -> None:
    fresh = ip_network("198.51.100.77/32")
    web = replace(SERVICES[0], version=2, more=(fresh,), fresh=(fresh,), fresh_from=2)
    old = make_snapshot(_platform(NodePrefixes.ANY), (web,), PLACES[:2])
    new = replace(old, allocations={each.id: replace(each, version=2) for each in PLACES[:2]})
    targets = [Makings(each, 1).target("fra-e1", 5) for each in (old, new)]
    assert [fresh in target.balanced[0].prefixes for target in targets] == [False, True]
    assert all(fresh in target.services[0].prefixes for target in targets)
    assert targets[0].made_of != targets[1].made_of
