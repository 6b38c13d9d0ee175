"""A replica goes where its volume is; no volume is lost, doubled or forgotten."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pltfrms.errors import ConflictError, NotFoundError
from pltfrms.model.messages.api import Change
from pltfrms.model.network.interventions import Drain
from pltfrms.model.running.plan import Place, Reason, Stop
from pltfrms.model.running.state import Contact, MachineStatus, MachineView, Snapshot
from pltfrms.model.running.volumes import VolumeState, VolumeStatus
from pltfrms.model.services.service import ServiceSpec
from pltfrms.model.services.storage import Storage, VolumeSpec
from pltfrms.planner.changes.change import apply_change, delete_service
from pltfrms.planner.changes.volumes import give_up_volume, release_volume, taken_back
from pltfrms.planner.foresight.settling import executed
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.drafting.numbers import unneeded_numbers
from pltfrms.planner.placement.explain import explain_service
from pltfrms.planner.placement.inputs import bare_status, planned_by
from pltfrms.planner.placement.plan import make_plan
from pltfrms.planner.upkeep.forgetting import deleted_volumes
from tests.planner.world import act, heal, settle
from tests.strategies import make_platform, make_spec, with_all_ready

MINUTE_MS = 60_000


def kept_spec(
    replicas: int = 3, lost_after_ms: int | None = 30 * MINUTE_MS, name: str = "db"
) -> ServiceSpec:
    volume = VolumeSpec(
        name="data", path="/var/lib/db", size_bytes=2**30, lost_after_ms=lost_after_ms
    )
    return replace(make_spec(name, replicas), storage=Storage(volumes=(volume,)))


def running(spec: ServiceSpec, nodes: int = 4) -> Snapshot:
    empty = heal(Snapshot(revision=1, platform=make_platform({"fra": nodes}, others=False)))
    return settle(apply_change(empty, Change(services=(spec,))).snapshot)


def lost(snapshot: Snapshot, node: str, minutes: float) -> Snapshot:
    view = MachineView(contact=Contact.LOST, since_seconds=minutes * 60)
    return replace(snapshot, machines={**snapshot.machines, node: view})


def node_of(snapshot: Snapshot, replica: str) -> str:
    (node,) = {
        each.node for each in snapshot.allocations.values() if each.id.startswith(f"{replica}-")
    }
    return node


def places_of(snapshot: Snapshot) -> dict[str, tuple[str, str]]:
    """Return node and volume by replica."""
    found = snapshot.allocations.values()
    return {f"{a.service}.{a.datacenter}.{a.replica}": (a.node, a.volume) for a in found}


def test_a_new_replica_gets_a_volume_on_its_node() -> None:
    snapshot = running(kept_spec())
    assert len(snapshot.volumes) == 3
    for each in snapshot.allocations.values():
        volume = snapshot.volumes[each.volume]
        assert (volume.node, volume.state) == (each.node, VolumeState.HELD)
        assert each.volume == f"db.fra.{each.replica}@1"


def test_a_node_that_is_lost_is_waited_for_and_that_is_said() -> None:
    snapshot = running(kept_spec())
    node = node_of(snapshot, "db.fra.1")
    gone = lost(snapshot, node, 29)
    plan = make_plan(gone)
    assert plan.steps == ()
    (note,) = [each for each in plan.notes if each.about == "db.fra.1"]
    assert note.reason is Reason.VOLUME_WAITED_FOR
    assert note.detail == f"db.fra.1@1: {node} is lost; it is given up after 30 min"
    assert any("db.fra.1@1" in sentence for sentence in explain_service(gone, "db"))


def test_after_lost_after_it_begins_elsewhere_and_the_old_one_stays_recorded() -> None:
    snapshot = running(kept_spec())
    node = node_of(snapshot, "db.fra.1")
    gone = lost(snapshot, node, 30)
    stop, place = make_plan(gone).steps
    assert isinstance(stop, Stop)
    assert isinstance(place, Place)
    assert stop.reason is place.reason is Reason.VOLUME_GIVEN_UP
    after = executed(gone, (stop, place))
    assert after.volumes["db.fra.1@1"].state is VolumeState.GIVEN_UP
    assert after.volumes["db.fra.1@1"].node == node
    assert places_of(after)["db.fra.1"][1] == "db.fra.1@2"
    back = settle(heal(after))
    assert places_of(back)["db.fra.1"] == places_of(after)["db.fra.1"]
    assert back.volumes["db.fra.1@1"].state is VolumeState.GIVEN_UP


def test_without_lost_after_it_waits_for_ever() -> None:
    snapshot = running(kept_spec(lost_after_ms=None))
    gone = lost(snapshot, node_of(snapshot, "db.fra.1"), 60 * 24 * 365)
    plan = make_plan(gone)
    assert plan.steps == ()
    assert "never given up by itself" in plan.notes[0].detail


def test_one_volume_of_a_service_is_given_up_at_a_time() -> None:
    snapshot = running(kept_spec(lost_after_ms=0), nodes=7)
    gone = lost(
        lost(snapshot, node_of(snapshot, "db.fra.1"), 60), node_of(snapshot, "db.fra.2"), 60
    )
    first = make_plan(gone)
    assert [step.allocation.replica for step in first.steps] == [1, 1]
    begun = executed(gone, first.steps)
    waits = make_plan(begun)
    assert waits.steps == ()
    assert "is not ready yet elsewhere" in waits.notes[0].detail
    ready = with_all_ready(begun)
    assert [step.allocation.replica for step in make_plan(ready).steps] == [2, 2]


def test_a_replica_gives_up_no_second_volume_before_the_first_is_released() -> None:
    snapshot = running(kept_spec(lost_after_ms=0), nodes=7)
    once = lost(snapshot, node_of(snapshot, "db.fra.1"), 60)
    again = with_all_ready(executed(once, make_plan(once).steps))
    twice = lost(again, node_of(again, "db.fra.1"), 60)
    plan = make_plan(twice)
    assert plan.steps == ()
    assert "db.fra.1@1 was given up already, and is not released yet" in plan.notes[0].detail


def test_a_new_version_stops_the_old_one_first_one_replica_at_a_time() -> None:
    snapshot = running(kept_spec())
    before = places_of(snapshot)
    spec = kept_spec()
    newer = replace(spec, run=replace(spec.run, process=("serve", "again")))
    snapshot = apply_change(snapshot, Change(services=(newer,))).snapshot
    rounds = 0
    for _ in range(60):
        plan = make_plan(snapshot)
        assert check_plan(snapshot, plan) == ()
        stops = [step for step in plan.steps if isinstance(step, Stop)]
        assert len(stops) <= 1
        rounds += len(stops)
        assert all(step.reason is Reason.IN_PLACE for step in stops)
        started = executed(snapshot, plan.steps)
        if stops:
            assert make_plan(started).steps == ()  # the others stay until it is ready
        snapshot = settle_once(started)
    assert rounds == 3
    assert places_of(snapshot) == before
    assert {each.version for each in snapshot.allocations.values()} == {2}


def settle_once(snapshot: Snapshot) -> Snapshot:
    """All become ready, and what becomes of rollouts by itself is done."""
    snapshot = with_all_ready(snapshot)
    plan = make_plan(snapshot)
    return settle(snapshot) if not plan.steps and not plan.rollouts else _rolled(snapshot)


def _rolled(snapshot: Snapshot) -> Snapshot:
    plan = make_plan(snapshot)
    if not plan.rollouts:
        return snapshot
    services = {step.service.name: step.service for step in plan.rollouts}
    return replace(
        snapshot,
        services={**snapshot.services, **services},
        now_ms=snapshot.now_ms + 20_000,
        bakes_ms=dict.fromkeys(services, 20_000),
    )


def test_a_drained_node_keeps_what_has_a_volume_and_says_so() -> None:
    snapshot = running(kept_spec())
    node = node_of(snapshot, "db.fra.1")
    drain = Drain(node=node, since_ms=0, wait_ms=0)
    drained = replace(snapshot, interventions=replace(snapshot.interventions, drains=(drain,)))
    plan = make_plan(drained)
    assert plan.steps == ()
    assert [(n.about, n.reason) for n in plan.notes] == [("db.fra.1", Reason.VOLUME_STAYS)]


def test_what_is_deleted_or_scaled_down_leaves_its_volume_and_finds_it_again() -> None:
    snapshot = running(kept_spec())
    before = places_of(snapshot)
    gone = settle(delete_service(snapshot, "db").snapshot)
    assert gone.allocations == {}
    assert {each.state for each in gone.volumes.values()} == {VolumeState.HELD}
    again = settle(apply_change(gone, Change(services=(kept_spec(),))).snapshot)
    assert places_of(again) == before


def test_a_version_that_keeps_volumes_again_goes_back_to_them() -> None:
    snapshot = running(kept_spec(1))
    held = node_of(snapshot, "db.fra.1")
    bare = replace(kept_spec(1), storage=None)
    without = settle(apply_change(snapshot, Change(services=(bare,))).snapshot)
    assert node_of(without, "db.fra.1") != held  # the new copy first, beside the old one
    full = settle(apply_change(without, Change(services=(make_spec("api", 1),))).snapshot)
    assert node_of(full, "api.fra.1") == held  # others are emptier now
    again = settle(apply_change(full, Change(services=(kept_spec(1),))).snapshot)
    again = replace(again, allocations={k: a for k, a in again.allocations.items() if a.volume})
    assert places_of(again) == {"db.fra.1": (held, "db.fra.1@1")}


def test_time_that_decides_about_volumes_is_in_what_planning_looks_at() -> None:
    snapshot = running(kept_spec())
    gone = lost(snapshot, node_of(snapshot, "db.fra.1"), 29)
    due = lost(snapshot, node_of(snapshot, "db.fra.1"), 31)
    assert planned_by(gone, gone.statuses) != planned_by(due, due.statuses)
    assert make_plan(planned_by(due, due.statuses)) == make_plan(due)


def walk(seed: int, length: int, see: Callable[[Snapshot], None]) -> Snapshot:
    """Return the snapshot after a random history of services with and without volumes."""
    random = Random(seed)  # noqa: S311 - a simulation, no secret
    platform = make_platform({"fra": random.randint(2, 5), "ams": 2}, others=False)
    snapshot = settle(_applied(heal(Snapshot(revision=1, platform=platform)), random))
    for _ in range(length):
        before = snapshot
        (what,) = random.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))
        if what == "keep":
            snapshot = _applied(snapshot, random)
        elif what in {"give-up", "let-go"}:
            snapshot = _let_go(snapshot, what, random)
        else:
            snapshot = act(snapshot, what, random)
        assert before.volumes.keys() <= snapshot.volumes.keys()
        see(snapshot)
    return snapshot


_WEIGHTS = {
    "contact": 5,
    "heal": 2,
    "plan": 9,
    "obey": 6,
    "all-obey": 5,
    "keep": 1,
    "new-version": 2,
    "delete": 0.5,
    "remove-node": 0.3,
    "add-node": 0.5,
    "drain-node": 2,
    "release": 1,
    "time": 3,
    "rollout": 2,
    "give-up": 2,
    "let-go": 2,
}


def _let_go(snapshot: Snapshot, what: str, random: Random) -> Snapshot:
    name = random.choice((*snapshot.volumes, ""))
    change = give_up_volume if what == "give-up" else release_volume
    with suppress(ConflictError, NotFoundError):
        volume = change(snapshot, name, "why")
        return replace(snapshot, volumes={**snapshot.volumes, name: volume})
    return snapshot


def _applied(snapshot: Snapshot, random: Random) -> Snapshot:
    spec = kept_spec(
        random.randint(1, 4),
        random.choice((None, 0, MINUTE_MS, 10 * MINUTE_MS)),
        random.choice(("db", "kv")),
    )
    if random.random() < 0.25:
        spec = replace(spec, storage=None)
    return apply_change(snapshot, Change(services=(spec,))).snapshot


def holds(snapshot: Snapshot) -> None:
    plan = make_plan(snapshot)
    assert check_plan(snapshot, plan) == ()
    for done in range(len(plan.steps) + 1):
        _sound(executed(snapshot, plan.steps[:done]))


def _sound(snapshot: Snapshot) -> None:
    had = [each for each in snapshot.allocations.values() if each.volume]
    assert max(Counter(each.volume for each in had).values(), default=0) <= 1
    assert all(snapshot.volumes[each.volume].node == each.node for each in had)
    held = Counter(
        each.about for each in snapshot.volumes.values() if each.state is VolumeState.HELD
    )
    assert max(held.values(), default=0) <= 1
    assert all(snapshot.volumes[each.volume].state is not VolumeState.RELEASED for each in had)


@settings(max_examples=150)
@given(st.integers(0, 2**32), st.integers(0, 40))
def test_at_no_time_have_two_allocations_one_volume(seed: int, length: int) -> None:
    walk(seed, length, holds)


@settings(max_examples=60)
@example(765, 17)  # a node has left, and there is no room elsewhere for what it ran
@given(st.integers(0, 2**32), st.integers(0, 40))
def test_volumes_stay_and_all_ends_well_when_nodes_are_back(seed: int, length: int) -> None:
    known: dict[str, tuple[str, str]] = {}

    def see(snapshot: Snapshot) -> None:
        for each in snapshot.volumes.values():
            bound = (each.about, each.node)
            assert known.setdefault(each.id, bound) == bound

    end = settle(took_back(heal(walk(seed, length, see))))
    end = settle(took_back(end))
    see(end)
    _sound(end)
    there = {machine.name for machine in end.platform.machines}
    had = (one for one in end.allocations.values() if one.volume and one.node in there)
    used = (end.volumes[one.volume] for one in had)
    assert {each.state for each in used} <= {VolumeState.HELD}


def test_what_is_used_or_waited_for_is_not_released() -> None:
    snapshot = running(kept_spec())
    node = node_of(snapshot, "db.fra.1")
    with pytest.raises(ConflictError, match=r"in use by db\.fra\.1-1"):
        release_volume(snapshot, "db.fra.1@1", "")
    alone = replace(snapshot, allocations={})
    with pytest.raises(ConflictError, match=r"in use by db\.fra\.1"):
        release_volume(alone, "db.fra.1@1", "")
    with pytest.raises(ConflictError, match=f"{node} is not lost"):
        give_up_volume(snapshot, "db.fra.1@1", "")


def test_what_fewer_replicas_leave_is_released_and_what_a_rollout_may_go_back_to_is_not() -> (
    None
):
    snapshot = running(kept_spec(3))
    fewer = settle(apply_change(snapshot, Change(services=(kept_spec(2),))).snapshot)
    assert release_volume(fewer, "db.fra.3@1", "").state is VolumeState.RELEASED
    bare = replace(kept_spec(2), storage=None)
    rolling = apply_change(fewer, Change(services=(bare,))).snapshot
    with pytest.raises(ConflictError, match=r"in use by db\.fra\.1"):
        release_volume(replace(rolling, allocations={}), "db.fra.1@1", "")


def test_a_second_volume_of_a_replica_is_not_given_up_by_hand_either() -> None:
    snapshot = running(kept_spec(lost_after_ms=0), nodes=7)
    once = lost(snapshot, node_of(snapshot, "db.fra.1"), 60)
    again = with_all_ready(executed(once, make_plan(once).steps))
    twice = lost(again, node_of(again, "db.fra.1"), 60)
    with pytest.raises(ConflictError, match=r"db\.fra\.1@1 was given up already"):
        give_up_volume(twice, "db.fra.1@2", "")


def test_a_volume_that_is_given_up_by_hand_can_be_released_then() -> None:
    snapshot = running(kept_spec(lost_after_ms=None))
    gone = lost(snapshot, node_of(snapshot, "db.fra.1"), 1)
    volume = give_up_volume(gone, "db.fra.1@1", "burnt")
    after = replace(gone, volumes={**gone.volumes, volume.id: volume})
    elsewhere = settle(after)
    assert places_of(elsewhere)["db.fra.1"][1] == "db.fra.1@2"
    assert release_volume(elsewhere, volume.id, "").state is VolumeState.RELEASED


def took_back(snapshot: Snapshot) -> Snapshot:
    found = {each.id: each for each in taken_back(snapshot)}
    return replace(snapshot, volumes={**snapshot.volumes, **found})


def gave_up(snapshot: Snapshot, *replicas: int) -> Snapshot:
    """The nodes of some replicas are lost, and an operator gives up their volumes."""
    gone = snapshot
    for each in replicas:
        gone = lost(gone, node_of(gone, f"db.fra.{each}"), 5)
    found = [give_up_volume(gone, f"db.fra.{each}@1", "burnt") for each in replicas]
    return replace(gone, volumes={**gone.volumes, **{each.id: each for each in found}})


def test_what_was_given_up_is_taken_back_if_its_node_comes_before_there_is_another() -> None:
    spec = kept_spec(lost_after_ms=None)
    snapshot = running(spec, nodes=3)
    before = places_of(snapshot)
    gone = gave_up(snapshot, 1, 2)
    assert make_plan(gone).steps == ()  # most nodes are lost: nothing is moved
    assert took_back(gone) == gone
    back = took_back(heal(gone))
    assert {each.state for each in back.volumes.values()} == {VolumeState.HELD}
    newer = replace(spec, run=replace(spec.run, process=("serve", "again")))
    after = settle(apply_change(back, Change(services=(newer,))).snapshot)
    assert places_of(after) == before


def test_what_had_not_begun_elsewhere_when_its_node_came_back_is_given_up_instead() -> None:
    gone = gave_up(running(kept_spec(lost_after_ms=None)), 1)
    begun = executed(gone, make_plan(gone).steps)
    assert begun.volumes["db.fra.1@2"].state is VolumeState.HELD
    back = heal(begun)
    assert took_back(back) == back  # one of both is to end first
    ready = [each for each in begun.allocations.values() if each.volume != "db.fra.1@2"]
    ended = {each.id: each for each in ready}
    back = took_back(replace(back, allocations=ended))
    states = {name: each.state for name, each in back.volumes.items() if name[:8] == "db.fra.1"}
    assert states == {
        "db.fra.1@1": VolumeState.HELD,
        "db.fra.1@2": VolumeState.GIVEN_UP,
    }
    assert "is back with db.fra.1@1" in back.volumes["db.fra.1@2"].why
    assert release_volume(back, "db.fra.1@2", "").state is VolumeState.RELEASED


def test_only_what_its_node_has_deleted_is_forgotten() -> None:
    snapshot = settle(delete_service(running(kept_spec()), "db").snapshot)
    volume = release_volume(snapshot, "db.fra.1@1", "")
    released = replace(snapshot, volumes={**snapshot.volumes, volume.id: volume})
    there = MachineStatus(machine=volume.node, volumes=(VolumeStatus(volume=volume.id),))
    gone = replace(there, volumes=())
    silent = replace(there, volumes=None)
    for status, forgotten in ((None, ()), (silent, ()), (there, ()), (gone, (volume.id,))):
        said = dict.fromkeys(released.machines, status) if status else {}
        now = replace(released, statuses=said)
        assert deleted_volumes(now) == forgotten
        assert deleted_volumes(lost(now, volume.node, 5)) == ()
        # Where its node has never said that it has it, it may just be told to make it.
        assert deleted_volumes(now, made=True) == ()
        once = replace(now, volumes={**now.volumes, volume.id: replace(volume, made=True)})
        assert deleted_volumes(once, made=True) == forgotten


@pytest.mark.parametrize("where", ["recorded", "on the disk"])
def test_the_name_of_a_volume_does_not_come_back_while_there_is_one(where: str) -> None:
    """The numbers of a service that was deleted are forgotten, its volumes are not."""
    snapshot = running(kept_spec(1, lost_after_ms=0))
    gone = lost(snapshot, node_of(snapshot, "db.fra.1"), 60)
    elsewhere = heal(with_all_ready(executed(gone, make_plan(gone).steps)))
    deleted = settle(delete_service(elsewhere, "db").snapshot)
    old = deleted.volumes["db.fra.1@1"]
    assert old.state is VolumeState.GIVEN_UP
    there = MachineStatus(machine=old.node, volumes=(VolumeStatus(volume=old.id),))
    forgotten = replace(
        deleted,
        volumes={old.id: old} if where == "recorded" else {},
        statuses={} if where == "recorded" else {old.node: there},
    )
    assert unneeded_numbers(forgotten, {"db.fra.1": 0}) == ()
    forgotten = replace(forgotten, numbers={})
    again = apply_change(forgotten, Change(services=(kept_spec(1),))).snapshot
    bare = {name: bare_status(each) for name, each in again.statuses.items()}
    for known in (again, planned_by(again, bare)):
        plan = make_plan(known)
        assert check_plan(known, plan) == ()
        assert [each.allocation.volume for each in plan.steps] == ["db.fra.1@2"]
