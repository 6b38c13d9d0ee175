"""What answers of instances say of a version; that nothing is known is neither good nor bad."""

from dataclasses import replace

import pytest

from pltfrms.model.messages.api import Change, RolloutChange, RolloutVerb
from pltfrms.model.running.inquiries import Inquiry, Tally
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import Contact, MachineView, Phase, Snapshot
from pltfrms.model.services.rollouts import where_of
from pltfrms.model.services.service import (
    Compare,
    Probe,
    ProbeKind,
    RolloutSpec,
    RolloutState,
    ServiceSpec,
)
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.changes.rollouts import change_rollout
from pltfrms.planner.foresight.settling import settle as foreseen
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.explain import explain_service
from pltfrms.planner.placement.inputs import bare_status
from pltfrms.planner.placement.plan import make_plan
from pltfrms.planner.placement.rollout_words import rollout_words
from pltfrms.planner.placement.rollouts.inquiries import inquiry_of
from pltfrms.planner.placement.target import Makings
from tests.planner.placement.test_stages import OLD, rollout_of, running, said, until
from tests.planner.world import advance, heal, settle
from tests.strategies import make_platform

COMPARED = RolloutSpec(compare=Compare(path="/", samples=50))


def asked(snapshot: Snapshot) -> Inquiry:
    found = inquiry_of(snapshot.services["web"])
    assert found is not None
    return found


def many(times_ms: float, good: int, failed: int = 0) -> Tally:
    tally = Tally(inquiry="")
    for _ in range(good):
        tally = tally.with_answer(times_ms)
    for _ in range(failed):
        tally = tally.with_failure("/ answers 500")
    return tally


def answered(snapshot: Snapshot, version: int, tally: Tally | None) -> Snapshot:
    """Return the snapshot in which each instance of a version has answered so."""
    inquiry = asked(snapshot).id
    mine = {each.id for each in snapshot.allocations.values() if each.version == version}
    tally = replace(tally, inquiry=inquiry) if tally else None
    statuses = {
        name: replace(
            status,
            instances=tuple(
                replace(each, tally=tally) if each.allocation in mine else each
                for each in status.instances
            ),
        )
        for name, status in snapshot.statuses.items()
    }
    return replace(snapshot, statuses=statuses)


def baked(old: Tally | None, new: Tally | None) -> Snapshot:
    """Return how it is when the canary's bake is over, after answers of both versions."""
    snapshot = until(running(rollout=COMPARED), RolloutState.BAKING)
    snapshot = answered(answered(snapshot, 1, old), 2, new)
    return replace(snapshot, now_ms=snapshot.now_ms + 10_000)


def decided(snapshot: Snapshot) -> tuple[Reason, str] | None:
    plan = make_plan(snapshot)
    assert check_plan(snapshot, plan) == ()
    return (plan.rollouts[0].reason, plan.rollouts[0].words) if plan.rollouts else None


GOOD = many(8, 200)


@pytest.mark.parametrize(
    ("new", "reason", "words"),
    [
        (many(8, 200), Reason.BAKED, "no worse than version 1: p95 8 ms against 8 ms"),
        (many(312, 200), Reason.VERSION_WORSE, "p95 362 ms against 8 ms of version 1, "),
        (many(50, 200), Reason.BAKED, "p95 54 ms"),  # more often than twice, but by little
        (many(8, 180, 20), Reason.VERSION_WORSE, "20 of 200 requests failed against 0 of 1000"),
        (many(8, 195, 5), Reason.BAKED, "no worse"),  # 2.5 points
        (many(8, 0, 200), Reason.VERSION_WORSE, "/ answers 500"),
    ],
)
def test_a_version_is_judged_by_how_it_answers_beside_the_old_one(
    new: Tally, reason: Reason, words: str
) -> None:
    found = decided(baked(GOOD, new))
    assert found is not None
    assert found[0] is reason
    assert words in found[1]


def test_a_worse_version_goes_back_before_its_bake_is_over_and_says_why() -> None:
    snapshot = baked(GOOD, many(312, 200))
    snapshot = replace(snapshot, now_ms=snapshot.now_ms - 5000)
    after = advance(snapshot).services["web"]
    assert after.rollout is not None
    assert (after.version, after.rollout.state) == (1, RolloutState.FAILED)
    assert after.failed[-1].cause.startswith("p95 362 ms against 8 ms of version 1")


def test_what_the_old_version_does_as_badly_is_no_reason_to_go_back() -> None:
    assert decided(baked(many(312, 200), many(312, 200)))[0] is Reason.BAKED  # type: ignore[index]
    assert decided(baked(many(8, 100, 100), many(8, 100, 100)))[0] is Reason.BAKED  # type: ignore[index]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (None, GOOD, "200 requests to version 2 and 0 to version 1 are known, of 50"),
        (GOOD, None, "nothing is heard of web.fra.1-2"),
        (many(8, 5), many(900, 40), "40 requests to version 2 and 25 to version 1 are known"),
    ],
)
def test_too_little_known_is_neither_good_nor_bad_and_is_said(
    old: Tally | None, new: Tally | None, words: str
) -> None:
    snapshot = baked(old, new)
    assert decided(snapshot) is None
    assert words in rollout_words(snapshot, snapshot.services["web"])
    assert any(words in each for each in explain_service(snapshot, "web"))


def test_answers_to_what_was_asked_before_do_not_count() -> None:
    snapshot = baked(GOOD, GOOD)
    service = snapshot.services["web"]
    rollout = replace(rollout_of(snapshot), since_ms=rollout_of(snapshot).since_ms - 1)
    services = {"web": replace(service, rollout=rollout)}
    assert decided(replace(snapshot, services=services)) is None


def test_where_nothing_of_the_old_version_serves_nothing_is_compared() -> None:
    snapshot = baked(None, None)
    for each in tuple(snapshot.allocations.values()):
        if each.version == 1:
            snapshot = said(snapshot, each.id, Phase.BACKOFF, 5)
    found = decided(snapshot)
    assert found == (
        Reason.BAKED,
        "no instance of version 1 serves any more, so nothing is compared",
    )


def test_a_new_instance_of_which_nothing_is_heard_is_waited_for() -> None:
    snapshot = until(running(rollout=COMPARED), RolloutState.BAKING, 1)
    snapshot = answered(answered(snapshot, 1, GOOD), 2, GOOD)
    node = snapshot.allocations["web.fra.2-2"].node
    status = snapshot.statuses[node]
    silent = tuple(replace(each, tally=None) for each in status.instances)
    statuses = {**snapshot.statuses, node: replace(status, instances=silent)}
    snapshot = replace(snapshot, statuses=statuses, now_ms=snapshot.now_ms + 10_000)
    assert decided(snapshot) is None
    words = rollout_words(snapshot, snapshot.services["web"])
    assert "nothing is heard of web.fra.2-2" in words


def test_nothing_is_asked_but_while_a_stage_with_a_comparison_bakes() -> None:
    plain = until(running(), RolloutState.BAKING)
    assert inquiry_of(plain.services["web"]) is None
    snapshot = running(rollout=COMPARED)
    assert inquiry_of(snapshot.services["web"]) is None
    quiet = Makings(snapshot, 1)
    assert all(not quiet.target(n.name, 0).inquiries for n in snapshot.platform.machines)
    snapshot = until(snapshot, RolloutState.BAKING)
    held = change_rollout(snapshot, RolloutChange(verb=RolloutVerb.PAUSE, service="web"))
    assert inquiry_of(held.services[0]) is None
    makings = Makings(snapshot, 1)
    told = {
        each.name
        for each in snapshot.platform.machines
        if makings.target(each.name, 0).inquiries
    }
    assert told == {each.node for each in snapshot.allocations.values()}
    assert all(makings.made_of(name, 0) != quiet.made_of(name, 0) for name in told)


def test_machines_of_a_large_platform_tell_answers_less_often() -> None:
    """A status is a write, and work for each controller: 500 a second are too many."""
    snapshot = until(running(rollout=COMPARED), RolloutState.BAKING)
    node = snapshot.allocations["web.fra.1-2"].node
    (small,) = Makings(snapshot, 1).target(node, 0).inquiries
    assert (small.tell_ms, small.id) == (1000, asked(snapshot).id)
    more = make_platform({"ham": 491}, others=False).machines
    platform = replace(snapshot.platform, machines=(*snapshot.platform.machines, *more))
    (large,) = Makings(replace(snapshot, platform=platform), 1).target(node, 0).inquiries
    assert large.tell_ms == 10_000


def test_nobody_is_asked_in_the_last_stage_which_leaves_nothing_to_compare() -> None:
    snapshot = until(running(rollout=COMPARED), RolloutState.BAKING)
    service, last = snapshot.services["web"], len(rollout_of(snapshot).stages) - 1
    service = replace(service, rollout=replace(rollout_of(snapshot), stage=last))
    assert inquiry_of(service) is None


def test_a_plan_is_made_anew_for_new_answers() -> None:
    snapshot = baked(GOOD, many(312, 200))
    bare = {name: bare_status(each) for name, each in snapshot.statuses.items()}
    assert decided(replace(snapshot, statuses=bare)) == decided(snapshot)


# ---- trial ---------------------------------------------------------------------------------

PROBED = replace(OLD, probe=replace(OLD.probe, path="/healthz"))


def trial(rollout: RolloutSpec | None = None) -> Snapshot:
    """Return three datacenters whose service is to be asked something else."""
    platform = make_platform({"fra": 3, "ams": 3, "lon": 3}, others=False)
    empty = heal(Snapshot(revision=1, platform=platform, now_ms=1000))
    before = settle(apply_change(empty, Change(services=(OLD,))).snapshot)
    new = replace(PROBED, rollout=rollout)
    return apply_change(before, Change(services=(new,))).snapshot


FAILS = many(1, 0, 3)


def test_nothing_is_placed_while_a_probe_is_tried() -> None:
    snapshot = trial()
    assert rollout_of(snapshot).state is RolloutState.TRIAL
    assert asked(snapshot).probe.path == "/healthz"
    assert asked(snapshot).at_once == 1, "it may be a command that takes long"
    assert make_plan(snapshot).steps == ()
    assert decided(snapshot) is None
    service = snapshot.services["web"]
    assert where_of(service) == "version 2, trial of its probe"
    words = rollout_words(snapshot, service)
    assert "trial of its probe: 0 of 6 instances of version 1 fail it so far" in words
    assert "nothing is heard of web.fra.1-1, web.fra.2-1, web.ams.1-1 and 3 more" in words


def test_a_probe_that_nobody_passes_is_refused_with_the_numbers() -> None:
    snapshot = answered(trial(), 1, FAILS)
    found = decided(snapshot)
    assert found is not None
    assert found[0] is Reason.PROBE_REFUSED
    assert "fails on all 6 running instances of version 1, asked 3 times each" in found[1]
    after = advance(snapshot).services["web"]
    assert (after.version, after.spec) == (1, OLD)
    assert after.failed[-1].version == 2


def test_a_probe_that_one_passes_is_not_refused() -> None:
    snapshot = answered(trial(), 1, FAILS)
    good = replace(many(5, 1, 2), inquiry=asked(snapshot).id)
    node = snapshot.allocations["web.lon.2-1"].node
    status = snapshot.statuses[node]
    passes = tuple(replace(each, tally=good) for each in status.instances)
    statuses = {**snapshot.statuses, node: replace(status, instances=passes)}
    found = decided(replace(snapshot, statuses=statuses))
    assert found == (Reason.PROBE_TRIED, "1 of 6 instances of version 1 pass it so far")


def test_a_probe_is_not_refused_while_somebody_is_not_heard() -> None:
    snapshot = answered(trial(), 1, FAILS)
    node = snapshot.allocations["web.lon.2-1"].node
    unknown = MachineView(contact=Contact.UNKNOWN, since_seconds=5)
    statuses = {name: each for name, each in snapshot.statuses.items() if name != node}
    machines = {**snapshot.machines, node: unknown}
    assert decided(replace(snapshot, statuses=statuses, machines=machines)) is None
    assert decided(answered(trial(), 1, many(1, 0, 2))) is None


def test_a_probe_that_mends_a_bad_one_is_tried_on_nobody() -> None:
    snapshot = trial()
    for each in snapshot.allocations:
        snapshot = said(snapshot, each, Phase.UNHEALTHY, unwell=True)
    found = decided(snapshot)
    assert found is not None
    assert found[0] is Reason.PROBE_TRIED
    assert "no instance of version 1 serves" in found[1]


def test_the_spec_and_an_operator_may_say_that_it_is_not_tried() -> None:
    assert rollout_of(trial(RolloutSpec(untried=True))).state is RolloutState.ROLLING
    wish = RolloutChange(verb=RolloutVerb.PROMOTE, service="web")
    begun = change_rollout(trial(), wish).snapshot
    assert (rollout_of(begun).state, rollout_of(begun).stage) == (RolloutState.ROLLING, 0)
    beside = replace(PROBED, rollout=RolloutSpec(untried=True))
    after = apply_change(trial(), Change(services=(beside,))).snapshot
    assert decided(after) == (Reason.PROBE_TRIED, "its spec says that nobody is asked")


UNTRIED = RolloutSpec(untried=True)
LIVING = replace(OLD, liveness=Probe(kind=ProbeKind.HTTP, port=80, path="/alive"))


def trial_of(new: ServiceSpec) -> Snapshot:
    before = settle(trial())
    return apply_change(before, Change(services=(new,))).snapshot


def failing(snapshot: Snapshot, count: int) -> Snapshot:
    """Return the snapshot in which so many of six fail what is asked, and others pass it."""
    ids = sorted(snapshot.allocations)
    inquiry = asked(snapshot).id
    tallies = {
        name: replace(FAILS if index < count else many(5, 3), inquiry=inquiry)
        for index, name in enumerate(ids)
    }
    statuses = {
        name: replace(
            status,
            instances=tuple(replace(i, tally=tallies[i.allocation]) for i in status.instances),
        )
        for name, status in snapshot.statuses.items()
    }
    return replace(snapshot, statuses=statuses)


@pytest.mark.parametrize(
    ("count", "reason", "words"),
    [
        (0, Reason.PROBE_TRIED, "6 of 6 instances of version 2 pass it so far"),
        (3, Reason.PROBE_TRIED, "3 of 6 instances of version 2 pass it so far"),
        (4, Reason.LIVENESS_REFUSED, "its liveness probe would restart 4 of 6 running"),
        (6, Reason.LIVENESS_REFUSED, "would restart all 6 running instances of version 2, "),
    ],
)
def test_a_liveness_probe_that_would_restart_most_is_refused_with_the_numbers(
    count: int, reason: Reason, words: str
) -> None:
    snapshot = trial_of(replace(LIVING, probe=PROBED.probe))
    service = snapshot.services["web"]
    assert where_of(service) == "version 3, trial of its liveness probe"
    assert asked(snapshot).probe.path == "/alive"
    assert make_plan(snapshot).steps == ()
    assert decided(snapshot) is None
    found = decided(failing(snapshot, count))
    assert found is not None
    assert (found[0], words in found[1]) == (reason, True)
    after = advance(failing(snapshot, count)).services["web"]
    assert after.version == (2 if reason is Reason.LIVENESS_REFUSED else 3)
    assert after.rollout is not None
    assert not after.rollout.asks_liveness, "what a release of before would not understand"


def test_a_liveness_probe_is_not_judged_before_enough_are_heard() -> None:
    snapshot = trial_of(replace(LIVING, probe=PROBED.probe))
    two = failing(snapshot, 3)
    silent = {
        name: replace(
            status,
            instances=tuple(
                replace(i, tally=i.tally if i.tally and i.tally.failed else None)
                for i in status.instances
            ),
        )
        for name, status in two.statuses.items()
    }
    assert decided(replace(two, statuses=silent)) is None


def test_both_probes_are_tried_one_after_the_other() -> None:
    snapshot = trial_of(LIVING)  # the one of before, which is another one by now
    assert asked(snapshot).probe == OLD.probe
    first = asked(snapshot).id
    found = decided(failing(snapshot, 0))
    assert found == (Reason.LIVENESS_NEXT, "6 of 6 instances of version 2 pass it so far")
    after = advance(failing(snapshot, 0))
    assert (asked(after).probe.path, asked(after).id != first) == ("/alive", True)
    assert rollout_of(after).state is RolloutState.TRIAL
    assert decided(after) is None, "what was answered to the other one does not count"
    assert decided(failing(after, 0)) is not None
    assert rollout_of(advance(failing(after, 0))).state is RolloutState.ROLLING


def test_a_liveness_probe_that_asks_the_same_is_not_tried() -> None:
    snapshot = settle(trial_of(replace(LIVING, probe=PROBED.probe, rollout=UNTRIED)))
    assert snapshot.services["web"].version == 3
    seldom = replace(LIVING.liveness, fall=9, interval_ms=9000) if LIVING.liveness else None
    for liveness in (seldom, None):
        new = replace(LIVING, probe=PROBED.probe, liveness=liveness)
        after = apply_change(snapshot, Change(services=(new,))).snapshot
        assert rollout_of(after).state is RolloutState.ROLLING


def test_how_often_is_asked_is_no_new_probe() -> None:
    snapshot = settle(trial())
    often = replace(PROBED, probe=replace(PROBED.probe, interval_ms=100, rise=5))
    after = apply_change(snapshot, Change(services=(often,))).snapshot
    assert rollout_of(after).state is RolloutState.ROLLING


def test_what_is_foreseen_takes_answers_to_be_good() -> None:
    for snapshot in (trial(COMPARED), running(rollout=COMPARED)):
        after, steps, _ = foreseen(snapshot)
        assert rollout_of(after).state is RolloutState.DONE
        assert steps
