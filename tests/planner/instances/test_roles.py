"""Who has a role: the highest epoch, wherever it is, and of two that say the same just one."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.running.machine import ProbeAnswer
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import RoleState, RoleStatus
from pltfrms.model.services.roles import CLAIM_STEP, EPOCH_MAX, claim_of, epoch_of
from pltfrms.model.services.service import Probe, ProbeKind, RoleSpec
from pltfrms.planner.instances.roles import NOTHING_SAID, RoleSaid, asked, decide_role

ASKED = Probe(kind=ProbeKind.HTTP, port=8008, path="/primary", fall=1)
PLAIN = RoleSpec(name="writer", probe=ASKED)
WRITER = replace(PLAIN, probe=replace(ASKED, epoch="X-Epoch"))
READER = RoleSpec(name="reader", probe=ASKED, shared=True)
YES, NO = ProbeAnswer(epoch=5), ProbeAnswer(failure="/primary answers 503", unwell=True)
EPOCHS = st.integers(0, EPOCH_MAX)
PLACES = st.tuples(st.integers(1, 200), st.integers(1, 1023))
SAID = st.builds(RoleSaid, has=st.booleans(), epoch=EPOCHS)


def has(epoch: int) -> RoleSaid:
    return RoleSaid(has=True, epoch=epoch)


def decided(
    *said: RoleSaid, role: RoleSpec = WRITER, heard: int = 0, floor: int = 0
) -> list[RoleStatus]:
    named = {f"db.fra.{number}-1": (role, each) for number, each in enumerate(said, 1)}
    found = decide_role(named, (1, 1), heard, floor)
    return [found[name] for name in named]


def test_one_yes_is_enough_and_one_no() -> None:
    said = asked(NOTHING_SAID, WRITER, YES)
    assert said == has(5)
    assert not asked(said, WRITER, NO).has
    slow = replace(WRITER, probe=replace(WRITER.probe, fall=2))
    once = asked(said, slow, NO)
    assert once.has
    assert not asked(once, slow, NO).has
    assert asked(asked(once, slow, YES), slow, NO).has


def test_who_says_no_epoch_has_no_role_that_has_one() -> None:
    said = asked(NOTHING_SAID, WRITER, ProbeAnswer())
    assert not said.has
    assert "no epoch" in said.words
    assert asked(NOTHING_SAID, PLAIN, ProbeAnswer()) == has(0)


def test_what_somebody_says_who_has_it_not_stays_as_it_began() -> None:
    said = asked(NOTHING_SAID, WRITER, NO)
    later = asked(said, WRITER, ProbeAnswer(failure="no answer within 300 ms"))
    assert later == said


def test_the_highest_epoch_has_the_role_and_who_gives_way_says_why() -> None:
    old, new = decided(has(5), has(6))
    assert (new.state, new.reason) == (RoleState.HELD, Reason.ROLE_SAID)
    assert (old.state, old.reason) == (RoleState.YIELDED, Reason.ROLE_SURPASSED)
    (late,) = decided(has(5), heard=claim_of(6, 2, 9))
    assert late.reason is Reason.ROLE_SURPASSED
    (first,) = decided(has(6), heard=claim_of(5, 1, 1))
    assert first.state is RoleState.HELD


def test_an_epoch_that_is_over_does_not_come_back_when_nobody_has_a_higher_one() -> None:
    (old,) = decided(has(5), floor=6)
    assert (old.state, old.reason) == (RoleState.YIELDED, Reason.ROLE_SURPASSED)


def test_of_two_with_one_epoch_the_one_with_the_lower_numbers_wins() -> None:
    (loses,) = decided(has(5), heard=claim_of(5, 1, 0))
    assert (loses.state, loses.reason) == (RoleState.YIELDED, Reason.ROLE_CONTESTED)
    (wins,) = decided(has(5), heard=claim_of(5, 1, 2))
    assert wins.state is RoleState.HELD
    first, second = decided(has(5), has(5))
    assert (first.state, second.state) == (RoleState.HELD, RoleState.YIELDED)
    assert second.reason is Reason.ROLE_CONTESTED


def test_a_shared_role_has_any_number() -> None:
    assert [
        each.state for each in decided(has(0), has(0), role=READER, heard=CLAIM_STEP * 9)
    ] == [RoleState.HELD] * 2


def test_what_was_announced_before_us_says_so() -> None:
    (found,) = decided(replace(has(5), known=False))
    assert (found.state, found.reason) == (RoleState.HELD, Reason.ROLE_FOUND)


@pytest.mark.parametrize("epoch", [EPOCH_MAX, EPOCH_MAX + 1, 10**18])
def test_claims_fit_in_32_bits_and_are_no_weights(epoch: int) -> None:
    claim = claim_of(epoch, 200, 4000)
    assert 256 < claim < 2**32
    assert epoch_of(claim) == EPOCH_MAX


@given(EPOCHS, PLACES, EPOCHS, PLACES)
def test_claims_have_the_order_of_epochs_first(
    epoch: int, place: tuple[int, int], other: int, there: tuple[int, int]
) -> None:
    one, two = claim_of(epoch, *place), claim_of(other, *there)
    assert epoch_of(one) == epoch
    if epoch != other:
        assert (one > two) is (epoch > other)
    else:
        assert (one == two) is (place == there)


@given(st.dictionaries(PLACES, st.lists(SAID, min_size=1, max_size=3), min_size=1, max_size=5))
def test_nodes_that_hear_of_each_other_agree_on_one(
    nodes: dict[tuple[int, int], list[RoleSaid]],
) -> None:
    """Each hears of the claims of all others; then just one has it, the highest."""
    claims = {
        place: max((claim_of(s.epoch, *place) for s in said if s.has), default=0)
        for place, said in nodes.items()
    }
    found = [
        (place, status)
        for place, said in nodes.items()
        for status in decide_role(
            {f"db.fra.{number}-1": (WRITER, each) for number, each in enumerate(said)},
            place,
            max((claim for other, claim in claims.items() if other != place), default=0),
            0,
        ).values()
    ]
    holders = [pair for pair in found if pair[1].state is RoleState.HELD]
    anybody = any(each.has for said in nodes.values() for each in said)
    assert len(holders) == int(anybody)
    for (_, holder), (_, other) in product(holders, found):
        assert (holder.epoch or 0) >= (other.epoch or 0)
