"""What holds of rollouts whatever happens: drains, losses, and what operators do to them."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms.model.running.plan import Place, Reason, Stop
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.foresight.settling import executed
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.plan import make_plan
from pltfrms.planner.placement.rollout_words import rollout_words
from tests.planner.placement.test_stages import running
from tests.planner.world import act, heal, settle, walk

deep = settings(max_examples=150)


@deep
@given(st.integers(0, 2**32), st.integers(0, 60))
def test_no_rollout_step_breaks_a_rule_whatever_happened(seed: int, length: int) -> None:
    def see(snapshot: Snapshot) -> None:
        plan = make_plan(snapshot)
        assert check_plan(snapshot, plan) == ()
        assert not (plan.rollouts and plan.steps)

    walk(seed, length, see)


@deep
@given(st.integers(0, 2**32))
def test_every_rollout_ends_when_all_is_well(seed: int) -> None:
    """And then all replicas have the service's version, whichever that is."""
    random = Random(seed)  # noqa: S311 - a simulation, no secret
    snapshot = running(random.randint(1, 3))
    for _ in range(random.randint(0, 30)):
        what = random.choice(("plan", "obey", "obey", "time", "contact", "new-version"))
        snapshot = act(snapshot, what, random)
    end = settle(heal(snapshot))
    for name, service in end.services.items():
        assert service.rolling is None
        versions = {a.version for a in end.allocations.values() if a.service == name}
        assert versions == {service.version}


@deep
@given(st.integers(0, 2**32), st.integers(0, 60))
def test_a_rollout_ends_or_says_what_it_waits_for_whatever_happened(
    seed: int, length: int
) -> None:
    """Also where there is no room for both versions."""
    end = settle(heal(walk(seed, length)))
    for service in end.services.values():
        if service.rolling:
            words = rollout_words(end, service)
            assert any(reason.sentence in words for reason in _NO_PLACE), words


_NO_PLACE = (
    Reason.NO_CAPACITY,
    Reason.NO_NODE_WITHIN_SPREAD,
    Reason.ALL_DRAINED,
    Reason.NO_NODE_IN_CONTACT,
)


@deep
@given(st.integers(0, 2**32), st.integers(0, 60))
def test_nodes_have_no_more_copies_than_allowed_but_for_what_is_replaced(
    seed: int, length: int
) -> None:
    """Each new copy is judged when it is placed; what was there before a change may be more."""

    def see(snapshot: Snapshot) -> None:
        plan = make_plan(snapshot)
        for done, step in enumerate(plan.steps):
            if isinstance(step, Place):
                there = executed(snapshot, plan.steps[: done + 1]).allocations.values()
                one = step.allocation
                mine = [a for a in there if (a.service, a.node) == (one.service, one.node)]
                left = [a for a in mine if a.id != one.replaces]
                assert len(left) <= snapshot.services[one.service].spec.max_per_node

    walk(seed, length, see)


@deep
@given(st.integers(0, 2**32), st.integers(0, 60))
def test_no_ready_copy_of_a_wanted_replica_goes_before_another_is_ready(
    seed: int, length: int
) -> None:
    """Because of a rollout: at every moment of every history, whatever operators do to it."""

    def see(snapshot: Snapshot) -> None:
        draft = Draft(snapshot)
        for step in make_plan(snapshot).steps:
            one = step.allocation
            if isinstance(step, Stop) and step.reason in _OF_ROLLOUTS and draft.ready(one):
                others = draft.replicas(one.service, one.datacenter)[one.replica]
                assert any(draft.ready(each) for each in others if each.id != one.id)

    walk(seed, length, see)


_OF_ROLLOUTS = {
    Reason.NEW_VERSION, Reason.WENT_BACK, Reason.REPLACEMENT_READY, Reason.NOT_NEEDED_ANY_MORE,
}  # fmt: skip
