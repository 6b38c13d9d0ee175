"""How many replicas there are by the cpu that they use: up at once, down slowly, bounded."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms.model.messages.api import Change
from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.network.topology import Role
from pltfrms.model.running.plan import Reason, RolloutStep
from pltfrms.model.running.state import Contact, MachineView, Snapshot
from pltfrms.model.services.rollouts import gone_back, stamped
from pltfrms.model.services.service import Capacity, RolloutState, Scale, Service
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.foresight.admission import judge_admission
from pltfrms.planner.foresight.settling import rolled
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.explain import explain_service
from pltfrms.planner.placement.plan import make_plan
from pltfrms.planner.placement.steps.scaling import CALM_MS, HEARD_MS, decide_scaling
from tests.planner.placement.test_inputs import inputs_of
from tests.planner.world import settle
from tests.strategies import make_platform, make_service, make_snapshot, make_spec

SITES = ("fra", "ams")
SCALE = Scale(min=2, max=4, cpu=0.7)


def busy(snapshot: Snapshot, percents: Mapping[str, int | None]) -> Snapshot:
    """Return it with instances that use so much, by datacenter."""
    sites = {each.name: each.datacenter for each in snapshot.platform.machines}
    statuses = {
        name: replace(
            status,
            instances=tuple(
                replace(each, cpu_percent=percents.get(sites[name]))
                for each in status.instances
            ),
        )
        for name, status in snapshot.statuses.items()
    }
    return replace(snapshot, statuses=statuses)


def accepting(snapshot: Snapshot, rates: Mapping[str, int | None]) -> Snapshot:
    """Return it with instances that accept so many connections a second, by datacenter."""
    sites = {each.name: each.datacenter for each in snapshot.platform.machines}
    statuses = {
        name: replace(
            status,
            instances=tuple(
                replace(each, connections=rates.get(sites[name])) for each in status.instances
            ),
        )
        for name, status in snapshot.statuses.items()
    }
    return replace(snapshot, statuses=statuses)


def running(
    replicas: int = 2, scale: Scale = SCALE, capacity: Capacity | None = None
) -> Snapshot:
    """Return a world in which all runs, and nothing has changed for long."""
    spec = replace(make_spec(replicas=replicas), scale=scale, capacity=capacity)
    snapshot = make_snapshot(make_platform(dict.fromkeys(SITES, 5)), (make_service(spec),))
    return replace(settle(snapshot), now_ms=CALM_MS)


def steps(snapshot: Snapshot) -> tuple[RolloutStep, ...]:
    plan = make_plan(snapshot)
    assert not check_plan(snapshot, plan)
    assert make_plan(inputs_of(snapshot)) == plan
    return plan.rollouts


def counts(snapshot: Snapshot) -> dict[str, int]:
    """Return how many replicas there are, once all is done, by datacenter."""
    every = [each.datacenter for each in settle(snapshot).allocations.values()]
    return {site: every.count(site) for site in SITES}


def web(snapshot: Snapshot) -> Service:
    return snapshot.services["web"]


def test_where_instances_are_busy_there_are_as_many_as_the_load_asks_for_at_once() -> None:
    snapshot = busy(running(), {"fra": 130, "ams": 70})
    (step,) = steps(snapshot)
    assert (step.reason, dict(step.service.scaled)) == (Reason.LOAD_HIGH, {"fra": 4})
    assert step.words == "fra: 2 -> 4 replicas, which use 130 % of their cpu"
    after = rolled(snapshot, (step,))
    assert web(after).scaled_ms == after.now_ms
    assert web(after).version == web(snapshot).version
    assert counts(after) == {"fra": 4, "ams": 2}


MANY = Scale(min=2, max=5, connections=100)


def test_connections_that_instances_accept_count_as_cpu_does() -> None:
    snapshot = accepting(running(scale=MANY), {"fra": 230, "ams": 110})
    (step,) = steps(snapshot)
    assert (step.reason, dict(step.service.scaled)) == (Reason.LOAD_HIGH, {"fra": 5})
    assert step.words == "fra: 2 -> 5 replicas, which accept 230 connections/s each"
    assert not steps(busy(running(scale=MANY), {"fra": 200, "ams": 200})), (
        "cpu is not asked for"
    )
    most = accepting(running(5, scale=MANY), {"fra": 200, "ams": 100})
    (note,) = make_plan(most).notes
    assert note.detail == (
        "5 replicas, which accept 200 connections/s each; wanted: 100 connections/s each"
    )


@pytest.mark.parametrize(("rate", "site"), [(49, "fra"), (51, "ams")])
def test_what_is_wanted_of_one_is_what_it_can_do_after_a_loss(rate: int, site: str) -> None:
    """Nobody says what the most is: of 196 the two can do each 98 whom a node's loss leaves."""
    calm = accepting(running(4, scale=MANY), {"fra": rate, "ams": 20})
    (step,) = steps(calm)
    assert dict(step.service.scaled) == {site: 3}


def test_of_cpu_and_connections_what_asks_for_more_counts() -> None:
    both = replace(MANY, cpu=0.7)
    snapshot = busy(
        accepting(running(scale=both), {"fra": 150, "ams": 90}), {"fra": 80, "ams": 9}
    )
    (step,) = steps(snapshot)
    assert dict(step.service.scaled) == {"fra": 3}
    assert step.words == (
        "fra: 2 -> 3 replicas, which use 80 % of their cpu and accept 150 connections/s each"
    )
    assert dict(steps(busy(snapshot, {"fra": 210, "ams": 9}))[0].service.scaled) == {"fra": 5}
    assert not steps(busy(snapshot, {"fra": None, "ams": 9})), "one of both is not known"
    calm = busy(
        accepting(running(4, scale=both), {"fra": 10, "ams": 10}), {"fra": 60, "ams": 60}
    )
    assert not steps(calm), "few connections, and much to do"


@pytest.mark.parametrize("percent", [70, 77])
def test_who_is_about_as_busy_as_wanted_stays(percent: int) -> None:
    assert not steps(busy(running(), {"fra": percent, "ams": 70}))


def test_there_are_never_more_than_the_most_and_that_is_said() -> None:
    snapshot = busy(running(4), {"fra": 200, "ams": 70})
    assert not steps(snapshot)
    (note,) = make_plan(snapshot).notes
    assert (note.about, note.reason) == ("web.fra", Reason.AT_MOST)
    assert note.detail == "4 replicas, which use 200 % of their cpu; wanted: 70 % of their cpu"
    most = busy(running(3), {"fra": 500, "ams": 70})
    assert dict(steps(most)[0].service.scaled) == {"fra": 4}


def test_one_goes_at_a_time_and_not_soon_after_a_change() -> None:
    calm = busy(running(4), {"fra": 20, "ams": 30})
    assert not steps(replace(calm, now_ms=CALM_MS - 1))
    (step,) = steps(calm)
    assert (step.reason, dict(step.service.scaled)) == (Reason.LOAD_LOW, {"fra": 3})
    after = rolled(calm, (step,))
    assert counts(after) == {"fra": 3, "ams": 4}
    again = busy(settle(after), {"fra": 27, "ams": 30})
    assert not steps(again)
    assert steps(replace(again, now_ms=again.now_ms + CALM_MS))


def test_nobody_goes_who_would_have_to_come_back_or_below_the_least() -> None:
    assert not steps(busy(running(3), {"fra": 50, "ams": 70})), "75 % of 2 would be used"
    assert not steps(busy(running(2), {"fra": 0, "ams": 70}))


def test_nobody_goes_whom_the_loss_of_a_datacenter_or_a_node_needs() -> None:
    scale = replace(SCALE, min=1)
    low = {"fra": 30, "ams": 30}
    assert steps(busy(running(4, scale), low))
    small = busy(running(2, scale), {"fra": 20, "ams": 70})
    assert not steps(small), "without ams the one left in fra would have the work of 1.8"
    loaded = Capacity(requests=100, load=400)
    assert not steps(busy(running(4, scale, loaded), low)), "without ams the 3 left answer 300"
    assert steps(busy(running(4, scale, replace(loaded, load=300)), low))


def test_nobody_goes_while_a_drain_leads_clients_elsewhere_who_come_back_at_once() -> None:
    snapshot = busy(running(4), {"fra": 0, "ams": 60})
    (low,) = steps(snapshot)
    one = Drain(since_ms=1, wait_ms=0)
    for drain in (replace(one, datacenter="fra"), replace(one, peer="transit1")):
        drained = replace(snapshot, interventions=Interventions(drains=(drain,)))
        assert not steps(drained)
        plan = replace(make_plan(drained), steps=(), rollouts=(low,))
        assert check_plan(drained, plan) == ("web: clients are elsewhere, and come back",)
        over = replace(drain, until_ms=snapshot.now_ms)
        assert steps(replace(drained, interventions=Interventions(drains=(over,)))) == (low,)
    node = Drain(node="fra-n5", since_ms=1, wait_ms=0)
    unused = {each.node for each in snapshot.allocations.values()} ^ {"fra-n5"}
    assert "fra-n5" in unused
    assert steps(replace(snapshot, interventions=Interventions(drains=(node,)))) == (low,)


def test_who_has_no_place_is_not_counted_with_those_that_are_needed() -> None:
    """Whose number is the highest goes, be it the one that found no place or not."""
    snapshot = busy(running(4), {"fra": 45, "ams": 45})
    there = {name: a for name, a in snapshot.allocations.items() if a.replica != 1}
    assert len(there) == 6
    short = replace(snapshot, allocations=there)
    assert not decide_scaling(Draft(short)), "2 that are left somewhere would use 67 %"
    assert decide_scaling(Draft(busy(short, {"fra": 30, "ams": 30})))


def test_what_is_not_known_changes_nothing() -> None:
    snapshot = running(3)
    assert not steps(busy(snapshot, {"fra": None, "ams": 70}))
    assert not steps(busy(snapshot, {"fra": 0, "ams": None})), "ams might need those of fra"
    assert steps(busy(snapshot, {"fra": 130, "ams": None})), "it needs nobody's word for more"
    lost = MachineView(contact=Contact.LOST, since_seconds=9)
    node = next(a.node for a in snapshot.allocations.values() if a.datacenter == "fra")
    silent = replace(lost, contact=Contact.UNKNOWN)
    unheard = replace(snapshot, machines={**snapshot.machines, node: silent})
    assert not steps(busy(unheard, {"fra": 130, "ams": 70})), "what it said is old"
    gone = replace(snapshot, machines={**snapshot.machines, node: lost})
    plan = make_plan(busy(gone, {"fra": 130, "ams": 70}))
    assert not plan.rollouts
    assert plan.steps, "its replica is placed anew all the same"


def test_nothing_changes_while_a_version_is_on_its_way() -> None:
    snapshot = running(3)
    spec = web(snapshot).spec
    new = replace(spec, run=replace(spec.run, process=("other",)))
    rolling = apply_change(snapshot, Change(services=(new,))).snapshot
    assert all(
        step.reason is Reason.STAGE_COMPLETE
        for step in steps(busy(rolling, {"fra": 200, "ams": 200}))
    )


def test_what_was_asked_to_compare_versions_is_not_taken_for_load() -> None:
    snapshot = running(scale=MANY)
    run = replace(web(snapshot).spec.run, process=("other",))
    rolling = web(applied(snapshot, run=run))
    began_ms = snapshot.now_ms
    back = stamped(gone_back(rolling, RolloutState.FAILED, "", 0), began_ms, "slow")
    asked = accepting(replace(snapshot, services={"web": back}), {"fra": 60, "ams": 115})
    for at_ms, count in ((0, 0), (HEARD_MS - 1, 0), (HEARD_MS, 1), (-1, 1)):
        assert len(steps(replace(asked, now_ms=began_ms + at_ms))) == count, at_ms


def test_nothing_changes_where_the_brake_holds() -> None:
    snapshot = busy(running(1, replace(SCALE, min=1)), {"fra": 200, "ams": 200})
    nodes = {a.node for a in snapshot.allocations.values()}
    idle = [f"fra-n{number}" for number in range(1, 6) if f"fra-n{number}" not in nodes]
    lost = MachineView(contact=Contact.LOST, since_seconds=9)
    held = replace(snapshot, machines={**snapshot.machines, **dict.fromkeys(idle[:3], lost)})
    assert dict(steps(held)[0].service.scaled) == {"ams": 3}


def test_a_replica_that_is_on_its_way_to_another_node_is_waited_for() -> None:
    snapshot = running(3)
    node = next(a.node for a in snapshot.allocations.values() if a.datacenter == "fra")
    drains = Interventions(drains=(Drain(node=node, since_ms=0, wait_ms=0),))
    plan = make_plan(replace(snapshot, interventions=drains))
    moving = replace(
        snapshot,
        interventions=drains,
        allocations={
            **snapshot.allocations,
            **{each.allocation.id: each.allocation for each in plan.steps},
        },
    )
    assert not steps(busy(moving, {"fra": 200, "ams": 70}))


def test_other_numbers_of_an_operator_end_what_the_load_made_of_them() -> None:
    snapshot = busy(running(), {"fra": 130, "ams": 70})
    scaled = rolled(snapshot, steps(snapshot))
    spec = web(scaled).spec
    same = apply_change(scaled, Change(services=(replace(spec, weight=20),))).snapshot
    assert web(same).scaled == web(scaled).scaled != ()
    other = apply_change(scaled, Change(services=(replace(spec, per_datacenter=3),))).snapshot
    assert web(other).scaled == ()
    assert counts(other) == {"fra": 3, "ams": 3}
    never = apply_change(scaled, Change(services=(replace(spec, scale=None),))).snapshot
    assert (web(never).scaled, web(never).scaled_ms) == ((), 0)


def applied(snapshot: Snapshot, **words: object) -> Snapshot:
    """Return it after an operator has changed a field of the spec."""
    spec = replace(web(snapshot).spec, **words)  # type: ignore[arg-type]
    return apply_change(snapshot, Change(services=(spec,))).snapshot


def scaled_up() -> Snapshot:
    """Return a world in which the load has doubled the replicas everywhere."""
    snapshot = busy(running(), {"fra": 130, "ams": 130})
    return settle(rolled(snapshot, steps(snapshot)))


def test_other_bounds_take_away_only_what_is_out_of_them() -> None:
    snapshot = scaled_up()
    assert counts(snapshot) == {"fra": 4, "ams": 4}
    for most, left in ((6, 4), (3, 3)):
        after = applied(snapshot, scale=replace(SCALE, max=most))
        assert counts(after) == {"fra": left, "ams": left}, "all are busy"
        assert not steps(busy(settle(after), {"fra": 70, "ams": 70}))
    least = applied(snapshot, scale=Scale(min=5, max=5, cpu=0.7), per_datacenter=5)
    assert counts(least) == {"fra": 5, "ams": 5}


def test_who_says_a_number_for_one_datacenter_leaves_those_of_others() -> None:
    after = applied(scaled_up(), counts=(("fra", 3),))
    assert counts(after) == {"fra": 3, "ams": 4}


def test_a_version_that_goes_back_to_narrower_bounds_is_within_them() -> None:
    snapshot = scaled_up()
    run = replace(web(snapshot).spec.run, process=("other",))
    rolling = applied(snapshot, run=run, scale=Scale(min=2, max=5, cpu=0.7))
    back = gone_back(web(rolling), RolloutState.FAILED, "it crashed", rolling.now_ms)
    narrow = replace(back, spec=replace(back.spec, scale=replace(SCALE, max=3)))
    after = settle(replace(rolling, services={"web": narrow}))
    assert counts(after) == {"fra": 3, "ams": 3}
    low = busy(replace(after, now_ms=after.now_ms + CALM_MS), {"fra": 20, "ams": 20})
    assert dict(steps(low)[0].service.scaled)["fra"] == 2


def test_a_datacenter_that_has_no_nodes_any_more_is_not_scaled_and_holds_up_nothing() -> None:
    snapshot = scaled_up()
    machines = tuple(
        m for m in snapshot.platform.machines if (m.datacenter, m.role) != ("fra", Role.NODE)
    )
    snapshot = replace(snapshot, platform=replace(snapshot.platform, machines=machines))
    assert counts(snapshot) == {"fra": 0, "ams": 4}
    assert not make_plan(settle(snapshot)).notes
    new = applied(snapshot, run=replace(web(snapshot).spec.run, process=("other",)))
    rollout = web(settle(new)).rollout
    assert rollout
    assert rollout.state is RolloutState.DONE


def test_one_replica_tries_a_version_also_where_the_load_has_made_more_of_one() -> None:
    snapshot = busy(running(1, replace(SCALE, min=1)), {"fra": 130, "ams": 130})
    snapshot = settle(rolled(snapshot, steps(snapshot)))
    assert counts(snapshot)["fra"] > 1
    after = applied(snapshot, run=replace(web(snapshot).spec.run, process=("other",)))
    rollout = web(after).rollout
    assert rollout
    assert [stage.words for stage in rollout.stages] == ["1 of fra", "fra", "ams"]


def test_room_for_a_failure_is_asked_for_as_many_as_there_may_be() -> None:
    snapshot = running()
    assert not judge_admission(snapshot, snapshot)
    more = replace(web(snapshot).spec, scale=replace(SCALE, max=5))
    after = apply_change(snapshot, Change(services=(more,))).snapshot
    verdicts = judge_admission(snapshot, after)
    assert [each.about for each in verdicts] == ["service/web"], "without one of five nodes"
    assert "without node/fra-n1 web.fra.1 finds no place" in verdicts[0].sentence


def test_who_is_to_answer_after_a_loss_is_there_before_the_load_asks_for_more() -> None:
    snapshot = running()
    said = [
        judge_admission(snapshot, applied(snapshot, capacity=Capacity(requests=100, load=load)))
        for load in (200, 300)
    ]
    assert said[0] == ()
    (verdict,) = said[1]
    assert "without datacenter/fra too few answer" in verdict.sentence


def test_explain_says_what_decides() -> None:
    said = explain_service(busy(running(), {"fra": 85, "ams": None}), "web")
    assert "web: 2 to 4 replicas by datacenter, for 70 % of their cpu." in said
    assert "web.fra: 2 replicas, which use 85 % of their cpu." in said
    assert "web.ams: 2 replicas, of which not all say how busy they are." in said


@given(
    st.integers(2, 4),
    st.sampled_from((0.3, 0.5, 0.7, 1.0)),
    st.fixed_dictionaries(dict.fromkeys(SITES, st.none() | st.integers(0, 400))),
    st.integers(0, 2 * CALM_MS),
)
def test_whatever_is_said_numbers_stay_within_bounds(
    replicas: int, cpu: float, percents: dict[str, int | None], now_ms: int
) -> None:
    snapshot = busy(running(replicas, replace(SCALE, cpu=cpu)), percents)
    for step in steps(replace(snapshot, now_ms=now_ms)):
        for site, count in step.service.scaled:
            assert SCALE.min <= count <= SCALE.max
            known = percents[site]
            assert known is not None
            rises = known > 100 * cpu
            assert (count > replicas) == rises == (step.reason is Reason.LOAD_HIGH)


@settings(max_examples=30)
@given(
    st.integers(2, 4),
    st.fixed_dictionaries(dict.fromkeys(SITES, st.integers(0, 280))),
)
def test_a_steady_load_is_answered_by_numbers_that_do_not_change_any_more(
    replicas: int, load: dict[str, int]
) -> None:
    """So much work, in percent of one instance, is there in each datacenter."""
    snapshot, changes, found = running(replicas), list[Reason](), tuple[RolloutStep, ...]()
    for _ in range(12):
        there = counts(snapshot)
        seen = busy(settle(snapshot), {site: load[site] // there[site] for site in SITES})
        found = steps(seen)
        changes += [step.reason for step in found]
        after = rolled(seen, found) if found else seen
        snapshot = replace(after, now_ms=after.now_ms + CALM_MS)
    assert not found, "it has come to rest"
    assert changes == sorted(changes, key=[Reason.LOAD_HIGH, Reason.LOAD_LOW].index)
    for site, count in counts(snapshot).items():
        assert count == SCALE.max or load[site] / count <= 78
