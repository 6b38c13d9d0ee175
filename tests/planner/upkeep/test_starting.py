"""How a member begins; what is not known never makes a second store."""

import pytest

from pltfrms.model.messages.store import StoreMember
from pltfrms.planner.upkeep.starting import Start, decide_start

PEER = "http://[fd00::b]:2380"
OTHER = StoreMember(name="a", number="1", peer="http://[fd00::a]:2380")
ME = StoreMember(name="b", number="2", peer=PEER)
LEARNER = StoreMember(name="3", number="3", peer=PEER, learner=True, started=False)
UNSTARTED = StoreMember(name="b", number="2", peer=PEER, started=False)


@pytest.mark.parametrize(
    ("listed", "has_data", "may_begin", "expected", "obsolete"),
    [
        (None, True, False, Start.DATA, False),
        (None, True, True, Start.DATA, False),
        (None, False, True, Start.NEW, False),
        (None, False, False, Start.WAIT, False),
        ((OTHER,), False, False, Start.ASK, False),
        ((OTHER,), False, True, Start.ASK, False),
        ((OTHER,), True, False, Start.ASK, True),
        ((OTHER, LEARNER), False, False, Start.JOIN, False),
        ((OTHER, LEARNER), True, False, Start.JOIN, True),
        ((OTHER, ME), True, False, Start.DATA, False),
        ((OTHER, ME), False, False, Start.ASK, False),
        ((OTHER, ME), False, True, Start.ASK, False),
        ((OTHER, UNSTARTED), False, True, Start.NEW, False),
        ((OTHER, UNSTARTED), False, False, Start.ASK, False),
    ],
)
def test_how_a_member_begins(
    listed: tuple[StoreMember, ...] | None,
    *,
    has_data: bool,
    may_begin: bool,
    expected: Start,
    obsolete: bool,
) -> None:
    decision = decide_start(PEER, listed, has_data=has_data, may_begin=may_begin)
    assert (decision.start, decision.obsolete) == (expected, obsolete)
    lost = expected is Start.ASK and listed != (OTHER,)
    assert decision.lost == ("2" if lost else "")


def test_who_lost_its_disk_while_nobody_answers_makes_no_second_store() -> None:
    decision = decide_start(PEER, None, has_data=False, may_begin=False)
    assert decision.start is Start.WAIT
    assert "Start the other members" in decision.why
