"""A plan depends on its inputs alone: who plans only when they change misses nothing."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms.model.network.interventions import Drain, Interventions, Release
from pltfrms.model.running.state import (
    InstanceStatus,
    Load,
    MachineStatus,
    OutsideTable,
    Phase,
    RoutingStatus,
    SessionStatus,
    Snapshot,
)
from pltfrms.model.services.service import RolloutSpec, RolloutState
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.inputs import bare_status, planned_by
from pltfrms.planner.placement.plan import make_plan
from pltfrms.planner.placement.rollouts.stages import RESTARTS_MAX, _fails
from tests.planner.placement.test_stages import running, until
from tests.planner.world import histories

deep = settings(max_examples=250)


def inputs_of(snapshot: Snapshot) -> Snapshot:
    bare = {name: bare_status(status) for name, status in snapshot.statuses.items()}
    return planned_by(snapshot, bare)


def with_times(snapshot: Snapshot, random: Random) -> Snapshot:
    """Return it at some time, with drains around that time, and contacts of various ages."""
    drains = tuple(
        Drain(
            node=name,
            since_ms=random.randint(0, 100),
            wait_ms=0,
            until_ms=random.choice((0, random.randint(1, 100))),
        )
        for name in snapshot.machines
        if random.random() < 0.3
    )
    machines = {
        name: replace(
            view, since_seconds=random.choice((0.0, 14.9, 15.0, 15.1, 99.0, 299.9, 300.0))
        )
        for name, view in snapshot.machines.items()
    }
    releases = tuple(
        Release(
            datacenter=site.name,
            nodes=tuple(snapshot.machines),
            until_ms=random.randint(1, 100),
        )
        for site in snapshot.platform.datacenters
        if random.random() < 0.3
    )
    interventions = Interventions(drains=drains, releases=releases)
    return replace(
        snapshot,
        machines=machines,
        interventions=interventions,
        now_ms=random.randint(0, 100),
        bakes_ms={
            name: random.randint(0, 9000) for name in random.choice((snapshot.services, ()))
        },
    )


@deep
@given(histories(), st.randoms(use_true_random=False))
def test_a_plan_is_made_of_its_inputs_alone(snapshot: Snapshot, random: Random) -> None:
    snapshot = with_times(snapshot, random)
    plan = make_plan(snapshot)
    assert make_plan(inputs_of(snapshot)) == plan
    assert check_plan(inputs_of(snapshot), plan) == check_plan(snapshot, plan)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("restarts", range(4))
def test_restarts_are_inputs_only_where_an_instance_is_judged_by_them(
    phase: Phase, restarts: int
) -> None:
    said = InstanceStatus(allocation="web.fra.1-1", phase=phase, restarts=restarts)
    (bare,) = bare_status(MachineStatus(machine="fra-n1", instances=(said,))).instances
    for baking in (False, True):
        assert _fails(bare, baking=baking) == _fails(said, baking=baking)
    if phase is Phase.READY:
        assert (bare.restarts == 0) == (restarts <= RESTARTS_MAX)


def test_a_stage_without_a_bake_that_began_ahead_of_our_clock_is_not_baked_yet() -> None:
    snapshot = until(running(rollout=RolloutSpec(bake_ms=0)), RolloutState.BAKING)
    behind = replace(snapshot, now_ms=snapshot.now_ms - 100)
    assert make_plan(snapshot).rollouts
    assert not make_plan(behind).rollouts
    assert make_plan(inputs_of(behind)) == make_plan(behind)


@deep
@given(histories(), st.randoms(use_true_random=False), st.integers(0, 50))
def test_what_time_changes_in_a_plan_it_changes_in_its_inputs(
    snapshot: Snapshot, random: Random, seconds: int
) -> None:
    before = with_times(snapshot, random)
    after = replace(
        before,
        now_ms=before.now_ms + seconds,
        bakes_ms={name: seen + seconds for name, seen in before.bakes_ms.items()},
        machines={
            name: replace(view, since_seconds=view.since_seconds + seconds / 10)
            for name, view in before.machines.items()
        },
    )
    same = inputs_of(before) == inputs_of(after)
    assert not same or make_plan(before) == make_plan(after)


def test_what_no_plan_looks_at_is_no_input() -> None:
    quiet = MachineStatus(machine="fra-n1")
    noisy = replace(
        quiet,
        boot="b",
        generation=7,
        sessions=(SessionStatus(name="edge.fra-e1", up=True),),
        routing=RoutingStatus(wanted="a", running="b"),
        balancer="no",
        limits="none",
        clock_ahead_seconds=3,
        problems=("disk",),
        loads={"eth0": Load(received_bps=1, sent_bps=1)},
        outside=(OutsideTable(version=4, default=True, routes=1),),
    )
    assert bare_status(quiet) == bare_status(noisy)
