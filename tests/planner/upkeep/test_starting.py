"""How a member begins; what is not known never makes a second store."""

import pytest

from pltfrms.model.messages.store import MemberData, StoreMember, StoreMembers
from pltfrms.planner.upkeep.starting import Start, decide_start

PEER = "http://[fd00::b]:2380"
OTHER = StoreMember(name="a", number="1", peer="http://[fd00::a]:2380")
ME = StoreMember(name="b", number="2", peer=PEER)
LEARNER = StoreMember(name="3", number="3", peer=PEER, learner=True, started=False)
OURS, MINE, OLD = MemberData(), MemberData(number="2", store="s"), MemberData(number="7")
"""Data of which nothing is known, of this member, and of one before it."""
UNSTARTED = StoreMember(name="b", number="2", peer=PEER, started=False)


@pytest.mark.parametrize(
    ("listed", "data", "may_begin", "expected", "obsolete"),
    [
        ((), OURS, False, Start.DATA, False),
        ((), OURS, True, Start.DATA, False),
        ((), None, True, Start.NEW, False),
        ((), None, False, Start.WAIT, False),
        ((OTHER,), None, False, Start.ASK, False),
        ((OTHER,), None, True, Start.ASK, False),
        ((OTHER,), OURS, False, Start.ASK, True),
        ((OTHER, LEARNER), None, False, Start.JOIN, False),
        ((OTHER, LEARNER), OURS, False, Start.JOIN, True),
        ((OTHER, ME), OURS, False, Start.DATA, False),
        ((OTHER, ME), None, False, Start.ASK, False),
        ((OTHER, ME), None, True, Start.ASK, False),
        ((OTHER, UNSTARTED), None, True, Start.NEW, False),
        ((OTHER, UNSTARTED), None, False, Start.ASK, False),
        ((OTHER, ME), MINE, False, Start.DATA, False),
    ],
)
def test_how_a_member_begins(
    listed: tuple[StoreMember, ...],
    *,
    data: MemberData | None,
    may_begin: bool,
    expected: Start,
    obsolete: bool,
) -> None:
    heard = (StoreMembers(members=listed, store="s"),) if listed else ()
    decision = decide_start(PEER, heard, data=data, may_begin=may_begin)
    assert (decision.start, decision.obsolete) == (expected, obsolete)
    lost = expected is Start.ASK and listed != (OTHER,)
    assert decision.lost == ("2" if lost else "")


def test_who_lost_its_disk_while_nobody_answers_makes_no_second_store() -> None:
    decision = decide_start(PEER, (), data=None, may_begin=False)
    assert decision.start is Start.WAIT
    assert "Start the other members" in decision.why


def test_who_ended_before_it_said_its_name_goes_on_with_its_data() -> None:
    heard = [StoreMembers(members=(OTHER, LEARNER), store="s")]
    data = MemberData(number=LEARNER.number, store="s")
    decision = decide_start(PEER, heard, data=data, may_begin=False)
    assert (decision.start, decision.obsolete) == (Start.DATA, False)


def test_data_of_an_earlier_member_of_this_machine_is_not_started_with() -> None:
    heard = [StoreMembers(members=(OTHER, ME), store="s")]
    decision = decide_start(PEER, heard, data=OLD, may_begin=False)
    assert (decision.start, decision.obsolete) == (Start.ASK, True)
    assert decision.lost == ME.number


def test_nobody_of_another_store_is_believed() -> None:
    strangers = StoreMembers(members=(OTHER,), store="t")
    decision = decide_start(PEER, [strangers], data=MINE, may_begin=False)
    assert (decision.start, decision.obsolete) == (Start.DATA, False)
    assert "of another store" in decision.why
    ours = StoreMembers(members=(OTHER, LEARNER), store="s")
    decision = decide_start(PEER, [strangers, ours], data=MINE, may_begin=False)
    assert (decision.start, decision.members) == (Start.JOIN, ours.members)


@pytest.mark.parametrize("may_begin", [False, True])
def test_who_has_no_data_waits_while_two_stores_answer(*, may_begin: bool) -> None:
    heard = [StoreMembers(members=(OTHER,), store=store) for store in "st"]
    decision = decide_start(PEER, heard, data=None, may_begin=may_begin)
    assert decision.start is Start.WAIT
    assert "several stores" in decision.why
